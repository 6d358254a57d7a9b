-- What spec/stress/misuse.lua runs, where it can do no harm: every function and
-- method, called with whatever there is, in one child after the other.
-- Arguments: the first seed, how many children, seconds for each.
local ipc = require "unixipc"

local process, signal = ipc.process, ipc.signal

local FIRST, ROUNDS = tonumber(arg[1]), tonumber(arg[2])
local PATIENCE = tonumber(arg[3]) -- seconds a round
local CALLS = 400
local MOMENT <const> = 0.01 -- seconds a call, when it blocks

local MODULES = {
  "atomic", "channel", "codec", "errno", "fifo", "layout", "lock", "mmap",
  "pipe", "poll", "posix_mq", "posix_sem", "posix_shm", "process", "region",
  "signal", "socket", "stream", "sync", "sysv", "sysv_msg", "sysv_sem",
  "sysv_shm",
}

-- They do what they are told, to this process or to others; and what is mapped
-- may not be cut off.
local SKIPPED = {
  truncate = true,
  ["process.exec"] = true, ["process.exit"] = true, ["process.fork"] = true,
  ["process.kill"] = true, ["process.open"] = true,
  ["process.set_session"] = true,
  ["process.spawn"] = true, ["pipe.popen"] = true, ["signal.queue"] = true,
  ["signal.raise"] = true, ["signal.send"] = true,
  ["signal.send_group"] = true, ["socket.server"] = true,
  ["sysv.remove"] = true,
}

-- ---- objects ---------------------------------------------------------------

local names = 0

local function new_name()
  names = names + 1
  return "/misuse" .. names
end

-- Each returns some. The sizes are small: what is made is made a lot.
local MAKERS = {
  function() return ipc.pipe.open() end,
  function() return ipc.poll.new() end,
  function() return ipc.channel.queue(nil, {capacity = 4096}) end,
  function()
    local queue = ipc.channel.queue(nil, {capacity = 4096, single = true})
    return queue, queue:reserve(10)
  end,
  function()
    return ipc.channel.broadcast(nil, {capacity = 4096, policy = "drop",
      subscribe = "new"})
  end,
  function() return ipc.channel.duplex(nil, {capacity = 4096}) end,
  function()
    return ipc.channel.service(nil, {capacity = 4096, slots = 2,
      reply_capacity = 4096})
  end,
  function() return ipc.socket.pair() end,
  function() return ipc.socket.pair "seqpacket" end,
  function() return ipc.socket.datagram "" end,
  function() return ipc.socket.listen("@misuse" .. new_name()) end,
  function() return ipc.signal.fd {"SIGUSR1"} end,
  function() return ipc.signal.timerfd {after = 0.01} end,
  function() return ipc.signal.timer {after = 1, signal = "SIGUSR1"} end,
  function() return ipc.lock.flock("lock") end,
  function()
    return ipc.sysv_msg.get(nil, {create = true, temporary = true})
  end,
  function()
    return ipc.sysv_sem.get(nil, 3,
      {create = true, temporary = true, initial = {1, 2, 3}})
  end,
  function()
    local segment = ipc.sysv_shm.get(nil, 4096,
      {create = true, temporary = true})
    return segment, segment:attach(), segment:attach {readonly = true}
  end,
  function()
    return ipc.posix_mq.open(new_name(), {create = true,
      temporary = true, max_messages = 3, message_size = 64})
  end,
  function()
    return ipc.posix_sem.open(new_name(),
      {create = true, temporary = true, initial = 1})
  end,
  function()
    local memfd = ipc.posix_shm.memfd(nil, {size = 8192})
    return memfd, memfd:map()
  end,
  function()
    local r = ipc.mmap.map {size = 8192}
    return r, ipc.atomic.int32(r, 512), ipc.atomic.int64(r, 520)
  end,
  function() -- each in memory of its own: who overwrites a mutex may crash
    local sync = ipc.sync
    local guarded = sync.mutex()
    return sync.mutex(), sync.semaphore(), sync.condition(), sync.once(),
      sync.rwlock(), sync.barrier(nil, 0, {create = true, parties = 2}),
      guarded, guarded and guarded:guard()
  end,
  function()
    local layout = ipc.layout
    local struct = layout.struct {{"a", "int"}, {"b", "char[16]"},
      {"c", "double"}}
    local array = layout.array("int32", 10)
    return struct, array, layout.new(struct), layout.new(array)
  end,
}

