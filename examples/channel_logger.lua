-- usage: lua5.4 examples/channel_logger.lua [name]
--
-- Prints what is sent to the channel of that name, /unixipc-log by default,
-- until it is told to quit or gets Ctrl-C. In a second terminal:
--
--   lua5.4 examples/channel_log.lua [name] "some words"
local ipc = require "unixipc"

local log = assert(ipc.channel.queue(arg[1] or "/unixipc-log",
  {create = true, temporary = true}))
print("listening to " .. tostring(log))
io.stdout:setvbuf "line"
pcall(function()
  for entry in log:receiver() do
    if entry.text == "quit" then break end
    print(("%d: %s"):format(entry.pid, entry.text))
  end
end)
log:close()
print "stopped"
