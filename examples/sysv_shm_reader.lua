-- Prints the weather that examples/sysv_shm_writer.lua keeps.
--
--   lua5.4 examples/sysv_shm_reader.lua [path]
local ipc = require "unixipc"
local layout = ipc.layout

local Weather = layout.struct {
  {"version", "uint32"},
  {"temperature", "double"},
  {"place", "char[32]"},
  {"remark", "char[64]"},
}

local key, message = ipc.sysv.ftok(arg[1] or "/tmp/unixipc.weather", "w")
local segment
if key then segment, message = ipc.sysv_shm.get(key) end
if not segment then
  io.stderr:write(message, "\nIs the writer running?\n")
  os.exit(1)
end
-- Read only: a mistake here cannot spoil the writer's memory.
local region <close> = assert(segment:attach {readonly = true})
local weather = Weather:at(region)

-- A copy of all of it at once, that was not written meanwhile.
local function read()
  while true do
    local copy = layout.get(weather)
    if copy.version % 2 == 0 and copy.version == weather.version then
      return copy
    end
    ipc.process.sleep(0.001)
  end
end

local now = read()
if now.version == 0 then
  print "nothing written yet"
else
  print(("%s: %g degrees, %s"):format(now.place, now.temperature, now.remark))
end
