local t = require "support"
local ipc = require "unixipc"
local layout, region = ipc.layout, ipc.region

local Point = layout.struct {{"x", "double"}, {"y", "double"}}

local Number = layout.union {{"bytes", "char[5]"}, {"i", "int32"},
  {"d", "double"}}

local Packed = layout.struct({{"c", "char"}, {"d", "double"}, {"s", "short"}},
  {packed = true})

-- The same as in spec/c/layout_offsets.c.
local TYPES = {
  calculator = layout.struct {
    {"operand1", "int"}, {"operand2", "int"}, {"op", "char"},
    {"result", "int"}, {"state", "int"}, {"client", "int"},
  },
  everything = layout.struct {
    {"c", "char"}, {"i8", "int8"}, {"u8", "uint8"}, {"i16", "int16"},
    {"c2", "char"}, {"u16", "uint16_t"}, {"i32", "int32"}, {"c3", "char"},
    {"u32", "uint32"}, {"i64", "int64"}, {"u64", "uint64"}, {"c4", "char"},
    {"s", "short"}, {"us", "unsigned short"}, {"i", "int"},
    {"u", "unsigned int"}, {"l", "long"}, {"ul", "unsigned long"},
    {"c5", "char"}, {"ll", "long long"}, {"ull", "unsigned long long"},
    {"size", "size_t"}, {"ssize", "ssize_t"}, {"b", "bool"}, {"f", "float"},
    {"c6", "char"}, {"d", "double"}, {"name", "char[13]"}, {"point", Point},
    {"c7", "char"}, {"points", Point, 3}, {"matrix", "int16[2][3]"},
    {"words", "char[2][5]"}, {"bytes", "byte[7]"}, {"pid", "pid_t"},
  },
  number = Number,
  packed = Packed,
  holder = layout.struct {{"c", "char"}, {"n", Number}, {"p", Packed},
    {"s", "short"}},
}

local VALUES = {
  c = "c", i8 = -128, u8 = 255, i16 = -32768, u16 = 65535,
  i32 = -(1 << 31), u32 = (1 << 32) - 1, i64 = math.mininteger, u64 = -1,
  s = -2, us = 3, i = -4, u = 5, l = -6, ul = 7, ll = -8, ull = 9, size = 10,
  ssize = -11, b = true, f = 0.5, d = 1.7976931348623157e308, pid = 12,
  name = "thirteen char", point = {x = 1.5, y = -2.5},
  points = {{x = 0, y = 0}, {x = 1, y = -1}, {x = 2, y = -2}},
  matrix = {{0, 100, 200}, {300, 400, 500}},
  words = {"ab", "vwxyz"}, bytes = "\0\1\2\255\0\0\0",
}

local function compiled(...)
  local command = table.concat({t.program "layout_offsets", ...}, " ")
  local pipe <close> = assert(io.popen(command))
  local output = pipe:read "a"
  assert.is_true(pipe:close())
  return output
end

