return {
  title = "A calculator that is asked in messages",
  text = [[
A seqpacket socket is a connection, as a stream is, and keeps messages apart, as
datagrams do: one is sent, one is received.]],
  show = {
    file = "socket_calculator.lua",
    from = "^local listener",
    to = "^end%)%)$",
  },
  play = function(scene)
    local calculator <close> = scene.start("socket_calculator",
      {"6 * 7", "1 / 0"}, {stdout = "pipe"})
    scene.expect("a question", calculator.stdout:read("l", 5), "6 * 7 = 42")
    scene.expect("another", calculator.stdout:read("l", 5),
      "1 / 0 = division by zero")
    scene.expect("it ends", (calculator:wait(5)), "exit")
  end,
}
