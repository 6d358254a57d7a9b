-- Signals as a user of unixipc would write them; compare bench/c/signal.c.
local bench = require "bench"
local ipc = require "unixipc"
local signal, process = ipc.signal, ipc.process

local PING, PONG = signal.number "SIGRTMIN", signal.number "SIGRTMIN+1"

-- self n: queue and take, nobody sleeps.
local function self(n)
  local pid = process.pid()
  local queue, wait = signal.queue, signal.wait
  signal.block(PING)
  bench.measure(n, function(count)
    for i = 1, count do
      queue(pid, PING, i)
      wait(PING)
    end
  end)
end

local function play()
  while true do
    local _, info = signal.wait(PING)
    if info.value == 0 then return end
    signal.queue(info.pid, PONG, 1)
  end
end

-- roundtrip n cpu: a signal there and one back.
local function roundtrip(n, cpu)
  signal.block {PING, PONG}
  local player = assert(process.fork(play))
  bench.pin(player.pid, cpu)
  local queue, wait, pid = signal.queue, signal.wait, player.pid
  bench.measure(n, function(count)
    for _ = 1, count do
      queue(pid, PING, 1)
      wait(PONG)
    end
  end)
  signal.queue(pid, PING, 0)
  assert(player:wait() == "exit")
end

-- loop n handled: plain Lua code, with handlers set or without.
local function loop(n, handled)
  if handled == "handled" then
    signal.handle("SIGUSR1", function() end)
    signal.handle("SIGTERM", function() end)
    signal.raise "SIGUSR1"
  end
  local sum = 0
  bench.measure(n, function(count)
    for i = 1, count do sum = sum + i % 7 end
  end)
  assert(sum > 0)
end

bench.main{self = self, roundtrip = roundtrip, loop = loop}
