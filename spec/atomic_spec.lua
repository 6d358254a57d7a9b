local t = require "support"
local ipc = require "unixipc"

local atomic, mmap, process, signal = ipc.atomic, ipc.mmap, ipc.process,
  ipc.signal

local SOON = 2 * t.slow

describe("An atomic cell", function()
  local RANGES = {
    int32 = {-2147483648, 2147483647},
    uint32 = {0, 4294967295},
    int64 = {math.mininteger, math.maxinteger},
  }

  for kind, range in pairs(RANGES) do
    it("does C11's operations: " .. kind, function()
      local r <close> = assert(mmap.map {size = 64})
      local c <close> = atomic[kind](r, 8)
      assert.equal("atomic " .. kind .. " cell", tostring(c))
      assert.equal(0, c:load())
      for _, value in ipairs(range) do
        assert.equal(value, c:store(value):load())
      end
      assert.equal(range[2], c:fetch_add(1)) -- and wraps
      assert.equal(range[1], c:fetch_sub(1))
      assert.equal(range[2], c:exchange(12))
      assert.equal(12, c:fetch_or(3))
      assert.equal(15, c:fetch_and(9))
      assert.equal(9, c:fetch_xor(1))
      assert.same({false, 8}, {c:compare_exchange(9, 1)})
      assert.same({true, 8}, {c:compare_exchange(8, 1)})
      assert.equal(1, c:load())
      for _, name in ipairs {"exchange", "fetch_add", "fetch_sub",
                             "fetch_and", "fetch_or", "fetch_xor"} do
        c:store(5)
        assert.equal(5, c:bind(name)(3))
        local result = c:load()
        c:store(5)
        c[name](c, 3)
        assert.equal(result, c:load())
      end
      assert.equal(0, select("#", c:bind "store"(7)))
      assert.equal(7, c:bind "load"())
      assert.same({true, 7}, {c:bind "compare_exchange"(7, 9)})
      assert.equal(9, c:load())
    end)

    it("checks values and places: " .. kind, function()
      local r = assert(mmap.map {size = 64})
      local c = atomic[kind](r)
      if kind ~= "int64" then
        t.raises("does not fit", c.store, c, range[2] + 1)
        t.raises("does not fit", c.store, c, range[1] - 1)
      end
      t.raises("aligned", atomic[kind], r, 2)
      t.raises("out of bounds", atomic[kind], r, 64)
      t.raises("region expected", atomic[kind], {})
      t.raises("invalid option 'wait'", c.bind, c, "wait")
      local add = c:bind "fetch_add"
      r:protect "r"
      t.raises("read-only", c.store, c, 1)
      r:close()
      t.raises("closed region", c.load, c)
      t.raises("closed region", add, 1)
      assert.is_true(c:close())
      t.raises("closed atomic cell", c.load, c)
    end)
  end

  it("loses nothing between processes", function()
    local c = atomic.int64()
    local children = {}
    for i = 1, 8 do
      children[i] = assert(process.fork(function()
        local add = c:bind "fetch_add"
        for _ = 1, 10000 do add(1) end
      end))
    end
    for _, child in ipairs(children) do child:wait(10 * SOON) end
    assert.equal(80000, c:load())
  end)

  it("is waited for", function()
    local c = atomic.uint32()
    assert.is_true(c:wait(1, 0))
    t.timed_out(c:wait(0, 0))
    local seconds = t.took(function() t.timed_out(c:wait(0, 0.05)) end)
    assert.is_true(seconds >= 0.05)
    assert.equal(0, c:wake())
    local child <close> = assert(process.fork(function()
      assert(c:wait(0, SOON))
      return c:load()
    end))
    repeat until c:wake(0) == 0 and child:is_alive()
    c:store(7)
    while not child:wait(0.001) do c:wake() end
    assert.same({"exit", 7}, {child:wait()})
    t.raises("32 bits", atomic.int64().wait, atomic.int64(), 0)
    t.raises("32 bits", atomic.int64().wake, atomic.int64())
  end)

  it("runs handlers while it is waited for", function()
    local c = atomic.int32()
    signal.handle("SIGALRM", function()
      c:store(1)
    end)
    signal.alarm(0.02)
    assert.is_true(c:wait(0, SOON))
    signal.handle("SIGALRM", function() error "enough" end)
    signal.alarm(0.02)
    t.raises("enough", c.wait, c, 1, SOON)
    signal.handle("SIGALRM", "original")
  end)
end)
