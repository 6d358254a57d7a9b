-- Any value that travels comes back as it was, with the limit that is its
-- length but not with one less; what cannot travel raises, and does no harm.
local input = require "fuzz.input"
local same = require "fuzz.same"
local codec = require "unixipc.codec"

local Object, Nested, Bad = {}, {}, {}

-- One whose functions use the codec themselves.
codec.register(7, Nested,
  function(object) return codec.encode(object.content) end,
  function(bytes)
    return setmetatable({content = codec.decode(bytes)}, Nested)
  end)
codec.register(0, Object, function(object) return object.content end,
  function(value) return setmetatable({content = value}, Object) end)
codec.register(127, Bad, function() error("no to", 0) end, print)

local make

local kinds = {
  function() return nil end,
  function(i) return i:byte() % 2 == 0 end,
  function(i) return i:byte() - 128 end,
  function(i) return i:integer() >> i:byte() % 64 end,
  function(i) return i:integer() >> i:byte() % 64 | math.mininteger end,
  function(i) return i:number() end,
  function(i) return i:byte() + 0.0 end,
  function(i) return i:string() end,
  function(i) return i:string():rep(i:byte() * 16) end,
  function(i, state) -- backwards, perhaps
    local list, n = {}, i:byte() % 40
    local from, to, step = 1, n, 1
    if i:byte() % 2 == 0 then from, to, step = n, 1, -1 end
    for place = from, to, step do list[place] = make(i, state) end
    return list
  end,
  function(i, state)
    local map = {}
    for _ = 1, i:byte() % 40 do
      local key = make(i, state)
      if key == key and key ~= nil and type(key) ~= "table" then
        map[key] = make(i, state)
      end
    end
    return map
  end,
  function(i, state)
    return setmetatable({content = make(i, state)},
      i:byte() % 2 == 0 and Object or Nested)
  end,
  function(i, state) -- one that is there already: not inside itself
    return state.done[i:choice(#state.done + 1)]
  end,
  function(i, state) -- what does not travel
    state.is_bad = true
    return i:one_of {print, io.stdout, setmetatable({}, Bad)}
  end,
}

make = function(i, state)
  if state.depth == 20 or state.count == 1000 then return i:byte() end
  state.depth, state.count = state.depth + 1, state.count + 1
  local value = i:one_of(kinds)(i, state)
  state.depth = state.depth - 1
  if type(value) == "table" then table.insert(state.done, value) end
  return value
end

-- Values that are there many times grow beyond all bounds.
local LIMIT <const> = 1 << 20

local function run(bytes)
  local state = {depth = 0, count = 0, done = {}}
  local value = make(input.new(bytes), state)
  local ok, encoded = pcall(codec.encode, value, {limit = LIMIT})
  if not ok then
    return assert(state.is_bad or encoded:find "limit of %d+ bytes"
      or encoded:find "too deep", encoded)
  end
  local back, place = codec.decode(encoded)
  assert(place == #encoded + 1, place)
  assert(same(value, back), "it has changed on the way")
  assert(codec.encode(value, {limit = #encoded}) == encoded)
  assert(not pcall(codec.encode, value, {limit = #encoded - 1}))
end

local seeds = {
  "\0", "\7\3abc", "\9\5\1\2\1\2\2\2\3\2\4\2\5", "\9\5\0\2\1\2\2\2\3\2\4\2\5",
  "\10\3\7\1a\2\1\7\1b\6\1\7\1c\1\0", "\11\9\2\0\2\1\2\2\0", "\13\1",
  "\3\xff\xff\xff\xff\xff\xff\xff\xff\10", "\8\2ab\9", "\9\3\1\9\1\1\2\1\12\0",
  "\5\0\0\0\0\0\0\xf8\x7f", ("\9\1\1"):rep(20), ("\10\1\7\1x"):rep(20),
}

return {run = run, seeds = seeds}
