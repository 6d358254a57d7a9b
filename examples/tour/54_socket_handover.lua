local ipc = require "unixipc"

return {
  title = "Handing over an open file",
  text = [[
Descriptors go over a socket: the other process gets its own one of the same
open file, socket, pipe or shared memory, as an object again. Here a child
opens what it alone knows, and hands it over:]],
  play = function(scene)
    local path = scene.path "secret"
    -- show
    local ours, theirs = assert(ipc.socket.pair())
    local child <close> = assert(ipc.process.fork(function()
      local file <close> = assert(io.open(path, "w+"))
      os.remove(path) -- no name leads to it any more
      file:write "written in the child\n"
      file:seek "set"
      assert(theirs:send_fds("a file", {file}))
    end))
    local words, files = ours:receive_fds(nil, 5)
    local line = files[1]:read "l"
    -- end
    scene.expect("with the file came", words, "a file")
    scene.expect("in it is", line, "written in the child")
    scene.expect("the child", (child:wait(5)), "exit")
    files[1]:close()
    ours:close()
    theirs:close()
  end,
}
