-- Somebody at a terminal, played by two pipes.
local function open_terminal(scene, path, name)
  return scene.start("fifo_chat", {path, name},
    {stdin = "pipe", stdout = "pipe", stderr = "stdout"})
end

return {
  title = "A chat over two FIFOs",
  text = [[
Two processes of examples/fifo_chat.lua, which is for two terminals; here pipes
stand for keyboards and screens. Neither knows who will say something next, so
each waits for its keyboard and for the other at the same time:]],
  show = {
    file = "fifo_chat.lua",
    from = "^  while true do",
    to = "^  end$",
  },
  play = function(scene)
    local path = scene.path "chat"
    local alice <close> = open_terminal(scene, path, "alice")
    local function alice_sees(line)
      scene.expect("on alice's screen", alice.stdout:read("l", 5), line)
    end
    alice_sees("* waiting for somebody at " .. path)

    local bob <close> = open_terminal(scene, path, "bob")
    local function bob_sees(line)
      scene.expect("on bob's screen  ", bob.stdout:read("l", 5), line)
    end
    alice_sees "* bob is here"
    bob_sees "* alice is here"

    alice.stdin:write "hello bob\n"
    bob_sees "alice: hello bob"
    bob.stdin:write "half a line, " -- does not keep him from hearing
    alice.stdin:write "are you there?\n"
    bob_sees "alice: are you there?"
    bob.stdin:write "and the other half\nbye\n"
    alice_sees "bob: half a line, and the other half"
    alice_sees "bob: bye"

    scene.tell "bob types Ctrl-C"
    bob:kill "SIGINT"
    alice_sees "* bob has left"
    bob_sees "* you have left"
    local _, code = alice:wait(5)
    scene.expect("alice's exit code", code, 0)
    scene.expect("bob's exit code", select(2, bob:wait(5)), 130)
  end,
}
