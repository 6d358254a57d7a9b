--- What the benchmarks of codecs encode; bench/python/codec.py has the same.
local values = {
  small = {id = 1, name = "some name", price = 1.5, ok = true},
}

local function order(i)
  return {
    id = i, name = "order number " .. i, price = i + 0.25, ok = i % 2 == 0,
    tags = {"new", "paid", "on its way"}, place = {x = i * 1.5, y = -i},
    counts = {i, i * 100, i * 100000, 0, 1},
  }
end

values.large = {id = 1, orders = {}}
for i = 1, 50 do values.large.orders[i] = order(i) end

return values
