-- Messages and lines with Lua's own io library; compare bench/c/stream.c.
local bench = require "bench"

-- writer n size directory: messages of one known size, so that the prefix of
-- the others is saved: the best that stock Lua does.
local function writer(n, size, directory)
  local out = assert(io.open(directory .. "/ping", "wb"))
  local message = ("x"):rep(size)
  out:setvbuf("full")
  for _ = 1, bench.total(n) do out:write(message) end
  assert(out:close())
end

-- reader n size directory
local function reader(n, size, directory)
  local inp = assert(io.open(directory .. "/ping", "rb"))
  local got
  bench.measure(n, function(count)
    for _ = 1, count do got = inp:read(size) end
  end)
  assert(#got == size and inp:read(1) == nil)
end

-- lines n: reads lines from standard input.
local function lines(n)
  local next_line = io.lines("/dev/stdin")
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

bench.main{writer = writer, reader = reader, lines = lines}
