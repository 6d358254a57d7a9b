-- Two processes play ping-pong with queued signals, each with a number.
--
--   lua5.4 examples/signal_pingpong.lua [rounds]
local ipc = require "unixipc"
local signal, process = ipc.signal, ipc.process

local rounds = math.tointeger(tonumber(arg[1])) or 5

-- Blocked, signals wait until they are asked for; a real-time signal arrives
-- as often as it was queued, in order.
local PING, PONG = "SIGRTMIN", "SIGRTMIN+1"
signal.block({ PING, PONG })

local player <close> = assert(process.fork(function()
  while true do
    local name, info = signal.wait(PING, 5)
    if not name or info.value == 0 then return end
    signal.queue(info.pid, PONG, info.value * 2)
  end
end))

for i = 1, rounds do
  assert(signal.queue(player.pid, PING, i))
  local _, info = assert(signal.wait(PONG, 5))
  print(("ping %d, pong %d from process %d"):format(i, info.value, info.pid))
end
signal.queue(player.pid, PING, 0)
print("the other player:", player:wait(5))
signal.unblock({ PING, PONG })
