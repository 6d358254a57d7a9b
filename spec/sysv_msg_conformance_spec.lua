-- What other people's suites check of message queues, beyond sysv_msg_spec.
local t = require "support"
local nobody = require "support.nobody"
local ipc = require "unixipc"
local sysv, sysv_msg, process = ipc.sysv, ipc.sysv_msg, ipc.process
local signal = ipc.signal

local WAIT = 20 * t.slow

local function new(options)
  local all = {create = true, temporary = true}
  for name, value in pairs(options or {}) do all[name] = value end
  return assert(sysv_msg.get(nil, all))
end

local function new_key()
  return assert(sysv.ftok(t.names.file ""))
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(WAIT)})
  child:close()
end

-- A child is asleep in a system call: so it is in the one that it is to wait
-- in, which is the only one that it sleeps in.
local function await_sleep(child)
  local deadline = process.now() + WAIT
  repeat
    process.sleep(0.002)
    local file <close> = assert(io.open("/proc/" .. child.pid .. "/wchan"))
    local stat <close> = assert(io.open("/proc/" .. child.pid .. "/stat"))
    local state = stat:read "a":match "%) (%a)"
    if state == "S" and file:read "a" ~= "0" then return end
  until process.now() > deadline
  error "it does not sleep"
end

local function as_nobody(name, test)
  it(name, function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    test()
  end)
end

describe("msgget", function()
  it("GV:msgqueue.cc:MsgGetFail LTP:msgget02#2 LTP:msgget02#3 no queue: "
    .. "ENOENT, with and without exclusive", function()
      local key = new_key()
      t.refused("ENOENT", sysv_msg.get(key))
      t.refused("ENOENT", sysv_msg.get(key, {exclusive = true}))
    end)

  it("LTP:msgget01 what is sent is received", function()
    local q <close> = new()
    assert.is_true(q:send("test message", 1))
    assert.same({"test message", 1}, {q:receive(1, 0)})
  end)

  it("LTP:msgget04 msg_next_id is the id of the next, then -1 again",
    function()
      local path = "/proc/sys/kernel/msg_next_id"
      local file = io.open(path, "w")
      if not (file and file:write "8192\n" and file:close()) then
        return pending("cannot set " .. path)
      end
      local q <close> = new()
      assert.equal(8192, q:id())
      local now <close> = io.open(path)
      assert.equal(-1, now:read "n")
    end)

  it("LTP:msgget05 one that is taken gives another id", function()
    local q <close> = new()
    local file = io.open("/proc/sys/kernel/msg_next_id", "w")
    if not (file and file:write(tostring(q:id()), "\n") and file:close()) then
      return pending "cannot set msg_next_id"
    end
    local other <close> = new()
    assert.not_equal(q:id(), other:id())
    file = assert(io.open("/proc/sys/kernel/msg_next_id", "w"))
    file:write "-1\n"
    file:close()
  end)

  it("NBSD:t_msgget.c:msgget_exit outlives the process that made it",
    function()
      local key = new_key()
      ended(assert(process.fork(function()
        assert(assert(sysv_msg.get(key, {create = true})):send("left", 3))
      end)))
      local q = assert(sysv_msg.get(key))
      assert.same({"left", 3}, {q:receive(0, 0)})
      assert.is_true(q:remove())
      t.refused("ENOENT", sysv_msg.get(key))
    end)

  it("NBSD:t_msgget.c:msgget_init has its maker's ids, and no time yet",
    function()
      local q <close> = new {mode = "0600"}
      local s, ids = q:stat(), process.ids()
      assert.same({ids.euid, ids.egid, ids.euid, ids.egid},
        {s.uid, s.gid, s.creator_uid, s.creator_gid})
      assert.same({0, 0, 0, 0},
        {s.sent_at, s.received_at, s.messages, s.bytes})
    end)

  it("NBSD:t_msgget.c:msgget_mode has any mode", function()
    for mode, shown in pairs {["0000"] = "---------", ["0200"] = "-w-------",
      ["0400"] = "r--------", ["0600"] = "rw-------", ["0666"] = "rw-rw-rw-",
      ["0777"] = "rwxrwxrwx"} do
      local q <close> = new {mode = mode}
      assert.equal(shown, q:stat().mode)
    end
  end)

  it("SYSV_IPC:test_message_queues.py:key 0 is a key that makes one anew",
    function()
      local one <close> = assert(sysv_msg.get(0,
        {create = true, temporary = true}))
      local other <close> = assert(sysv_msg.get(0,
        {create = true, temporary = true}))
      assert.not_equal(one:id(), other:id())
      assert.equal(0, one:key())
    end)

  it("SYSV_IPC:test_keys.py keys reach from -2^31 to 2^31-1", function()
    for _, key in ipairs {-0x80000000, -1, 0x7fffffff} do
      local q <close>, is_new = assert(sysv_msg.get(key,
        {create = true, temporary = true}))
      if is_new then
        local again <close> = assert(sysv_msg.get(key))
        assert.equal(q:id(), again:id())
      end
    end
  end)
end)