describe("layout.struct", function()
  it("has the sizes, alignments and offsets of the C compiler", function()
    local count = 0
    for line in compiled():gmatch "[^\n]+" do
      local name, field, offset, size = line:match "(%S+) (%S+) (%d+) (%d+)"
      local Type = assert(TYPES[name])
      if field == "-" then
        assert.equal(tonumber(offset), Type:alignment(), name)
        assert.equal(tonumber(size), Type:size(), name)
      else
        assert.equal(tonumber(offset), Type:offset(field), line)
      end
      count = count + 1
    end
    assert.equal(56, count)
  end)

  it("reads what C wrote", function()
    local key = ipc.sysv.ftok(t.names.file "", 1)
    compiled("fill", key)
    local segment = assert(ipc.sysv_shm.get(key))
    local r <close> = assert(segment:attach())
    assert(segment:remove())
    local got = layout.get(TYPES.everything:at(r))
    for name, value in pairs(VALUES) do assert.same(value, got[name], name) end
  end)

  it("writes what C reads", function()
    local key = ipc.sysv.ftok(t.names.file "", 1)
    local segment <close> = assert(ipc.sysv_shm.get(key,
      TYPES.everything:size(), {create = true, temporary = true}))
    local r <close> = assert(segment:attach())
    local view = TYPES.everything:at(r)
    layout.set(view, VALUES)
    compiled("check", key)
    r:fill()
    for name, value in pairs(VALUES) do view[name] = value end
    compiled("check", key)
  end)

  it("takes a count apart from the name of the type", function()
    local one = layout.struct {{"s", "char[6]"}, {"b", "byte[3]"},
      {"n", "int16[2]"}, {"m", "char[2][4]"}, {"p", layout.array(Point, 2)}}
    local two = layout.struct {{"s", "char", 6}, {"b", "byte", 3},
      {"n", "int16", 2}, {"m", "char[4]", 2}, {"p", Point, 2}}
    local values = {s = "abc", b = "\0\1\2", n = {1, 2}, m = {"x", "y"},
      p = {{x = 1, y = 2}, {x = 3, y = 4}}}
    assert.equal(one:size(), two:size())
    local a, b = layout.new(one, values), layout.new(two, values)
    assert.same(layout.get(a), layout.get(b))
    assert.equal(layout.region(a):read(), layout.region(b):read())
    t.raises("one byte at least", layout.struct, {{"s", "char", 0}})
  end)

  it("raises for what is no list of fields", function()
    for message, fields in pairs {
      ["no fields"] = {},
      ["each field is a table"] = {"int"},
      ["each field is a table {name"] = {{1, "int"}},
      ["unknown type 'foo'"] = {{"a", "foo"}},
      ["type or its name expected, got nil"] = {{"a"}},
      ["unknown type 'int[0'"] = {{"a", "int[0"}},
      ["unknown type 'int[-1]'"] = {{"a", "int[-1]"}},
      ["one element at least"] = {{"a", "int[0]"}},
      ["two fields 'a'"] = {{"a", "int"}, {"a", "char"}},
      ["type too large"] = {{"a", "int[2000000000][2000000000]"}},
    } do
      t.raises(message, layout.struct, fields)
    end
    t.raises("table expected", layout.struct)
    t.raises("unknown option 'pack'", layout.struct, {{"a", "int"}},
      {pack = true})
  end)
end)

