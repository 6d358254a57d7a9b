-- Values as JSON by lua-cjson, which is in C; compare bench/unixipc/codec.lua.
local bench = require "bench"
local values = require "values"
local cjson = require "cjson"

local function encode(n, which)
  local value, bytes = values[which], nil
  local pack = cjson.encode
  bench.measure(n, function(count)
    for _ = 1, count do bytes = pack(value) end
  end)
  assert(#bytes > 20)
end

local function decode(n, which)
  local bytes, value = cjson.encode(values[which]), nil
  local unpack = cjson.decode
  bench.measure(n, function(count)
    for _ = 1, count do value = unpack(bytes) end
  end)
  assert(value.id == 1)
end

bench.main {encode = encode, decode = decode}
