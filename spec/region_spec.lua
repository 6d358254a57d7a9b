local t = require "support"
local ipc = require "unixipc"
local region = ipc.region

describe("region.new", function()
  it("gives zeroed memory of its own", function()
    local r <close> = assert(region.new(100))
    assert.equal(100, #r)
    assert.equal(100, r:length())
    assert.equal(("\0"):rep(100), r:read())
    assert.is_false(r:is_readonly())
    assert.is_true(r:address() ~= 0)
    assert.equal("private region 100 bytes", tostring(r))
  end)

  it("has no pages of its own, which could be thrown away", function()
    local one = region.new(5000)
    local two = ipc.layout.region(
      ipc.layout.new(ipc.layout.array("int", 3000)))
    local _ = ipc.mmap -- has the methods
    for _, r in ipairs {one, two, one:view(8, 4500)} do
      r:fill(0, nil, 7)
      for name, word in pairs {advise = "dontneed", protect = "r"} do
        t.raises("no pages of its own", r[name], r, word)
      end
      for _, name in ipairs {"sync", "lock", "unlock"} do
        t.raises("no pages of its own", r[name], r)
      end
      assert.equal(("\7"):rep(#r), r:read())
    end
  end)

  it("may be empty", function()
    local r <close> = assert(region.new(0))
    assert.equal("", r:read())
    r:write(0, "")
    t.raises("out of bounds", r.write, r, 0, "x")
  end)

  it("refuses what there is no memory for: ENOMEM", function()
    if os.getenv "ASAN_OPTIONS" then return pending "the checker stops that" end
    t.refused("ENOMEM", region.new(1 << 60))
  end)

  it("raises for a length that is none", function()
    t.raises("bad argument #1", region.new, -1)
    t.raises("bad argument #1", region.new, "x")
    t.raises("bad argument #1", region.new)
  end)
end)

describe("Region:read and write", function()
  it("keep every byte", function()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    bytes = table.concat(bytes)
    local r <close> = region.new(300)
    assert.equal(r, r:write(10, bytes))
    assert.equal(bytes, r:read(10, 256))
    assert.equal("\0" .. bytes:sub(1, 1), r:read(9, 2))
    assert.equal(290, #r:read(10))
    assert.equal("", r:read(300))
  end)

  it("raise outside of the region", function()
    local r <close> = region.new(10)
    for _, range in ipairs {{-1}, {11}, {0, 11}, {10, 1}, {5, -1},
                            {math.mininteger}, {math.maxinteger},
                            {1, math.maxinteger}} do
      t.raises("out of bounds", r.read, r, table.unpack(range))
    end
    t.raises("out of bounds", r.write, r, 8, "xyz")
    t.raises("out of bounds", r.write, r, -1, "x")
    t.raises("out of bounds", r.write, r, 11, "")
    assert.equal(("\0"):rep(10), r:read())
  end)

  it("SYSV_IPC:test_memory.py#3 past the end of a segment", function()
    local segment <close> = assert(ipc.sysv_shm.get(nil, 3333,
      {create = true, temporary = true}))
    local r <close> = assert(segment:attach())
    t.raises("out of bounds", r.read, r, 3333, 1)
    t.raises("out of bounds", r.read, r, -1, 1)
    t.raises("out of bounds", r.write, r, 3333, "x")
  end)

  it("raise for arguments of another type", function()
    local r <close> = region.new(10)
    t.raises("bad argument", r.write, r, "x", "y")
    t.raises("bad argument", r.write, r, nil, "y")
    t.raises("bad argument", r.write, r, 0)
    t.raises("bad argument", r.read, r, 1.5)
    t.raises("region expected", r.read, io.stdout)
    t.raises("region expected", r.read, 1)
  end)
end)

describe("A number in the place of a string", function()
  it("is one, and its making may close the region", function()
    local r = assert(ipc.mmap.map {size = 4096})
    assert.equal("12", r:write(0, 12):read(0, 2))
    assert.equal(0, r:find(12))
    for _, call in ipairs {
      function(one, number) return one:write(0, number) end,
      function(one, number) return one:find(number) end,
    } do
      local closing = assert(ipc.mmap.map {size = 4096})
      collectgarbage()
      collectgarbage("incremental", 100, 1000, 30) -- all of it in one step
      collectgarbage "stop"
      setmetatable({}, {__gc = function() closing:close() end})
      collectgarbage "restart"
      local ok, message
      for i = 1, 1000 do
        ok, message = pcall(call, closing, 1e15 + i)
        if not ok then break end
      end
      collectgarbage("incremental", 200, 100, 13)
      assert.is_false(ok)
      assert.truthy(message:find "closed region")
    end
    r:close()
  end)
end)

describe("Region:cstring", function()
  it("ends at the first zero, or at the end", function()
    local r <close> = region.new(8)
    r:write(0, "abc\0def")
    assert.equal("abc", r:cstring())
    assert.equal("def", r:cstring(4))
    assert.equal("de", r:cstring(4, 2))
    assert.equal("", r:cstring(3))
    r:fill(0, 8, "x")
    assert.equal("xxxxxxxx", r:cstring())
    assert.equal("", r:cstring(8))
  end)
end)

describe("Region:fill", function()
  it("sets a range", function()
    local r <close> = region.new(6)
    assert.equal(r, r:fill(0, 6, 255))
    assert.equal("\255\255\255\255\255\255", r:read())
    r:fill(4, nil, "a")
    r:fill(1, 2)
    assert.equal("\255\0\0\255aa", r:read())
    r:fill()
    assert.equal(("\0"):rep(6), r:read())
    t.raises("byte expected", r.fill, r, 0, 1, 256)
    t.raises("one byte", r.fill, r, 0, 1, "xy")
    t.raises("out of bounds", r.fill, r, 0, 7)
  end)
end)

describe("Region:copy", function()
  it("takes from another region and from itself, overlapping", function()
    local a <close> = region.new(6)
    local b = region.new(3):write(0, "xyz")
    a:write(0, "abcdef")
    assert.equal(a, a:copy(2, b))
    assert.equal("abxyzf", a:read())
    a:copy(0, b, 1, 1)
    assert.equal("ybxyzf", a:read())
    a:copy(1, a, 0, 5)
    assert.equal("yybxyz", a:read())
    t.raises("out of bounds", a.copy, a, 4, b)
    t.raises("out of bounds", a.copy, a, 0, b, 2, 2)
    t.raises("region expected", a.copy, a, 0, "xyz")
    b:close()
    t.raises("closed region", a.copy, a, 0, b)
  end)
end)

describe("Region:find", function()
  it("finds bytes as they are", function()
    local r <close> = region.new(20)
    r:write(3, "a.b\0c")
    assert.equal(3, r:find "a.b")
    assert.equal(4, r:find ".")
    assert.equal(6, r:find "\0c")
    assert.is_nil(r:find "a.c")
    assert.is_nil(r:find("a", 4))
    assert.is_nil(r:find("c", 0, 7))
    assert.equal(5, r:find("", 5))
  end)
end)

describe("Region:pack and unpack", function()
  it("are those of the string library", function()
    local r <close> = region.new(64)
    assert.equal(23, r:pack("<i4 I2 d z s1", 3, -7, 65535, 1.5, "ab", "xy"))
    local values = table.pack(r:unpack("<i4 I2 d z s1", 3))
    assert.same({-7, 65535, 1.5, "ab", "xy", 23, n = 6}, values)
    assert.equal(string.pack("<i4", -7), r:read(3, 4))
    assert.equal(0, (r:unpack "B"))
    assert.equal(5, r:pack("", 5))
  end)

  it("read strings longer than they thought", function()
    local r <close> = region.new(100000)
    local long = ("x"):rep(70000)
    local after = r:pack("z s4", 1, long, "end")
    assert.same({long, "end", after}, {r:unpack("z s4", 1)})
  end)

  it("raise outside of the region, for overflow and for bad formats",
    function()
      local r <close> = region.new(8)
      t.raises("do not fit", r.pack, r, "i8", 1, 5)
      t.raises("out of bounds", r.pack, r, "i8", 9, 5)
      t.raises("out of bounds", r.unpack, r, "i8", 1)
      t.raises("overflow", r.pack, r, "i1", 0, 128)
      t.raises("invalid format", r.pack, r, "y", 0, 128)
      t.raises("invalid format", r.unpack, r, "y")
      r:fill(0, 8, 1)
      t.raises("unfinished string", r.unpack, r, "z")
      t.raises("too short", r.unpack, r, "s1 i8")
      assert.equal(("\1"):rep(8), r:read())
    end)

  it("lose no error that a signal handler raises meanwhile", function()
    local r <close> = region.new(100)
    local raised = false
    debug.sethook(function()
      if debug.getinfo(2, "f").func == string.unpack and not raised then
        raised = true
        error("stop", 0)
      end
    end, "c")
    local ok, message = pcall(r.unpack, r, "z")
    debug.sethook()
    assert.same({true, false, "stop"}, {raised, ok, message})
  end)

  it("notice a region closed by a conversion", function()
    local r = region.new(8)
    local closer = setmetatable({}, {__name = "closer", __tostring = function()
      r:close()
      return "x"
    end})
    t.raises("", r.pack, r, "z", 0, closer) -- string.pack takes no objects
    assert.is_true(r:is_open())
    r:close()
  end)
end)

describe("Region:view", function()
  it("is a part on the same bytes", function()
    local r <close> = region.new(10)
    local v = r:view(2, 5)
    assert.equal(5, #v)
    v:write(0, "hello")
    assert.equal("\0\0hello\0\0\0", r:read())
    assert.equal(8, #r:view(2))
    assert.equal("ell", v:view(1, 3):read())
    t.raises("out of bounds", v.read, v, 0, 6)
    t.raises("out of bounds", v.view, v, 3, 3)
    t.raises("out of bounds", r.view, r, 11)
    assert.equal(r:address() + 2, v:address())
  end)

  it("keeps the memory alive", function()
    local v, weak
    do
      local r = region.new(10):write(3, "alive")
      weak = setmetatable({r}, {__mode = "v"})
      v = r:view(3, 5):view(0, 4)
    end
    collectgarbage()
    collectgarbage()
    assert.equal("aliv", v:read())
    assert.is_truthy(weak[1])
    v = nil
    collectgarbage()
    collectgarbage()
    assert.is_nil(v or weak[1])
  end)

  it("is closed with the region it came from", function()
    local r = region.new(10)
    local v = r:view(1, 2)
    local w = v:view(0, 1)
    assert.is_true(v:is_open())
    assert.is_true(r:close())
    assert.is_false(v:is_open())
    assert.equal("private region (closed)", tostring(w))
    t.raises("closed region", v.read, v)
    t.raises("closed region", w.write, w, 0, "x")
  end)

  it("is closed with the view that it came from", function()
    local r <close> = region.new(10)
    local v = r:view(1, 4)
    local w = v:view(1, 2)
    local x = w:view()
    v:close()
    for _, part in ipairs {w, x} do
      assert.is_false(part:is_open())
      t.raises("closed region", part.read, part)
      t.raises("closed region", part.write, part, 0, "x")
    end
    assert.equal(10, #r:read())
  end)

  it("closed alone leaves the rest open", function()
    local r <close> = region.new(10)
    local v = r:view(1, 2)
    assert.is_true(v:close())
    t.raises("closed region", v.read, v)
    assert.equal(("\0"):rep(10), r:read())
  end)
end)

describe("A read-only region", function()
  it("GV:shm.cc:ReadonlySegment refuses every way to write", function()
    local segment <close> = assert(ipc.sysv_shm.get(nil, 100,
      {create = true, temporary = true}))
    local r <close> = assert(segment:attach {readonly = true})
    assert.is_true(r:is_readonly())
    assert.truthy(tostring(r):find "read%-only")
    local view = r:view(1, 50)
    assert.is_true(view:is_readonly())
    for _, one in ipairs {r, view} do
      local refusal = "read-only region"
      t.raises(refusal, one.write, one, 0, "x")
      t.raises(refusal, one.write, one, 0, "")
      t.raises(refusal, one.fill, one)
      t.raises(refusal, one.copy, one, 0, one)
      t.raises(refusal, one.pack, one, "i4", 0, 1)
      assert.equal("\0", one:read(0, 1))
    end
    local Pair = ipc.layout.struct {{"a", "int"}, {"b", "int[2]"}}
    local pair = Pair:at(r)
    t.raises("read-only region", function() pair.a = 1 end)
    t.raises("read-only region", function() pair.b[1] = 1 end)
    t.raises("read-only region", function() pair.b = {1} end)
    t.raises("read-only region", ipc.layout.set, pair, {a = 1})
  end)
end)

describe("A region that was made read-only", function()
  it("is so for the views of it too, also those made before", function()
    local r <close> = assert(ipc.mmap.map {size = 4096})
    local view = r:view(8, 100):view(8)
    local number = ipc.layout.array("int", 4):at(view)
    local _, set = ipc.layout.bind(number, 2)
    local cell <close> = assert(ipc.atomic.int32(view, 16))
    set(7)
    assert.is_true(r:protect "r")
    assert.is_true(view:is_readonly())
    assert.truthy(tostring(view):find "read%-only$")
    t.raises("read-only region", view.write, view, 0, "x")
    t.raises("read-only region", view.fill, view)
    t.raises("read-only region", view.copy, view, 0, r, 0, 1)
    t.raises("read-only region", view.pack, view, "B", 0, 1)
    t.raises("read-only region", set, 8)
    t.raises("read-only region", function() number[1] = 1 end)
    t.raises("read-only region", cell.store, cell, 1)
    assert.equal(7, number[2])
    local later = r:view(0, 10)
    assert.is_true(r:protect "rw")
    later:write(0, "x")
    set(8)
    assert.equal(8, number[2])
    assert.is_false(view:is_readonly())
  end)
end)

describe("A closed region", function()
  it("raises from every method, and closes again", function()
    local r = region.new(10)
    local Region = getmetatable(r) == "unixipc" and region.Region
    assert.is_true(r:close())
    assert.is_true(r:close())
    assert.is_false(r:is_open())
    local arguments = {
      write = {0, "x"}, copy = {0, region.new(1)}, find = {"x"},
      pack = {"i4", 0, 1}, unpack = {"i4"},
    }
    for name, method in pairs(Region) do
      if name ~= "close" and name ~= "is_open" then
        t.raises("closed region", method, r,
          table.unpack(arguments[name] or {}))
      end
    end
    t.raises("closed region", function() return #r end)
    assert.equal("private region (closed)", tostring(r))
  end)

  it("is closed by <close> and by the collector", function()
    local kept
    do
      local r <close> = region.new(10)
      kept = r
    end
    assert.is_false(kept:is_open())
    for _ = 1, 1000 do region.new(100000) end
    collectgarbage()
  end)
end)
