-- A file that only one process can open, handed over to another that reads it:
-- what goes over the socket is the open file, not its path.
--
--   lua5.4 examples/socket_handover.lua [file]
local ipc = require "unixipc"
local process, socket = ipc.process, ipc.socket

local path = arg[1] or arg[0]

local ours, theirs = assert(socket.pair())
local reader <close> = assert(process.fork(function()
  ours:close()
  local name, files = theirs:receive_fds(nil, 5)
  local file <close> = files[1]
  local count = 0
  for _ in file:lines() do count = count + 1 end
  theirs:write(("%s has %d lines"):format(name, count))
end))
theirs:close()

local file <close> = assert(io.open(path))
assert(ours:send_fds(path:match "[^/]*$", {file}))
print(ours:read "a")
ours:close()
assert(reader:wait(5) == "exit")
