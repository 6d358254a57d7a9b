-- What other people's suites check of MessagePack, beyond the spec of codec.
-- MPTS is msgpack-test-suite, MPPY the tests of msgpack-python, LMP those of
-- lua-MessagePack, LCM those of lua-cmsgpack.
local t = require "support"
local codec = require "unixipc.codec"

local pack <const> = string.pack

-- Nested tables are compared without recursion of the test's own.
local function nested(depth, inmost)
  local value = inmost
  for _ = 1, depth do value = {value} end
  return value
end

local function same(expected, bytes, what)
  local value, place = codec.decode(bytes)
  what = what or ("%q"):format(bytes:sub(1, 40))
  assert.same(expected, value, what)
  assert.equal(math.type(expected), math.type(value), what)
  assert.equal(#bytes + 1, place, what)
end

local function round(value)
  local bytes = codec.encode(value)
  local back, place = codec.decode(bytes)
  assert.equal(#bytes + 1, place)
  return back, bytes
end

-- All bytes that say this integer, the shortest first.
local function forms_of_integer(n)
  local list = {}
  local function add(fits, format, lead)
    if fits then list[#list + 1] = pack(format, lead, n) end
  end
  if n >= -32 and n <= 127 then list[1] = pack("b", n) end
  for i = 0, 3 do
    local bits = 8 << i
    local size = ">B I" .. bits // 8
    local signed = ">B i" .. bits // 8
    local half = bits == 64 and math.mininteger or -(1 << bits - 1)
    add(n >= 0 and (bits == 64 or n < 1 << bits), size, 0xcc + i)
    add(n >= half and n <= -(half + 1), signed, 0xd0 + i)
  end
  return list
end

-- All bytes that say this string, or the head of so many values.
local function forms_of_length(n, fix, most, leads)
  local list = {}
  if n <= most then list[1] = string.char(fix | n) end
  for _, lead in ipairs(leads) do
    local size = lead[2]
    if n < 1 << 8 * size then
      list[#list + 1] = pack(">B I" .. size, lead[1], n)
    end
  end
  return list
end

local function forms_of_string(s)
  local list = forms_of_length(#s, 0xa0, 31, {{0xd9, 1}, {0xda, 2}, {0xdb, 4},
    {0xc4, 1}, {0xc5, 2}, {0xc6, 4}})
  for i, head in ipairs(list) do list[i] = head .. s end
  return list
end

local function heads_of_array(n)
  return forms_of_length(n, 0x90, 15, {{0xdc, 2}, {0xdd, 4}})
end

local function heads_of_map(n)
  return forms_of_length(n, 0x80, 15, {{0xde, 2}, {0xdf, 4}})
end

local EDGES <const> = {0, 1, 31, 32, 127, 128, 255, 256, 32767, 32768, 65535,
  65536, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1 << 48, math.maxinteger,
  -1, -32, -33, -127, -128, -129, -256, -32768, -32769, -65536, -2147483648,
  -2147483649, -(1 << 32), -(1 << 48), math.mininteger, math.mininteger + 1}

describe("MessagePack's numbers", function()
  it("MPTS:20.number-positive MPTS:21.number-negative MPTS:23.number-bignum "
    .. "MPPY:test_format:testUnsignedInt MPPY:test_format:testSignedInt of "
    .. "every width are the same integer", function()
      for _, n in ipairs(EDGES) do
        for _, bytes in ipairs(forms_of_integer(n)) do same(n, bytes) end
      end
    end)

  it("MPPY:test_case:test_1 MPPY:test_case:test_2 MPPY:test_case:test_3 "
    .. "MPPY:test_case:test_5 MPPY:test_case:test_9 travel in the fewest bytes",
    function()
      for _, n in ipairs(EDGES) do
        local fewest = 9
        for _, bytes in ipairs(forms_of_integer(n)) do
          fewest = math.min(fewest, #bytes)
        end
        assert.equal(fewest, #codec.encode(n), n)
      end
      assert.equal(9, #codec.encode(1.0))
      assert.equal(9, #codec.encode(0.1))
    end)

  it("MPTS:20.number-positive MPTS:22.number-float that are floats stay "
    .. "floats, of both widths", function()
      for _, x in ipairs {0.0, 1.0, -1.0, 0.5, -0.5, 2147483648.0, -32.0,
        2.0 ^ 48, 3.140625} do
        same(x, pack(">Bf", 0xca, x))
        same(x, pack(">Bd", 0xcb, x))
      end
    end)

  it("MPTS:23.number-bignum MPPY:test_limits:test_integer above the largest "
    .. "are refused, not made negative", function()
      for _, n in ipairs {math.mininteger, -1, math.mininteger + 1} do
        t.refused("EBADMSG", codec.decode(pack(">BI8", 0xcf, n)))
      end
      same(math.maxinteger, pack(">BI8", 0xcf, math.maxinteger))
    end)

  it("LMP:03-edge.t:inf LMP:03-edge.t:nan LCM:test.lua:positive-infinity go "
    .. "there and back", function()
      assert.equal(math.huge, (round(math.huge)))
      assert.equal(-math.huge, (round(-math.huge)))
      local nan = round(0 / 0)
      assert.is_true(nan ~= nan)
      same(math.huge, pack(">Bf", 0xca, math.huge))
      local small = codec.decode(pack(">Bf", 0xca, 0 / 0))
      assert.is_true(small ~= small)
    end)

  it("LMP:04-cover.t:2^51 a float that is whole is not made an integer",
    function()
      for _, x in ipairs {2.0 ^ 5, -2.0 ^ 11, 2.0 ^ 21, -2.0 ^ 51, 2.0 ^ 63} do
        local back = round(x)
        assert.equal("float", math.type(back))
        assert.equal(x, back)
      end
    end)
end)

describe("MessagePack's strings", function()
  it("MPTS:30.string-ascii MPTS:12.binary MPPY:test_format:testRaw "
    .. "MPPY:test_newspec are the same of every form", function()
      for _, n in ipairs {0, 1, 31, 32, 255, 256, 65535, 65536} do
        local s = ("x"):rep(n)
        for _, bytes in ipairs(forms_of_string(s)) do same(s, bytes) end
      end
      for _, s in ipairs {"\1", "\0\255", "\xff"} do
        for _, bytes in ipairs(forms_of_string(s)) do same(s, bytes) end
      end
    end)

  it("MPPY:test_case:test_fixraw MPPY:test_case:test_raw16 "
    .. "MPPY:test_case:test_raw32 LCM:test.lua:raw8 have the shortest head",
    function()
      for n, head in pairs {[0] = 1, [31] = 1, [32] = 2, [255] = 2, [256] = 3,
        [65535] = 3, [65536] = 5} do
        assert.equal(n + head, #codec.encode((" "):rep(n)))
      end
      for n, head in pairs {[1] = 2, [255] = 2, [256] = 3, [65535] = 3,
        [65536] = 5} do
        assert.equal(n + head, #codec.encode(("\xff"):rep(n)))
      end
    end)

  it("MPTS:31.string-utf8 MPTS:32.string-emoji in UTF-8 are str, so that "
    .. "others read them as text", function()
      for _, s in ipairs {"Кириллица", "ひらがな", "한글", "漢字", "❤", "🍺",
        "\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}"} do
        local back, bytes = round(s)
        assert.equal(s, back)
        assert.is_true(#s > 31 or bytes:byte() == 0xa0 | #s)
      end
    end)

  it("MPPY:test_pack:testIgnoreErrorsPack that are no UTF-8 are bin, nothing "
    .. "of them is lost", function()
      for _, s in ipairs {"abc\xeddef", "\xed\xb2\x80", "\xf4\x90\x80\x80",
        "\xc1\x81", "\xe0\x80\x80", "\xf8\x88\x80\x80\x80", "\xe2\x82"} do
        local back, bytes = round(s)
        assert.equal(s, back)
        assert.equal(0xc4, bytes:byte())
      end
    end)

  it("MPPY:test_pack:testStrictUnicodeUnpack a str of others that is no UTF-8 "
    .. "keeps its bytes", function()
      same("abc\xeddef", "\xa7abc\xeddef")
    end)

  it("MPPY:test_limits:test_max_str_len MPPY:test_limits:test_max_array_len "
    .. "the limit counts all bytes, itself included", function()
      for _, value in ipairs {("x"):rep(300), {1, 2, 3}, {a = {b = 1.5}}} do
        local n = #codec.encode(value)
        assert.equal(n, #codec.encode(value, {limit = n}))
        t.raises("limit of", codec.encode, value, {limit = n - 1})
      end
    end)
end)

describe("MessagePack's tables", function()
  it("MPTS:40.array MPTS:42.nested MPPY:test_format:testArray are the same of "
    .. "every form of array", function()
      for _, n in ipairs {0, 1, 15, 16, 300} do
        local list, bytes = {}, {}
        for i = 1, n do
          list[i] = i % 2 == 0 and i % 7 or {}
          bytes[i] = i % 2 == 0 and string.char(i % 7) or "\x90"
        end
        for _, head in ipairs(heads_of_array(n)) do
          same(list, head .. table.concat(bytes))
        end
      end
    end)

  it("MPTS:41.map MPTS:42.nested MPPY:test_format:testMap are the same of "
    .. "every form of map", function()
      for _, n in ipairs {0, 1, 15, 16, 300} do
        local map, bytes = {}, {}
        for i = 1, n do
          map["k" .. i] = {}
          bytes[i] = codec.encode("k" .. i) .. "\x80"
        end
        for _, head in ipairs(heads_of_map(n)) do
          same(map, head .. table.concat(bytes))
        end
      end
    end)

  it("MPPY:test_case:test_fixarray MPPY:test_case:test_array16 "
    .. "MPPY:test_case:test_array32 MPPY:test_pack:testMapSize have the "
    .. "shortest head", function()
      for _, n in ipairs {1, 15, 16, 65535, 65536} do
        local list, map = {}, {}
        for i = 1, n do
          list[i] = true
          map[-i] = true
        end
        local head = heads_of_array(n)[1]
        assert.equal(head .. ("\xc3"):rep(n), codec.encode(list))
        head = heads_of_map(n)[1]
        assert.equal(head, codec.encode(map):sub(1, #head))
      end
    end)

  it("MPPY:test_format:testFixnum MPPY:test_format:testFixArray "
    .. "MPPY:test_format:testFixMap one in the other", function()
      same({{0, 64, 127}, {-32, -16, -1}},
        "\x92\x93\x00\x40\x7f\x93\xe0\xf0\xff")
      same({{}, {{{}}}}, "\x92\x90\x91\x91\x90")
      same({[false] = {[true] = 1}, [true] = {[false] = {}}},
        "\x82\xc2\x81\xc3\x01\xc3\x81\xc2\x80")
    end)

  it("LMP:03-edge.t:array-with-hole is a map of what is there", function()
    local back, bytes = round {10, 20, nil, 40}
    assert.equal(0x83, bytes:byte())
    assert.same({10, 20, nil, 40}, back)
  end)

  it("LMP:03-edge.t:metatable what a metatable adds does not travel", function()
    local called = 0
    local function spy() called = called + 1 end
    local list = setmetatable({"a", "b"}, {__index = {[3] = "c"}, __len = spy,
      __pairs = spy, __name = "Thing"})
    local map = setmetatable({a = 1}, {__index = {b = 2}, __pairs = spy,
      __metatable = "hidden"})
    assert.same({"a", "b"}, (round(list)))
    assert.same({a = 1}, (round(map)))
    assert.is_nil(getmetatable((round(list))))
    assert.equal(0, called)
  end)

  it("LCM:test.lua:array-detection a table that was a map once is an array",
    function()
      local list = {a1 = 1, a2 = 1, a3 = 1, a4 = 1, a5 = 1, a6 = 1, a7 = 1,
        a8 = 1, a9 = 1}
      list[1], list[2], list[3] = 10, 20, 30
      for i = 1, 9 do list["a" .. i] = nil end
      assert.equal(codec.encode {10, 20, 30}, codec.encode(list))
    end)

  it("LCM:test.lua:array-detection a table that was an array once is one as "
    .. "long as it is now", function()
      local list = {}
      for i = 1, 100 do list[i] = i end
      for i = 100, 4, -1 do list[i] = nil end
      assert.equal("\x93\1\2\3", codec.encode(list))
      list[1] = nil
      assert.equal(0x82, codec.encode(list):byte())
      list[2], list[3] = nil, nil
      assert.equal("\x90", codec.encode(list))
    end)

  it("LCM:test.lua:map-with-string-keys the key \"1\" is no 1", function()
    local value = {["1"] = 20, [2] = 30, [3] = 40}
    local back, bytes = round(value)
    assert.same(value, back)
    assert.equal(0x83, bytes:byte())
    local both = {[1] = "integer", ["1"] = "string", [1.5] = "float"}
    assert.same(both, (round(both)))
  end)

  it("LCM:test.lua:map-with-float-keys a float key that is whole is the "
    .. "integer one, and is refused beside it", function()
      same({[2] = true}, "\x81" .. pack(">Bd", 0xcb, 2.0) .. "\xc3")
      t.refused("EBADMSG", codec.decode("\x82\x02\xc3"
        .. pack(">Bf", 0xca, 2.0) .. "\xc3"))
      t.refused("EBADMSG", codec.decode("\x82"
        .. pack(">Bd", 0xcb, -0.0) .. "\x01\x00\x02"))
      same({[2.0 ^ 63] = 1}, "\x81" .. pack(">Bd", 0xcb, 2.0 ^ 63) .. "\x01")
    end)

  it("LCM:test.lua:fix-array of maps with the keys 1 to n are sequences",
    function()
      local value = codec.decode "\x83\x03\xa1c\x01\xa1a\x02\xa1b"
      assert.equal(3, #value)
      assert.equal("abc", table.concat(value))
    end)

  it("LCM:test.lua:large-object-test of a thousand keys", function()
    local map = {}
    for i = 1, 1000 do map[("word%d"):format(i * i)] = 9483 end
    assert.same(map, (round(map)))
  end)

  it("MPPY:test_limits:test_nest_limit_1024 MPPY:test_except:test_invalidvalue "
    .. "a hundred deep is not too deep, both ways; one more is", function()
      local back = round(nested(100, "in"))
      for _ = 1, 100 do back = back[1] end
      assert.equal("in", back)
      t.raises("too deep", codec.encode, nested(101, "in"))
      assert.truthy(codec.decode(("\x91"):rep(100) .. "\x01"))
      t.refused("EBADMSG", codec.decode(("\x91"):rep(101) .. "\x01"))
      t.refused("EBADMSG", codec.decode(("\x81\x01"):rep(101) .. "\x01"))
      t.refused("EBADMSG", codec.decode(("\x91"):rep(3000)))
    end)

  it("LMP:02-except.t:direct-cycle LMP:02-except.t:indirect-cycle "
    .. "LCM:test.lua:regression-for-issue-4 are refused inside themselves",
    function()
      local a, b = {y = 5}, {}
      a.x, b.x = b, a
      t.raises("inside itself", codec.encode, a)
      a.x = a
      t.raises("inside itself", codec.encode, a)
      a.x = nil
      assert.same({{y = 5}, {y = 5}}, (round {a, a}))
    end)
end)

describe("MessagePack's timestamps", function()
  local function stamp(seconds, nanos)
    local list = {pack(">BBb I4 i8", 0xc7, 12, -1, nanos, seconds)}
    if seconds >= 0 and seconds < 1 << 34 then
      list[2] = pack(">Bb I8", 0xd7, -1, nanos << 34 | seconds)
    end
    if nanos == 0 and seconds >= 0 and seconds < 1 << 32 then
      list[3] = pack(">Bb I4", 0xd6, -1, seconds)
    end
    return list
  end

  it("MPTS:50.timestamp MPPY:test_timestamp:test_timestamp of 4, 8 and 12 "
    .. "bytes are the seconds since 1970", function()
      for _, seconds in ipairs {0, 1, -1, 1514862245, 0x7fffffff, 0x80000000,
        0xffffffff, 1 << 32, (1 << 34) - 1, 1 << 34, -2208988800, -62167219200,
        253402300799} do
        for _, bytes in ipairs(stamp(seconds, 0)) do
          assert.equal(seconds, (codec.decode(bytes)))
        end
        for _, bytes in ipairs(stamp(seconds, 500000000)) do
          assert.equal(seconds + 0.5, (codec.decode(bytes)))
        end
      end
    end)

  it("MPPY:test_timestamp:test_unpack_timestamp of other lengths, or of more "
    .. "than a second of nanoseconds, are refused", function()
      for _, bytes in ipairs {"\xd4\xff\0", "\xd5\xff\0\0", "\xc7\x00\xff",
        "\xc7\x03\xff\0\0\0", "\xc7\x05\xff\0\0\0\0\0",
        "\xd7\xff" .. ("\xff"):rep(8), "\xc7\x0c\xff" .. ("\xff"):rep(12),
        "\xd8\xff" .. ("\0"):rep(16), stamp(1, 1000000000)[1],
        stamp(1, 1000000000)[2]} do
        t.refused("EBADMSG", codec.decode(bytes))
      end
      assert.equal(1, math.floor((codec.decode(stamp(1, 999999999)[1]))))
    end)

  it("MPPY:test_timestamp:test_too_large_timestamp at the far ends are numbers",
    function()
      for _, seconds in ipairs {math.maxinteger, math.mininteger} do
        assert.equal(seconds, (codec.decode(stamp(seconds, 0)[1])))
        assert.equal(seconds + 0.0, codec.decode(stamp(seconds, 1)[1]) + 0.0)
      end
    end)

  it("MPTS:60.ext other types below zero are nobody's", function()
    for id = -128, -2 do
      t.refused("EBADMSG", codec.decode(pack("Bb", 0xd4, id) .. "\x01"))
    end
  end)
end)

describe("MessagePack's ext", function()
  local Box = {}

  local function box(value)
    return setmetatable({value = value}, Box)
  end

  before_each(function()
    codec.register(66, Box, function(o) return o.value end, box)
  end)

  local function heads(n)
    return forms_of_length(n, 0, -1, {{0xc7, 1}, {0xc8, 2}, {0xc9, 4}})
  end

  local FIXED <const> = {[1] = "\xd4", [2] = "\xd5", [4] = "\xd6",
    [8] = "\xd7", [16] = "\xd8"}

  it("MPTS:60.ext MPPY:test_extension:test_unpack_ext_type of every form is "
    .. "the same object", function()
      for _, n in ipairs {0, 1, 2, 3, 6, 7, 14, 300, 70000} do
        local value = ("v"):rep(n)
        local bytes = codec.encode(value)
        local list = heads(#bytes)
        list[#list + 1] = FIXED[#bytes]
        for _, head in ipairs(list) do
          local back = codec.decode(head .. "\x42" .. bytes)
          assert.equal(Box, getmetatable(back))
          assert.equal(value, back.value)
        end
      end
    end)

  it("MPPY:test_extension:test_pack_ext_type has the shortest head", function()
    for n, head in pairs {[0] = "\xd4\x42", [1] = "\xd5\x42", [3] = "\xd6\x42",
      [7] = "\xd7\x42", [15] = "\xd8\x42", [2] = "\xc7\x03\x42",
      [0x120] = "\xc8\x01\x23\x42", [0x12340] = "\xc9\x00\x01\x23\x45\x42"} do
      local bytes = codec.encode(box(("A"):rep(n)))
      assert.equal(head, bytes:sub(1, #head))
      assert.equal(("A"):rep(n), codec.decode(bytes).value)
    end
  end)

  it("MPTS:60.ext holds one value, no more and no less", function()
    for _, bytes in ipairs {"\xc7\x00\x42", "\xc8\x00\x00\x42",
      "\xd5\x42\x01\x02", "\xd4\x42\xcc", "\xd4\x42\xc1", "\xd6\x42\xa4abc"} do
      t.refused("EBADMSG", codec.decode(bytes))
    end
  end)

  it("MPPY:test_extension:test_extension_type among other values, as key of "
    .. "none", function()
      local back = round {42, "hello", box {1.1, 2.2}, {deep = box(nil)}}
      assert.same({1.1, 2.2}, back[3].value)
      assert.equal(Box, getmetatable(back[4].deep))
      assert.is_nil(back[4].deep.value)
      t.refused("EBADMSG", codec.decode "\x81\xd4\x42\x01\x02")
      t.raises("a key", codec.encode, {[box(1)] = 1})
    end)

  it("MPPY:test_obj:test_encode_hook what `to` gives may be such an object "
    .. "again", function()
      local back = round(box(box(box "inmost")))
      assert.equal("inmost", back.value.value.value)
    end)

  it("MPPY:test_obj:test_bad_hook what `to` gives must travel", function()
    t.raises("a function cannot travel", codec.encode, {1, box(print)})
    local own = box()
    own.value = own
    assert.is_false((pcall(codec.encode, own)))
    assert.equal("\x01", codec.encode(1))
  end)

  it("MPPY:test_obj:test_bad_hook `to` that makes a new one each time ends too",
    function()
      codec.register(66, Box, function() return box() end, box)
      t.raises("too deep", codec.encode, box())
    end)

  it("MPPY:test_unpack:test_unpacker_reentrant_feed functions of classes may "
    .. "encode and decode", function()
      codec.register(66, Box, function(o) return codec.encode(o.value) end,
        function(bytes) return box((codec.decode(bytes))) end)
      local value = box {1, box {2, box {3}}}
      local back = round {value, "after"}
      assert.equal(3, back[1].value[2].value[2].value[1])
      assert.equal("after", back[2])
    end)

  it("MPPY:test_except:test_raise_from_ext_hook what `from` raises leaves "
    .. "decode as it is", function()
      local problem = {}
      codec.register(66, Box, function(o) return o.value end,
        function() error(problem) end)
      local bytes = codec.encode {1, {x = box(1)}, 2}
      for _ = 1, 10 do
        local ok, message = pcall(codec.decode, bytes)
        assert.is_false(ok)
        assert.equal(problem, message)
      end
      same({1, 2}, "\x92\x01\x02")
    end)

  it("MPPY:test_unpack:test_unpacker_hook_refcnt "
    .. "MPPY:test_unpack:test_unpacker_reinit_clears_partial_state keeps "
    .. "nothing of what failed, nor of functions that were replaced", function()
      local weak = setmetatable({}, {__mode = "k"})
      do
        local function from(value)
          local object = box(value)
          weak[object] = true
          return object
        end
        weak[from] = true
        codec.register(66, Box, function(o) return o.value end, from)
        t.refused("EBADMSG", codec.decode "\x92\xd4\x42\x01\xc1")
        t.refused("EBADMSG", codec.decode "\x92\x81\x01\xd4\x42\x01\xc1")
      end
      codec.register(66, Box, function(o) return o.value end, box)
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)
end)

describe("Bytes that are no MessagePack", function()
  it("MPPY:test_limits:test_auto_max_array_len "
    .. "MPPY:test_limits:test_auto_max_map_len LCM:test.lua:unpack-big-string "
    .. "LCM:test.lua:unpack-big-array LCM:test.lua:unpack-big-map of a length "
    .. "that is not there", function()
      for _, bytes in ipairs {"\xde\x00\x06zz", "\xde\x00\x04zzz",
        "\xdc\x00\x03zz", "\xdb\xff\xff\xff\xffZ", "\xdd\xff\xff\xff\xffZ",
        "\xdf\xff\xff\xff\xffZ", "\xd9\x97#DL_", "\xc9\xff\xff\xff\xff\x01Z",
        "\x83\x73\xc4\x00"} do
        t.refused("EBADMSG", codec.decode(bytes))
      end
    end)

  it("MPPY:test_except:test_no_memory_leak_on_nested_invalid_tag leave nothing",
    function()
      local function storm()
        for depth = 1, 15 do
          local bytes = ("\x91"):rep(depth) .. "\xc1"
          for _ = 1, 200 do assert(not codec.decode(bytes)) end
        end
        collectgarbage()
        collectgarbage()
        return collectgarbage "count"
      end
      storm()
      local before = storm()
      assert.is_true(storm() - before < 16)
    end)

  it("MPPY:test_sequnpack:test_partialdata LMP:02-except.t:missing-bytes cut "
    .. "off anywhere are told from whole ones", function()
      local bytes = codec.encode {1, -200, 70000, 1.5, "text", "\xff", {
        a = {true, false}, [7] = ("x"):rep(40)}}
      for n = 0, #bytes - 1 do
        assert.truthy(t.refused("EBADMSG", codec.decode(bytes:sub(1, n)))
          :find "cut off")
      end
      assert.truthy(codec.decode(bytes))
    end)

  it("LMP:02-except.t:extra-bytes "
    .. "MPPY:test_unpack:test_unpackb_raises_extra_data_with_trailing_bytes "
    .. "what comes after a value is seen by its place", function()
      local value, place = codec.decode(codec.encode "text" .. "more")
      assert.same({"text", 6}, {value, place})
    end)

  it("MPPY:test_sequnpack:test_unpack_tell MPPY:test_unpack:test_unpacker_tell "
    .. "LCM:test.lua:unpack-1-out-of-7 many values, one after the other",
    function()
      local list, bytes, places = {}, {}, {}
      for i = 0, 62 do list[#list + 1] = (1 << i) - 1 end
      for i = 0, 63 do list[#list + 1] = -(1 << i) end
      for i = 1, 300, 7 do list[#list + 1] = ("\xff"):rep(i) end
      list[#list + 1] = {1, {2}, x = {3}}
      local n = 1
      for i, value in ipairs(list) do
        bytes[i] = codec.encode(value)
        n = n + #bytes[i]
        places[i] = n
      end
      local all, place = table.concat(bytes), 1
      for i, expected in ipairs(list) do
        local value, after = codec.decode(all, place)
        assert.same(expected, value)
        assert.equal(places[i], after)
        place = after
      end
      t.refused("EBADMSG", codec.decode(all, place))
    end)

  it("LMP:02-except.t:bad-argument LCM:test.lua:unpack-udata "
    .. "LCM:test.lua:pack-nothing what is no string is a mistake", function()
      for _, bad in ipairs {{}, io.stdout, true, print} do
        t.raises("string expected", codec.decode, bad)
      end
      t.raises("string expected", codec.decode, nil)
      t.raises("value expected", codec.encode)
      t.raises("out of bounds", codec.decode, "\x01", -1)
      t.raises("no integer representation", codec.decode, "\x01", 1.5)
    end)

  it("LMP:02-except.t:pack-userdata functions, threads, files", function()
    for _, bad in ipairs {print, function() end, io.stdin,
      coroutine.create(print)} do
      t.raises("cannot travel", codec.encode, bad)
      t.raises("cannot travel", codec.encode, {{x = bad}})
      t.raises("cannot travel", codec.encode, {[1] = 1, n = {bad}})
    end
  end)

  it("MPPY:test_seq:test_exceeding_unpacker_read_size values of every length "
    .. "beside each other", function()
      local all = {}
      for i = 0, 255 do all[i] = string.char(i) end
      local binary = table.concat(all, "", 0):rep(2)
      local list = {}
      for i = 1, 600 do list[i] = binary:sub(1, i % 300) end
      assert.same(list, (round(list)))
    end)
end)
