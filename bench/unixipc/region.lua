-- Shared memory as a user of unixipc would write it; compare bench/c/region.c.
local bench = require "bench"
local ipc = require "unixipc"

local function attach(size)
  local segment <close> = assert(ipc.sysv_shm.get(nil, size,
    {create = true, temporary = true}))
  return assert(segment:attach())
end

-- write n size
local function write(n, size)
  local region <close> = attach(size)
  local bytes = ("x"):rep(size)
  bench.measure(n, function(count)
    for _ = 1, count do region:write(0, bytes) end
  end)
end

-- read n size
local function read(n, size)
  local region <close> = attach(size)
  local got
  bench.measure(n, function(count)
    for _ = 1, count do got = region:read(0, size) end
  end)
  assert(#got == size)
end

-- integer n: a 32-bit integer in shared memory, set and got.
local function integer(n)
  local region <close> = attach(4000)
  local v = ipc.layout.array("int32", 1000):at(region)
  local got
  bench.measure(n, function(count)
    for i = 1, count do
      v[5] = i
      got = v[5]
    end
  end)
  assert(got == n)
end

-- field n: the same with a field of a struct.
local function field(n)
  local region <close> = attach(4000)
  local s = ipc.layout.struct{{"a", "int32"}, {"b", "int32"}}:at(region)
  local got
  bench.measure(n, function(count)
    for i = 1, count do
      s.b = i
      got = s.b
    end
  end)
  assert(got == n)
end

bench.main{write = write, read = read, integer = integer, field = field}
