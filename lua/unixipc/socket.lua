---
-- @module unixipc.socket

-- Sockets are in csrc/socket*.c; here is what stands on other modules.
local core = require "unixipc.core"

local socket = core.socket

-- What receive_fds makes of descriptors that are not its own.
socket.set_wrappers {
  shm = function(fd) return core.posix_shm.from(fd) end,
}

-- Brings processes and signals along: loaded when it is first wanted.
--- Documented in socket_server.lua.
function socket.server(options)
  socket.server = require "unixipc.socket_server"
  return socket.server(options)
end

return socket
