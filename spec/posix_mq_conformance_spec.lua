-- What other people's suites check of POSIX message queues, beyond
-- posix_mq_spec.
local t = require "support"
local nobody = require "support.nobody"
local ipc = require "unixipc"

local errno, posix_mq, process = ipc.errno, ipc.posix_mq, ipc.process
local signal, poll = ipc.signal, ipc.poll

local WAIT = 20 * t.slow

local function new(options, name)
  local all = {create = true, exclusive = true, temporary = true,
    max_messages = 4, message_size = 32}
  for key, value in pairs(options or {}) do all[key] = value end
  return assert(posix_mq.open(name or t.names.posix(), all))
end

local function as_nobody(name, test)
  it(name, function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    test()
  end)
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(WAIT)})
  child:close()
end

describe("mq_open", function()
  it("OPTS:mq_open/2-1 OPTS:mq_open/3-1 the same name is the same queue, in "
    .. "every process", function()
      local q <close> = new()
      ended(assert(process.fork(function()
        local other <close> = assert(posix_mq.open(q:name()))
        assert(other:send("from the child", 3))
      end)))
      assert.same({"from the child", 3}, {q:receive(0)})
    end)

  it("OPTS:mq_open/7-1 OPTS:mq_open/7-2 OPTS:mq_open/7-3 to read only can be "
    .. "opened many times", function()
      local q <close> = new()
      local one <close> = assert(posix_mq.open(q:name(), {read = true}))
      local two <close> = assert(posix_mq.open(q:name(), {read = true}))
      q:send("a", 1)
      q:send("b", 1)
      assert.equal("a", (one:receive(0)))
      assert.equal("b", (two:receive(0)))
      t.refused("EBADF", one:send("x", 0, 0))
    end)

  it("OPTS:mq_open/8-1 OPTS:mq_open/8-2 to write only can be opened many "
    .. "times", function()
      local q <close> = new()
      local one <close> = assert(posix_mq.open(q:name(), {write = true}))
      local two <close> = assert(posix_mq.open(q:name(), {write = true}))
      one:send("a")
      two:send("b")
      t.refused("EBADF", two:receive(0))
      assert.same({"a", "b"}, {(q:receive(0)), (q:receive(0))})
    end)

  it("OPTS:mq_open/9-1 OPTS:mq_open/9-2 both ways, many times", function()
    local q <close> = new()
    local other <close> = assert(posix_mq.open(q:name(),
      {read = true, write = true}))
    q:send "there"
    assert.equal("there", (other:receive(0)))
    other:send "and back"
    assert.equal("and back", (q:receive(0)))
  end)

  it("OPTS:mq_open/11-1 OPTS:mq_open/13-1 a new one is empty and its "
    .. "owner's", function()
      local q <close> = new {mode = "0640"}
      assert.equal(0, q:attributes().messages)
      local pipe <close> = assert(io.popen(("stat -L -c '%%a %%u' "
        .. "/proc/%d/fd/%d"):format(process.pid(), q:fileno())))
      assert.equal("640 " .. process.ids().euid, pipe:read())
    end)

  it("OPTS:mq_open/12-1 OPTS:mq_open/15-1 to create one that is there opens "
    .. "it, as it is", function()
      local q <close> = new()
      q:send("kept", 5)
      local again <close> = assert(posix_mq.open(q:name(),
        {create = true, max_messages = 2, message_size = 8}))
      local a = again:attributes()
      assert.same({4, 32, 1}, {a.max_messages, a.message_size, a.messages})
      assert.same({"kept", 5}, {again:receive(0)})
    end)

  it("OPTS:mq_open/16-1 its sizes are what was asked for", function()
    for _, sizes in ipairs {{1, 1}, {10, 8192}, {3, 100}} do
      local q <close> = new {max_messages = sizes[1], message_size = sizes[2]}
      local a = q:attributes()
      assert.same(sizes, {a.max_messages, a.message_size})
    end
  end)

  it("OPTS:mq_open/18-1 of many that make it exclusively one does", function()
    local name = t.names.posix()
    local r, w = assert(ipc.pipe.open())
    local list = {}
    for i = 1, 8 do
      list[i] = assert(process.fork(function()
        w:close()
        r:read(1, WAIT) -- the end of the pipe: all begin at once
        local q, _, code = posix_mq.open(name, {create = true,
          exclusive = true, max_messages = 1, message_size = 1})
        return q and 7 or code
      end))
    end
    w:close()
    r:close()
    local made, there = 0, 0
    for _, child in ipairs(list) do
      local _, code = child:wait(WAIT)
      if code == 7 then made = made + 1 end
      if code == errno.EEXIST then there = there + 1 end
      child:close()
    end
    assert.is_true(posix_mq.unlink(name))
    assert.same({1, 7}, {made, there})
  end)

  as_nobody("GV:mq.cc:OpenReadAccess GV:mq.cc:OpenWriteAccess "
    .. "GV:mq.cc:OpenNoAccess one gets what the mode allows", function()
      -- (to read is allowed to those that may read all files, as it is here)
      for mode, wanted in pairs {["0000"] = "EACCES EACCES",
        ["0004"] = "EACCES EACCES", ["0002"] = "true EACCES",
        ["0006"] = "true true"} do
        local q <close> = new {mode = mode}
        assert.equal(wanted, nobody.run([[
          local function try(options)
            local q, message, number = ipc.posix_mq.open(arg[1], options)
            return q and "true" or code(q, message, number)
          end
          print(try {write = true}, try())
        ]], q:name()))
      end
    end)

  it("GV:mq.cc:OpenAfterUnlink the name is gone: ENOENT", function()
    local q <close> = new()
    assert.is_true(posix_mq.unlink(q:name()))
    t.refused("ENOENT", posix_mq.open(q:name()))
    t.refused("ENOENT", posix_mq.unlink(q:name()))
    q:send "x"
    assert.equal("x", (q:receive(0)))
  end)

  it("GV:mq.cc:OpenInvalidArgs#4 . and .. are no names", function()
    for _, name in ipairs {".", "..", "/.", "/.."} do
      t.refused("EINVAL", posix_mq.open(name, {create = true}))
      t.refused("EINVAL", posix_mq.unlink(name))
    end
  end)

  it("OPTS:mq_open/23-1 LTP:mq_open01#2 names of up to 255 characters are "
    .. "names", function()
      for _, name in ipairs {"/x" .. ("y"):rep(254), "/ü Ä", "/...", "/\1"} do
        local q <close> = new(nil, name)
        assert.equal(name, q:name())
        local again <close> = assert(posix_mq.open(name))
        again:send "x"
        assert.equal(1, #q)
      end
    end)

  it("LTP:mq_open01#6 LTP:mq_open01#7 no descriptor left: EMFILE", function()
    local result = t.children.run(nil, {command = {"sh", "-c",
      [[ulimit -n 16; exec "$0" -e '
        local ipc = require "unixipc"
        local errno, mq = ipc.errno, ipc.posix_mq
        local one = assert(mq.open(nil,
          {temporary = true, max_messages = 1, message_size = 1}))
        local list = {}
        repeat
          local q, message, code = mq.open(one:name())
          list[#list + 1] = q
          if not q then print(errno.name(code), #list > 0) end
        until not q
        list[1]:close()
        print(mq.open(one:name()) ~= nil)']], os.getenv "LUA" or "lua5.4"}})
    assert.equal("EMFILE\ttrue\ntrue\n", result.out, result.err)
  end)

  it("GV:mq.cc:ChangeIpcNamespace another namespace has other names",
    function()
      local q <close> = new()
      local result = t.children.run(nil, {command = {"unshare", "--ipc",
        os.getenv "LUA" or "lua5.4", "-e", ([[
          local ipc = require "unixipc"
          print(ipc.errno.name((select(3, ipc.posix_mq.open(%q)))))
        ]]):format(q:name())}})
      if result.code ~= 0 then return pending "cannot make a namespace" end
      assert.equal("ENOENT\n", result.out)
    end)

  it("OPTS:mq_open/19-1 its descriptor is not a program's", function()
    local q <close> = new()
    local child <close> = assert(process.spawn({"sh", "-c",
      "test -e /proc/self/fd/" .. q:fileno()}))
    assert.same({"exit", 1}, {child:wait(WAIT)})
  end)
end)

describe("mq_send", function()
  it("OPTS:mq_send/3-1 OPTS:mq_send/3-2 OPTS:mq_timedsend/3-1 the highest "
    .. "priority first, among equals the oldest", function()
      local q <close> = new {max_messages = 10}
      local sent = {}
      for i, priority in ipairs {3, 1, 3, 32767, 0, 1, 5, 0, 3, 32767} do
        q:send(tostring(i), priority, 0)
        sent[#sent + 1] = i
      end
      local got = {}
      for i = 1, #sent do got[i] = (q:receive(0)) end
      assert.equal("4 10 7 1 3 9 2 6 5 8", table.concat(got, " "))
    end)

  it("OPTS:mq_send/4-1 OPTS:mq_send/4-3 OPTS:mq_send/13-1 a priority over "
    .. "32767 is none", function()
      local q <close> = new()
      assert.is_true(q:send("x", 32767, 0))
      t.refused("EINVAL", q:send("y", 32768, 0))
      t.refused("EINVAL", q:send("y", 32768))
      assert.equal(1, #q)
    end)

  it("OPTS:mq_send/5-1 OPTS:mq_timedsend/5-1 waits for room", function()
    local q <close> = new {max_messages = 1}
    q:send "first"
    local child = assert(process.fork(function()
      assert(q:send("second", 0, WAIT))
    end))
    process.sleep(0.02)
    assert.is_true(child:is_alive())
    assert.equal("first", (q:receive(0)))
    ended(child)
    assert.equal("second", (q:receive(0)))
  end)

  it("OPTS:mq_send/5-2 OPTS:mq_send/12-1 OPTS:mq_timedsend/12-1 runs handlers "
    .. "while it waits, and goes on", function()
      local q <close> = new {max_messages = 1}
      q:send "first"
      local ran = 0
      signal.handle("SIGUSR1", function()
        ran = ran + 1
        if ran == 3 then q:receive(0) end
      end)
      local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
      assert.is_true(q:send("second", 0, WAIT))
      timer:close()
      signal.handle("SIGUSR1", "original")
      assert.equal("second", (q:receive(0)))
    end)

  it("OPTS:mq_send/8-1 OPTS:mq_timedsend/16-1 a full queue, and time runs out: "
    .. "nothing was sent", function()
      local q <close> = new {max_messages = 2}
      q:send "1"
      q:send "2"
      local seconds = t.took(function() t.timed_out(q:send("3", 9, 0.05)) end)
      assert.is_true(seconds >= 0.05)
      assert.equal(2, #q)
      assert.same({"1", "2"}, {(q:receive(0)), (q:receive(0))})
    end)

  it("OPTS:mq_send/9-1 OPTS:mq_send/11-1 OPTS:mq_send/11-2 a queue that is "
    .. "closed raises", function()
      local q = new()
      q:close()
      t.raises("closed", q.send, q, "x")
      t.raises("closed", q.receive, q)
      t.raises("closed", q.attributes, q)
      t.raises("closed", q.notify, q, "SIGUSR1")
    end)

  it("LTP:mq_send01#1 LTP:mq_timedsend01#1 messages of any length that fits, "
    .. "none too", function()
      local q <close> = new {message_size = 8192, max_messages = 2}
      for _, n in ipairs {0, 1, 100, 8191, 8192} do
        assert.is_true(q:send(("m"):rep(n), 0, 0))
        assert.equal(("m"):rep(n), (q:receive(0)))
      end
    end)
end)

describe("mq_receive", function()
  it("OPTS:mq_receive/5-1 OPTS:mq_timedreceive/5-1 waits for a message",
    function()
      local q <close> = new()
      local child = assert(process.fork(function()
        return q:receive(WAIT) == "come"
      end))
      process.sleep(0.02)
      assert.is_true(child:is_alive())
      q:send "come"
      ended(child)
    end)

  it("OPTS:mq_receive/8-1 of several that wait each message is one's",
    function()
      local q <close> = new()
      local list = {}
      for i = 1, 4 do
        list[i] = assert(process.fork(function()
          return tonumber((q:receive(WAIT)))
        end))
      end
      for i = 1, 4 do assert(q:send(tostring(10 + i), 0, WAIT)) end
      local sum = 0
      for _, child in ipairs(list) do
        sum = sum + select(2, child:wait(WAIT))
        child:close()
      end
      assert.equal(11 + 12 + 13 + 14, sum)
      assert.equal(0, #q)
    end)

  it("OPTS:mq_receive/11-1 OPTS:mq_timedreceive/14-1 of one that only "
    .. "writes: EBADF", function()
      local q <close> = new()
      q:send "x"
      local w <close> = assert(posix_mq.open(q:name(), {write = true}))
      t.refused("EBADF", w:receive())
      t.refused("EBADF", w:receive(0))
      t.refused("EBADF", w:receive(1))
      assert.equal(1, #q)
    end)

  it("OPTS:mq_timedreceive/5-3 OPTS:mq_timedreceive/18-1 keeps its time while "
    .. "handlers run", function()
      local q <close> = new()
      signal.handle("SIGUSR1", function() end)
      local timer <close> = signal.timer {every = 0.005, signal = "SIGUSR1"}
      local seconds = t.took(function() t.timed_out(q:receive(0.1)) end)
      timer:close()
      signal.handle("SIGUSR1", "original")
      assert.is_true(seconds >= 0.1 and seconds < WAIT)
    end)
end)

describe("mq_getattr, mq_close, mq_unlink", function()
  it("OPTS:mq_getattr/2-1 OPTS:mq_getattr/2-2 counts what comes and goes",
    function()
      local q <close> = new()
      for n = 1, 4 do
        q:send "12345"
        local a = q:attributes()
        assert.same({n, n, 5 * n}, {a.messages, #q, a.bytes})
      end
      for n = 3, 0, -1 do
        q:receive(0)
        assert.same({n, 5 * n}, {q:attributes().messages, q:attributes().bytes})
      end
    end)

  it("OPTS:mq_close/1-1 OPTS:mq_close/4-1 what is in it stays", function()
    local name = t.names.posix()
    local q = new({temporary = false}, name)
    q:send("waits", 2)
    assert.is_true(q:close())
    local again <close> = assert(posix_mq.open(name))
    assert.same({"waits", 2}, {again:receive(0)})
    assert.is_true(posix_mq.unlink(name))
  end)

  it("OPTS:mq_unlink/2-2 one with the same name is another one", function()
    local q <close> = new()
    q:send "old"
    assert.is_true(posix_mq.unlink(q:name()))
    local other <close> = new(nil, q:name())
    assert.equal(0, #other)
    other:send "new"
    assert.same({"old", "new"}, {(q:receive(0)), (other:receive(0))})
  end)

  it("a child that ends, or is killed, leaves the queue alone", function()
    local q <close> = new()
    local child <close> = assert(process.fork(function()
      q:send "left"
      signal.raise "SIGKILL"
    end))
    child:wait(WAIT)
    assert.equal("left", (q:receive(0)))
    assert(posix_mq.open(q:name())):close()
  end)
end)

describe("mq_notify", function()
  local RT = "SIGRTMIN+5"

  local function with_blocked(fn)
    local before = signal.block(RT)
    local ok, message = pcall(fn)
    signal.set_mask(before)
    if not ok then error(message, 0) end
  end

  it("OPTS:mq_notify/1-1 OPTS:mq_notify/5-1 tells which process sent, and the "
    .. "value", function()
      with_blocked(function()
        local q <close> = new()
        assert.is_true(q:notify(RT, 1234))
        local child = assert(process.fork(function() q:send "x" end))
        local _, info = assert(signal.wait(RT, WAIT))
        assert.same({"mesgq", child.pid, 1234},
          {info.code, info.pid, info.value})
        ended(child)
      end)
    end)

  it("OPTS:mq_notify/2-1 without a signal it is taken back", function()
    with_blocked(function()
      local q <close> = new()
      q:notify(RT)
      assert.equal(process.pid(), q:attributes().notify_pid)
      assert.is_true(q:notify())
      assert.is_true(q:notify()) -- there is none: that is no error
      assert.equal(0, q:attributes().notify_pid)
      q:send "x"
      t.timed_out(signal.wait(RT, 0.02))
      assert.is_true(q:notify(RT))
      q:notify()
    end)
  end)

  it("OPTS:mq_notify/3-1 only a message into an empty queue is told", function()
    with_blocked(function()
      local q <close> = new()
      q:send "already"
      q:notify(RT)
      q:send "one more"
      t.timed_out(signal.wait(RT, 0.02))
      q:receive(0)
      q:receive(0)
      q:send "into the empty one"
      assert(signal.wait(RT, WAIT))
    end)
  end)

  it("OPTS:mq_notify/8-1 who waits in receive gets it, and nothing is told",
    function()
      with_blocked(function()
        local q <close> = new()
        local reader = assert(process.fork(function()
          return q:receive(WAIT) == "taken"
        end))
        local file = "/proc/" .. reader.pid .. "/wchan"
        local deadline = process.now() + WAIT
        repeat
          process.sleep(0.002)
          local f <close> = io.open(file)
        until f:read "a":find "wq_sleep" or process.now() > deadline
        q:notify(RT)
        q:send "taken"
        ended(reader)
        t.timed_out(signal.wait(RT, 0.02))
        assert.equal(process.pid(), q:attributes().notify_pid)
        q:notify()
      end)
    end)

  it("LTP:mq_notify03 OPTS:mq_notify/9-1 the end of the registered process "
    .. "frees it", function()
      local q <close> = new()
      ended(assert(process.fork(function() assert(q:notify "SIGUSR1") end)))
      assert.equal(0, q:attributes().notify_pid)
      assert.is_true(q:notify "SIGUSR1")
      t.refused("EBUSY", q:notify "SIGUSR2")
      q:notify()
    end)

  it("another process cannot take it back", function()
    with_blocked(function()
      local q <close> = new()
      q:notify(RT, 7)
      ended(assert(process.fork(function()
        assert(q:notify())
        return select(3, q:notify "SIGUSR1") == errno.EBUSY
      end)))
      q:send "x"
      assert.equal(7, select(2, assert(signal.wait(RT, WAIT))).value)
    end)
  end)
end)

describe("A queue in a poller", function()
  it("GV:mq.cc:PollEmpty an empty one can be written, a full one read",
    function()
      local q <close> = new {max_messages = 1}
      local function events()
        local _, list = poll.wait({{q, "rw"}}, 0)
        return list and list[1]
      end
      assert.equal("w", events())
      q:send "x"
      assert.equal("r", events())
      q:receive(0)
      assert.equal("w", events())
    end)

  it("KSELF:mqueue/mq_perf_tests.c messages of mixed priorities come in order "
    .. "while others are sent", function()
      local q <close> = new {max_messages = 10, message_size = 8}
      local child = assert(process.fork(function()
        for n = 1, 500 do assert(q:send(("%d"):format(n), n % 7, WAIT)) end
      end))
      local last, seen = {}, 0
      for _ = 1, 500 do
        local body, priority = assert(q:receive(WAIT))
        local n = tonumber(body)
        assert.equal(n % 7, priority)
        assert.is_true(n > (last[priority] or 0))
        last[priority], seen = n, seen + 1
      end
      ended(child)
      assert.equal(500, seen)
    end)
end)
