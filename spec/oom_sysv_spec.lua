-- Memory that runs out, at each single allocation: System V objects, regions
-- and layouts. See spec/oom_spec.lua.
local t = require "support"

local PRELUDE = [[
  local _ = ("x"):rep(10000)
  local ipc = require "unixipc"
  local sysv, sysv_msg, sysv_sem = ipc.sysv, ipc.sysv_msg, ipc.sysv_sem
  local sysv_shm, region, layout = ipc.sysv_shm, ipc.region, ipc.layout
  local errno = ipc.errno
  local NEW = {create = true, temporary = true}
]]

local function survives(least, script)
  t.out_of_memory.survives(least, PRELUDE .. script)
end

describe("Out of memory", function()
  it("sending and receiving messages of System V", function()
    survives(10, [[
      return function()
        local q <close> = assert(sysv_msg.get(nil, NEW))
        local same <close> = assert(sysv_msg.from_id(q:id()))
        q:send(("x"):rep(5000), 7)
        local body, type = same:receive(-7, 1)
        assert(#body == 5000 and type == 7)
        assert(q:stat().messages == 0 and q:set {mode = "rw-rw----"})
        assert(select(3, q:receive(0, 0)) == errno.ETIMEDOUT)
        q:send "xyz"
        assert(select(3, q:receive(0, 0, {size = 1})) == errno.E2BIG)
        assert(tostring(q):find "sysv_msg")
        assert(q:remove())
        assert(select(3, q:stat()) == errno.EINVAL)
      end
    ]])
  end)

  it("taking and giving semaphores, and making sets", function()
    survives(10, [[
      local key = 0x7e570000 + math.tointeger(ipc.process.pid())
      return function()
        local s <close> = assert(sysv_sem.get(key, 3,
          {create = true, temporary = true, initial = {1, 2, 3}}))
        local again <close> = assert(sysv_sem.get(key))
        assert(s:op {{1, -1}, {2, 1}, {3, -3, undo = true}})
        local values = again:values()
        assert(values[1] == 0 and values[2] == 3 and values[3] == 0)
        do
          local lock <close> = assert(s:lock(2, 1))
          assert(s:value(2) == 2 and tostring(lock):find "sysv_sem lock")
        end
        assert(s:set_values {5, 5, 5} and #s == 3 and s:stat().count == 3)
        assert(select(3, s:wait_zero(1, 0.001)) == errno.ETIMEDOUT)
      end
    ]])
  end)

  it("attaching memory, and using it", function()
    survives(20, [[
      return function()
        local m <close> = assert(sysv_shm.get(nil, 5000, NEW))
        local r <close> = assert(m:attach())
        local view = r:view(1000):view(100, 200)
        view:write(0, ("y"):rep(100)):fill(100, 10, "z")
        assert(view:read(99, 2) == "yz" and view:find "zz" == 100)
        local after = view:pack("z i4", 0, "abc", 5)
        local word, number = view:unpack "z i4"
        assert(after == 8 and word == "abc" and number == 5)
        assert(view:cstring(0, 2) == "ab")
        local other <close> = assert(m:attach {readonly = true})
        assert(other:read(1100, 3) == "abc" and m:stat().attached == 2)
        assert(not pcall(other.write, other, 0, "x"))
      end
    ]])
  end)

  it("laying structs over it", function()
    survives(50, [[
      return function()
        local Point = layout.struct {{"x", "double"}, {"y", "double"}}
        local Shape = layout.struct {{"name", "char[16]"},
          {"corners", Point, 4}, {"grid", "int16[3][2]"},
          {"value", layout.union {{"i", "int64"}, {"d", "double"}}}}
        local shape = assert(layout.new(Shape, {name = "square",
          corners = {{x = 1, y = 2}}, grid = {{1, 2}, {3, 4}}}))
        shape.corners[2] = shape.corners[1]
        assert(shape.corners[2].y == 2 and #shape.corners == 4)
        local get, set = layout.bind(shape.grid[2], 1)
        set(get() + 1)
        local copy = layout.get(shape)
        assert(copy.name == "square" and copy.grid[2][1] == 4)
        for name, value in pairs(shape) do assert(name and value) end
        assert(#layout.region(shape):read() == Shape:size())
      end
    ]])
  end)

  it("listing what there is", function()
    survives(20, [[
      return function()
        local q <close> = assert(sysv_msg.get(nil, NEW))
        local list = assert(sysv.list())
        local id
        for _, entry in ipairs(list.msg) do
          if entry.id == q:id() then id = entry.id end
        end
        assert(id and sysv.limits().sem.value == 32767)
        assert(sysv.usage().msg.queues >= 1)
        assert(sysv.ftok("/tmp", "x"))
        assert(sysv.remove("msg", id))
      end
    ]])
  end)
end)
