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

-- ---- posix_sem -------------------------------------------------------------

makers["posix_sem wait"] = function()
  local sem = assert(ipc.posix_sem.open(nil, {temporary = true}))
  return {
    objects = {sem},
    call = function(timeout) return sem:wait(timeout) end,
    release = function() return sem:post() end,
  }
end

-- ---- lock ------------------------------------------------------------------

-- The call is made in the process that blocks; the one that made the case, or
-- a child of its, holds the lock.
local function locking(kind)
  return function()
    local path = names.file()
    local r, w = assert(ipc.pipe.open())
    local told, tell = assert(ipc.pipe.open())
    local holder = assert(ipc.process.fork(function()
      local _ <close> = assert(ipc.lock[kind](path))
      tell:write "."
      w:close()
      r:read(1)
    end))
    told:read(1)
    return {
      objects = {told, tell, r, w},
      call = function(timeout)
        local lock, message, code = ipc.lock[kind](path, nil, timeout)
        if not lock then return nil, message, code end
        return lock:close()
      end,
      release = function() return w:write "." end,
      -- Last of the objects: the holder ends when the pipe is closed.
      holder = holder,
    }
  end
end

for _, kind in ipairs {"flock", "fcntl", "ofd"} do
  makers["lock." .. kind] = locking(kind)
end

return makers
