local ipc = require "unixipc"
local errno, fifo = ipc.errno, ipc.fifo

local WORDS = {
  {"hello"},
  {"two words", "and one more"},
  {"the last"},
}

return {
  title = "A server and its clients on FIFOs",
  text = [[
A FIFO is a pipe with a name: processes that know nothing of each other meet
there. examples/fifo_echo_server.lua runs as a process of its own, and so does
each client. A client makes a FIFO for its answers and says its path in the
request. Then the server gets what Ctrl-C sends, and removes its FIFO.

From the server:]],
  show = {
    file = "fifo_echo_server.lua",
    from = "^  local requests <close>",
    to = "local ok, message = answer",
  },
  play = function(scene)
    local path = scene.path "echo"
    local server <close> =
      scene.start("fifo_echo_server", {path}, {stdout = "pipe"})
    scene.tell("the server says: %s", assert(server.stdout:read("l", 5)))
    for i, words in ipairs(WORDS) do
      local arguments = table.move(words, 1, #words, 2, {path})
      local client <close> =
        scene.start("fifo_echo_client", arguments, {stdout = "pipe"})
      local answer = client:communicate(nil, 5)
      scene.expect("client " .. i .. " got", answer,
        table.concat(words, "\n") .. "\n")
    end

    assert(server:kill "SIGINT")
    local log, _, how, code = server:communicate(nil, 5)
    scene.expect("the server's status", how .. " " .. code, "exit 0")
    scene.check(log:find "stopped\n$", "the server did not say that it stops")
    local _, _, number = fifo.open(path, "w", nil, 0)
    scene.expect("its FIFO", errno.name(number), "ENOENT")
  end,
}
