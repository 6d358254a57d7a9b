-- Any description is a type or an error; a view of any type takes what it can
-- hold, and gives that back; nothing is written beside it.
local input = require "fuzz.input"
local same = require "fuzz.same"
local layout = require "unixipc.layout"
local region = require "unixipc.region"

local MOST <const> = 4096 -- bytes of a type that is looked at
local NAMES <const> = {"int8", "uint8", "int16", "uint32", "int64", "uint64",
  "float", "double", "bool", "char", "char[5]", "byte[3]", "int16[2][3]",
  "unsigned long long", "size_t"}

-- A type of before, a name that is right, or anything.
local function description(i, types)
  local kind = i:byte() % 4
  if kind == 0 and #types > 0 then return i:one_of(types) end
  if kind == 1 then return i:string() end
  if kind == 2 then return i:one_of(NAMES) .. i:string() end
  return i:one_of(NAMES)
end

local function count(i)
  return i:byte() % 8 == 0 and i:integer() or i:byte()
end

local function field(i, types, number)
  local kind = i:byte() % 8
  if kind == 0 then return i:string() end
  local name = kind == 1 and i:string() or "f" .. number
  return {name, description(i, types), kind == 2 and count(i) or nil}
end

local makers = {
  function(i, types)
    local fields = {}
    for number = 1, i:byte() % 8 do fields[number] = field(i, types, number) end
    local make = i:byte() % 2 == 0 and layout.struct or layout.union
    return make(fields, {packed = i:byte() % 2 == 0})
  end,
  function(i, types) return layout.array(description(i, types), count(i)) end,
}

local function random_value(i)
  local kind = i:byte() % 6
  if kind == 0 then return i:integer() end
  if kind == 1 then return i:number() end
  if kind == 2 then return i:string() end
  if kind == 3 then return i:byte() % 2 == 0 end
  if kind == 4 then return {[i:byte()] = i:byte(), f1 = i:byte()} end
  return i:byte()
end

local function change(view, i)
  for _ = 1, 8 do
    local key = i:byte() % 2 == 0 and "f" .. i:byte() % 8 or i:byte()
    local value = random_value(i)
    local ok, before = pcall(function() return view[key] end)
    local is_set = pcall(function() view[key] = value end)
    assert(ok or not is_set, "a field to set, not to read")
    if ok and not is_set and type(before) ~= "userdata" then
      assert(same(before, view[key]), "changed by what was refused")
    end
  end
end

local function use(kind, i)
  local size = kind:size()
  if size > MOST then return end
  local memory = region.new(size + 32):fill(0, size + 32, 0xa5)
  local ok, view = pcall(kind.at, kind, memory, 16)
  if not ok then return end
  memory:fill(16, size, 0)
  memory:write(16, i:take(size))
  change(view, i)
  local copy = layout.get(view)
  local other = layout.new(kind)
  layout.set(other, view)
  assert(layout.region(other):read() == memory:read(16, size))
  pcall(layout.set, other, copy) -- of a union, or nan as a bool, not the same
  assert(memory:read(0, 16) == ("\xa5"):rep(16), "written before it")
  assert(memory:read(16 + size) == ("\xa5"):rep(16), "written behind it")
end

local function run(bytes)
  local i, types = input.new(bytes), {}
  while not i:is_done() and #types < 16 do
    local ok, result = pcall(i:one_of(makers), i, types)
    if not ok then break end
    local size, alignment = layout.sizeof(result)
    assert(size > 0 and alignment > 0 and size % alignment == 0)
    types[#types + 1] = result
  end
  if #types > 0 then use(types[#types], i) end
end

local seeds = {
  "\0\3\3\3\0\3\3\3\3\3\3\1\1\4ab\0\1", "\0\1\3\1\5int32\0\0",
  "\1\1\9int32[4]\3", "\1\3\4\5\1\0\5\0\1\3\10\0\0", "\0\1\3\2\10\3[4]\1\1",
  "\0\2\2\3\9\7\3\3\6\0\1\0\0\0\0\0\0\1\0\3abc",
}

return {run = run, seeds = seeds}
