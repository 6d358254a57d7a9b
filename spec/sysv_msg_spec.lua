local t = require "support"
local ipc = require "unixipc"
local nobody = require "support.nobody"
local sysv, sysv_msg, process = ipc.sysv, ipc.sysv_msg, ipc.process

local NEW = {create = true, temporary = true}

local function new_queue(key)
  return assert(sysv_msg.get(key, NEW))
end

local function new_key()
  return assert(sysv.ftok(t.names.file ""))
end

-- Waits until the process sleeps in the kernel.
local function await_sleep(pid)
  local start = process.now()
  repeat
    local file <close> = assert(io.open("/proc/" .. pid .. "/stat"))
    local state = file:read "a":match "%) (%a)"
  until state == "S" or process.now() - start > 5 * t.slow
end

local function finish(child, code)
  assert.same({"exit", code or 0}, {child:wait(10 * t.slow)})
  child:close()
end

describe("sysv_msg.get", function()
  it("GV:msgqueue.cc:MsgGet opens the same queue by its key", function()
    local key = new_key()
    local q <close>, is_new = new_queue(key)
    local r <close>, again = assert(sysv_msg.get(key, {create = true}))
    assert.equal(q:id(), r:id())
    assert.is_true(is_new)
    assert.is_false(again)
    assert.equal(("sysv_msg queue id=%d key=0x%08x"):format(q:id(),
      key & 0xffffffff), tostring(q))
  end)

  it("GV:msgqueue.cc:MsgGetIpcPrivate makes another each time", function()
    local q <close>, r = new_queue(), new_queue()
    assert.not_equal(q:id(), r:id())
    r:close()
  end)

  it("LTP:msgget02#1 exclusive: EEXIST", function()
    local key = new_key()
    local q <close> = new_queue(key)
    local message = t.refused("EEXIST",
      sysv_msg.get(key, {create = true, exclusive = true}))
    assert.truthy(message:find(("msgget: key 0x%08x: "):format(
      key & 0xffffffff), 1, true))
    assert.is_table(q:stat())
  end)

  it("without create: ENOENT", function()
    t.refused("ENOENT", sysv_msg.get(new_key()))
    t.refused("ENOENT", sysv_msg.get(new_key(), {exclusive = true}))
  end)

  it("LTP:msgget02#4 asks for the rights of a mode: EACCES", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local key = new_key()
    local q <close> = assert(sysv_msg.get(key, {create = true,
      temporary = true, mode = "---------"}))
    assert.equal("EACCES EACCES EACCES", nobody.run([[
      local key = tonumber(arg[1])
      for _, mode in ipairs {"r--------", "-w-------", "rw-------"} do
        io.write(code(ipc.sysv_msg.get(key, {mode = mode})), " ")
      end
    ]], tostring(q:key())):gsub(" $", ""))
  end)

  it("gives new queues the mode that was asked for", function()
    for mode, shown in pairs {["rw-r--r--"] = "rw-r--r--",
      ["0620"] = "rw--w----", [tonumber("777", 8)] = "rwxrwxrwx"} do
      local q <close> = assert(sysv_msg.get(nil, {create = true,
        temporary = true, mode = mode}))
      assert.equal(shown, q:stat().mode)
    end
  end)

  it("raises for options that there are not", function()
    t.raises("unknown option 'exlusive'", sysv_msg.get, 1,
      {exlusive = true})
    t.raises("boolean expected", sysv_msg.get, 1, {create = 1})
    t.raises("mode must be like", sysv_msg.get, 1, {mode = "rw"})
  end)
end)

