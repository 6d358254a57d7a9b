---
-- @module unixipc.socket

-- Sockets are in csrc/socket*.c; here is what stands on other modules.
local core = require "unixipc.core"

local socket = core.socket

-- What receive_fds makes of descriptors that are not its own.
socket.set_wrappers {
  shm = function(fd)
    local from = core.posix_shm.from
    return from and from(fd)
  end,
}

return socket
