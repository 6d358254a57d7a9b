-- Sends jobs to the workers of examples/posix_mq_workers.lua: numbers, all of
-- them with the same priority; "quit" sends the workers home, when everything
-- more urgent is done.
--
--   lua5.4 examples/posix_mq_submit.lua [name] [priority] numbers...
local ipc = require "unixipc"

local name, priority = arg[1] or "/unixipc-jobs", tonumber(arg[2] or 1)
local jobs, message = ipc.posix_mq.open(name, {write = true})
if not jobs then
  io.stderr:write(message, "\nAre the workers there?\n")
  os.exit(1)
end

for i = 3, #arg do
  -- Waits while the queue is full; but not for ever.
  local ok, why = jobs:send(arg[i], arg[i] == "quit" and 0 or priority, 10)
  if not ok then
    io.stderr:write("not sent: ", arg[i], ": ", why, "\n")
    os.exit(1)
  end
end
local a = jobs:attributes()
print(("%d sent; in the queue %d of %d"):format(math.max(#arg - 2, 0),
  a.messages, a.max_messages))
jobs:close()
