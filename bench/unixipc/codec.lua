-- The codec alone, in one process; the same values as in the other programs of
-- this name.
local bench = require "bench"
local values = require "values"
local codec = require "unixipc".codec

local function encode(n, which)
  local value, bytes = values[which], nil
  local pack = codec.encode
  bench.measure(n, function(count)
    for _ = 1, count do bytes = pack(value) end
  end)
  assert(#bytes > 20)
end

local function decode(n, which)
  local bytes, value = codec.encode(values[which]), nil
  local unpack = codec.decode
  bench.measure(n, function(count)
    for _ = 1, count do value = unpack(bytes) end
  end)
  assert(value.id == 1)
end

bench.main {encode = encode, decode = decode}