describe("A field", function()
  local view = layout.new(TYPES.everything)

  local function refuses(name, value, message)
    local old = layout.get(view)[name]
    t.raises(message, function() view[name] = value end)
    assert.same(old, layout.get(view)[name])
  end

  it("holds the limits of its type, and nothing beyond", function()
    for name, limits in pairs {
      i8 = {-128, 127}, u8 = {0, 255}, i16 = {-32768, 32767},
      u16 = {0, 65535}, i32 = {-(1 << 31), (1 << 31) - 1},
      u32 = {0, (1 << 32) - 1}, s = {-32768, 32767},
      i = {-(1 << 31), (1 << 31) - 1}, u = {0, (1 << 32) - 1},
    } do
      for _, value in ipairs(limits) do
        view[name] = value
        assert.equal(value, view[name])
      end
      refuses(name, limits[1] - 1, "is not from")
      refuses(name, limits[2] + 1, "is not from")
      refuses(name, math.mininteger, "is not from")
    end
    for _, name in ipairs {"i64", "u64", "l", "ul", "ll", "ull", "size"} do
      for _, value in ipairs {math.mininteger, math.maxinteger, -1, 0} do
        view[name] = value
        assert.equal(value, view[name])
      end
      refuses(name, 2.0 ^ 64, "integer expected")
    end
  end)

  it("takes a float with an integral value, and no string", function()
    view.i = 5.0
    assert.equal("integer", math.type(view.i))
    refuses("i", 5.5, "integer expected")
    refuses("i", "5", "field 'i': integer expected, got string")
    refuses("i", nil, "integer expected, got nil")
    refuses("d", "5", "number expected")
    refuses("b", 1, "boolean expected")
  end)

  it("of floating point keeps infinities and NaN", function()
    view.f, view.d = math.huge, -math.huge
    assert.same({math.huge, -math.huge}, {view.f, view.d})
    view.f = 0 / 0
    assert.is_true(view.f ~= view.f)
    view.f = 0.1
    assert.equal(string.unpack("f", string.pack("f", 0.1)), view.f)
    refuses("f", 1e300, "too large for a float")
  end)

  it("of char takes a character or its number", function()
    view.c = 43
    assert.equal("+", view.c)
    view.c = -1
    assert.equal("\255", view.c)
    view.c = "\0"
    assert.equal("\0", view.c)
    refuses("c", "ab", "one byte")
    refuses("c", "", "one byte")
    refuses("c", 256, "is not from")
  end)

  it("of char[n] is a C string", function()
    view.name = "long enough.."
    view.name = "short"
    assert.equal("short", view.name)
    assert.equal("short" .. ("\0"):rep(8),
      layout.region(view):read(TYPES.everything:offset "name", 13))
    view.name = ""
    assert.equal("", view.name)
    refuses("name", "fourteen chars", "14 bytes do not fit into 13")
    refuses("name", "a\0b", "ends at a zero")
    refuses("name", 5, "string expected")
  end)

  it("of byte[n] keeps every byte", function()
    for _, bytes in ipairs {"\0\0\0\0\0\0\0", "a\0b\0c\0\0", "\255\1\0\0\0\0x"}
    do
      view.bytes = bytes
      assert.equal(bytes, view.bytes)
    end
    refuses("bytes", "123456", "7 bytes expected")
    refuses("bytes", "12345678", "do not fit")
  end)

  it("that is not there raises", function()
    t.raises("no field 'nope'", function() return view.nope end)
    t.raises("no field 'nope'", function() view.nope = 1 end)
    t.raises("no field '1'", function() return view[1] end)
    t.raises("no field 'nope'", TYPES.everything.offset, TYPES.everything,
      "nope")
  end)
end)

describe("Nested types", function()
  local view = layout.new(TYPES.everything, VALUES)

  it("are views on the same bytes", function()
    view.point.x = 7
    assert.equal(7.0, view.point.x)
    local p = view.points[2]
    p.y = 9
    assert.equal(9.0, view.points[2].y)
    view.matrix[2][3] = -5
    assert.equal(-5, view.matrix[2][3])
    view.words[1] = "xyz"
    assert.equal("xyz", view.words[1])
  end)

  it("are set from tables and from views of the same type", function()
    view.point = {y = 3}
    assert.same({x = 7.0, y = 3.0}, layout.get(view.point))
    view.points[1] = view.point
    assert.same({x = 7.0, y = 3.0}, layout.get(view.points[1]))
    view.points = {{x = 1}, {x = 2}}
    assert.equal(2.0, view.points[2].x)
    t.raises("no field 'z'", function() view.point = {z = 1} end)
    t.raises("more values than elements",
      function() view.matrix = {{1}, {2}, {3}} end)
    t.raises("table, or view of the same type", function()
      view.point = layout.new(Number)
    end)
    t.raises("table, or view of the same type",
      function() view.point = 1 end)
    t.raises("element 2: 40000 is not from", function()
      view.matrix[1] = {1, 40000}
    end)
  end)

  it("may be unions", function()
    local n = layout.new(Number)
    n.i = 0x41424344
    assert.equal(string.unpack("c4", string.pack("i4", 0x41424344)), n.bytes)
    assert.equal(8, Number:size())
  end)

  it("keep their region alive", function()
    local points
    do
      local all = layout.new(TYPES.everything, VALUES)
      points = all.points[3]
    end
    collectgarbage()
    collectgarbage()
    assert.equal(2.0, points.x)
  end)
end)

