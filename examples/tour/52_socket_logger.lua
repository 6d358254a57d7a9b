local ipc = require "unixipc"

return {
  title = "A logger that is sent datagrams",
  text = [[
Who sends a datagram waits for nobody, and each is one message. The kernel
itself says who sent it:]],
  show = {
    file = "socket_logger.lua",
    from = "logger <close>",
    to = "^  end$",
  },
  play = function(scene)
    local path = scene.path "log"
    local logger <close> = scene.start("socket_logger", {path},
      {stdout = "pipe"})
    scene.expect("the logger", logger.stdout:read("l", 5),
      "logging from " .. path .. ", Ctrl-C stops")
    local sender <close> = assert(ipc.socket.datagram())
    assert(sender:send_to("the disk is nearly full", path))
    local line = logger.stdout:read("l", 5)
    scene.expect("its line", line, ("pid %d, uid %d: the disk is nearly full")
      :format(ipc.process.pid(), ipc.process.ids().uid))
    logger:kill "SIGINT"
    scene.expect("Ctrl-C", logger.stdout:read("l", 5), "stopped")
    logger:wait(5)
  end,
}
