-- A calculator behind a seqpacket socket: a message is a question, a message
-- is its answer, and nobody has to look for where one ends.
--
--   lua5.4 examples/socket_calculator.lua [question...]
local ipc = require "unixipc"
local process, socket = ipc.process, ipc.socket

local questions = #arg > 0 and arg or {"6 * 7", "2 ^ 10", "1 / 0", "6 times 7"}

local OPERATIONS = {
  ["+"] = function(a, b) return a + b end,
  ["-"] = function(a, b) return a - b end,
  ["*"] = function(a, b) return a * b end,
  ["/"] = function(a, b) return b ~= 0 and a / b or "division by zero" end,
  ["^"] = function(a, b) return a ^ b end,
}

local function calculate(question)
  local a, sign, b = question:match "^%s*(%S+)%s*([-+*/^])%s*(%S+)%s*$"
  a, b = tonumber(a), tonumber(b)
  if not (a and b) then return "not a question: " .. question end
  return tostring(OPERATIONS[sign](a, b))
end

-- An abstract name has no file: it is gone with its socket. "" lets the system
-- choose one.
local listener <close> = assert(socket.listen("", {type = "seqpacket"}))
local server <close> = assert(process.fork(function()
  local client <close> = assert(listener:accept(5))
  for question in function() return client:receive(5) end do
    client:send(calculate(question))
  end
end))

local client = assert(socket.connect(listener:local_address(),
  {type = "seqpacket"}))
for _, question in ipairs(questions) do
  client:send(question)
  print(question .. " = " .. client:receive(5))
end
client:close()
assert(server:wait(5) == "exit")
