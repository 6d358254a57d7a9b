local ipc = require "unixipc"
local lock, process = ipc.lock, ipc.process

return {
  title = "A file that several processes append to",
  text = [[
Each line is written in three pieces. A lock on the file keeps the lines of
four processes whole. It ends with <close>, and with the process.]],
  play = function(scene)
    local path = scene.path "log"
    -- show
    local function append(name)
      local file <close> = assert(io.open(path, "a"))
      file:setvbuf "no"
      for i = 1, 50 do
        local _ <close> = assert(lock.ofd(path, nil, 5))
        file:write(name, " ")
        file:write(i)
        file:write "\n"
      end
    end
    io.open(path, "w"):close()
    local writers = {}
    for i, name in ipairs {"anna", "bert", "cleo", "dora"} do
      writers[i] = assert(process.fork(append, name))
    end
    for _, writer in ipairs(writers) do writer:wait(20) end
    local whole = 0
    for line in io.lines(path) do
      if line:find "^%a+ %d+$" then whole = whole + 1 end
    end
    -- end
    scene.expect("whole lines", whole, 200)
    os.remove(path)
  end,
}