describe("Queue:send and receive", function()
  it("carry bodies and types", function()
    local q <close> = new_queue()
    assert.is_true(q:send("payload", 7))
    assert.same({"payload", 7}, {q:receive(-7, 0.5)})
    q:send "one"
    assert.same({"one", 1}, {q:receive()})
    q:send(12, math.maxinteger)
    assert.same({"12", math.maxinteger}, {q:receive(math.maxinteger)})
  end)

  it("GV:msgqueue.cc:MsgOpEmpty carry empty messages", function()
    local q <close> = new_queue()
    assert.is_true(q:send("", 3))
    assert.equal(1, q:stat().messages)
    assert.same({"", 3}, {q:receive(0, 0)})
    assert.equal(0, q:stat().messages)
  end)

  it("GV:msgqueue.cc:MsgOpReceiveMax accept a size beyond the limit",
    function()
      local q <close> = new_queue()
      q:send("short", 1)
      assert.same({"short", 1}, {q:receive(0, 0, {size = 1 << 20})})
    end)

  it("LTP:msgsnd02#1 LTP:msgsnd02#2 refuse types below 1: EINVAL", function()
    local q <close> = new_queue()
    local message = t.refused("EINVAL", q:send("x", 0))
    assert.truthy(message:find "a type below 1")
    t.refused("EINVAL", q:send("x", -1))
    t.refused("EINVAL", q:send("x", math.mininteger))
  end)

  it("LTP:msgsnd02#3 GV:msgqueue.cc:MsgOpInvalidArgs have no length to get "
    .. "wrong", function()
    local q <close> = new_queue()
    t.raises("string expected", q.send, q, nil, 1)
    t.raises("integer from 0", q.receive, q, 0, 0, {size = -1})
  end)

  it("LTP:msgsnd02#4 there is no queue -1: EINVAL", function()
    t.refused("EINVAL", sysv_msg.from_id(-1))
    local q = new_queue()
    q:remove()
    local code = t.refused("EINVAL", q:send("x", 1))
    assert.truthy(code:find "no such queue")
    t.refused("EINVAL", q:receive())
    t.refused("EINVAL", q:stat())
    t.refused("EINVAL", q:set {mode = 0})
    t.refused("EINVAL", q:remove())
    q:close()
  end)

  it("refuse what is over the limit, and name it", function()
    local q <close> = new_queue()
    local most = sysv.limits().msg.message_bytes
    assert.is_true(q:send(("x"):rep(most), 1))
    assert.equal(most, #q:receive())
    local message = t.refused("EINVAL", q:send(("x"):rep(most + 1), 1))
    assert.truthy(message:find("/proc/sys/kernel/msgmax: " .. most, 1, true))
  end)

  it("NBSD:t_msgsnd.c#2 count what went in until it is full", function()
    local q <close> = new_queue()
    local count = 0
    while q:send(("x"):rep(100), 1, 0) do count = count + 1 end
    t.timed_out(q:send(("x"):rep(100), 1, 0))
    assert.equal(count, q:stat().messages)
    assert.equal(count * 100, q:stat().bytes)
    local seconds = t.took(function()
      t.timed_out(q:send(("x"):rep(100), 1, 0.05))
    end)
    assert.is_true(seconds >= 0.05 and seconds < 1 * t.slow)
    assert.equal(count, q:stat().messages)
  end)

  it("wait for room", function()
    local q <close> = new_queue()
    while q:send("x", 1, 0) do end
    local child = assert(process.fork(function()
      return q:send("late", 9, 10) and 0 or 1
    end))
    await_sleep(child.pid)
    for _ = 1, 5 do q:receive(1) end
    finish(child)
    assert.same({"late", 9}, {q:receive(9, 0)})
  end)

  it("GV:msgqueue.cc:MsgRcvBlocking wait for a message", function()
    local q <close> = new_queue()
    local child = assert(process.fork(function()
      return q:receive(0, 10) == "come" and 0 or 1
    end))
    await_sleep(child.pid)
    q:send("come", 1)
    finish(child)
    assert.equal(child.pid, q:stat().last_receiver)
    assert.equal(process.pid(), q:stat().last_sender)
  end)

  it("GV:msgqueue.cc:MsgRcvTypeBlocking wait for one of their type",
    function()
      local q <close> = new_queue()
      local child = assert(process.fork(function()
        local body, type = q:receive(2, 10)
        return body == "two" and type == 2 and 0 or 1
      end))
      await_sleep(child.pid)
      for _ = 1, 3 do q:send("one", 1) end
      assert.is_true(child:is_alive())
      q:send("two", 2)
      finish(child)
      assert.equal(3, q:stat().messages)
    end)

  it("LTP:msgrcv05 run signal handlers while they wait", function()
    local q <close> = new_queue()
    local count = 0
    ipc.signal.handle("SIGALRM", function() count = count + 1 end)
    local timer <close> = assert(ipc.signal.timer {after = 0.02, every = 0.02})
    t.timed_out(q:receive(0, 0.15))
    timer:close()
    assert.is_true(count >= 2)
    ipc.signal.handle("SIGALRM", function() error("stop", 0) end)
    ipc.signal.alarm(0.02)
    t.raises("stop", q.receive, q)
    while q:send("x", 1, 0) do end
    ipc.signal.alarm(0.02)
    t.raises("stop", q.send, q, "x", 1)
    ipc.signal.handle("SIGALRM", "default")
  end)

  it("survive a handler that uses the same queue, or closes it", function()
    local q = new_queue()
    ipc.signal.handle("SIGALRM", function()
      q:send("from the handler", 2)
      assert.equal("from the handler", q:receive(2))
      q:send(("long"):rep(500), 1)
    end)
    ipc.signal.alarm(0.02)
    assert.equal(("long"):rep(500), q:receive(1, 5))
    ipc.signal.handle("SIGALRM", function() q:close() end)
    ipc.signal.alarm(0.02)
    t.raises("closed sysv_msg queue", q.receive, q)
    ipc.signal.handle("SIGALRM", "default")
  end)

  it("GV:msgqueue.cc:MsgOpNoMsg time out at once with a timeout of 0",
    function()
      local q <close> = new_queue()
      t.timed_out(q:receive(0, 0))
      t.refused("ENOMSG", q:receive(0, 0, {copy = 1}))
      local seconds = t.took(function() t.timed_out(q:receive(0, 0.05)) end)
      assert.is_true(seconds >= 0.05 and seconds < 1 * t.slow)
      t.raises("timeout must be", q.receive, q, 0, -1)
    end)

  it("say EIDRM when the queue is removed while they wait", function()
    for _, is_full in ipairs {false, true} do
      local q <close> = new_queue()
      while is_full and q:send("x", 1, 0) do end
      local child = assert(process.fork(function()
        local call = is_full and q.send or q.receive
        local _, message, code = call(q, is_full and "x" or 0,
          is_full and 1 or 10, is_full and 10 or nil)
        return message:find "Identifier removed" and code or 0
      end))
      await_sleep(child.pid)
      q:remove()
      finish(child, ipc.errno.EIDRM)
    end
  end)

  it("PERL:t/io/msg.t#1 keep bytes and type", function()
    local q <close> = new_queue()
    q:send("\255\192\0\1", 0x1F0)
    assert.same({"\255\192\0\1", 0x1F0}, {q:receive()})
  end)

  it("SYSV_IPC:test_message_queues.py#3 keep embedded zeros", function()
    local q <close> = new_queue()
    q:send("\0a\0\0b\0", 1)
    assert.equal("\0a\0\0b\0", (q:receive()))
  end)

  it("talk both ways over one queue, by types", function()
    local q <close> = new_queue()
    local child = assert(process.fork(function()
      for _ = 1, 100 do
        q:send(q:receive(1, 10):upper(), 2)
      end
    end))
    for i = 1, 100 do
      q:send("message " .. i, 1)
      assert.equal("MESSAGE " .. i, (q:receive(2, 10)))
    end
    finish(child)
  end)
end)

describe("The type that is wanted", function()
  local function fill(q, ...)
    for _, type in ipairs {...} do q:send("of " .. type, type) end
  end

  it("LTP:msgrcv02#2 is not there", function()
    local q <close> = new_queue()
    fill(q, 2)
    t.timed_out(q:receive(-1, 0))
    t.timed_out(q:receive(1, 0))
    assert.equal("of 2", (q:receive(-2, 0)))
  end)

  it("GV:msgqueue.cc:MsgExcept LTP:msgrcv07#2 may be all but one", function()
    local q <close> = new_queue()
    fill(q, 1, 2)
    assert.same({"of 1", 1}, {q:receive(2, 0, {except = true})})
    t.timed_out(q:receive(2, 0, {except = true}))
    fill(q, 1, 3, 4)
    assert.same({"of 1", 1}, {q:receive(2, 0, {except = true})})
    assert.same({"of 2", 2}, {q:receive(3, 0, {except = true})})
    assert.same({"of 4", 4}, {q:receive(3, 0, {except = true})})
  end)

  it("LTP:msgrcv07#3 0 is the oldest", function()
    local q <close> = new_queue()
    fill(q, 5, 3)
    assert.same({"of 5", 5}, {q:receive(0, 0)})
  end)

  it("LTP:msgrcv07#4 below 0 is the lowest up to it", function()
    local q <close> = new_queue()
    fill(q, 1, 2)
    assert.same({"of 1", 1}, {q:receive(-2, 0)})
    assert.same({"of 2", 2}, {q:receive(math.mininteger, 0)})
  end)

  it("SYSV_IPC:test_message_queues.py#1 lowest, not oldest", function()
    local q <close> = new_queue()
    fill(q, 4, 3, 2, 1)
    assert.equal("of 1", (q:receive(-2, 0)))
    assert.equal("of 2", (q:receive(-2, 0)))
    t.timed_out(q:receive(-2, 0))
  end)
end)

describe("A message that is too long", function()
  it("LTP:msgrcv02#4 stays: E2BIG", function()
    local q <close> = new_queue()
    q:send("12345", 1)
    local message = t.refused("E2BIG", q:receive(0, 0, {size = 4}))
    assert.truthy(message:find "stays in the queue")
    t.refused("E2BIG", q:receive(0, nil, {size = 0}))
    assert.equal("12345", (q:receive(0, 0, {size = 5})))
  end)

  it("is cut if that is asked for", function()
    local q <close> = new_queue()
    q:send("12345", 1)
    assert.same({"123", 1}, {q:receive(0, 0, {size = 3, truncate = true})})
    assert.equal(0, q:stat().messages)
    q:send("12345", 1)
    assert.same({"", 1}, {q:receive(0, 0, {size = 0, truncate = true})})
    q:send("12345", 1)
    assert.same({"12345", 1}, {q:receive(0, 0, {truncate = true})})
  end)
end)

describe("A copy", function()
  local has_copy
  do
    local q <close> = new_queue()
    q:send("x", 1)
    has_copy = select(3, q:receive(0, 0, {copy = 1})) ~= ipc.errno.ENOSYS
  end
  local it_copies = has_copy and it or pending

  it_copies("GV:msgqueue.cc:MsgCopy takes nothing away", function()
    local q <close> = new_queue()
    for i = 1, 5 do q:send("number " .. i, i) end
    for i = 1, 5 do
      assert.same({"number " .. i, i}, {q:receive(nil, nil, {copy = i})})
    end
    for i = 1, 5 do assert.same({"number " .. i, i}, {q:receive(0, 0)}) end
  end)

  it_copies("LTP:msgrcv03#1 never waits", function()
    local q <close> = new_queue()
    t.refused("ENOMSG", q:receive(0, nil, {copy = 1}))
  end)

  it_copies("LTP:msgrcv03#2 and except exclude each other: EINVAL", function()
    local q <close> = new_queue()
    q:send("x", 1)
    t.refused("EINVAL", q:receive(0, 0, {copy = 1, except = true}))
  end)

  it_copies("GV:msgqueue.cc:MsgCopyInvalidIndex: ENOMSG", function()
    local q <close> = new_queue()
    q:send("x", 1)
    t.refused("ENOMSG", q:receive(0, 0, {copy = 6}))
    t.refused("ENOMSG", q:receive(0, 0, {copy = -2}))
  end)

  it_copies("GV:msgqueue.cc:MsgCopyTooBig: E2BIG, cut: EINVAL", function()
    local q <close> = new_queue()
    q:send("12345", 1)
    t.refused("E2BIG", q:receive(0, 0, {copy = 1, size = 4}))
    t.refused("EINVAL",
      q:receive(0, 0, {copy = 1, size = 4, truncate = true}))
  end)
end)

describe("Queue:stat and set", function()
  it("GV:msgqueue.cc:MsgCtlIpcStat of a new queue", function()
    local q <close> = new_queue()
    local s = q:stat()
    assert.is_true(math.abs(os.time() - s.changed_at) <= 2)
    s.changed_at = nil
    local uid = tonumber(io.popen "id -u":read())
    local gid = tonumber(io.popen "id -g":read())
    assert.same({
      id = q:id(), key = 0, mode = "rw-------", uid = uid, gid = gid,
      creator_uid = uid, creator_gid = gid, messages = 0, bytes = 0,
      max_bytes = sysv.limits().msg.queue_bytes, last_sender = 0,
      last_receiver = 0, sent_at = 0, received_at = 0,
    }, s)
    q:send("12", 1)
    s = q:stat()
    assert.same({1, 2, process.pid()}, {s.messages, s.bytes, s.last_sender})
    assert.is_true(math.abs(os.time() - s.sent_at) <= 2)
    q:receive()
    s = q:stat()
    assert.equal(process.pid(), s.last_receiver)
    assert.is_true(math.abs(os.time() - s.received_at) <= 2)
  end)

  it("LTP:msgctl02 changes what a queue may hold", function()
    local q <close> = new_queue()
    local old = q:stat()
    assert.is_true(q:set {max_bytes = old.max_bytes - 1})
    assert.equal(old.max_bytes - 1, q:stat().max_bytes)
    assert.is_true(q:stat().changed_at >= old.changed_at)
    assert.equal(old.mode, q:stat().mode)
    q:set {max_bytes = 10}
    q:send("12345", 1)
    q:send("1234", 1)
    t.timed_out(q:send("12", 1, 0))
    assert.is_true(q:send("1", 1, 0))
  end)

  it("changes the mode and the owner", function()
    local q <close> = new_queue()
    assert.is_true(q:set {mode = "rw-r-----"})
    assert.equal("rw-r-----", q:stat().mode)
    if q:stat().uid ~= 0 then return pending "needs root" end
    assert.is_true(q:set {uid = 65534, gid = 12})
    assert.same({65534, 12, 0, "rw-r-----"}, {q:stat().uid, q:stat().gid,
      q:stat().creator_uid, q:stat().mode})
  end)

  it("raises for what cannot be set", function()
    local q <close> = new_queue()
    t.raises("unknown option 'bytes'", q.set, q, {bytes = 1})
    t.raises("table expected", q.set, q)
    t.raises("integer from 0", q.set, q, {uid = -1})
    t.raises("mode must be", q.set, q, {mode = -1})
  end)

  it("says which limit an ordinary user met: EPERM", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local out = nobody.run([[
      local q <close> = assert(ipc.sysv_msg.get(nil,
        {create = true, temporary = true}))
      print(code(q:set {max_bytes = 1 << 30}))
      print((select(2, q:set {max_bytes = 1 << 30})))
      print(q:set {max_bytes = 100})
    ]])
    assert.truthy(out:find "^EPERM\n.*/proc/sys/kernel/msgmnb: %d+%)\ntrue$",
      out)
  end)
end)

describe("Permissions", function()
  it("LTP:msgrcv02#5 to read are needed: EACCES", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local q <close> = assert(sysv_msg.get(nil, {create = true,
      temporary = true, mode = "rw--w--w-"}))
    q:send("x", 1)
    assert.equal("EACCES EACCES true", nobody.run([[
      local q <close> = assert(ipc.sysv_msg.from_id(tonumber(arg[1])))
      print(code(q:receive(0, 0)), code(q:stat()), q:send("y", 1))
    ]], tostring(q:id())))
    assert.equal(2, q:stat().messages)
  end)

  it("to read are not needed by the owner, to change them", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    assert.equal("EACCES true rw------- 5 EPERM", nobody.run([[
      local q <close> = assert(ipc.sysv_msg.get(nil,
        {create = true, temporary = true, mode = 0}))
      q:set {max_bytes = 5}
      io.write(code(q:stat()), " ", tostring(q:set {mode = "rw-------"}), " ")
      local other = assert(ipc.sysv_msg.from_id(tonumber(arg[1])))
      print(q:stat().mode, q:stat().max_bytes, code(other:set {mode = 511}))
    ]], tostring(new_queue():id())))
  end)

  it("GV:msgqueue.cc:MsgOpPermissions of the own queue: EACCES", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    assert.equal("EACCES EACCES EACCES", nobody.run([[
      local q <close> = assert(ipc.sysv_msg.get(nil,
        {create = true, temporary = true, mode = 0}))
      print(code(q:send("x", 1)), code(q:receive(0, 0)),
        code(q:receive(0, 0, {copy = 1})))
    ]]))
  end)
end)
