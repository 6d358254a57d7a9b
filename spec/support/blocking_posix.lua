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

-- ---- atomic ----------------------------------------------------------------

makers["atomic Cell:wait"] = function()
  local cell = assert(ipc.atomic.int32())
  return {
    objects = {},
    call = function(timeout)
      cell:store(0)
      return cell:wait(0, timeout)
    end,
    release = function()
      cell:store(1)
      return cell:wake()
    end,
  }
end

-- ---- sync ------------------------------------------------------------------

makers["sync Semaphore:wait"] = function()
  local sem = assert(ipc.sync.semaphore())
  return {
    objects = {sem},
    call = function(timeout) return sem:wait(timeout) end,
    release = function() return sem:post() end,
  }
end

makers["sync Condition:wait"] = function()
  local mutex, condition = ipc.sync.mutex(), ipc.sync.condition()
  return {
    objects = {mutex, condition},
    call = function(timeout)
      if not mutex:lock() then mutex:unlock() end
      local ok, message, code = condition:wait(mutex, timeout)
      mutex:unlock()
      return ok, message, code
    end,
    release = function()
      local child <close> = assert(ipc.process.fork(function()
        assert(mutex:lock(5))
        condition:notify()
        mutex:unlock()
      end))
      return child:wait()
    end,
  }
end

makers["sync Barrier:wait"] = function()
  local barrier = assert(ipc.sync.barrier(nil, nil, {parties = 2}))
  return {
    objects = {barrier},
    call = function(timeout)
      local last, message, code = barrier:wait(timeout)
      if message then return last, message, code end
      return true
    end,
    release = function() return barrier:wait(5) ~= nil end,
  }
end

-- A child of the process that makes the case holds it, until told.
local function holding(take, give, call)
  return function(object)
    local r, w = assert(ipc.pipe.open())
    local told, tell = assert(ipc.pipe.open())
    local holder = assert(ipc.process.fork(function()
      take(object)
      tell:write "."
      w:close()
      r:read(1)
      give(object)
    end))
    told:read(1)
    return {
      objects = {told, tell, r, w},
      call = function(timeout)
        local ok, message, code = call(object, timeout)
        if ok then give(object) end
        return ok, message, code
      end,
      release = function() return w:write "." end,
      holder = holder,
    }
  end
end

local function of(class, method, holders)
  local function take(object) assert(object[holders or method](object)) end
  local function give(object) object:unlock() end
  local function call(object, timeout)
    return object[method](object, timeout)
  end
  return function() return holding(take, give, call)(ipc.sync[class]()) end
end

makers["sync Mutex:lock"] = of("mutex", "lock")
makers["sync RWLock:write_lock"] = of("rwlock", "write_lock")
makers["sync RWLock:read_lock"] = of("rwlock", "read_lock", "write_lock")
-- The writer waits for a reader, behind the gate.
makers["sync RWLock:write_lock, read"] =
  of("rwlock", "write_lock", "read_lock")

makers["sync Mutex:guard"] = of("mutex", "guard", "lock")
makers["sync RWLock:read_guard"] =
  of("rwlock", "read_guard", "write_lock")
makers["sync RWLock:write_guard"] =
  of("rwlock", "write_guard", "read_lock")

makers["sync Once:call"] = function()
  local once = assert(ipc.sync.once())
  local r, w = assert(ipc.pipe.open())
  local told, tell = assert(ipc.pipe.open())
  local holder = assert(ipc.process.fork(function()
    pcall(once.call, once, function()
      tell:write "."
      w:close()
      r:read(1)
      error "not done: another one is to do it"
    end)
  end))
  told:read(1)
  return {
    objects = {told, tell, r, w},
    call = function(timeout)
      local now, message, code = once:call(function() end, timeout)
      if message then return nil, message, code end
      return now ~= nil
    end,
    release = function() return w:write "." end,
    holder = holder,
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
if require "support.under_valgrind" then makers["lock.ofd"] = nil end

return makers
