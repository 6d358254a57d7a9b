local t = require "support"
local ipc = require "unixipc"
local nobody = require "support.nobody"
local sysv, sysv_sem, process = ipc.sysv, ipc.sysv_sem, ipc.process

local function new_set(count, initial, more)
  local options = {create = true, temporary = true, initial = initial}
  local key
  for name, value in pairs(more or {}) do
    if name == "key" then key = value else options[name] = value end
  end
  return assert(sysv_sem.get(key, count or 1, options))
end

local function new_key()
  return assert(sysv.ftok(t.names.file ""))
end

-- Waits until a condition of the kernel holds: so many processes wait.
local function await(condition)
  local start = process.now()
  while not condition() do
    if process.now() - start > 10 * t.slow then error "it never came" end
    process.sleep(0.001)
  end
end

local function finish(child, code)
  assert.same({"exit", code or 0}, {child:wait(20 * t.slow)})
  child:close()
end

local function fork(fn, ...)
  return assert(process.fork(fn, ...))
end

describe("sysv_sem.get", function()
  it("GV:semaphore.cc:SemGet#3 refuses sets without semaphores: EINVAL",
    function()
      for _, count in ipairs {0, -1} do
        t.refused("EINVAL", sysv_sem.get(new_key(), count, {create = true}))
        t.refused("EINVAL", sysv_sem.get(nil, count, {create = true}))
      end
    end)

  it("GV:semaphore.cc:SemGet#4 exclusive: EEXIST", function()
    local key = new_key()
    local s <close> = assert(sysv_sem.get(key, 1,
      {create = true, temporary = true}))
    t.refused("EEXIST", sysv_sem.get(key, 1,
      {create = true, exclusive = true}))
    t.refused("EEXIST", sysv_sem.get(key, 1,
      {create = true, exclusive = true, initial = 1}))
    assert.equal(0, s:value())
  end)

  it("GV:semaphore.cc:SemGet#5 without create: ENOENT", function()
    t.refused("ENOENT", sysv_sem.get(new_key(), 1))
    t.refused("ENOENT", sysv_sem.get(new_key()))
  end)

  it("GV:semaphore.cc:SemGetSystemLimits names the limit: EINVAL", function()
    local most = sysv.limits().sem.set_semaphores
    local message = t.refused("EINVAL",
      sysv_sem.get(nil, most + 1, {create = true}))
    assert.truthy(message:find("/proc/sys/kernel/sem: " .. most, 1, true))
    t.refused("EINVAL", sysv_sem.get(new_key(), 1 << 30, {create = true}))
  end)

  it("GV:semaphore.cc:SemCtlValAll makes zeros", function()
    local s <close> = new_set(4)
    assert.same({0, 0, 0, 0}, s:values())
  end)

  it("makes the values that are asked for", function()
    local s <close> = new_set(3, {1, 0, 32767})
    assert.same({1, 0, 32767}, s:values())
    local same <close> = new_set(3, 5)
    assert.same({5, 5, 5}, same:values())
    local many = {}
    for i = 1, 1000 do many[i] = i end
    local big <close> = new_set(1000, many, {key = new_key()})
    assert.same(many, big:values())
    for _, bad in ipairs {{1}, {1, 2, 3}, {1, -1}, {1, 32768}, {1, "x"},
                          {1, 1.5}} do
      t.raises("option 'initial'", sysv_sem.get, nil, 2,
        {create = true, initial = bad})
    end
    t.raises("option 'initial'", sysv_sem.get, nil, 2,
      {create = true, initial = "x"})
  end)

  it("opens with fewer, not with more: EINVAL", function()
    local key = new_key()
    local s <close> = new_set(3, 1, {key = key})
    local r <close>, is_new = assert(sysv_sem.get(key, 2))
    assert.is_false(is_new)
    assert.equal(3, #r)
    assert.equal(s:id(), r:id())
    t.refused("EINVAL", sysv_sem.get(key, 4))
  end)

  it("leaves the values of a set that is there", function()
    local key = new_key()
    local s <close> = new_set(1, 1, {key = key})
    s:acquire()
    local r <close>, is_new = assert(sysv_sem.get(key, 1,
      {create = true, initial = 1, temporary = true}))
    assert.is_false(is_new)
    assert.equal(0, r:value())
  end)

  it("gives the mode that is asked for, also one without rights", function()
    for _, mode in ipairs {"rw-rw-rw-", "r--------", "---------"} do
      local s <close> = new_set(1, 3, {key = new_key(), mode = mode})
      local private <close> = new_set(1, 3, {mode = mode})
      local modes = {}
      for _, entry in ipairs(sysv.list "sem") do
        modes[entry.id] = entry.mode
      end
      assert.equal(mode, modes[s:id()])
      assert.equal(mode, modes[private:id()])
      assert.is_true(s:set {mode = "rw-------"}) -- to see what is in it
      assert.is_true(private:set {mode = "rw-------"})
      assert.same({3, 3}, {s:value(), private:value()})
    end
  end)
end)

describe("SemaphoreSet:acquire and release", function()
  it("take and give", function()
    local s <close> = new_set(2, {1, 5})
    assert.is_true(s:acquire())
    assert.equal(0, s:value())
    assert.is_true(s:acquire(2, 3))
    assert.equal(2, s:value(2))
    assert.is_true(s:release(2, 4))
    assert.is_true(s:release())
    assert.same({1, 6}, s:values())
    assert.equal(process.pid(), s:last_pid(2))
  end)

  it("GV:semaphore.cc:SemTimedOpBlock time out, not early", function()
    local s <close> = new_set()
    t.timed_out(s:acquire(1, 1, 0))
    local seconds = t.took(function() t.timed_out(s:acquire(1, 1, 0.1)) end)
    assert.is_true(seconds >= 0.1 and seconds < 1 * t.slow)
  end)

  it("BIONIC:sys_sem_test.cpp#2 leave the value when time is out", function()
    local s <close> = new_set(1, 2)
    t.timed_out(s:acquire(1, 3, 0.01))
    assert.equal(2, s:value())
  end)

  it("WSL:sem.c#3 raise for negative timeouts", function()
    local s <close> = new_set()
    t.raises("timeout must be", s.acquire, s, 1, 1, -1)
    t.raises("timeout must be", s.wait_zero, s, 1, 0 / 0)
  end)

  it("GV:semaphore.cc:SemOpBlock wait for each other", function()
    local s <close> = new_set()
    local child = fork(function() return s:acquire(1, 1, 10) and 0 or 1 end)
    await(function() return s:waiting(1) == 1 end)
    s:release()
    finish(child)
    assert.equal(0, s:value())
  end)

  it("LTP:semop02#1 raise outside of the set", function()
    local s <close> = new_set(2)
    for _, i in ipairs {0, -1, 3, 65536, math.maxinteger} do
      t.raises("semaphores are from 1 to 2", s.acquire, s, i)
      t.raises("semaphores are from 1 to 2", s.value, s, i)
      t.raises("semaphores are from 1 to 2", s.set, s, i, 1)
      t.raises("semaphores are from 1 to 2", s.op, s, {{i, 1}})
    end
    t.raises("1 to 32767", s.acquire, s, 1, 0)
    t.raises("1 to 32767", s.release, s, 1, -1)
    t.raises("1 to 32767", s.release, s, 1, 32768)
  end)

  it("LTP:semop02#3 stop at 32767: ERANGE", function()
    local s <close> = new_set(1, 32767)
    local message = t.refused("ERANGE", s:release())
    assert.truthy(message:find "limit of a value is 32767")
    assert.equal(32767, s:value())
  end)

  it("GV:semaphore.cc:SemOpRemoveWithWaiter say EIDRM", function()
    local s <close> = new_set()
    local child = fork(function() return select(3, s:acquire()) end)
    await(function() return s:waiting(1) == 1 end)
    assert.is_true(s:remove())
    finish(child, ipc.errno.EIDRM)
  end)

  it("LTP:semop03#1 run handlers, and say EIDRM to who waits for 0",
    function()
      local s <close> = new_set(1, 1)
      local child = fork(function() return select(3, s:wait_zero()) end)
      await(function() return select(2, s:waiting(1)) == 1 end)
      assert.is_true(s:remove())
      finish(child, ipc.errno.EIDRM)
      local count = 0
      local r <close> = new_set(1, 1)
      ipc.signal.handle("SIGALRM", function() count = count + 1 end)
      local timer <close> =
        assert(ipc.signal.timer {after = 0.02, every = 0.02})
      t.timed_out(r:wait_zero(1, 0.15))
      timer:close()
      assert.is_true(count >= 2)
      ipc.signal.handle("SIGALRM", function() error("stop", 0) end)
      for _, call in ipairs {"wait_zero", "acquire"} do
        if call == "acquire" then r:acquire() end
        ipc.signal.alarm(0.02)
        t.raises("stop", r[call], r)
      end
      ipc.signal.handle("SIGALRM", "default")
    end)

  it("LTP:semctl01#3 of a removed set: EINVAL", function()
    local s = new_set()
    s:remove()
    t.refused("EINVAL", s:acquire())
    t.refused("EINVAL", s:release())
    t.refused("EINVAL", s:op {{1, 1}})
    t.refused("EINVAL", s:lock())
    t.refused("EINVAL", s:value())
    t.refused("EINVAL", s:values())
    t.refused("EINVAL", s:set(1, 1))
    t.refused("EINVAL", s:set_values {1})
    t.refused("EINVAL", s:stat())
    t.refused("EINVAL", s:remove())
    s:close()
  end)

  it("LTP:semctl03 there is no set -1: EINVAL", function()
    t.refused("EINVAL", sysv_sem.from_id(-1))
  end)
end)

describe("SemaphoreSet:op", function()
  it("LTP:semop01 makes several changes at once", function()
    local s <close> = new_set(3, {1, 2, 3})
    assert.is_true(s:op {{1, 10}, {2, 20}, {3, 30}})
    assert.same({11, 22, 33}, s:values())
    assert.is_true(s:op({{1, -11}, {2, 0 - 22}, {1, 0}}, 1))
    assert.same({0, 0, 33}, s:values())
  end)

  it("is told EIDRM when the set is removed meanwhile, as is lock", function()
    for _, call in ipairs {
      function(s) return s:op {{1, -1}} end,
      function(s) return s:lock() end,
    } do
      local s <close> = new_set()
      local child = fork(function() return select(3, call(s)) end)
      await(function() return s:waiting(1) == 1 end)
      assert.is_true(s:remove())
      finish(child, ipc.errno.EIDRM)
    end
  end)

  it("makes all or none", function()
    local s <close> = new_set(2, {1, 0})
    t.timed_out(s:op({{1, -1}, {2, -1}}, 0))
    t.timed_out(s:op({{1, -1}, {2, -1}}, 0.02))
    assert.same({1, 0}, s:values())
    local child = fork(function()
      return s:op({{1, -1}, {2, -1}}, 10) and 0 or 1
    end)
    await(function() return s:waiting(2) == 1 end)
    assert.equal(1, s:value(1))
    s:release(2)
    finish(child)
    assert.same({0, 0}, s:values())
  end)

  it("has operations that do not wait: EAGAIN", function()
    local s <close> = new_set(2, {0, 0})
    t.refused("EAGAIN", s:op {{1, -1, nowait = true}, {2, 1}})
    t.refused("EAGAIN", s:op({{1, -1, nowait = true}}, 0.5))
    assert.same({0, 0}, s:values())
  end)

  it("GV:semaphore.cc:SemOpSingleNoBlock#3 of none: EINVAL", function()
    local s <close> = new_set()
    t.refused("EINVAL", s:op {})
    t.refused("EINVAL", s:op({}, 0))
  end)

  it("WSL:sem.c#2 stops at the step that would pass 32767: ERANGE",
    function()
      local s <close> = new_set()
      t.refused("ERANGE", s:op {{1, 32767}, {1, -1}, {1, 2}, {1, -1}})
      assert.equal(0, s:value())
    end)

  it("of too many says which limit that is: E2BIG", function()
    local s <close> = new_set()
    local list, most = {}, sysv.limits().sem.operations
    for i = 1, most do list[i] = {1, 1} end
    assert.is_true(s:op(list))
    assert.equal(most, s:value())
    list[most + 1] = {1, 1}
    local message = t.refused("E2BIG", s:op(list))
    assert.truthy(message:find "the third number, /proc/sys/kernel/sem: ")
  end)

  it("raises for what are no operations", function()
    local s <close> = new_set(2)
    t.raises("each operation is a table", s.op, s, {1, -1})
    t.raises("changes are from", s.op, s, {{1, 40000}})
    t.raises("changes are from", s.op, s, {{1}})
    t.raises("semaphores are from", s.op, s, {{"x", 1}})
    t.raises("table expected", s.op, s)
    t.raises("list expected", s.op, s, {a = 1})
    assert.truthy(t.refused("EINVAL", s:op {}):find "no operations")
  end)
end)

describe("What is undone", function()
  it("LTP:semop04 keeps others out, whatever happens", function()
    local s <close> = new_set(1, 1, {undo = true})
    local path = t.names.file "0"
    local function add()
      local file <close> = assert(io.open(path))
      local n = file:read "n"
      local out <close> = assert(io.open(path, "w"))
      out:write(n + 1)
    end
    local children = {}
    for i = 1, 2 do
      children[i] = fork(function()
        for _ = 1, 200 do
          s:acquire()
          add()
          s:release()
        end
      end)
    end
    for _, child in ipairs(children) do finish(child) end
    assert.equal(400, io.open(path):read "n")
    assert.equal(1, s:value())
  end)

  it("WSL:sem.c#8 is seen at once when a process leaves its undo list",
    function()
      local key = new_key()
      local s <close> = new_set(1, 1, {key = key})
      local pipe <close> = assert(io.popen(
        ("%s unshare %d 2>&1"):format(t.program "sysv_peer", key)))
      local said = pipe:read "a"
      if said:find "^0 unshare" then return pending(said) end
      assert.equal("0 1\n", said)
      assert.equal(1, s:value())
    end)

  it("LTP:semctl06 balances when many end", function()
    local s <close> = new_set(3, 5, {undo = true})
    local children = {}
    for i = 1, 6 do
      children[i] = fork(function()
        for n = 1, 50 do
          s:acquire(n % 3 + 1)
          s:op({{1, 1}, {2, -1}, {3, 1}}, 5)
          s:op({{1, -1}, {2, 1}, {3, -1}}, 5)
          if n % 2 == 0 then s:release(n % 3 + 1) end
          if n % 2 == 1 then s:release(n % 3 + 1) end
        end
      end)
    end
    for _, child in ipairs(children) do finish(child) end
    assert.same({5, 5, 5}, s:values())
  end)

  it("is what was done with undo, and only that", function()
    local s <close> = new_set(2, {5, 5})
    finish(fork(function()
      s:acquire(1)
      s:op {{2, -2, undo = true}}
    end))
    assert.same({4, 5}, s:values())
    local undoing <close> = assert(sysv_sem.from_id(s:id(), {undo = true}))
    finish(fork(function()
      undoing:acquire(1)
      undoing:op {{2, -2, undo = false}}
    end))
    assert.same({4, 3}, s:values())
  end)
end)

describe("SemaphoreSet:lock", function()
  it("holds until it is closed", function()
    local s <close> = new_set(2, 1)
    do
      local lock <close> = assert(s:lock(2, 1))
      assert.same({1, 0}, s:values())
      assert.equal(("sysv_sem lock id=%d semaphore=2"):format(s:id()),
        tostring(lock))
      t.timed_out(s:lock(2, 0))
      t.timed_out(s:lock(2, 0.01))
    end
    assert.same({1, 1}, s:values())
    local lock = assert(s:lock())
    assert.is_true(lock:close())
    assert.is_true(lock:close())
    assert.same({1, 1}, s:values())
  end)

  it("is given back by an error, and by the collector", function()
    local s <close> = new_set(1, 1)
    pcall(function()
      local lock <close> = assert(s:lock())
      error(lock)
    end)
    assert.equal(1, s:value())
    assert(s:lock())
    collectgarbage()
    collectgarbage()
    assert.equal(1, s:value())
  end)

  it("taken by acquire is given back by kill -9 too, with undo", function()
    local s <close> = new_set(2, {1, 0}, {undo = true})
    local child = fork(function()
      s:acquire()
      s:op {{2, 5}}
      process.sleep(100)
    end)
    await(function() return s:value(2) == 5 end)
    child:kill "SIGKILL"
    assert.is_true(s:acquire(1, 1, 10))
    assert.is_true(s:wait_zero(2, 10))
    child:wait()
    child:close()
  end)

  it("is given back by kill -9 of its holder", function()
    local s <close> = new_set(1, 1)
    local child = fork(function()
      local _ <close> = assert(s:lock())
      process.sleep(100)
    end)
    await(function() return s:value() == 0 end)
    child:kill "SIGKILL"
    assert.is_true(s:acquire(1, 1, 10))
    assert.same({"signal", "SIGKILL"}, {child:wait()})
    child:close()
  end)

  it("is not given back by a forked child", function()
    local s <close> = new_set(1, 1)
    local lock <close> = assert(s:lock())
    finish(fork(function() lock:close() end))
    assert.equal(0, s:value())
    assert.is_true(lock:close())
    assert.equal(1, s:value())
  end)

  it("of a set that was removed tells when it is closed", function()
    local s <close> = new_set(1, 1)
    local lock = assert(s:lock())
    s:remove()
    t.refused("EINVAL", lock:close())
    assert.is_true(lock:close())
  end)
end)

describe("Values", function()
  it("LTP:semctl05 SYSV_IPC:test_semaphores.py#4 are from 0 to 32767",
    function()
      local s <close> = new_set(2, {3, 4})
      for _, value in ipairs {-1, 32768, 999999, 65536, math.mininteger} do
        t.refused("ERANGE", s:set(1, value))
        local message = t.refused("ERANGE", s:set_values {1, value})
        assert.truthy(message:find "values are from 0 to 32767")
      end
      assert.same({3, 4}, s:values())
      assert.is_true(s:set(1, 32767))
      assert.is_true(s:set_values {0, 32767})
      assert.same({0, 32767}, s:values())
      t.raises("a value for each", s.set_values, s, {1})
      t.raises("values are integers", s.set_values, s, {1, "x"})
      t.raises("number expected", s.set, s, 1, "x")
    end)

  it("GV:semaphore.cc:SemCtlVal#1 set wake all that can go on", function()
    local s <close> = new_set()
    local children = {}
    for i = 1, 10 do
      children[i] = fork(function() return s:acquire(1, 1, 10) and 0 or 1 end)
    end
    await(function() return s:waiting(1) == 10 end)
    s:set(1, 20)
    for _, child in ipairs(children) do finish(child) end
    assert.equal(10, s:value())
  end)

  it("GV:semaphore.cc:SemCtlVal#2 of 0 wake who waits for that", function()
    local s <close> = new_set(1, 1)
    local children = {}
    for i = 1, 5 do
      children[i] = fork(function() return s:wait_zero(1, 10) and 0 or 1 end)
    end
    await(function() return select(2, s:waiting(1)) == 5 end)
    s:set(1, 0)
    for _, child in ipairs(children) do finish(child) end
  end)

  it("GV:semaphore.cc:SemopGetzcntOnSetRemoval go with the set", function()
    local s <close> = new_set(1, 1)
    local child = fork(function() return select(3, s:wait_zero()) end)
    await(function() return select(2, s:waiting(1)) == 1 end)
    s:remove()
    finish(child, ipc.errno.EIDRM)
    t.refused("EINVAL", s:waiting(1))
  end)

  it("NBSD:t_sysv.c#2 each post frees one", function()
    local s <close> = new_set()
    local children = {}
    for i = 1, 5 do
      children[i] = fork(function() return s:acquire(1, 1, 20) and 0 or 1 end)
    end
    await(function() return s:waiting(1) == 5 end)
    for left = 4, 0, -1 do
      s:set(1, 1)
      await(function() return s:value() == 0 and s:waiting(1) == left end)
    end
    for _, child in ipairs(children) do finish(child) end
  end)
end)

describe("SemaphoreSet:stat and set", function()
  it("GV:semaphore.cc:SemCtlIpcStat tell times and count", function()
    local s <close> = new_set(10)
    local stat = s:stat()
    assert.same({0, 10}, {stat.operated_at, stat.count})
    assert.is_true(math.abs(os.time() - stat.changed_at) <= 2)
    s:release(3)
    assert.is_true(math.abs(os.time() - s:stat().operated_at) <= 2)
    s:set(1, 1)
    assert.is_true(s:stat().changed_at >= stat.changed_at)
    assert.equal(10, #s)
  end)

  it("WSL:sem.c#11 take only nine bits of a mode", function()
    local s <close> = new_set()
    t.raises("mode must be", s.set, s, {mode = -1})
    t.raises("mode must be", s.set, s, {mode = 512})
    assert.is_true(s:set {mode = "rwxrwxrwx"})
    assert.equal("rwxrwxrwx", s:stat().mode)
    t.raises("unknown option 'value'", s.set, s, {value = 1})
    t.raises("table expected", s.set, s)
  end)
end)

describe("Permissions", function()
  it("GV:semaphore.cc:SemIpcSet#2 to read are needed to wait for 0: EACCES",
    function()
      if not nobody.is_there() then return pending "needs root and setpriv" end
      assert.equal("EACCES true EACCES", nobody.run([[
        local s <close> = assert(ipc.sysv_sem.get(nil, 1,
          {create = true, temporary = true, mode = "-w-------"}))
        print(code(s:wait_zero(1, 0)), s:release(1), code(s:value(1)))
      ]]))
    end)

  it("to read are not needed by the owner, to change them", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    assert.equal("3 EACCES EACCES true rw-------", nobody.run([[
      local s <close> = assert(ipc.sysv_sem.get(nil, 3,
        {create = true, temporary = true, mode = 0}))
      io.write(#s, " ", code(s:values()), " ", code(s:waiting()), " ")
      print(s:set {mode = "rw-------"}, s:stat().mode)
    ]]))
  end)

  it("WSL:sem.c#10 of others: to read only", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local s <close> = new_set(1, 0, {mode = "------r--"})
    assert.equal("true EACCES EACCES 1", nobody.run([[
      local s <close> = assert(ipc.sysv_sem.from_id(tonumber(arg[1])))
      print(s:wait_zero(1, 0), code(s:release(1)), code(s:acquire(1, 1, 0)),
        #s)
    ]], tostring(s:id())))
  end)

  it("to look are not needed to open", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local s <close> = new_set(2, 1, {key = new_key(), mode = "-w--w--w-"})
    assert.equal("2 EACCES true", nobody.run([[
      local s <close> = assert(ipc.sysv_sem.get(tonumber(arg[1]), 2))
      print(2, code(s:values()), s:acquire(2))
    ]], tostring(s:key())))
    assert.same({1, 0}, s:values())
  end)
end)

describe("1,000 workers", function()
  it("share one semaphore", function()
    local s <close> = new_set(2, {3, 0})
    local children = {}
    for i = 1, 1000 do
      children[i] = fork(function()
        local _ <close> = assert(s:lock(1, 60))
        s:release(2)
      end)
    end
    for _, child in ipairs(children) do
      assert.same({"exit", 0}, {child:wait(60 * t.slow)})
      child:close()
    end
    assert.same({3, 1000}, s:values())
  end)
end)
