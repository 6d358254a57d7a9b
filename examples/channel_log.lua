-- usage: lua5.4 examples/channel_log.lua [name] words...
--
-- Sends a line for each word to examples/channel_logger.lua.
local ipc = require "unixipc"

local words = table.move(arg, 1, #arg, 1, {})
local name = words[1] and words[1]:find "^/" and table.remove(words, 1)
local log = assert(ipc.channel.queue(name or "/unixipc-log"))
for _, word in ipairs(words) do
  assert(log:send({pid = ipc.process.pid(), text = word}, 5))
end
