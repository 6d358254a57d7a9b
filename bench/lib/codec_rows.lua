-- The loops of the benchmarks of codecs: encode n word, decode n word; the word
-- names one of the values.
local bench = require "bench"
local values = require "values"

return function(pack, unpack)
  local function encode(n, which)
    local value, bytes = values[which], nil
    bench.measure(n, function(count)
      for _ = 1, count do bytes = pack(value) end
    end)
    assert(#bytes > 20)
  end

  local function decode(n, which)
    local bytes, value = pack(values[which]), nil
    bench.measure(n, function(count)
      for _ = 1, count do value = unpack(bytes) end
    end)
    assert(value.id == 1)
  end

  bench.main {encode = encode, decode = decode}
end
