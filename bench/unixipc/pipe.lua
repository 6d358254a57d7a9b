-- Pipes as a user of unixipc would write them; compare bench/c/pipe.c.
local bench = require "bench"
local ipc = require "unixipc"

local function echo(r, w, size)
  local message = r:read(size)
  while message do
    w:write(message)
    message = r:read(size)
  end
end

-- roundtrip n size cpu: a message there and back.
local function roundtrip(n, size, cpu)
  local child_in, down = assert(ipc.pipe.open())
  local up, child_out = assert(ipc.pipe.open())
  local child = assert(ipc.process.fork(function()
    down:close()
    up:close()
    echo(child_in, child_out, size)
  end))
  child_in:close()
  child_out:close()
  bench.pin(child.pid, cpu)
  local message, reply = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      down:write(message)
      reply = up:read(size)
    end
  end)
  assert(reply == message)
  down:close()
  assert(child:wait() == "exit")
end

-- oneway n size cpu: the child writes, whole messages are read here.
local function oneway(n, size, cpu)
  local r, w = assert(ipc.pipe.open())
  local message, got = ("x"):rep(size), nil
  local child = assert(ipc.process.fork(function()
    r:close()
    for _ = 1, bench.total(n) do w:write(message) end
  end))
  w:close()
  bench.pin(child.pid, cpu)
  bench.measure(n, function(count)
    for _ = 1, count do got = r:read(size) end
  end)
  assert(got == message and r:read(1) == nil)
  assert(child:wait() == "exit")
end

-- self n: one byte through a pipe within one process, nobody sleeps.
local function self(n)
  local r, w = assert(ipc.pipe.open())
  local got
  bench.measure(n, function(count)
    for _ = 1, count do
      w:write("x")
      got = r:read(1)
    end
  end)
  assert(got == "x")
end

bench.main{roundtrip = roundtrip, oneway = oneway, self = self}
