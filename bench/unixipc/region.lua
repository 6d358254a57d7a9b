-- Shared memory as a user of unixipc would write it; compare bench/c/region.c.
local bench = require "bench"
local ipc = require "unixipc"

local function attach(size)
  local segment <close> = assert(ipc.sysv_shm.get(nil, size,
    {create = true, temporary = true}))
  return assert(segment:attach())
end

local SEGMENT = 8 << 20 -- more than stays in the nearest cache

-- write n size: all over the segment
local function write(n, size)
  local region <close> = attach(SEGMENT)
  local bytes, offset = ("x"):rep(size), 0
  bench.measure(n, function(count)
    for _ = 1, count do
      region:write(offset, bytes)
      offset = (offset + size) % SEGMENT
    end
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

-- floor n size: what Lua itself needs to make a string of so many bytes, with
-- the same modules in its heap.
local function floor(n, size)
  local bytes, got = ("x"):rep(size + 1), nil
  local region <close> = attach(size)
  bench.measure(n, function(count)
    for _ = 1, count do got = bytes:sub(1, size) end
  end)
  assert(#got == #region)
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

-- bound n: the same with functions that are bound to it.
local function bound(n)
  local region <close> = attach(4000)
  local get, set =
    ipc.layout.bind(ipc.layout.array("int32", 1000):at(region), 5)
  local got
  bench.measure(n, function(count)
    for i = 1, count do
      set(i)
      got = get()
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

bench.main{
  write = write, read = read, floor = floor, integer = integer,
  bound = bound, field = field,
}
