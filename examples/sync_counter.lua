-- Eight processes count together in shared memory: by an atomic word; under a
-- mutex; and with nothing to keep them apart, which loses counts.
--
--   lua5.4 examples/sync_counter.lua [processes] [turns]
local ipc = require "unixipc"

local processes, turns = tonumber(arg[1] or 8), tonumber(arg[2] or 50000)

-- The children inherit the memory.
local region <close> = assert(ipc.mmap.map {size = 4096})
local ATOMIC, GUARDED, CARELESS, MUTEX = 0, 64, 128, 192
local cell = ipc.atomic.int64(region, ATOMIC)
local mutex = assert(ipc.sync.mutex(region, MUTEX, {create = true}))

local function increase(offset)
  region:pack("j", offset, region:unpack("j", offset) + 1)
end

local function by_atomics()
  local add = cell:bind "fetch_add" -- bound: the fast way to call it
  for _ = 1, turns do add(1) end
end

local function by_mutex()
  local lock, unlock = mutex:bind()
  for _ = 1, turns do
    lock()
    increase(GUARDED)
    unlock()
  end
end

local function carelessly()
  for _ = 1, turns do increase(CARELESS) end
end

local function together(what, fn, offset)
  local start, workers = os.time(), {}
  for i = 1, processes do workers[i] = assert(ipc.process.fork(fn)) end
  for _, worker in ipairs(workers) do worker:wait() end
  print(("%-12s %9d of %d, %d s"):format(what, region:unpack("j", offset),
    processes * turns, os.time() - start))
end

together("atomics", by_atomics, ATOMIC)
together("a mutex", by_mutex, GUARDED)
together("nothing", carelessly, CARELESS)

-- A process that is killed while it has the mutex does not take it along.
local child = assert(ipc.process.fork(function()
  mutex:lock()
  cell:store(-1)
  ipc.process.sleep(60)
end))
while cell:load() ~= -1 do ipc.process.sleep(0.001) end
child:kill "KILL"
do -- an error in this block would unlock it, too
  local _ <close>, recovered = assert(mutex:guard(5))
  print("after kill -9 of its owner: " .. recovered)
  mutex:consistent() -- what it guards has been looked at, and is good
end
