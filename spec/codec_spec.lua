local t = require "support"
local codec = require "unixipc.codec"

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x "):format(c:byte()) end)
    :gsub(" $", ""))
end

local function unhex(text)
  return (text:gsub("(%x%x) ?", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function round(value)
  local bytes = codec.encode(value)
  local back, place = codec.decode(bytes)
  assert.equal(#bytes + 1, place)
  return back
end

-- Random values; floats are never nan, so that they can be compared.
local function random_value(depth)
  local kind = math.random(depth > 0 and 8 or 6)
  if kind == 1 then return math.random(0) >> math.random(0, 63) end
  if kind == 2 then return -(math.random(0) >> math.random(1, 63)) end
  if kind == 3 then return (math.random() - 0.5) * 10.0 ^ math.random(-9, 9) end
  if kind == 4 then return math.random(2) == 1 end
  if kind <= 6 then
    local length = ({3, 31, 32, 255, 256, 70000})[math.random(6)]
    return string.char(math.random(0, 255)):rep(math.random(0, length))
  end
  local list = {}
  for i = 1, math.random(0, 20) do
    local key = kind == 7 and i or random_value(0)
    list[key] = random_value(depth - 1)
  end
  return list
end

describe("codec.encode", function()
  it("makes the bytes of MessagePack", function()
    for text, value in pairs {
      ["00"] = 0, ["7f"] = 127, ["cc 80"] = 128, ["cd 01 00"] = 256,
      ["ce 00 01 00 00"] = 65536, ["cf 00 00 00 01 00 00 00 00"] = 1 << 32,
      ["ff"] = -1, ["e0"] = -32, ["d0 df"] = -33, ["d1 ff 7f"] = -129,
      ["d2 ff ff 7f ff"] = -32769,
      ["d3 80 00 00 00 00 00 00 00"] = math.mininteger,
      ["cb 3f f8 00 00 00 00 00 00"] = 1.5, ["c2"] = false, ["c3"] = true,
      ["a0"] = "", ["a3 61 62 63"] = "abc", ["c4 01 ff"] = "\255",
      ["90"] = {}, ["92 01 a1 78"] = {1, "x"}, ["81 a1 78 01"] = {x = 1},
      ["81 02 c3"] = {[2] = true},
    } do
      assert.equal(text, hex(codec.encode(value)))
    end
    assert.equal("c0", hex(codec.encode(nil)))
  end)

  it("keeps numbers exactly, and their kind", function()
    for _, n in ipairs {0, -1, math.maxinteger, math.mininteger, 1 << 53, 0.0,
        1e300, 5e-324, math.huge, -math.huge, 2.0 ^ 53, 1 / 3} do
      local back = round(n)
      assert.equal(n, back)
      assert.equal(math.type(n), math.type(back))
    end
    assert.equal("-0.0", tostring(round(-0.0)))
    local nan = round(0 / 0)
    assert.is_true(nan ~= nan)
  end)

  it("keeps strings of any bytes", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    for _, s in ipairs {"", "\0", table.concat(all), "äöü€𝄞", "\xed\xa0\x80",
        "\xc0\x80", ("x"):rep(31), ("x"):rep(32), ("x"):rep(255),
        ("x"):rep(256), ("x"):rep(65535), ("x"):rep(65536)} do
      assert.equal(s, round(s))
    end
  end)

  it("keeps nested tables", function()
    local value = {1, {2, {3, x = {true, false}}}, [10] = "ten", [1.5] = "f",
      [true] = "key"}
    assert.same(value, round(value))
    local big = {}
    for i = 1, 70000 do big[i] = i end
    assert.same(big, round(big))
    local map = {}
    for i = 1, 20 do map["k" .. i] = i end
    assert.same(map, round(map))
    for i = 1, 70000 do map["k" .. i] = i end
    assert.same(map, round(map))
  end)

  it("takes arrays however they were made, and no holes for arrays", function()
    local backwards = {}
    for i = 10, 1, -1 do backwards[i] = i end
    assert.equal("9a", hex(codec.encode(backwards)):sub(1, 2))
    local mixed = {1, 2, 3, x = 1}
    assert.equal("84", hex(codec.encode(mixed)):sub(1, 2))
    local hole = {1, nil, 3}
    assert.same(hole, round(hole))
  end)

  it("raises for what cannot travel, and says where", function()
    local cycle = {}
    cycle.list = {{cycle}}
    t.raises("value: a function cannot travel", codec.encode, print)
    t.raises("value.list[2].fn: a function cannot travel", codec.encode,
      {list = {1, {fn = print}}})
    t.raises("a thread cannot travel", codec.encode, {coroutine.create(print)})
    t.raises("a userdata cannot travel", codec.encode, {io.stdout})
    t.raises("a table inside itself", codec.encode, cycle)
    t.raises("a key that is a table", codec.encode, {[{}] = 1})
    local deep = {}
    for _ = 1, 200 do deep = {deep} end
    t.raises("too deep", codec.encode, deep)
    t.raises("limit of 10 bytes", codec.encode, ("x"):rep(11), {limit = 10})
    t.raises("unknown option", codec.encode, 1, {size = 1})
    t.raises("value expected", codec.encode)
    assert.equal("01", hex(codec.encode(1)))
  end)

  it("takes the same table twice", function()
    local one = {1}
    assert.same({one, one}, round {one, one})
  end)
end)

describe("codec.decode", function()
  it("gives one value after the other", function()
    local bytes = codec.encode(1) .. codec.encode "two" .. codec.encode {3}
    local one, place = codec.decode(bytes)
    local two, three, last
    two, place = codec.decode(bytes, place)
    three, last = codec.decode(bytes, place)
    assert.same({1, "two", {3}, #bytes + 1}, {one, two, three, last})
    t.refused("EBADMSG", codec.decode(bytes, last))
    t.raises("out of bounds", codec.decode, bytes, last + 1)
    t.raises("out of bounds", codec.decode, bytes, 0)
  end)

  it("reads all forms of numbers and timestamps", function()
    for text, value in pairs {
      ["cf 00 00 00 00 00 00 00 07"] = 7, ["d3 ff ff ff ff ff ff ff ff"] = -1,
      ["ca 3f c0 00 00"] = 1.5, ["d6 ff 00 00 00 05"] = 5,
      ["c7 0c ff 1d cd 65 00 00 00 00 00 00 00 00 01"] = 1.5,
    } do
      assert.equal(value, (codec.decode(unhex(text))))
    end
  end)

  it("refuses what is no value", function()
    for text, why in pairs {
      [""] = "cut off", ["c1"] = "begins no value", ["a5 61"] = "cut off",
      ["dd ff ff ff ff"] = "cut off", ["df 7f ff ff ff 01"] = "cut off",
      ["c6 ff ff ff ff"] = "cut off", ["91"] = "cut off",
      ["cf ff ff ff ff ff ff ff ff"] = "above math.maxinteger",
      ["82 01 02 01 03"] = "comes twice", ["81 c0 01"] = "key that is nil",
      ["82 a1 78 02 a1 78 03"] = "comes twice",
      ["82 a1 78 c0 a1 78 03"] = "comes twice",
      ["82 d9 01 78 02 a1 78 03"] = "comes twice",
      ["82 a1 78 02 c4 01 78 03"] = "comes twice",
      ["83 a1 79 02 01 02 a1 79 03"] = "comes twice",
      ["89 a1 61 01 a1 62 01 a1 63 01 a1 64 01 a1 65 01 a1 66 01 a1 67 01"
        .. " a1 68 01 a1 61 01"] = "comes twice",
      ["81 cb 7f f8 00 00 00 00 00 00 01"] = "key that is nan",
      ["81 90 01"] = "key that is no string", ["d4 05 00"] = "not registered",
      ["d4 ff 00"] = "timestamp",
    } do
      local message = t.refused("EBADMSG", codec.decode(unhex(text)))
      assert.truthy(message:find(why, 1, true), text .. ": " .. message)
    end
    local deep = ("\x91"):rep(100000) .. "\x01"
    assert.truthy(t.refused("EBADMSG", codec.decode(deep)):find "too deep")
  end)

  it("takes no more memory than there are bytes for", function()
    collectgarbage()
    local before = collectgarbage "count"
    for _, head in ipairs {"\xdd\x7f\xff\xff\xff", "\xdf\x3f\xff\xff\xff",
        "\xc6\xff\xff\xff\xff"} do
      for _ = 1, 10 do head = "\x91" .. head end
      t.refused("EBADMSG", codec.decode(head .. ("\x01"):rep(1000)))
    end
    assert.is_true(collectgarbage "count" - before < 1024)
  end)

  it("says the same of all that was cut or changed, or gives a value",
    function()
      math.randomseed(7)
      for _ = 1, 300 do
        local value = random_value(3)
        local bytes = codec.encode(value)
        assert.same(value, (codec.decode(bytes)))
        local cut = bytes:sub(1, math.random(0, #bytes - 1))
        t.refused("EBADMSG", codec.decode(cut))
        for _ = 1, 10 do
          local at = math.random(#bytes)
          pcall(codec.decode, bytes:sub(1, at - 1)
            .. string.char(math.random(0, 255)) .. bytes:sub(at + 1))
        end
      end
    end)
end)

describe("codec.register", function()
  local Point = {}
  Point.__index = Point

  local function new_point(x, y)
    return setmetatable({x = x, y = y}, Point)
  end

  it("lets objects travel", function()
    codec.register(5, Point, function(p) return {p.x, p.y} end,
      function(list) return new_point(list[1], list[2]) end)
    local bytes = codec.encode {new_point(1, 2), new_point(3, 4)}
    assert.equal("92 c7 03 05 92 01 02 c7 03 05 92 03 04", hex(bytes))
    local back = codec.decode(bytes)
    assert.equal(Point, getmetatable(back[2]))
    assert.equal(4, back[2].y)
  end)

  it("passes on what its functions raise, and goes on", function()
    local Bad = {}
    codec.register(6, Bad, function() error("no to", 0) end,
      function() error("no from", 0) end)
    t.raises("no to", codec.encode, {1, setmetatable({}, Bad)})
    codec.register(6, Bad, function() return codec.encode {1} end,
      function() error("no from", 0) end)
    local bytes = codec.encode {1, setmetatable({}, Bad)}
    t.raises("no from", codec.decode, bytes)
    assert.equal("01", hex(codec.encode(1)))
    t.raises("0 to 127", codec.register, 128, Bad, print, print)
    t.raises("table expected", codec.register, 1, 2, print, print)
    t.raises("function expected", codec.register, 1, Bad, print)
  end)
end)

-- ---- peers -----------------------------------------------------------------

local PYTHON <const> = "/usr/bin/python3" -- of the system's packages

local function has(command)
  return os.execute(command .. " >/dev/null 2>&1") == true
end

describe("MessagePack of others", function()
  local SAMPLE = {id = 7, name = "Zoë", list = {1, -200, 70000, 1.25},
    yes = true, no = false, bytes = "\255\0", big = 1 << 40,
    deep = {{{"x"}}}}

  it("is what Python reads and writes", function()
    if not has(PYTHON .. " -c 'import msgpack'") then
      return pending "python3-msgpack is not installed"
    end
    local path = t.names.file(codec.encode(SAMPLE))
    local python <close> = assert(io.popen((PYTHON .. [=[ -c '
import msgpack, sys
value = msgpack.unpackb(open("%s", "rb").read(), strict_map_key=False)
assert value["name"] == "Zo\u00eb" and value["bytes"] == b"\xff\x00", value
assert value["list"] == [1, -200, 70000, 1.25] and value["yes"] is True
assert value["big"] == 1 << 40 and value["deep"] == [[["x"]]]
sys.stdout.buffer.write(msgpack.packb(value))']=]):format(path)))
    assert.same(SAMPLE, (codec.decode(python:read "a")))
  end)

  it("is what Lua's MessagePack reads and writes", function()
    if not has [[lua5.3 -e 'require "MessagePack"']] then
      return pending "lua-messagepack, and a Lua that has it, are not installed"
    end
    local path = t.names.file(codec.encode(SAMPLE))
    local other <close> = assert(io.popen(([=[lua5.3 -e '
      local mp = require "MessagePack"
      local file = io.open "%s"
      local value = mp.unpack(file:read "a")
      assert(value.id == 7 and math.type(value.list[3]) == "integer")
      assert(value.list[4] == 1.25 and value.bytes == "\xff\0")
      io.write(mp.pack(value))']=]):format(path)))
    assert.same(SAMPLE, (codec.decode(other:read "a")))
  end)
end)
