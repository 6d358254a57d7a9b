local ipc = require "unixipc"
local errno, fifo, process = ipc.errno, ipc.fifo, ipc.process

return {
  title = "What can go wrong, and how it is told",
  text = [[
What the system refuses is nil, a message, and the number of the error, as in
Lua's io library. A timeout is an error as any other. A mistake of the program
raises. And nobody is killed for writing when there is no reader.]],
  play = function(scene)
    local r, w = assert(ipc.pipe.open())
    local path = scene.path "fifo"
    -- show
    local _, missing, number = fifo.open(path, "r")
    fifo.create(path)
    local start = process.now()
    local _, timeout = fifo.open(path, "r", nil, 0.2) -- nobody writes
    local took = process.now() - start
    fifo.unlink(path)
    r:close()
    local _, broken = w:write "to nobody" -- no signal SIGPIPE
    local _, mistake = pcall(fifo.open, path, "r", {exlusive = true})
    -- end
    scene.expect("no such FIFO", missing,
      "open: " .. path .. ": No such file or directory")
    scene.expect("its number is that of", errno.name(number), "ENOENT")
    scene.expect("nobody to open it with", timeout, "timeout")
    scene.tell("and that took %.3f s", took)
    scene.check(took >= 0.2 and took < 1, "not the time that was asked for")
    scene.expect("a pipe without a reader", broken, "write: Broken pipe")
    scene.tell("a mistake raises: %s", mistake)
    scene.check(mistake:find "unknown option 'exlusive'", "it does not")
    w:close()
  end,
}
