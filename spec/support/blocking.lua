-- Every call of the library that can block, made to block for ever: the tests
-- of the blocking engine go through all of them.
--
--   local case = blocking.new "Stream:read"
--   case.enter()          -- in the process that is to block
--   case.call(timeout)    -- blocks
--   case.release()        -- from another process: lets the call return
--   case.close()          -- or local case <close>
--   case.slices           -- it wakes now and then, to look for the dead
--
-- Every call returns nil, "timeout", errno when time is up, but for the sleep:
-- is_endless says that nothing but time ends it.
local ipc = require "unixipc"
local names = require "support.names"

local pipe, fifo, process, poll = ipc.pipe, ipc.fifo, ipc.process, ipc.poll
local stream, errno = ipc.stream, ipc.errno

local blocking = {}
local makers = {}

-- Calls that wait for input: the other side writes what each can read.
local function reading(call)
  return function()
    local r, w = assert(pipe.open())
    return {
      objects = {r, w},
      call = function(timeout) return call(r, timeout) end,
      release = function() return w:write("\0\0\0\1x\n") end,
    }
  end
end

local function fill(w)
  repeat until not w:write_some(("x"):rep(4096), 0)
end

-- Calls that wait for room in a full pipe: the other side reads.
local function writing(call)
  return function()
    local r, w = assert(pipe.open())
    local objects = {r, w}
    fill(w)
    return {
      objects = objects,
      call = function(timeout) return call(w, timeout, objects) end,
      release = function() return r:read(65536) end,
    }
  end
end

-- Calls that wait for a child, which the other side tells to end. The child
-- belongs to the process that blocks, so it is started there.
local function waiting(start, call)
  return function()
    local r, w = assert(pipe.open())
    local case = {objects = {r, w}}
    function case.enter()
      case.child = start({"sh", "-c", "read x; echo done"}, r)
    end
    function case.call(timeout) return call(case.child, timeout) end
    function case.release() return w:write "\n" end
    return case
  end
end

local function opening(way, other)
  return function()
    local path = names.path ".fifo"
    assert(fifo.create(path))
    return {
      objects = {{close = function() fifo.unlink(path) end}},
      call = function(timeout) return fifo.open(path, way, nil, timeout) end,
      release = function() return fifo.open(path, other, nil, 5) end,
    }
  end
end

makers["Stream:read"] = reading(function(r, timeout)
  return r:read(5, timeout)
end)

makers["Stream:read_some"] = reading(function(r, timeout)
  return r:read_some(1, timeout)
end)

makers["Stream:lines"] = reading(function(r, timeout)
  local next_line = r:set_timeout(timeout):lines()
  local ok, line = pcall(next_line)
  if ok then return line end
  if line:find "timeout$" then return nil, "timeout", errno.ETIMEDOUT end
  error(line, 0)
end)

makers["Stream:receive"] = reading(function(r, timeout)
  return r:receive(timeout)
end)

makers["Stream:write"] = writing(function(w, timeout)
  return w:set_timeout(timeout):write "x"
end)

makers["Stream:write_some"] = writing(function(w, timeout)
  return w:write_some("x", timeout)
end)

makers["Stream:send"] = writing(function(w, timeout)
  return w:send("x", timeout)
end)

makers["Stream:flush"] = writing(function(w, timeout)
  w:setvbuf "full"
  w:write "x"
  w:set_timeout(0) -- of closing it, in the end
  return w:flush(timeout or math.huge)
end)

makers["Stream:close"] = writing(function(w, timeout, objects)
  local again = stream.from(w):set_timeout(timeout)
  table.insert(objects, again) -- the collector is not to close it
  again:setvbuf "full"
  again:write "x"
  return again:close()
end)

makers["fifo.open r"] = opening("r", "w")
makers["fifo.open w"] = opening("w", "r")

makers["Process:wait"] = waiting(function(argv, stdin)
  return assert(process.spawn(argv, {stdin = stdin, stdout = "null"}))
end, function(child, timeout)
  return child:wait(timeout)
end)

makers["Process:wait_change"] = waiting(function(argv, stdin)
  return assert(process.spawn(argv, {stdin = stdin, stdout = "null"}))
end, function(child, timeout)
  return child:wait_change(timeout)
end)

makers["Process:communicate"] = waiting(function(argv, stdin)
  return assert(process.spawn(argv, {stdin = stdin, stdout = "pipe"}))
end, function(child, timeout)
  return child:communicate(nil, timeout)
end)

makers["pipe.popen read"] = waiting(function(argv, stdin)
  local output, child = assert(pipe.popen(argv, "r", {stdin = stdin}))
  return {stdout = output, process = child}
end, function(child, timeout)
  return child.stdout:read("l", timeout)
end)

makers["poll.wait"] = reading(function(r, timeout)
  return poll.wait({r}, timeout)
end)

makers["Poller:wait"] = reading(function(r, timeout)
  local poller <close> = assert(poll.new())
  assert(poller:add(r))
  return poller:wait(timeout)
end)

makers["process.sleep"] = function()
  return {
    objects = {},
    is_endless = true,
    call = function(timeout) return process.sleep(timeout or math.huge) end,
  }
end

for _, part in ipairs {"posix", "socket", "channel"} do
  local others = require("support.blocking_" .. part)
  for name, maker in pairs(others) do makers[name] = maker end
end

-- Calls on System V objects: `call` blocks, `release` lets it go on.
local function on_sysv(make, call, release)
  return function()
    local object = assert(make())
    return {
      objects = {object},
      call = function(timeout) return call(object, timeout) end,
      release = function() return release(object) end,
    }
  end
end

local function new_queue()
  return ipc.sysv_msg.get(nil, {create = true, temporary = true})
end

local function new_full_queue()
  local queue = new_queue()
  repeat until not queue:send("x", 1, 0)
  return queue
end

local function new_set()
  return ipc.sysv_sem.get(nil, 2, {create = true, temporary = true,
    initial = {0, 1}})
end

makers["Queue:receive"] = on_sysv(new_queue, function(queue, timeout)
  return queue:receive(0, timeout)
end, function(queue)
  return queue:send "x"
end)

makers["Queue:send"] = on_sysv(new_full_queue, function(queue, timeout)
  return queue:send("x", 1, timeout)
end, function(queue)
  return queue:receive()
end)

local function release_first(set) return set:release(1) end

makers["SemaphoreSet:acquire"] = on_sysv(new_set, function(set, timeout)
  return set:acquire(1, 1, timeout)
end, release_first)

makers["SemaphoreSet:op"] = on_sysv(new_set, function(set, timeout)
  return set:op({{1, -1}, {2, -1}}, timeout)
end, release_first)

makers["SemaphoreSet:lock"] = on_sysv(new_set, function(set, timeout)
  return set:lock(1, timeout)
end, release_first)

makers["SemaphoreSet:wait_zero"] = on_sysv(new_set, function(set, timeout)
  return set:wait_zero(2, timeout)
end, function(set)
  return set:acquire(2)
end)

--- A new case of that name.
function blocking.new(name)
  local case = makers[name]()
  case.enter = case.enter or function() end
  --- Closes what was opened for it, reading ends first.
  function case.close()
    for _, object in ipairs(case.objects) do object:close() end
  end
  return setmetatable(case, {__close = case.close})
end

--- The names of all cases, sorted.
blocking.names = {}
for name in pairs(makers) do table.insert(blocking.names, name) end
table.sort(blocking.names)

return blocking
