local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"

local pipe, poll, process = ipc.pipe, ipc.poll, ipc.process
local children, names = t.children, t.names

local SOON = 10 * t.slow

-- A Poller and a pipe, closed after each test.
local p, r, w

-- Opened in a test and to be closed after it.
local others

local function open_pipe()
  local a, b = assert(pipe.open())
  table.insert(others, a)
  table.insert(others, b)
  return a, b
end

local function setup()
  others = {}
  p = assert(poll.new())
  r, w = open_pipe()
end

local function teardown()
  p:close()
  for _, object in ipairs(others) do object:close() end
end

-- Is the object, and nothing else, ready for these events?
local function assert_ready(object, events, timeout, ...)
  local objects, letters = p:wait(timeout or 0, ...)
  assert.is_table(objects, letters)
  assert.equal(1, #objects)
  assert.equal(object, objects[1])
  assert.same({events}, letters)
end

local function assert_nothing(...)
  t.timed_out(p:wait(... or 0))
end

describe("A Poller", function()
  before_each(setup)
  after_each(teardown)

  it("tells what is ready, level by level", function()
    assert.equal(p, p:add(r))
    assert_nothing()
    w:write "xy"
    assert_ready(r, "r")
    assert_ready(r, "r")
    r:read(2)
    assert_nothing()
  end)

  it("waits for what an object is open for, or for what it is told", function()
    assert(p:add(w))
    assert_ready(w, "w")
    assert(p:modify(w, "r"))
    assert_nothing()
    assert(p:modify(w))
    assert_ready(w, "w")
    assert(p:modify(w, "rwp"))
    assert_ready(w, "w")
  end)

  it("tells of hang-ups and errors", function()
    assert(p:add(r))
    w:write "x"
    w:close()
    assert_ready(r, "rh")
    assert(p:modify(r, "p"))
    assert_ready(r, "h")
    assert(p:remove(r))
    local r2, w2 = open_pipe()
    assert(p:add(w2))
    r2:close()
    assert_ready(w2, "we")
  end)

  it("knows how many it has, and says so", function()
    assert.equal(0, #p)
    assert.equal(("poller fd=%d of 0"):format(p:fileno()), tostring(p))
    p:add(r)
    p:add(w)
    p:modify(w, "w")
    assert.equal(2, #p)
    assert.equal(("poller fd=%d of 2"):format(p:fileno()), tostring(p))
    p:remove(r)
    assert.equal(1, #p)
    p:remove(w)
    assert.equal(0, #p)
    assert_nothing()
  end)

  t.natively("takes integers, Lua files, processes, others' objects", function()
    local file = assert(io.popen("cat", "w"))
    local child = assert(process.spawn({"cat"}, {stdin = "pipe"}))
    local r2, w2 = open_pipe()
    local object = {fileno = function() return r2:fileno() end}
    local fd = r:fileno()
    for _, thing in ipairs {fd, file, child, object} do
      assert.equal(p, p:add(thing))
    end
    assert.equal(4, #p)
    w:write "x"
    assert_ready(fd, "r", SOON)
    r:read(1)
    w2:write "x"
    assert_ready(object, "r", SOON)
    assert(p:remove(object))
    child.stdin:close()
    assert_ready(child, "r", SOON)
    assert(p:remove(child))
    child:wait(SOON)
    assert(p:modify(file, "w"))
    assert_ready(file, "w")
    assert(p:remove(file))
    assert(p:remove(fd))
    file:close()
  end)

  it("refuses what is in already, what is not, and what cannot be", function()
    local message = t.refused("ENOENT", p:modify(r))
    assert.truthy(message:find "^epoll_ctl: ", message)
    t.refused("ENOENT", p:remove(r))
    p:add(r)
    t.refused("EEXIST", p:add(r))
    t.refused("EEXIST", p:add(r:fileno()))
    t.refused("EPERM", p:add(io.open(names.file "text")))
    local fd = w:fileno()
    w:close()
    t.refused("EBADF", p:add(fd))
    t.refused("EINVAL", p:add(p))
    for _, huge in ipairs {1000000000, 2147483647} do
      t.refused("EBADF", p:add(huge))
      t.refused("ENOENT", p:modify(huge))
      t.refused("ENOENT", p:remove(huge))
    end
    assert.equal(1, #p)
    p:remove(r)
    t.refused("ENOENT", p:remove(r))
    t.refused("ENOENT", p:remove("nonsense"))
    assert.equal(0, #p)
  end)

  it("raises at what is no object, no events, no option, no time", function()
    for _, bad in ipairs {true, "x", {}, -1, 1.5} do
      t.raises("bad argument", p.add, p, bad)
      t.raises("bad argument", p.modify, p, bad)
    end
    t.raises("bad argument", p.add, p)
    t.raises("bad argument", p.remove, p)
    for _, bad in ipairs {"", "x", "r w", "h", {}, true} do
      t.raises("bad argument", p.add, p, r, bad)
    end
    t.raises("unknown option 'egde'", p.add, p, r, "r", {egde = true})
    t.raises("option 'edge'", p.add, p, r, "r", {edge = 1})
    t.raises("option 'oneshot'", p.add, p, r, nil, {oneshot = "yes"})
    for _, bad in ipairs {-1, 0 / 0, "soon", {}} do
      t.raises("bad argument", p.wait, p, bad)
    end
    for _, bad in ipairs {0, -1, 1.5, "x"} do
      t.raises("bad argument", p.wait, p, 0, bad)
    end
    assert.equal(0, #p)
    r:close()
    t.raises("closed", p.add, p, r)
    t.raises("closed", p.modify, p, r)
  end)

  it("with `edge` tells of each change once", function()
    assert(p:add(r, "r", {edge = true}))
    w:write "x"
    assert_ready(r, "r")
    assert_nothing()
    w:write "y"
    assert_ready(r, "r")
    assert_nothing()
    assert(p:modify(r, "r", {edge = true})) -- looks again
    assert_ready(r, "r")
    assert_nothing()
  end)

  it("with `oneshot` tells once, until it is modified", function()
    assert(p:add(r, "r", {oneshot = true}))
    w:write "x"
    assert_ready(r, "r")
    w:write "y"
    assert_nothing()
    assert.equal(1, #p)
    assert(p:modify(r, "r", {oneshot = true}))
    assert_ready(r, "r")
    assert_nothing()
    assert(p:modify(r))
    assert_ready(r, "r")
    assert_ready(r, "r")
  end)

  it("with `oneshot` tells once of what is in a buffer, too", function()
    w:write "one\ntwo\n"
    r:read("l", SOON)
    assert(p:add(r, "r", {oneshot = true}))
    assert_ready(r, "r")
    assert_nothing()
    assert(p:modify(r, "r", {oneshot = true}))
    assert_ready(r, "r")
    assert_nothing()
  end)

  it("sees at once what is in a Stream's buffer", function()
    assert(p:add(r))
    w:write "one\ntwo\nthree\n"
    r:read("l", SOON)
    for _, timeout in ipairs {0, SOON, false} do
      assert_ready(r, "r", timeout or nil)
    end
    w:close()
    assert_ready(r, "rh", SOON)
    r:read("l")
    r:read("l")
    assert_ready(r, "rh", SOON)
    assert_nothing((p:remove(r) and nil))
  end)

  it("sees what is in a buffer only where input is waited for", function()
    w:write "one\ntwo\n"
    r:read("l", SOON)
    assert(p:add(r, "p"))
    assert_nothing()
    assert(p:modify(r, "r"))
    assert_ready(r, "r")
    assert(p:modify(r, "p"))
    assert_nothing()
    assert(p:modify(r, "r"))
    assert(p:remove(r))
    assert_nothing()
  end)

  it("returns each object once, buffered or not", function()
    local r2, w2 = open_pipe()
    w:write "one\ntwo\n"
    r:read("l", SOON)
    w:write "three\n" -- in the buffer and in the kernel
    w2:write "x"
    assert(p:add(r))
    assert(p:add(r2))
    local objects, events = p:wait(0)
    assert.equal(2, #objects)
    assert.same({"r", "r"}, events)
    assert.not_equal(objects[1], objects[2])
  end)

  it("returns no more than it is asked for", function()
    for i = 1, 5 do
      local a, b = open_pipe()
      assert(p:add(a))
      b:write "one\ntwo\n"
      if i > 3 then a:read("l", SOON) end -- these buffer
    end
    for most = 1, 5 do
      for _ = 1, 5 do
        local objects, events = p:wait(0, most)
        assert.equal(most, #objects)
        assert.equal(most, #events)
      end
    end
    assert.equal(5, #p:wait(0, 6))
    assert.equal(5, #p:wait(0, 1 << 40))
  end)

  it("returns all of them in time, however many are ready", function()
    local left = {}
    for i = 1, 300 do
      local a, b = open_pipe()
      b:write "x"
      assert(p:add(a))
      left[a] = i
    end
    for _ = 1, 10 do
      for _, object in ipairs(p:wait(0)) do left[object] = nil end
    end
    assert.is_nil(next(left))
  end)

  it("takes a Stream that reads one descriptor and writes another", function()
    local s, child = assert(pipe.popen({"cat"}, "rw"))
    assert(p:add(s, "w"))
    assert_ready(s, "w", SOON)
    assert(p:modify(s, "r"))
    assert_nothing()
    s:write "x"
    assert_ready(s, "r", SOON)
    assert(p:modify(s, "rw"))
    assert_ready(s, "rw", SOON)
    assert(p:remove(s))
    assert_nothing()
    s:close()
    child:wait(SOON)
  end)

  it("that can wait for one side of a Stream only waits for none", function()
    local file = assert(io.open(names.path(), "w"))
    local s = ipc.stream.join(r, ipc.stream.from(file))
    file:close()
    table.insert(others, s)
    w:write "x"
    t.refused("EPERM", p:add(s, "rw"))
    assert.equal(0, #p)
    assert_nothing()
    assert(p:add(s, "r"))
    assert_ready(s, "r")
  end)

  it("is never early", function()
    p:add(r)
    for _, timeout in ipairs {0.03, 0.01, 0.001, 0.0001, 0} do
      local seconds, value, message, number = t.took(p.wait, p, timeout)
      t.timed_out(value, message, number)
      assert.is_true(seconds >= timeout)
      assert.is_true(seconds < timeout + SOON)
    end
  end)

  it("is woken by what another process writes", function()
    p:add(r)
    local child = assert(process.fork(function() w:write "x" end))
    assert_ready(r, "r", SOON)
    child:wait(SOON)
  end)

  it("can be waited for itself, in poll.wait and in a Poller", function()
    local outer = assert(poll.new())
    assert(outer:add(p))
    assert(p:add(r))
    t.timed_out(poll.wait({p}, 0))
    t.timed_out(outer:wait(0))
    w:write "x"
    assert.equal(p, poll.wait({p}, SOON)[1])
    assert.equal(p, outer:wait(SOON)[1])
    assert_ready(r, "r")
    outer:close()
  end)

  it("runs in a coroutine", function()
    coroutine.wrap(function() p:add(r) end)()
    w:write "x"
    assert.equal(r, coroutine.wrap(p.wait)(p, SOON)[1])
  end)
end)

describe("In a Poller an object that is closed", function()
  before_each(setup)
  after_each(teardown)

  it("tells nothing more, and can be removed", function()
    assert(p:add(r))
    w:write "x"
    r:close()
    assert_nothing()
    assert.equal(1, #p)
    assert.equal(p, p:remove(r))
    assert.equal(0, #p)
    t.refused("ENOENT", p:remove(r))
  end)

  it("may have had input in its buffer", function()
    assert(p:add(r))
    w:write "one\ntwo\n"
    r:read("l", SOON)
    r:close()
    assert_nothing()
    p:remove(r)
    assert_nothing()
  end)

  it("makes way for the next one with its descriptor", function()
    local fd = r:fileno()
    assert(p:add(r))
    r:close()
    local r2, w2 = open_pipe()
    assert.equal(fd, r2:fileno())
    assert(p:add(r2))
    assert.equal(1, #p)
    t.refused("ENOENT", p:remove(r))
    w2:write "one\ntwo\n"
    assert_ready(r2, "r")
    r2:read("l", SOON)
    assert_ready(r2, "r") -- of its buffer
    assert(p:remove(r2))
    assert.equal(0, #p)
    assert_nothing()
  end)

  it("is not taken for one that has its descriptor and is not in", function()
    local fd = r:fileno()
    assert(p:add(r))
    r:close()
    local r2, w2 = open_pipe()
    assert.equal(fd, r2:fileno())
    w2:write "x"
    assert_nothing()
    t.refused("ENOENT", p:modify(r2))
    t.refused("ENOENT", p:remove(r2))
    assert(p:remove(r))
    assert(p:add(r2))
    assert_ready(r2, "r")
  end)

  -- Then epoll does not forget it by itself.
  it("may be open in another process still", function()
    local gate, opener = open_pipe()
    assert(p:add(r))
    local child = assert(process.fork(function()
      opener:close()
      gate:read(1)
    end))
    r:close()
    assert.equal(p, p:remove(r))
    w:write "x"
    assert_nothing(0.001)
    local r2, w2 = open_pipe() -- has its descriptor
    assert(p:add(r2))
    assert_nothing(0.001)
    w2:write "x"
    assert_ready(r2, "r", SOON)
    opener:close()
    child:wait(SOON)
  end)

  it("does not disturb the others", function()
    local r2, w2 = open_pipe()
    assert(p:add(r))
    assert(p:add(r2))
    r:close()
    w2:write "x"
    assert_ready(r2, "r", SOON)
  end)
end)

describe("The life of a Poller:", function()
  before_each(setup)
  after_each(teardown)

  local function is_open(fd)
    return lfs.symlinkattributes("/proc/self/fd/" .. fd, "mode") ~= nil
  end

  it("it keeps its objects alive", function()
    local weak = setmetatable({}, {__mode = "v"})
    do
      local a, b = assert(pipe.open())
      p:add(a)
      weak[1] = a
      b:write "x"
      b:close()
    end
    collectgarbage()
    assert.truthy(weak[1])
    local objects = p:wait(0)
    assert.equal(weak[1], objects[1])
    p:remove(objects[1])
    objects = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("close closes it and nothing in it", function()
    local fd = p:fileno()
    p:add(r)
    assert.is_true(p:close())
    assert.is_true(p:close())
    assert.is_false(is_open(fd))
    assert.equal("poller (closed)", tostring(p))
    w:write "x"
    assert.equal("x", r:read(1, 0))
    for _, name in ipairs {"add", "modify", "remove"} do
      t.raises("attempt to use a closed poller", p[name], p, r)
    end
    t.raises("attempt to use a closed poller", p.wait, p, 0)
    t.raises("attempt to use a closed poller", p.fileno, p)
    t.raises("attempt to use a closed poller", function() return #p end)
    t.raises("closed", poll.wait, {p}, 0)
  end)

  it("<close> closes it", function()
    local fd
    do
      local again <close> = assert(poll.new())
      fd = again:fileno()
      assert.is_true(is_open(fd))
    end
    assert.is_false(is_open(fd))
  end)

  it("the collector closes it", function()
    local fd = poll.new():add(r):fileno()
    collectgarbage()
    collectgarbage()
    assert.is_false(is_open(fd))
  end)

  it("it can be used in a forked child", function()
    p:add(r)
    w:write "x"
    local child = assert(process.fork(function()
      local objects = p:wait(SOON)
      p:close() -- the parent's stays
      return objects[1] == r
    end))
    assert.same({"exit", 0}, {child:wait(SOON)})
    assert_ready(r, "r")
  end)

  it("it refuses another kind of object", function()
    t.raises("poller expected", p.add, r, r)
    t.raises("poller expected", p.wait, {})
    t.raises("poller expected", p.wait)
  end)

  it("for lack of descriptors is EMFILE", function()
    local path = names.file [[
      local poll, errno = require "unixipc.poll", require "unixipc.errno"
      local kept = {}
      while true do
        local p, message, number = poll.new()
        if not p then
          print(#kept > 10, message, number == errno.EMFILE)
          break
        end
        kept[#kept + 1] = p
      end
    ]]
    local result = children.run(nil, {command = {"sh", "-c",
      'ulimit -n 32; exec "$@"', "sh", os.getenv "LUA" or "lua5.4", path}})
    assert.equal("true\tepoll_create1: Too many open files\ttrue\n",
      result.out, result.err)
  end)

  it("it takes three thousand descriptors", function()
    local path = names.file [[
      local ipc = require "unixipc"
      local pipe, poll = ipc.pipe, ipc.poll
      local p, writers, number = poll.new(), {}, {}
      for i = 1, 1500 do
        local r, w = assert(pipe.open())
        assert(p:add(r))
        writers[i], number[r] = w, i
      end
      print(#p, p:wait(0))
      for _, i in ipairs {1, 700, 1400, 1500} do writers[i]:write "x" end
      local found = {}
      for _, object in ipairs(p:wait(5)) do
        found[#found + 1] = number[object]
      end
      table.sort(found)
      print(table.concat(found, " "), writers[1500]:fileno() > 2048)
      for _, w in ipairs(writers) do assert(p:add(w)) end
      print(#p, #p:wait(0))
    ]]
    local result = children.run(nil, {command = {"sh", "-c",
      'ulimit -n 4096; exec "$@"', "sh", os.getenv "LUA" or "lua5.4", path}})
    assert.equal("1500\tnil\ttimeout\t110\n1 700 1400 1500\ttrue\n" ..
      "3000\t128\n", result.out, result.err)
  end)
end)
