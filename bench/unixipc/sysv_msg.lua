-- System V message queues as a user of unixipc would write them; compare
-- bench/c/sysv_msg.c.
local bench = require "bench"
local ipc = require "unixipc"

local function new_queue()
  return assert(ipc.sysv_msg.get(nil, {create = true, temporary = true}))
end

-- self n size: send and receive in one process, nobody sleeps.
local function self(n, size)
  local q <close> = new_queue()
  local message, got = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      q:send(message, 1)
      got = q:receive(1)
    end
  end)
  assert(got == message)
end

-- roundtrip n size cpu: a message there and back, by types.
local function roundtrip(n, size, cpu)
  local q <close> = new_queue()
  local child = assert(ipc.process.fork(function()
    for _ = 1, bench.total(n) do q:send(q:receive(1), 2) end
  end))
  bench.pin(child.pid, cpu)
  local message, got = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      q:send(message, 1)
      got = q:receive(2)
    end
  end)
  assert(got == message)
  assert(child:wait() == "exit")
end

bench.main{self = self, roundtrip = roundtrip}