describe("msgsnd", function()
  it("LTP:msgsnd01 counts, and tells who and when", function()
    local q <close> = new()
    ended(assert(process.fork(function() q:send("a message", 1) end)))
    local s = q:stat()
    assert.same({1, 9}, {s.messages, s.bytes})
    assert.not_equal(process.pid(), s.last_sender)
    assert.is_true(math.abs(os.time() - s.sent_at) <= 5 * t.slow)
    assert.equal(0, s.last_receiver)
  end)

  it("LTP:msgsnd05#1 a full queue and no time: not sent", function()
    local q <close> = new()
    assert.is_true(q:set {max_bytes = 100})
    assert.is_true(q:send(("x"):rep(100), 1))
    t.timed_out(q:send("y", 1, 0))
    assert.equal(1, q:stat().messages)
  end)

  it("GV:msgqueue.cc:MsgOpLimits one that fits only alone is waited for",
    function()
      local q <close> = new()
      q:set {max_bytes = 10}
      t.refused("EINVAL", q:send(("x"):rep(sysv.limits().msg.message_bytes + 1),
        1, 0))
      assert.is_true(q:send("1", 1, 0))
      t.timed_out(q:send(("x"):rep(10), 1, 0))
      q:receive(0, 0)
      assert.is_true(q:send(("x"):rep(10), 1, 0))
    end)

  it("GV:msgqueue.cc:MsgOpLimits empty messages fill a queue, too", function()
    local q <close> = new()
    q:set {max_bytes = 5}
    for _ = 1, 5 do assert.is_true(q:send("", 1, 0)) end
    t.timed_out(q:send("", 1, 0))
  end)

  it("LTP:msgsnd05#2 GV:msgqueue.cc:InterruptSend runs handlers while it "
    .. "waits, and goes on", function()
      local q <close> = new()
      q:set {max_bytes = 4}
      q:send("full", 1)
      local ran = 0
      signal.handle("SIGUSR1", function()
        ran = ran + 1
        if ran == 2 then q:receive(0, 0) end
      end)
      local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
      assert.is_true(q:send("next", 2, WAIT))
      timer:close()
      signal.handle("SIGUSR1", "original")
      assert.is_true(ran >= 2)
      assert.same({"next", 2}, {q:receive(0, 0)})
    end)

  it("GV:msgqueue.cc:MsgSndBlocking goes on when there is room", function()
    local q <close> = new()
    q:set {max_bytes = 4}
    q:send("full", 1)
    local child = assert(process.fork(function()
      assert(q:send("more", 2, WAIT))
    end))
    await_sleep(child)
    assert.same({"full", 1}, {q:receive(0, 0)})
    ended(child)
    assert.same({"more", 2}, {q:receive(0, 0)})
  end)

  it("LTP:msgsnd06 LTP:msgrcv06 GV:msgqueue.cc:MsgSndRmWhileBlocking "
    .. "GV:msgqueue.cc:MsgRcvRmWhileBlocking are told EIDRM", function()
      for _, way in ipairs {"send", "receive"} do
        local q = new()
        q:set {max_bytes = 1}
        if way == "send" then q:send("x", 1) end
        local child = assert(process.fork(function()
          local code
          if way == "send" then
            code = select(3, q:send("y", 1, WAIT))
          else
            code = select(3, q:receive(0, WAIT))
          end
          return code == ipc.errno.EIDRM
        end))
        await_sleep(child)
        assert.is_true(q:remove())
        ended(child)
        t.refused("EINVAL", q:send("x", 1, 0))
        q:close()
      end
    end)

  as_nobody("LTP:msgsnd02#5 without the right to: EACCES", function()
    local q <close> = new {mode = "0600"}
    assert.equal("EACCES EACCES", nobody.run([[
      local q = assert(ipc.sysv_msg.from_id(tonumber(arg[1])))
      print(code(q:send("x", 1, 0)), code(q:receive(0, 0)))
    ]], tostring(q:id())))
  end)

  it("LTP:msgstress01 many writers and readers, each message once and whole",
    function()
      local q <close> = new()
      local list, N = {}, 200
      for i = 1, 6 do
        list[#list + 1] = assert(process.fork(function()
          for n = 1, N do
            assert(q:send((string.char(64 + i)):rep(1 + n % 100), i, WAIT))
          end
        end))
        list[#list + 1] = assert(process.fork(function()
          for n = 1, N do
            local body, kind = assert(q:receive(i, WAIT))
            assert(kind == i and body == string.char(64 + i):rep(1 + n % 100))
          end
        end))
      end
      for _, child in ipairs(list) do ended(child) end
      assert.equal(0, q:stat().messages)
    end)
