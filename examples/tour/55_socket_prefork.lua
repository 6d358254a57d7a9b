return {
  title = "A server of several processes, under load",
  text = [[
socket.server shares one listener among workers, starts those again that die,
and on SIGTERM lets clients end that are served. Of 200 clients one kills its
worker:]],
  show = {
    file = "socket_prefork.lua",
    from = "^local server",
    to = "^local parent",
  },
  play = function(scene)
    local program <close> = scene.start("socket_prefork", {"200"},
      {stdout = "pipe"})
    scene.expect("in the end", program.stdout:read("l", 10),
      "200 clients: 199 answered, by several workers: true; "
      .. "without an answer, as its worker died: 1")
    scene.expect("it ends", (program:wait(5)), "exit")
  end,
}
