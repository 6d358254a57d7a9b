-- Sends lines to the echo server and prints what comes back.
--
--   lua5.4 examples/socket_echo_client.lua path line...
local ipc = require "unixipc"

local path = arg[1]
if not path then
  io.stderr:write "usage: socket_echo_client.lua path line...\n"
  os.exit(2)
end

local client <close> = assert(ipc.socket.connect(path, nil, 5))
client:set_timeout(5)
for i = 2, #arg do
  assert(client:write(arg[i], "\n"))
  print(assert(client:read "l"))
end
