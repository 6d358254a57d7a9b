-- Sends each word to examples/sysv_msg_receiver.lua, and prints the answers.
-- A word that begins with ! goes before all others; quit ends the receiver.
--
--   lua5.4 examples/sysv_msg_sender.lua [path] word...
local ipc = require "unixipc"

local URGENT, ORDINARY = 1, 2
local TIMEOUT = 5 -- seconds

local path, words = arg[1] or "/tmp/unixipc.messages", {table.unpack(arg, 2)}
if #words == 0 then words = {"hello"} end

local key, message = ipc.sysv.ftok(path, "q")
local queue
if key then queue, message = ipc.sysv_msg.get(key) end
if not queue then
  io.stderr:write(message, "\nIs the receiver running?\n")
  os.exit(1)
end

local pid = ipc.process.pid()
for _, word in ipairs(words) do
  local type = word:find "^!" and URGENT or ORDINARY
  assert(queue:send(pid .. " " .. word, type, TIMEOUT))
end
for _ = 1, #words do
  print((assert(queue:receive(pid, TIMEOUT))))
end
if table.concat(words, " "):find "quit" then queue:send("", ORDINARY) end
