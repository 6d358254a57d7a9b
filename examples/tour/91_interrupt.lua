local ipc = require "unixipc"
local fifo = ipc.fifo

-- What another Lua process runs: it blocks for ever, in one way or another.
local SCRIPT = [[
local ipc = require "unixipc"
local guard <close> = setmetatable({}, {__close = function()
  print "closed"
end})
io.stdout:setvbuf "line"
print "blocking"
%s
]]

local CALLS = {
  {"waiting for input", "local r, w = ipc.pipe.open() r:read() w:close()"},
  {"opening a FIFO", "ipc.fifo.open(arg[1], 'r')"},
  {"waiting for a child", [[
    local child = ipc.process.fork(function() ipc.process.sleep(60) end)
    local _ <close> = setmetatable({}, {__close = function()
      child:kill() child:wait()
    end})
    child:wait()]]},
  {"inside a coroutine", "coroutine.wrap(ipc.process.sleep)(60)"},
}

return {
  title = "Ctrl-C always gets through",
  text = [[
A call that blocks for ever can still be stopped: Ctrl-C in the `lua5.4`
program raises "interrupted!" out of the call, wherever it is, and what is to
be closed is closed on the way. Four Lua processes block and get the signal.]],
  play = function(scene)
    local path = scene.path "fifo"
    fifo.create(path)
    for _, call in ipairs(CALLS) do
      local where, code = table.unpack(call)
      -- show
      local child <close> = assert(ipc.process.spawn(
        {scene.lua, "-", path},
        {stdin = "pipe", stdout = "pipe", stderr = "pipe"}))
      child.stdin:write(SCRIPT:format(code))
      child.stdin:close()
      child.stdout:read("l", 5) -- "blocking"
      ipc.process.sleep(0.05)
      child:kill "SIGINT" -- what Ctrl-C sends
      local output, errors = child:communicate(nil, 5)
      -- end
      local message = errors and errors:match "interrupted!"
      scene.expect(where, message, "interrupted!")
      scene.check(output == "closed\n", "what was to be closed was not")
    end
    fifo.unlink(path)
  end,
}
