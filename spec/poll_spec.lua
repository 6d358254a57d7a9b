local t = require "support"
local ipc = require "unixipc"

local fifo, pipe, poll, process = ipc.fifo, ipc.pipe, ipc.poll, ipc.process
local children, names = t.children, t.names

local SOON = 10 * t.slow

local function fill(w)
  repeat until not w:write_some(("x"):rep(4096), 0)
end

describe("poll.wait", function()
  local r, w

  before_each(function() r, w = assert(pipe.open()) end)

  after_each(function()
    r:close()
    w:close()
  end)

  it("tells which objects can be read", function()
    t.timed_out(poll.wait({r}, 0))
    w:write "x"
    assert.same({{r}, {"r"}}, {poll.wait({r}, SOON)})
    r:read(1)
    t.timed_out(poll.wait({r}, 0))
  end)

  it("tells which objects can be written", function()
    assert.same({{w}, {"w"}}, {poll.wait({w}, SOON)})
    fill(w)
    t.timed_out(poll.wait({w}, 0))
    r:read(65536, 0)
    assert.same({{w}, {"w"}}, {poll.wait({w}, SOON)})
  end)

  it("waits for what an object is open for, or for what it is told", function()
    local path = names.path ".fifo"
    local both = assert(fifo.open(path, "rw", {create = true,
      temporary = true}))
    both:write "x"
    assert.same({{both}, {"r"}}, {poll.wait({both}, 0)})
    assert.same({{both}, {"w"}}, {poll.wait({{both, "w"}}, 0)})
    assert.same({{both}, {"rw"}}, {poll.wait({{both, "rw"}}, 0)})
    assert.same({{both}, {"rw"}}, {poll.wait({{both, "wr"}}, 0)})
    assert.same({{both}, {"r"}}, {poll.wait({{both}}, 0)})
    both:close()
  end)

  it("gives the objects in the order of the list, and only those", function()
    local list, waiting = {}, {}
    for i = 1, 6 do
      local a, b = assert(pipe.open())
      list[i] = {r = a, w = b}
      waiting[i] = i == 4 and {a, "r"} or a
      if i % 2 == 0 then b:write "x" end
    end
    local objects, events = poll.wait(waiting, 0)
    assert.same({"r", "r", "r"}, events)
    for i = 1, 3 do assert.equal(list[2 * i].r, objects[i]) end
    assert.equal(3, #objects)
    for _, pair in ipairs(list) do
      pair.r:close()
      pair.w:close()
    end
  end)

  it("tells that the other side hung up", function()
    w:write "x"
    w:close()
    assert.same({{r}, {"rh"}}, {poll.wait({r}, 0)}) -- there is input still
    r:read(1)
    assert.same({{r}, {"rh"}}, {poll.wait({r}, 0)})
    assert.is_nil(r:read(1))
  end)

  it("tells that nobody reads any more", function()
    r:close()
    assert.same({{w}, {"we"}}, {poll.wait({w}, 0)})
    t.refused("EPIPE", w:write "x")
  end)

  it("ends with a hang-up or an error whatever it waits for", function()
    w:close()
    assert.same({{r}, {"h"}}, {poll.wait({{r, "p"}}, SOON)})
    local r2, w2 = assert(pipe.open())
    r2:close()
    assert.same({{w2}, {"e"}}, {poll.wait({{w2, "p"}}, SOON)})
    w2:close()
  end)

  it("tells of urgent data", function()
    -- A file of the system's that has changed, as its own poll has it.
    local file = io.open "/sys/kernel/mm/transparent_hugepage/enabled"
      or io.open "/sys/kernel/uevent_seqnum"
    if not file then return pending "no file of sysfs to be seen" end
    assert.same({{file}, {"pe"}}, {poll.wait({{file, "p"}}, 0)})
    file:close()
  end)

  it("sees at once what is in a Stream's buffer", function()
    w:write "one\ntwo\n"
    assert.equal("one", r:read("l", SOON))
    for _, timeout in ipairs {0, SOON, false} do
      assert.same({{r}, {"r"}}, {poll.wait({r}, timeout or nil)})
    end
    t.timed_out(poll.wait({{r, "p"}}, 0.001))
    assert.equal("two", r:read("l", SOON))
    t.timed_out(poll.wait({r}, 0))
  end)

  it("sees the others too when one has something in its buffer", function()
    local r2, w2 = assert(pipe.open())
    w:write "one\ntwo\n"
    r:read("l", SOON)
    w2:write "x"
    assert.same({{w, r2, r}, {"w", "r", "r"}}, {poll.wait({w, r2, r}, SOON)})
    w:close()
    assert.same({{r}, {"rh"}}, {poll.wait({r}, SOON)})
    r2:close()
    w2:close()
  end)

  it("takes a Stream that reads one descriptor and writes another", function()
    local s, child = assert(pipe.popen({"cat"}, "rw"))
    t.timed_out(poll.wait({s}, 0))
    assert.same({{s}, {"w"}}, {poll.wait({{s, "w"}}, SOON)})
    assert.same({{s}, {"w"}}, {poll.wait({{s, "rw"}}, SOON)})
    s:write "x"
    assert.same({{s}, {"r"}}, {poll.wait({s}, SOON)})
    assert.same({{s}, {"rw"}}, {poll.wait({{s, "rw"}}, SOON)})
    s:close()
    child:wait(SOON)
  end)

  it("takes integers", function()
    local fd = r:fileno()
    t.timed_out(poll.wait({fd, {fd, "r"}}, 0))
    w:write "x"
    assert.same({{fd, fd}, {"r", "r"}}, {poll.wait({fd, {fd, "r"}}, SOON)})
    assert.same({{w:fileno()}, {"w"}}, {poll.wait({{w:fileno(), "w"}}, 0)})
  end)

  it("takes Lua files", function()
    local file = assert(io.open(names.file "x"))
    local program = assert(io.popen("cat", "w"))
    assert.same({{file}, {"r"}}, {poll.wait({r, file}, 0)})
    assert.same({{program}, {"w"}}, {poll.wait({r, {program, "w"}}, 0)})
    t.timed_out(poll.wait({program}, 0)) -- for reading
    file:close()
    program:close()
  end)

  t.natively("takes child processes", function()
    local child = assert(process.fork(function() r:read(1) end))
    t.timed_out(poll.wait({child}, 0.005))
    w:write "x"
    assert.same({{child}, {"r"}}, {poll.wait({child}, SOON)})
    child:wait()
  end)

  it("takes other libraries' objects by fileno, pollfd or getfd", function()
    w:write "x"
    for _, name in ipairs {"fileno", "pollfd", "getfd"} do
      local object = {[name] = function(self)
        assert.equal("table", type(self))
        return r:fileno()
      end}
      local objects, events = poll.wait({object}, 0)
      assert.equal(object, objects[1])
      assert.same({"r"}, events)
      object = {[name] = function() return w:fileno() end}
      objects, events = poll.wait({{object, "w"}}, 0)
      assert.equal(object, objects[1])
      assert.same({"w"}, events)
      local heir = setmetatable({}, {__index = object})
      assert.equal(heir, poll.wait({{heir, "w"}}, 0)[1])
    end
  end)

  it("passes on what their methods raise", function()
    local object = {fileno = function() error("not now", 0) end}
    assert.same({false, "not now"}, {pcall(poll.wait, {object}, 0)})
  end)

  it("takes the same object several times", function()
    w:write "x"
    assert.same({{r, w, r}, {"r", "w", "r"}},
      {poll.wait({r, w, {r, "rw"}}, 0)})
  end)

  it("of nothing only waits", function()
    local seconds, value, message, number = t.took(poll.wait, {}, 0.02)
    t.timed_out(value, message, number)
    assert.is_true(seconds >= 0.02)
    t.timed_out(poll.wait({}, 0))
  end)

  it("is woken by what another process writes", function()
    local child = assert(process.fork(function() w:write "x" end))
    assert.same({{r}, {"r"}}, {poll.wait({r})})
    child:wait(SOON)
  end)

  it("is woken when the last writer ends", function()
    local child = assert(process.fork(function() r:close() end))
    w:close()
    assert.same({{r}, {"rh"}}, {poll.wait({r})})
    child:wait(SOON)
  end)

  it("is never early", function()
    for _, timeout in ipairs {0.03, 0.01, 0.001, 0.0001} do
      local seconds, value, message, number = t.took(poll.wait, {r}, timeout)
      t.timed_out(value, message, number)
      assert.is_true(seconds >= timeout)
      assert.is_true(seconds < timeout + SOON)
    end
  end)

  it("refuses an integer that is not open", function()
    local fd = r:fileno()
    r:close()
    t.refused("EBADF", poll.wait({fd}, 0))
    t.refused("EBADF", poll.wait({w, fd}, SOON))
  end)

  it("refuses more than the process may have open", function()
    local path = names.file [[
      local ipc = require "unixipc"
      local r = ipc.pipe.open()
      local list = {}
      for i = 1, 100 do list[i] = r end
      print(select(3, ipc.poll.wait(list, 0)) == ipc.errno.EINVAL)
    ]]
    local result = children.run(nil, {command = {"sh", "-c",
      'ulimit -n 64; exec "$@"', "sh", os.getenv "LUA" or "lua5.4", path}})
    assert.equal("true\n", result.out, result.err)
  end)

  it("raises at what is no list, no object, no events, no time", function()
    t.raises("table expected", poll.wait)
    t.raises("table expected", poll.wait, r)
    for _, bad in ipairs {true, "x", {{}}, {{"r"}}, {{r, "x"}}, {{r, ""}},
      {{r, true}}, {{r, {}}}, {{r, "r x"}}, {{{}, "r"}}, {-1}, {1.5}, {{}}, {
      {fileno = 3}}, {{fileno = function() end}},
      {{fileno = function() return -1 end}}, {print}} do
      local list = type(bad) == "table" and bad or {bad}
      local message = t.raises("bad argument #1", poll.wait, list, 0)
      assert.truthy(message:find "wait", message)
    end
    for _, bad in ipairs {-1, 0 / 0, "soon", {}} do
      t.raises("bad argument #2", poll.wait, {r}, bad)
    end
  end)

  it("raises at a table with names, for it would wait for nothing", function()
    for _, bad in ipairs {{r = r}, {[2] = r}, {object = r, events = "r"}} do
      t.raises("bad argument #1 to 'unixipc.poll.wait' (list "
        .. "expected, got a table without [1])", poll.wait, bad, 0)
    end
    t.timed_out(poll.wait({}, 0))
    local empty = setmetatable({of = r}, {__len = function() return 0 end})
    t.timed_out(poll.wait(empty, 0))
  end)

  it("raises at closed objects", function()
    local file = assert(io.open "/dev/null")
    file:close()
    t.raises("closed", poll.wait, {file}, 0)
    r:close()
    t.raises("closed", poll.wait, {r}, 0)
    t.raises("closed", poll.wait, {w, {r, "r"}}, 0)
  end)

  it("runs in a coroutine", function()
    w:write "x"
    local objects = coroutine.wrap(poll.wait)({r}, SOON)
    assert.equal(r, objects[1])
  end)

  it("waits for three thousand descriptors", function()
    local path = names.file [[
      local ipc = require "unixipc"
      local pipe, poll = ipc.pipe, ipc.poll
      local list, pairs_of = {}, {}
      for i = 1, 1500 do
        local r, w = assert(pipe.open())
        list[i], pairs_of[i] = r, w
      end
      print(poll.wait(list, 0))
      for _, i in ipairs {1, 700, 1400, 1500} do pairs_of[i]:write "x" end
      local objects, events = poll.wait(list, 5)
      print(#objects, table.concat(events), objects[1] == list[1],
        objects[2] == list[700], objects[3] == list[1400],
        objects[4] == list[1500], list[1500]:fileno() > 2048)
      for i = 1, 1500 do list[1500 + i] = pairs_of[i] end
      print(#poll.wait(list, 5))
    ]]
    local result = children.run(nil, {command = {"sh", "-c",
      'ulimit -n 4096; exec "$@"', "sh", os.getenv "LUA" or "lua5.4", path}})
    assert.equal("nil\ttimeout\t110\n" ..
      "4\trrrr\ttrue\ttrue\ttrue\ttrue\ttrue\n1504\n", result.out, result.err)
  end)

  it("is exact about ten thousand rounds", function()
    for i = 1, 10000 do
      w:write "x"
      assert(poll.wait({r}, 0), i)
      r:read(1)
      assert(not poll.wait({r}, 0), i)
    end
  end)
end)
