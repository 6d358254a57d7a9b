-- POSIX message queues as a user of unixipc would write them; compare
-- bench/c/posix_mq.c.
local bench = require "bench"
local ipc = require "unixipc"

local function new_queue()
  return assert(ipc.posix_mq.open(nil, {temporary = true, max_messages = 4,
    message_size = 256}))
end

-- self n size: send and receive in one process, nobody sleeps.
local function self(n, size)
  local q <close> = new_queue()
  local message, got = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      q:send(message)
      got = q:receive()
    end
  end)
  assert(got == message)
end

-- roundtrip n size cpu: a message there and back, by two queues.
local function roundtrip(n, size, cpu)
  local there <close> = new_queue()
  local back <close> = new_queue()
  local child = assert(ipc.process.fork(function()
    for _ = 1, bench.total(n) do back:send((there:receive())) end
  end))
  bench.pin(child.pid, cpu)
  local message, got = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      there:send(message)
      got = back:receive()
    end
  end)
  assert(got == message)
  assert(child:wait() == "exit")
end

bench.main{self = self, roundtrip = roundtrip}
