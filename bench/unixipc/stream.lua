-- Framed messages and lines as a user of unixipc would write them; compare
-- bench/c/stream.c.
local bench = require "bench"
local ipc = require "unixipc"

-- frames n size cpu: the child sends, messages are received here.
local function frames(n, size, cpu)
  local r, w = assert(ipc.pipe.open())
  local message, got = ("x"):rep(size), nil
  local child = assert(ipc.process.fork(function()
    r:close()
    w:setvbuf("full")
    for _ = 1, bench.total(n) do w:send(message) end
    assert(w:flush())
  end))
  w:close()
  bench.pin(child.pid, cpu)
  bench.measure(n, function(count)
    for _ = 1, count do got = r:receive() end
  end)
  assert(got == message and r:receive() == nil)
  assert(child:wait() == "exit")
end

-- lines n: reads lines from standard input.
local function lines(n)
  local next_line = assert(ipc.stream.from(0)):lines()
  local last
  bench.measure(n, function(count)
    for line in next_line do
      last = line
      count = count - 1
      if count == 0 then break end
    end
  end)
  assert(#last > 0 and next_line() == nil)
end

bench.main{frames = frames, lines = lines}
