local ipc = require "unixipc"

return {
  title = "A chat room of many clients in one process",
  text = [[
examples/socket_chat.lua: what one says, all others hear. A client that does not
listen any more has to leave, so that nobody waits for it.]],
  show = {
    file = "socket_chat.lua",
    from = "^local function say",
    to = "^end$",
  },
  play = function(scene)
    local path = scene.path "chat"
    local room <close> = scene.start("socket_chat", {path}, {stdout = "pipe"})
    assert(room.stdout:read("l", 5))
    local function enter(name)
      local client = assert(ipc.socket.connect(path, nil, 5))
      client:write(name, "\n")
      return client
    end
    local alice <close> = enter "alice"
    alice:write "is anybody there?\n" -- nobody hears it
    local bob <close> = enter "bob"
    scene.expect("alice hears", alice:read("l", 5), "* bob is here")
    bob:write "hello alice\n"
    scene.expect("alice hears", alice:read("l", 5), "bob: hello alice")
    local crowd = {}
    for i = 1, 50 do
      crowd[i] = enter("guest " .. i)
      scene.check(bob:read("l", 5) == ("* guest %d is here"):format(i),
        "a guest was not announced")
    end
    alice:write "so many!\n"
    scene.expect("the last guest hears", crowd[50]:read("l", 5),
      "alice: so many!")
    for _, guest in ipairs(crowd) do guest:close() end
    room:kill "SIGINT"
    scene.expect("Ctrl-C", room.stdout:read("l", 5), "closed")
    room:wait(5)
  end,
}
