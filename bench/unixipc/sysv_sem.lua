-- System V semaphores as a user of unixipc would write them; compare
-- bench/c/sysv_sem.c.
local bench = require "bench"
local ipc = require "unixipc"

local function new_set()
  return assert(ipc.sysv_sem.get(nil, 2, {create = true, temporary = true}))
end

-- self n: release and acquire in one process, nobody sleeps.
local function self(n)
  local set <close> = new_set()
  bench.measure(n, function(count)
    for _ = 1, count do
      set:release(1)
      set:acquire(1)
    end
  end)
end

-- roundtrip n cpu: two processes take turns.
local function roundtrip(n, cpu)
  local set <close> = new_set()
  local child = assert(ipc.process.fork(function()
    for _ = 1, bench.total(n) do
      set:acquire(1)
      set:release(2)
    end
  end))
  bench.pin(child.pid, cpu)
  bench.measure(n, function(count)
    for _ = 1, count do
      set:release(1)
      set:acquire(2)
    end
  end)
  assert(child:wait() == "exit")
end

bench.main{self = self, roundtrip = roundtrip}