describe("layout.array", function()
  it("is a sequence", function()
    local v = layout.new(layout.array("int32", 5), {10, 20, 30, 40, 50})
    assert.equal(5, #v)
    local seen = {}
    for i, x in ipairs(v) do seen[i] = x end
    assert.same({10, 20, 30, 40, 50}, seen)
    assert.same({10, 20, 30, 40, 50}, layout.get(v))
    assert.same({20, 30}, {table.unpack(v, 2, 3)})
    table.sort(v, function(a, b) return a > b end)
    assert.equal("50 40 30 20 10", table.concat(v, " "))
    assert.is_nil(v[0])
    assert.is_nil(v[6])
    assert.is_nil(v[math.mininteger])
    assert.is_nil(v.x)
    local count = 0
    for i, x in pairs(v) do count = count + i * x end
    assert.equal(350, count)
  end)

  it("raises when set outside, or to what does not fit", function()
    local v = layout.new(layout.array("uint8", 3))
    for _, i in ipairs {0, 4, -1, 1.5, math.maxinteger} do
      t.raises("elements are from 1 to 3", function() v[i] = 1 end)
    end
    t.raises("elements are from 1 to 3", function() v.x = 1 end)
    t.raises("element 2: 256 is not from 0 to 255", function() v[2] = 256 end)
    t.raises("one element at least", layout.array, "int", 0)
    t.raises("too large", layout.array, "int", math.maxinteger)
    t.raises("number expected", layout.array, "int", "x")
    t.raises("unknown type", layout.array, "intt", 1)
  end)

  it("may be of structs, of arrays, of strings", function()
    local v = layout.new(layout.array(Point, 2))
    v[2].x = 5
    assert.equal(5.0, layout.get(v)[2].x)
    v = layout.new(layout.array("char[4]", 3), {"a", "bcde"})
    assert.same({"a", "bcde", ""}, layout.get(v))
    v = layout.new(layout.array(layout.array("double", 2), 2))
    v[1] = {1, 2}
    assert.equal(32, #layout.region(v))
    assert.equal("layout array 32 bytes", tostring(v))
  end)
end)

describe("Type:at", function()
  it("lays a type anywhere in a region", function()
    local r <close> = region.new(100)
    local a, b = Point:at(r, 3), Point:at(r, 84)
    a.x, b.y = 1.25, 2.5
    assert.equal(1.25, (r:unpack("d", 3)))
    assert.equal(2.5, (r:unpack("d", 92)))
    t.raises("out of bounds", Point.at, Point, r, 85)
    t.raises("out of bounds", Point.at, Point, r, -1)
    t.raises("region expected", Point.at, Point, "x")
    t.raises("layout type expected", Point.at, r, r)
    assert.equal("layout type struct 16 bytes", tostring(Point))
  end)

  it("gives views that keep the region alive, and raise when it is closed",
    function()
      local r = region.new(16)
      local p = Point:at(r)
      local q = Point:at(r:view())
      r:close()
      t.raises("closed region", function() return p.x end)
      t.raises("closed region", function() p.x = 1 end)
      t.raises("closed region", function() return q.x end)
      t.raises("closed region", layout.get, p)
      t.raises("closed region", layout.region, p)
      t.raises("closed region", Point.at, Point, r)
      t.raises("closed region", pairs(p), p)
      assert.equal("layout struct 16 bytes (closed)", tostring(p))
      p = Point:at(region.new(16):write(0, string.pack("dd", 1, 2)))
      collectgarbage()
      collectgarbage()
      assert.equal(2.0, p.y)
    end)
end)

describe("pairs of a struct", function()
  it("goes in the order of the fields", function()
    local names = {}
    for name, value in pairs(layout.new(TYPES.calculator)) do
      names[#names + 1] = name .. "=" .. tostring(value)
    end
    assert.equal("operand1=0 operand2=0 op=\0 result=0 state=0 client=0",
      table.concat(names, " "))
  end)
end)

describe("What pairs goes on with", function()
  it("takes only a view of the type that it was made for", function()
    local point, other = layout.new(Point), layout.new(Number)
    local list = layout.new(layout.array("int", 2), {1, 2})
    for _, view in ipairs {point, list} do
      local go_on = pairs(view)
      for _, wrong in ipairs {"x", 1, {}, io.stdout, region.new(1), Point} do
        t.raises("layout view expected", go_on, wrong)
      end
      t.raises("layout view expected", go_on)
      t.raises("view of another type", go_on, other)
    end
    t.raises("no field 'z'", pairs(point), point, "z")
    assert.same({2, 2}, {pairs(list)(list, 1)})
    assert.is_nil((pairs(list)(list, 2)))
    assert.is_nil((pairs(list)(list, math.mininteger)))
  end)
end)

describe("layout.get", function()
  it("sees that the collector has closed the region", function()
    local r = assert(ipc.mmap.map {size = 1 << 20})
    local view = layout.array("byte[1048576]", 1):at(r)
    collectgarbage()
    collectgarbage("incremental", 100, 1000, 30) -- all of it in one step
    collectgarbage "stop"
    setmetatable({}, {__gc = function() r:close() end})
    collectgarbage "restart"
    local ok, message = pcall(layout.get, view)
    collectgarbage("incremental", 200, 100, 13)
    assert.is_false(r:is_open())
    assert.is_false(ok)
    assert.truthy(message:find "closed region")
  end)
end)

describe("Types within types", function()
  it("go a hundred deep, no deeper", function()
    local list, value = layout.struct {{"a", "int"}}, {a = 5}
    for _ = 2, 100 do
      list, value = layout.struct {{"a", list}}, {a = value}
    end
    assert.same(value, layout.get(layout.new(list, value)))
    t.raises("too deep", layout.struct, {{"a", list}})
    t.raises("too deep", layout.array, list, 2)
    assert.equal(4, (layout.sizeof("int" .. ("[1]"):rep(100))))
    t.raises("too deep", layout.sizeof, "int" .. ("[1]"):rep(101))
    t.raises("too deep", layout.sizeof, "int" .. ("[1]"):rep(200000))
  end)
end)

describe("layout.sizeof", function()
  it("knows names and types", function()
    assert.same({8, 8}, {layout.sizeof "double"})
    assert.same({1, 1}, {layout.sizeof "char"})
    assert.same({24, 4}, {layout.sizeof "int[2][3]"})
    assert.same({16, 8}, {layout.sizeof(Point)})
    t.raises("unknown type", layout.sizeof, "void")
    t.raises("got boolean", layout.sizeof, true)
  end)
end)

describe("layout.bind", function()
  it("gives functions for one field or element", function()
    local view = layout.new(TYPES.everything)
    local get, set = layout.bind(view, "i32")
    set(-5)
    assert.equal(-5, get())
    assert.equal(-5, view.i32)
    t.raises("field 'i32': 2147483648 is not from", set, 1 << 31)
    t.raises("integer expected, got no value", set)
    get, set = layout.bind(view.matrix[2], 3)
    set(7)
    assert.same({7, 7}, {get(), view.matrix[2][3]})
    t.raises("field '3': 40000", set, 40000)
    get, set = layout.bind(view, "name")
    set "bound"
    assert.equal("bound", get())
    t.raises("no such field", layout.bind, view, "nope")
    t.raises("no such element", layout.bind, view.matrix[1], 4)
    t.raises("no such element", layout.bind, view.matrix[1], 0)
    t.raises("has parts", layout.bind, view, "point")
    t.raises("has parts", layout.bind, view.matrix, 1)
    t.raises("layout view expected", layout.bind, 1, 1)
  end)

  it("keeps the memory alive, and raises when it is closed", function()
    local r = region.new(16)
    local get, set = layout.bind(Point:at(r), "y")
    collectgarbage()
    collectgarbage()
    set(2.5)
    assert.equal(2.5, get())
    r:close()
    t.raises("closed region", get)
    t.raises("closed region", set, 1)
    get = layout.bind(layout.new(layout.array("int", 3), {1, 2, 3}), 3)
    collectgarbage()
    collectgarbage()
    assert.equal(3, get())
  end)
end)

describe("layout.new", function()
  it("raises for scalars and values that do not fit", function()
    t.raises("layout type expected", layout.new, "int")
    t.raises("no field", layout.new, Point, {z = 1})
  end)
end)
