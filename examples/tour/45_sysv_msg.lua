local ipc = require "unixipc"
local sysv, sysv_msg = ipc.sysv, ipc.sysv_msg

return {
  title = "A System V message queue",
  text = [[
Messages with a type, kept by the kernel. The sender of
examples/sysv_msg_sender.lua marks one as urgent, by its type, and the receiver
takes that one first. Answers go back over the same queue, with the sender's
pid as their type.

From the receiver:]],
  show = {
    file = "sysv_msg_receiver.lua",
    from = "^  local queue <close>",
    to = "^  until text",
  },
  play = function(scene)
    local path = scene.directory
    local receiver <close> =
      scene.start("sysv_msg_receiver", {path}, {stdout = "pipe"})
    scene.tell("the receiver says: %s",
      assert(receiver.stdout:read("l", 5)))
    local sender <close> = scene.start("sysv_msg_sender",
      {path, "abc", "!now", "quit"}, {stdout = "pipe"})
    local answers = sender:communicate(nil, 5)
    scene.check(#answers == #"cba\nwon!\ntiuq\n", "answers are missing")
    scene.tell("the sender got: %s", answers:gsub("\n", " "))
    local _, _, how, code = receiver:communicate(nil, 5)
    scene.expect("the receiver's status", how .. " " .. code, "exit 0")
    local _, _, number = sysv_msg.get(assert(sysv.ftok(path, "q")))
    scene.expect("its queue", ipc.errno.name(number), "ENOENT")
  end,
}
