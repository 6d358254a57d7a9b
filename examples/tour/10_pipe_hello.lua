local ipc = require "unixipc"

return {
  title = "A pipe from child to parent",
  text = [[
A pipe has two ends: what is written into the one is read from the other.
fork makes a second process, which has both ends too. The child writes, the
parent reads, waiting no longer than it wants to.]],
  play = function(scene)
    -- show
    local r, w = assert(ipc.pipe.open())
    local child <close> = assert(ipc.process.fork(function()
      w:write("hello from process ", ipc.process.pid(), "\n")
      return 7 -- the exit code
    end))
    w:close() -- or this process would wait for itself to write more
    local line = r:read("l", 2.5) -- at most 2.5 seconds
    local rest = r:read("l", 2.5)
    local how, code = child:wait(2.5)
    -- end
    scene.expect("the parent read", line, "hello from process " .. child.pid)
    scene.expect("then the end of file", rest, nil)
    scene.expect("how the child ended", how, "exit")
    scene.expect("with the code", code, 7)
    scene.check(child.pid ~= ipc.process.pid(), "there was one process only")
    r:close()
  end,
}
