-- The cases of support.blocking that are POSIX's and the locks': makers by
-- name, each returns objects, call, release.
local ipc = require "unixipc"
local names = require "support.names"

local makers = {}

-- ---- posix_mq --------------------------------------------------------------

local function new_queue()
  return assert(ipc.posix_mq.open(names.posix(),
    {create = true, temporary = true, max_messages = 1, message_size = 16}))
end

makers["posix_mq receive"] = function()
  local queue = new_queue()
  return {
    objects = {queue},
    call = function(timeout) return queue:receive(timeout) end,
    release = function() return queue:send "x" end,
  }
end

makers["posix_mq send"] = function()
  local queue = new_queue()
  queue:send "x"
  return {
    objects = {queue},
    call = function(timeout) return queue:send("y", 0, timeout) end,
    release = function() return queue:receive() end,
  }
end

return makers
