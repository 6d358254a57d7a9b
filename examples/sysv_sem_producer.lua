-- Puts numbers into a buffer in shared memory, for any number of consumers
-- (examples/sysv_sem_consumer.lua). Three semaphores do the rest:
--
--   FREE     places that are free: the producer waits for one
--   FILLED   places that are filled: a consumer waits for one
--   MUTEX    1 when nobody is at the buffer
--
--   lua5.4 examples/sysv_sem_producer.lua [path] [count]    in one terminal
--   lua5.4 examples/sysv_sem_consumer.lua [path]            in others
--
-- They make the key of the same file, which the producer makes and locks. The
-- lock ends with it, also by kill -9: so who gets the lock is the only one, and
-- what it finds under the key is left over.
local ipc = require "unixipc"
local layout = ipc.layout

local PLACES = 4
local FREE, FILLED, MUTEX = 1, 2, 3

-- Consumers have the same. A C program could, too.
local Buffer = layout.struct {
  {"head", "int"}, {"tail", "int"}, {"places", "int", PLACES},
}

local path = arg[1] or "/tmp/unixipc.numbers"
local count = tonumber(arg[2] or 10)
io.stdout:setvbuf "line"

-- SIGTERM is an error, as Ctrl-C is: else nothing would be removed.
ipc.signal.handle("SIGTERM", function() error("terminated", 0) end)

local lock <close>, why = ipc.lock.flock(path, {create = true}, 0)
if not lock then error(path .. ": " .. why .. ". Is one running?", 0) end

-- The set goes first, which ends the consumers that wait.
local key = assert(ipc.sysv.ftok(path, "s"))
for _, module in ipairs {ipc.sysv_sem, ipc.sysv_shm} do
  local left_over = module.get(key)
  if left_over then assert(left_over:remove()) end
end

local options = {create = true, temporary = true}
local segment <close> =
  assert(ipc.sysv_shm.get(key, Buffer:size(), options))
local region <close> = assert(segment:attach())
local buffer = Buffer:at(region)

-- Made last: who finds it finds the memory too. And nobody finds it without
-- its values, even if this process were killed in the middle of this line.
options.initial = {PLACES, 0, 1}
local set <close> = assert(ipc.sysv_sem.get(key, 3, options))
print("producing, " .. tostring(set))

local function put(number)
  assert(set:acquire(FREE))
  do
    local _ <close> = assert(set:lock(MUTEX))
    buffer.places[buffer.head % PLACES + 1] = number
    buffer.head = buffer.head + 1
  end
  assert(set:release(FILLED))
end

for i = 1, count do
  put(i)
  print("put " .. i)
end
-- When all places are free again, all is taken. The set is removed then, which
-- is what tells the consumers that wait for more.
assert(set:acquire(FREE, PLACES))
print "all taken"