local function make_objects()
  local list = {}
  for _, make in ipairs(MAKERS) do
    for _, object in ipairs {make()} do list[#list + 1] = object end
  end
  return list
end

-- ---- values ----------------------------------------------------------------

local function pick(list) return list[math.random(#list)] end

local INTEGERS = {
  math.mininteger, math.maxinteger, -1, 0, 1, 4096, 65536, 2147483647,
  2147483648, -2147483648, 4294967296,
}
local FLOATS = {0 / 0, 1 / 0, -1 / 0, -0.0, 0.5, 1e300, 1e-300, 2.0 ^ 53}
local STRINGS = {
  "", "x", "r", "w", "rw", "int", "a\0b", ("x"):rep(5000), "/misuse",
  "SIGUSR1", "<i4i8", "s4", "z", "l", "a", "exclusive", "%s%n",
}
local OPTIONS = {
  "create", "exclusive", "temporary", "mode", "size", "timeout", "initial",
  "readonly", "read", "write", "max_messages", "message_size", "offset",
  "address", "after", "every", "signal", "value", "truncate", "copy",
  "except", "uid", "gid", "max_bytes", "private", "length", "parties",
  "capacity", "slots", "single", "policy", "overflow", "subscribe",
}

local value -- of any kind; tables are not deep

local function list_of(pool, depth, key)
  local list = {}
  for i = 1, math.random(0, 4) do list[key(i)] = value(pool, depth + 1) end
  return list
end

local KINDS = {
  function(pool) return pick(pool) end,
  function(pool) return pick(pool) end,
  function(pool) return pick(pool) end,
  function() return math.random(-3, 70) end,
  function() return math.random(0, 9) end,
  function() return math.random(0, 9) end,
  function() return pick(INTEGERS) end,
  function() return pick(FLOATS) end,
  function() return pick(STRINGS) end,
  function() return math.random(2) == 1 end,
  function() return nil end,
  function() return function() return 1 end end,
  function() return coroutine.create(print) end,
  function(pool, depth)
    return list_of(pool, depth, function(i) return i end)
  end,
  function(pool, depth)
    return list_of(pool, depth, function() return pick(OPTIONS) end)
  end,
}

function value(pool, depth)
  return pick(KINDS)(pool, depth)
end

-- ---- calls -----------------------------------------------------------------

local function all_functions()
  local list = {}
  for _, module in ipairs(MODULES) do
    for name, fn in pairs(ipc[module]) do
      name = module .. "." .. name
      if type(fn) == "function" and not SKIPPED[name] then
        list[#list + 1] = {name = name, fn = fn}
      end
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function methods_of(object)
  local metatable = debug.getmetatable(object) or {}
  local list = {}
  for _, source in ipairs {metatable, metatable.__index} do
    for name, fn in pairs(type(source) == "table" and source or {}) do
      if type(fn) == "function" and name ~= "__gc" and not SKIPPED[name] then
        list[#list + 1] = {name = ("%s:%s"):format(object, name), fn = fn}
      end
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

-- A function, or a method with its object as the first argument.
local function choose(functions, pool)
  if math.random(2) == 1 then return pick(functions), {n = 0} end
  local object = pick(pool)
  local methods = methods_of(object)
  if #methods == 0 then return pick(functions), {n = 0} end
  return pick(methods), {object, n = 1}
end

local function described(call, arguments)
  local words = {}
  for i = 1, arguments.n do
    words[i] = tostring(arguments[i]):sub(1, 40):gsub("%c", "?")
  end
  return ("%s(%s)\n"):format(call.name, table.concat(words, ", "))
end

-- An alarm that comes a little late breaks nothing else.
local is_calling = false

local function on_alarm()
  local is_late = not is_calling
  is_calling = false
  if not is_late then error("long enough", 0) end
end

-- A timer may be told to send them. One that the processor raises ends the
-- process although it is ignored.
local FAULTS = {"SIGFPE", "SIGILL", "SIGSEGV", "SIGBUS", "SIGTRAP"}

-- Whatever the calls before did to it.
local function set_signals()
  for _, name in ipairs(FAULTS) do signal.handle(name, "ignore") end
  signal.handle("SIGALRM", on_alarm)
  signal.unblock "SIGALRM"
  signal.interval("real", {after = MOMENT, every = MOMENT})
end

local function do_call(functions, pool, log)
  local call, arguments = choose(functions, pool)
  for i = arguments.n + 1, arguments.n + math.random(0, 5) do
    arguments[i], arguments.n = value(pool, 1), i
  end
  log:write(described(call, arguments))
  set_signals()
  local _, results = pcall(function()
    is_calling = true
    local list = table.pack(pcall(call.fn,
      table.unpack(arguments, 1, arguments.n)))
    is_calling = false
    return list
  end)
  signal.alarm(0)
  if type(results) ~= "table" or not results[1] then return end
  for i = 2, #pool < 80 and results.n or 0 do
    if type(results[i]) == "userdata" and not io.type(results[i]) then
      pool[#pool + 1] = results[i]
    end
  end
end

-- In a child.
local function misuse(seed, path)
  math.randomseed(seed)
  signal.handle("SIGXFSZ", "ignore")
  for _, name in ipairs {"HUP", "INT", "TERM", "USR1", "USR2", "PIPE"} do
    signal.handle(name, "ignore")
  end
  local log <close> = assert(io.open(path, "w"))
  log:setvbuf "line"
  local functions, pool = all_functions(), make_objects()
  for _ = 1, CALLS do do_call(functions, pool, log) end
end

-- Handlers and timers are among what is called: such a child ends itself.
local OWN_ENDS = {SIGALRM = true, SIGVTALRM = true, SIGPROF = true,
  SIGUSR1 = true}

for seed = FIRST, FIRST + ROUNDS - 1 do
  local child <close> = assert(process.fork(misuse, seed, "calls"))
  local how, code = child:wait(PATIENCE)
  if how ~= "exit" and not OWN_ENDS[code] then
    child:kill "KILL"
    local calls <close> = assert(io.open "calls")
    error(("SEED=%d: %s %s after\n%s"):format(seed, how, code,
      calls:read("a"):sub(-2000)))
  elseif how == "exit" and code ~= 0 then
    error(("SEED=%d: exit %d"):format(seed, code))
  end
end
print(ROUNDS)
