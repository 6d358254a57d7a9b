-- MessagePack by lua-messagepack, which is in Lua; compare
-- bench/unixipc/codec.lua.
local bench = require "bench"
local values = require "values"
local mp = require "MessagePack"

local function encode(n, which)
  local value, bytes = values[which], nil
  local pack = mp.pack
  bench.measure(n, function(count)
    for _ = 1, count do bytes = pack(value) end
  end)
  assert(#bytes > 20)
end

local function decode(n, which)
  local bytes, value = mp.pack(values[which]), nil
  local unpack = mp.unpack
  bench.measure(n, function(count)
    for _ = 1, count do value = unpack(bytes) end
  end)
  assert(value.id == 1)
end

bench.main {encode = encode, decode = decode}