end)

describe("msgrcv", function()
  it("LTP:msgrcv01 GV:msgqueue.cc:MsgOpSimple gives body, type, and count",
    function()
      local q <close> = new()
      q:send("body", 2147483647)
      assert.same({"body", 2147483647}, {q:receive(2147483647, 0)})
      local s = q:stat()
      assert.same({0, 0, process.pid()}, {s.messages, s.bytes, s.last_receiver})
      assert.is_true(s.received_at >= s.sent_at)
    end)

  it("a type of more than 32 bits is kept", function()
    local q <close> = new()
    q:send("x", math.maxinteger)
    q:send("y", 1 << 40)
    assert.same({"y", 1 << 40}, {q:receive(1 << 40, 0)})
    assert.same({"x", math.maxinteger}, {q:receive(0, 0)})
  end)

  it("LTP:msgrcv07#1 GV:msgqueue.cc:MsgOpTruncate cuts, and takes all of it",
    function()
      local q <close> = new()
      q:send("0123456789", 1)
      assert.same({"012", 1}, {q:receive(0, 0, {size = 3, truncate = true})})
      t.timed_out(q:receive(0, 0))
      q:send("0123456789", 1)
      assert.same({"", 1}, {q:receive(0, 0, {size = 0, truncate = true})})
    end)

  it("GV:msgqueue.cc:MsgOpTooBig one too long stays: E2BIG", function()
    local q <close> = new()
    q:send("12345", 4)
    t.refused("E2BIG", q:receive(0, 0, {size = 4}))
    t.refused("E2BIG", q:receive(4, 0, {size = 0}))
    assert.same({"12345", 4}, {q:receive(0, 0, {size = 5})})
  end)

  it("GV:msgqueue.cc:MsgOpNoMsgType another type is none", function()
    local q <close> = new()
    q:send("x", 2)
    t.timed_out(q:receive(1, 0))
    t.timed_out(q:receive(-1, 0))
    t.timed_out(q:receive(2, 0, {except = true}))
    assert.equal(1, q:stat().messages)
  end)

  it("GV:msgqueue.cc:MsgRcvType GV:msgqueue.cc:MsgOpGeneral takes types in "
    .. "any order, each the oldest first", function()
      local q <close> = new()
      for i = 1, 9 do q:send(tostring(i), 1 + i % 3) end
      local got = {}
      for kind = 3, 1, -1 do
        for _ = 1, 3 do got[#got + 1] = (q:receive(kind, 0)) end
      end
      assert.equal("2 5 8 1 4 7 3 6 9", table.concat(got, " "))
    end)

  it("GV:msgqueue.cc:MsgRcvTypeNegative LTP:msgrcv08 below 0 takes the lowest "
    .. "type first, and of it the oldest", function()
      local q <close> = new()
      for i, kind in ipairs {9, 5, 3, 5, 3} do q:send(tostring(i), kind) end
      local got = {}
      for _ = 1, 4 do got[#got + 1] = (q:receive(-5, 0)) end
      assert.equal("3 5 2 4", table.concat(got, " "))
      t.timed_out(q:receive(-5, 0))
      assert.same({"1", 9}, {q:receive(-0x80000000, 0)})
    end)

  it("GV:msgqueue.cc:InterruptRecv runs handlers, and goes on", function()
    local q <close> = new()
    local ran = 0
    signal.handle("SIGUSR1", function()
      ran = ran + 1
      if ran == 2 then q:send("at last", 1) end
    end)
    local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
    assert.equal("at last", (q:receive(0, WAIT)))
    timer:close()
    signal.handle("SIGUSR1", "original")
  end)

  it("many that wait for their types each get theirs", function()
    local q <close> = new()
    local list = {}
    for i = 1, 5 do
      list[i] = assert(process.fork(function()
        return q:receive(i, WAIT) == "for " .. i
      end))
    end
    for _, child in ipairs(list) do await_sleep(child) end
    for i = 5, 1, -1 do q:send("for " .. i, i) end
    for _, child in ipairs(list) do ended(child) end
  end)

  it("GV:msgqueue.cc:MsgCopyInvalidArgs KSELF:ipc/msgque.c a copy waits for "
    .. "nothing, takes nothing", function()
      local q <close> = new()
      local _, _, code = q:receive(0, nil, {copy = 1})
      if code == ipc.errno.ENOSYS then return pending "not in this kernel" end
      assert.equal(ipc.errno.ENOMSG, code)
      q:send("kept", 8)
      assert.same({"kept", 8}, {q:receive(0, nil, {copy = 1})})
      t.refused("EINVAL", q:receive(0, 0, {copy = 1, except = true}))
      local s = q:stat()
      assert.same({1, 0, 0}, {s.messages, s.last_receiver, s.received_at})
    end)
end)

describe("msgctl", function()
  it("LTP:msgctl03 a queue that was removed is gone: EINVAL", function()
    local q <close> = new()
    local other = assert(sysv_msg.from_id(q:id()))
    assert.is_true(other:remove())
    for _, call in ipairs {"stat", "remove"} do
      t.refused("EINVAL", q[call](q))
    end
    t.refused("EINVAL", q:set {mode = 0})
    t.refused("EINVAL", q:receive(0, 0))
    t.refused("EINVAL", sysv_msg.from_id(q:id()))
  end)

  it("LTP:msgctl04#1 there is no queue -1: EINVAL", function()
    t.refused("EINVAL", sysv_msg.from_id(-1))
    t.refused("EINVAL", sysv.remove("msg", -1))
  end)

  as_nobody("LTP:msgctl04#2 LTP:msgctl04#3 GV:msgqueue.cc:MsgCtlIpcSet "
    .. "a stranger may not look, set or remove", function()
      local q <close> = new {mode = "0600"}
      assert.equal("EACCES EPERM EPERM EPERM", nobody.run([[
        local q = assert(ipc.sysv_msg.from_id(tonumber(arg[1])))
        print(code(q:stat()), code(q:set {mode = 0}), code(q:remove()),
          code(ipc.sysv.remove("msg", q:id())))
      ]], tostring(q:id())))
      assert.equal("rw-------", q:stat().mode)
    end)

  as_nobody("GV:msgqueue.cc:MsgCtlIpcStatWriteOnly to look one must read",
    function()
      assert.equal("EACCES true true", nobody.run [[
        local q <close> = assert(ipc.sysv_msg.get(nil,
          {create = true, temporary = true, mode = "-w-------"}))
        print(code(q:stat()), q:send("x", 1), q:set {mode = "rw-------"})
      ]])
    end)

  as_nobody("LTP:msgctl06 all see all queues in the list", function()
    local q <close> = new {mode = 0}
    q:send("12345", 1)
    assert.equal("1 5", nobody.run([[
      for _, entry in ipairs(assert(ipc.sysv.list "msg")) do
        if entry.id == tonumber(arg[1]) then
          print(entry.messages, entry.bytes)
        end
      end]], tostring(q:id())))
  end)

  it("GV:msgqueue.cc:MsgCtlIpcSetMaxBytes PERL:cpan/IPC-SysV/t/msg.t sets "
    .. "what it is told and no more", function()
      local q <close> = new {mode = "0600"}
      local old = q:stat()
      assert.is_true(q:set {mode = "0640", max_bytes = 512})
      local s = q:stat()
      assert.same({"rw-r-----", 512}, {s.mode, s.max_bytes})
      s.mode, s.max_bytes, s.changed_at = old.mode, old.max_bytes,
        old.changed_at
      assert.same(old, s)
    end)

  it("one that holds more than it then may goes on giving", function()
    local q <close> = new()
    for i = 1, 4 do q:send("12345", i) end
    assert.is_true(q:set {max_bytes = 5})
    t.timed_out(q:send("x", 1, 0))
    for i = 1, 4 do assert.same({"12345", i}, {q:receive(0, 0)}) end
    assert.is_true(q:send("x", 1, 0))
  end)

  it("GV:msgqueue.cc:MsgCtlIpcInfo GV:msgqueue.cc:MsgCtlMsgInfo LTP:msgctl12 "
    .. "counts what there is", function()
      local before = sysv.usage().msg
      local q <close> = new()
      q:send("123", 1)
      q:send("45", 1)
      local now = sysv.usage().msg
      assert.same({1, 2, 5}, {now.queues - before.queues,
        now.messages - before.messages, now.bytes - before.bytes})
      assert.equal(q:stat().max_bytes, sysv.limits().msg.queue_bytes)
    end)
end)
