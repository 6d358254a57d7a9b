-- Takes numbers out of the buffer of examples/sysv_sem_producer.lua.
--
--   lua5.4 examples/sysv_sem_consumer.lua [path]
local ipc = require "unixipc"
local errno, layout = ipc.errno, ipc.layout

local PLACES = 4
local FREE, FILLED, MUTEX = 1, 2, 3

local Buffer = layout.struct {
  {"head", "int"}, {"tail", "int"}, {"places", "int", PLACES},
}

io.stdout:setvbuf "line"
local key, message = ipc.sysv.ftok(arg[1] or "/tmp/unixipc.numbers", "s")
local set
if key then set, message = ipc.sysv_sem.get(key, 3) end
if not set then
  io.stderr:write(message, "\nIs the producer running?\n")
  os.exit(1)
end
local region <close> = assert(assert(ipc.sysv_shm.get(key)):attach())
local buffer = Buffer:at(region)
print("consuming, " .. tostring(set))

-- Nil when the producer has removed the set: there is nothing more to come.
-- If this process is killed while it holds the lock, the lock is given back.
local function take()
  local ok, why, code = set:acquire(FILLED)
  if code == errno.EIDRM or code == errno.EINVAL then return nil end
  assert(ok, why)
  local _ <close> = assert(set:lock(MUTEX))
  local number = buffer.places[buffer.tail % PLACES + 1]
  buffer.tail = buffer.tail + 1
  set:release(FREE)
  return number
end

local sum = 0
for number in take do
  print("took " .. number)
  sum = sum + number
end
print("sum " .. sum)
