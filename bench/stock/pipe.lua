-- Messages through a pipe with Lua's own io library, full buffers; compare
-- bench/unixipc/channel.lua.
local bench = require "bench"

-- writer n size: messages of one known size, to standard output.
local function writer(n, size)
  local message = ("x"):rep(size)
  io.stdout:setvbuf("full")
  for _ = 1, n do io.stdout:write(message) end
end

-- oneway n size cpu
local function oneway(n, size, cpu)
  local command = "exec taskset -c %d lua5.4 bench/stock/pipe.lua writer %d %d"
  local inp = assert(io.popen(command:format(cpu, bench.total(n), size)))
  local got
  bench.measure(n, function(count)
    for _ = 1, count do got = inp:read(size) end
  end)
  assert(#got == size and inp:close())
end

bench.main {writer = writer, oneway = oneway}
