local ipc = require "unixipc"

return {
  title = "An echo server for many clients",
  text = [[
examples/socket_echo_server.lua waits in one poller for its listener and for all
its clients. A stream socket is read and written like a pipe, both ways:]],
  show = {
    file = "socket_echo_server.lua",
    from = "^local function answer",
    to = "^end$",
  },
  play = function(scene)
    local path = scene.path "echo"
    local server <close> = scene.start("socket_echo_server", {path},
      {stdout = "pipe"})
    scene.expect("the server", server.stdout:read("l", 5),
      "listening on " .. path .. ", Ctrl-C stops")
    local one <close> = assert(ipc.socket.connect(path, nil, 5))
    local other <close> = assert(ipc.socket.connect(path, nil, 5))
    one:write "half a line, "
    other:write "hello\n"
    scene.expect("the second is answered", other:read("l", 5), "hello")
    one:write "and the rest\n"
    scene.expect("and the first", one:read("l", 5),
      "half a line, and the rest")
    server:kill "SIGINT"
    scene.expect("Ctrl-C", server.stdout:read("l", 5), "stopped")
    server:wait(5)
  end,
}
