-- Ctrl-C prints a message and the work goes on; the third ends it cleanly.
--
--   lua5.4 examples/signal_interrupt.lua
local ipc = require "unixipc"
local signal, process = ipc.signal, ipc.process

local count = 0

-- The handler runs wherever the program is: inside the sleep below, which then
-- sleeps on for the rest of its time, or between two instructions of Lua.
assert(signal.handle("SIGINT", function(name)
  count = count + 1
  print(("%s, number %d of 3"):format(name, count))
  if count == 3 then error("stopped", 0) end -- leaves the call it came into
end))

local function work()
  local _ <close> = setmetatable({}, {
    __close = function() print("what was to be closed is closed") end,
  })
  for step = 1, 600 do
    print("step " .. step)
    process.sleep(1)
  end
end

io.stdout:setvbuf("line")
print("process " .. process.pid() .. ": press Ctrl-C three times")
local ok, why = pcall(work)
print(ok and "done" or why)
