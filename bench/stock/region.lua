-- What Lua itself needs to make a string of so many bytes: the floor of every
-- read.
local bench = require "bench"

-- read n size
local function read(n, size)
  local bytes = ("x"):rep(size + 1)
  local got
  bench.measure(n, function(count)
    for _ = 1, count do got = bytes:sub(1, size) end
  end)
  assert(#got == size)
end

bench.main{read = read}
