-- Keeps the weather in shared memory, for any number of readers
-- (examples/sysv_shm_reader.lua): each line of the input is a place, a
-- temperature and a remark.
--
--   lua5.4 examples/sysv_shm_writer.lua [path]     in one terminal
--   lua5.4 examples/sysv_shm_reader.lua [path]     in another, at any time
--
-- Readers may come while it writes. So it counts: `version` is odd as long as
-- it is writing, and a reader that sees it odd, or changed, reads again.
--
-- Both make the key of the same file, which the writer makes and locks. The
-- lock ends with it, also by kill -9: so who gets the lock is the only writer,
-- and what it finds under the key is left over.
local ipc = require "unixipc"
local layout = ipc.layout

local Weather = layout.struct {
  {"version", "uint32"},
  {"temperature", "double"},
  {"place", "char[32]"},
  {"remark", "char[64]"},
}

io.stdout:setvbuf "line"
-- SIGTERM is an error, as Ctrl-C is: else the segment would not be removed. In
-- io.lines neither could get through, so the input is a Stream.
ipc.signal.handle("SIGTERM", function() error("terminated", 0) end)
local input = assert(ipc.stream.from(io.stdin))

local path = arg[1] or "/tmp/unixipc.weather"
local lock <close>, why = ipc.lock.flock(path, {create = true}, 0)
if not lock then error(path .. ": " .. why .. ". Is one running?", 0) end

local key = assert(ipc.sysv.ftok(path, "w"))
local left_over = ipc.sysv_shm.get(key)
if left_over then assert(left_over:remove()) end
local segment <close> = assert(ipc.sysv_shm.get(key, Weather:size(),
  {create = true, temporary = true, mode = "rw-r--r--"}))
local region <close> = assert(segment:attach())
local weather = Weather:at(region)

local function write(place, temperature, remark)
  weather.version = weather.version + 1
  weather.place, weather.temperature = place, temperature
  weather.remark = remark:sub(1, 64)
  weather.version = weather.version + 1
  print(("%s %g %s"):format(place, temperature, remark))
end

print("writing, " .. tostring(segment))
for line in input:lines() do
  local place, temperature, remark = line:match "^(%S+)%s+(%S+)%s*(.*)$"
  temperature = tonumber(temperature)
  if not temperature or #place > 32 then
    print "place temperature remark, please"
  else
    write(place, temperature, remark)
  end
end
