-- What other people's suites check of semaphore sets, beyond sysv_sem_spec.
local t = require "support"
local nobody = require "support.nobody"
local ipc = require "unixipc"
local sysv, sysv_sem, process = ipc.sysv, ipc.sysv_sem, ipc.process
local signal = ipc.signal

local WAIT = 20 * t.slow

local function new(count, initial, options)
  local all = {create = true, temporary = true, initial = initial}
  for name, value in pairs(options or {}) do all[name] = value end
  return assert(sysv_sem.get(nil, count or 1, all))
end

local function new_key()
  return assert(sysv.ftok(t.names.file ""))
end

local function ended(child, code)
  assert.same({"exit", code or 0}, {child:wait(WAIT)})
  child:close()
end

local function await(condition)
  local deadline = process.now() + WAIT
  while not condition() do
    if process.now() > deadline then error "it never came" end
    process.sleep(0.001)
  end
end

local function as_nobody(name, test)
  it(name, function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    test()
  end)
end

describe("semget", function()
  it("LTP:semget01 makes as many as are asked for", function()
    for _, n in ipairs {1, 2, 32, sysv.limits().sem.set_semaphores} do
      local s <close> = new(n)
      assert.same({n, n}, {#s, s:stat().count})
    end
  end)

  it("LTP:semget02#2 LTP:semget02#3 LTP:semget02#4 GV:semaphore.cc:SemGet "
    .. "exists, none, too many", function()
      local key = new_key()
      local s <close> = assert(sysv_sem.get(key, 3,
        {create = true, temporary = true}))
      t.refused("EEXIST", sysv_sem.get(key, 3,
        {create = true, exclusive = true}))
      t.refused("EINVAL", sysv_sem.get(key, 4))
      t.refused("EINVAL", sysv_sem.get(new_key(), -1, {create = true}))
      t.refused("ENOENT", sysv_sem.get(new_key(), 1))
      for _, n in ipairs {1, 3, 0} do
        local again <close> = assert(sysv_sem.get(key, n))
        assert.equal(s:id(), again:id())
        assert.equal(3, #again)
      end
    end)

  as_nobody("LTP:semget02#1 a stranger who asks for rights: EACCES",
    function()
      local key = new_key()
      local s <close> = assert(sysv_sem.get(key, 1,
        {create = true, temporary = true, mode = "0600"}))
      assert.equal("EACCES true", nobody.run([[
        local key = tonumber(arg[1])
        print(code(ipc.sysv_sem.get(key, 1, {mode = "rw-rw-rw-"})),
          ipc.sysv_sem.get(key, 1) ~= nil)
      ]], tostring(key)))
      assert.equal(1, #s)
    end)

  it("sem_next_id is the id of the next", function()
    local path = "/proc/sys/kernel/sem_next_id"
    local file = io.open(path, "w")
    if not (file and file:write "12288\n" and file:close()) then
      return pending("cannot set " .. path)
    end
    local s <close> = new(1)
    assert.equal(12288, s:id())
  end)

  it("NBSD:t_sysv.c a set outlives its maker, with its values", function()
    local key = new_key()
    ended(assert(process.fork(function()
      assert(assert(sysv_sem.get(key, 2, {create = true})):release(2, 7))
    end)))
    local s <close> = assert(sysv_sem.get(key))
    assert.same({0, 7}, s:values())
    assert.is_true(s:remove())
  end)
end)

describe("semop", function()
  it("GV:semaphore.cc:SemOpSimple GV:semaphore.cc:SemOpSingleNoBlock "
    .. "GV:semaphore.cc:SemTimedOpSingleNoBlock what can be done is done",
    function()
      local s <close> = new(1)
      assert.is_true(s:op({{1, 1}}, 0))
      assert.is_true(s:op({{1, -1}}, 0))
      assert.is_true(s:op({{1, 0}}, 0))
      assert.is_true(s:op({{1, 1, nowait = true}}))
      t.refused("EAGAIN", s:op {{1, -2, nowait = true}})
      t.refused("EAGAIN", s:op {{1, 0, nowait = true}})
      t.timed_out(s:op({{1, -2}}, 0))
      assert.equal(1, s:value())
    end)

  it("GV:semaphore.cc:SemOpMultiNoBlock several steps on one see each other",
    function()
      local s <close> = new(4, {5, 5, 5, 0})
      assert.is_true(s:op({{1, -5}, {1, 0}, {1, 5}, {2, -3}, {3, 1}}, 0))
      assert.same({5, 2, 6, 0}, s:values())
      assert.is_true(s:op({{4, 0}, {4, 1}}, 0))
      t.timed_out(s:op({{1, -1}, {4, 0}}, 0))
      assert.same({5, 2, 6, 1}, s:values())
    end)

  it("LTP:semop02#2 more than may be done at once: E2BIG", function()
    local s <close> = new(1)
    local list = {}
    for i = 1, sysv.limits().sem.operations do list[i] = {1, 1} end
    assert.is_true(s:op(list))
    assert.equal(#list, s:value())
    list[#list + 1] = {1, 1}
    t.refused("E2BIG", s:op(list))
    assert.equal(#list - 1, s:value())
  end)

  it("LTP:semop02#4 there is no set -1: EINVAL", function()
    t.refused("EINVAL", sysv_sem.from_id(-1))
  end)

  as_nobody("LTP:semop02#5 without the right to: EACCES", function()
    local s <close> = new(1, 1, {mode = "0600"})
    assert.equal("EACCES EACCES EACCES EACCES EACCES EACCES", nobody.run([[
      local s = assert(ipc.sysv_sem.from_id(tonumber(arg[1])))
      print(code(s:acquire(1, 1, 0)), code(s:release()),
        code(s:wait_zero(1, 0)), code(s:op({{1, 1}}, 0)),
        code(s:lock(1, 0)), code(s:values()))
    ]], tostring(s:id())))
    assert.same({1}, s:values())
  end)

  it("LTP:semop05#1 EIDRM to those that wait to take, too", function()
    local s <close> = new(2, {0, 1})
    local list = {}
    for i, fn in ipairs {
      function() return s:acquire(1, 1, WAIT) end,
      function() return s:wait_zero(2, WAIT) end,
      function() return s:op({{1, -1}, {2, 1}}, WAIT) end,
      function() return s:acquire(1) end, -- without a time
    } do
      list[i] = assert(process.fork(function()
        return select(3, fn()) == ipc.errno.EIDRM
      end))
    end
    await(function()
      return s:waiting(1) == 3 and select(2, s:waiting(2)) == 1
    end)
    assert.is_true(s:remove())
    for _, child in ipairs(list) do ended(child) end
  end)

  it("GV:semaphore.cc:SemOpBestFitExecution who can go on goes on, whoever "
    .. "waits longer", function()
      local s <close> = new(1)
      local big = assert(process.fork(function()
        assert(s:acquire(1, 2, WAIT))
      end))
      await(function() return s:waiting(1) == 1 end)
      local small = assert(process.fork(function()
        assert(s:acquire(1, 1, WAIT))
      end))
      await(function() return s:waiting(1) == 2 end)
      s:release(1)
      ended(small)
      assert.equal(1, s:waiting(1))
      assert.is_true(big:is_alive())
      s:release(1, 2)
      ended(big)
      assert.equal(0, s:value())
    end)

  it("one operation on two semaphores waits for both", function()
    local s <close> = new(2)
    local child = assert(process.fork(function()
      assert(s:op({{1, -1}, {2, -1}}, WAIT))
    end))
    await(function() return s:waiting(1) + s:waiting(2) == 1 end)
    s:release(2)
    await(function() return s:waiting(1) == 1 end)
    assert.same({0, 1}, s:values())
    s:release(1)
    ended(child)
    assert.same({0, 0}, s:values())
  end)

  it("GV:semaphore.cc:SemOpRandom many at random end where they began",
    function()
      local s <close> = new(4, 5)
      local list = {}
      for i = 1, 6 do
        list[i] = assert(process.fork(function()
          math.randomseed(i)
          for _ = 1, 100 do
            local one, other = math.random(4), math.random(4)
            assert(s:op({{one, -1}, {other, -1}}, WAIT))
            assert(s:op({{other, 1}, {one, 1}}, WAIT))
          end
        end))
      end
      for _, child in ipairs(list) do ended(child) end
      assert.same({5, 5, 5, 5}, s:values())
    end)

  it("a release of more than there are waiters is left over", function()
    local s <close> = new(1)
    local list = {}
    for i = 1, 3 do
      list[i] = assert(process.fork(function()
        assert(s:acquire(1, 1, WAIT))
      end))
    end
    await(function() return s:waiting(1) == 3 end)
    s:release(1, 10)
    for _, child in ipairs(list) do ended(child) end
    assert.equal(7, s:value())
  end)

  it("raising to 32767 is possible, and no more", function()
    local s <close> = new(1, 32766)
    assert.is_true(s:release(1))
    t.refused("ERANGE", s:release(1))
    t.refused("ERANGE", s:release(1, 32767))
    assert.is_true(s:acquire(1, 32767, 0))
  end)
end)

describe("Undo", function()
  it("a killed process's steps are taken back, those of all", function()
    local s <close> = new(2, {3, 0}, {undo = true})
    local child = assert(process.fork(function()
      assert(s:acquire(1, 2))
      assert(s:release(2, 5))
      process.sleep(WAIT)
    end))
    await(function() return s:value(2) == 5 end)
    assert.same({1, 5}, s:values())
    child:kill "SIGKILL"
    child:wait(WAIT)
    await(function() return s:value(1) == 3 end)
    assert.same({3, 0}, s:values())
  end)

  it("wakes who waits for what is given back", function()
    local s <close> = new(1, 1)
    local holder = assert(process.fork(function()
      assert(s:lock(1))
      process.sleep(WAIT)
    end))
    await(function() return s:value() == 0 end)
    local waiter = assert(process.fork(function()
      assert(s:acquire(1, 1, WAIT))
    end))
    await(function() return s:waiting(1) == 1 end)
    holder:kill "SIGKILL"
    holder:wait(WAIT)
    ended(waiter)
  end)

  it("does not go below 0: what is not there is not taken", function()
    local s <close> = new(1, 0, {undo = true})
    local child = assert(process.fork(function() assert(s:release(1, 5)) end))
    child:wait(WAIT)
    assert.equal(0, s:value())
    local r, w = assert(ipc.pipe.open())
    local other = assert(process.fork(function()
      w:close()
      assert(s:release(1, 5))
      r:read(1)
    end))
    r:close()
    await(function() return s:value() == 5 end)
    assert.is_true(s:op {{1, -3, undo = false}})
    w:close()
    ended(other)
    assert.equal(0, s:value())
  end)

  it("SETVAL forgets what was to be undone", function()
    local s <close> = new(1, 4, {undo = true})
    local r, w = assert(ipc.pipe.open())
    local child = assert(process.fork(function()
      w:close()
      assert(s:acquire(1, 2))
      r:read(1)
    end))
    r:close()
    await(function() return s:value() == 2 end)
    s:set(1, 9)
    w:close()
    ended(child)
    assert.equal(9, s:value())
  end)
end)

describe("semctl", function()
  it("LTP:semctl01#1 GV:semaphore.cc:SemCtlGetPid "
    .. "GV:semaphore.cc:SemCtlGetPidFork tells who was the last", function()
      local s <close> = new(2)
      assert.equal(0, s:last_pid(1))
      s:release(1)
      assert.equal(process.pid(), s:last_pid(1))
      assert.equal(0, s:last_pid(2))
      local child = assert(process.fork(function() s:release(1) end))
      local pid = child.pid
      ended(child)
      assert.equal(pid, s:last_pid(1))
      s:set(1, 3)
      assert.equal(process.pid(), s:last_pid(1))
    end)

  it("LTP:semctl01#2 GV:semaphore.cc:SemopGetncnt GV:semaphore.cc:SemopGetzcnt "
    .. "counts who waits, and for what", function()
      local s <close> = new(2, {0, 1})
      local list = {}
      for i = 1, 3 do
        list[i] = assert(process.fork(function() s:acquire(1, 1, WAIT) end))
        list[i + 3] = assert(process.fork(function() s:wait_zero(2, WAIT) end))
      end
      await(function()
        return s:waiting(1) == 3 and select(2, s:waiting(2)) == 3
      end)
      assert.same({3, 0}, {s:waiting(1)})
      assert.same({0, 3}, {s:waiting(2)})
      s:set_values {3, 0}
      for _, child in ipairs(list) do ended(child) end
      assert.same({0, 0, 0, 0},
        {s:waiting(1), select(2, s:waiting(1)), s:waiting(2)})
    end)

  it("GV:semaphore.cc:SemopGetncntOnSignal GV:semaphore.cc:SemopGetzcntOnSignal"
    .. " who was killed waits no more", function()
      local s <close> = new(2, {0, 1})
      local one = assert(process.fork(function() s:acquire(1) end))
      local two = assert(process.fork(function() s:wait_zero(2) end))
      await(function()
        return s:waiting(1) == 1 and select(2, s:waiting(2)) == 1
      end)
      for _, child in ipairs {one, two} do
        child:kill()
        child:wait(WAIT)
      end
      assert.equal(0, (s:waiting(1)))
      assert.equal(0, (select(2, s:waiting(2))))
    end)

  it("GV:semaphore.cc:SemopGetncntOnSetRemoval a set that is gone: EINVAL",
    function()
      local s <close> = new(1)
      local child = assert(process.fork(function()
        return select(3, s:acquire()) == ipc.errno.EIDRM
      end))
      await(function() return s:waiting(1) == 1 end)
      s:remove()
      ended(child)
      t.refused("EINVAL", s:waiting(1))
      t.refused("EINVAL", s:last_pid(1))
      t.refused("EINVAL", s:value())
      t.refused("EINVAL", s:values())
      t.refused("EINVAL", s:set(1, 1))
      t.refused("EINVAL", s:set_values {1})
      t.refused("EINVAL", s:stat())
    end)

  it("GV:semaphore.cc:RemoveNonExistentSemaphore "
    .. "GV:semaphore.cc:RemoveDeletedSemaphore: EINVAL", function()
      t.refused("EINVAL", sysv.remove("sem", -1))
      local s <close> = new(1)
      assert.is_true(sysv.remove("sem", s:id()))
      t.refused("EINVAL", sysv.remove("sem", s:id()))
      t.refused("EINVAL", s:remove())
    end)

  it("LTP:semctl01#4 SETALL is one step, and wakes all that can go on",
    function()
      local s <close> = new(3)
      local list = {}
      for i = 1, 3 do
        list[i] = assert(process.fork(function() s:acquire(i, i, WAIT) end))
      end
      await(function()
        return s:waiting(1) + s:waiting(2) + s:waiting(3) == 3
      end)
      assert.is_true(s:set_values {1, 2, 3})
      for _, child in ipairs(list) do ended(child) end
      assert.same({0, 0, 0}, s:values())
    end)

  as_nobody("LTP:semctl02 LTP:semctl04 GV:semaphore.cc:SemIpcSet "
    .. "a stranger may not look, set or remove", function()
      local s <close> = new(1, 2, {mode = "0600"})
      assert.equal("EACCES EPERM EPERM EACCES EACCES EACCES", nobody.run([[
        local s = assert(ipc.sysv_sem.from_id(tonumber(arg[1])))
        print(code(s:stat()), code(s:set {mode = 0}), code(s:remove()),
          code(s:value()), code(s:set(1, 1)), code(s:waiting(1)))
      ]], tostring(s:id())))
      assert.equal(2, s:value())
    end)

  it("GV:semaphore.cc:SemIpcSet changes mode and owner, nothing else",
    function()
      local s <close> = new(2, 1, {mode = "0600"})
      local old = s:stat()
      assert.is_true(s:set {mode = "0664"})
      local now = s:stat()
      assert.equal("rw-rw-r--", now.mode)
      now.mode, now.changed_at = old.mode, old.changed_at
      assert.same(old, now)
      if process.ids().uid ~= 0 then return end
      assert.is_true(s:set {uid = 1234, gid = 4321})
      now = s:stat()
      assert.same({1234, 4321, old.creator_uid, old.creator_gid},
        {now.uid, now.gid, now.creator_uid, now.creator_gid})
    end)

  it("GV:semaphore.cc:IpcInfo has the system's limits", function()
    local file <close> = assert(io.open "/proc/sys/kernel/sem")
    local per_set, _, at_once, sets = file:read("n", "n", "n", "n")
    local limits = sysv.limits().sem
    assert.same({per_set, at_once, sets, 32767}, {limits.set_semaphores,
      limits.operations, limits.sets, limits.value})
  end)

  it("GV:semaphore.cc:SemOpNamespace another namespace has none of it",
    function()
      local key = new_key()
      local s <close> = assert(sysv_sem.get(key, 1,
        {create = true, temporary = true}))
      local result = t.children.run(nil, {command = {"unshare", "--ipc",
        os.getenv "LUA" or "lua5.4", "-e", ([[
          local ipc = require "unixipc"
          print((select(3, ipc.sysv_sem.get(%d))), #ipc.sysv.list "sem")
        ]]):format(key)}})
      if result.code ~= 0 then return pending "cannot make a namespace" end
      assert.equal(ipc.errno.ENOENT .. "\t0\n", result.out)
      assert.equal(1, #s)
    end)

  it("LTP:semop05#2 runs handlers while an operation waits, and goes on",
    function()
      local s <close> = new(2)
      local ran = 0
      signal.handle("SIGUSR1", function()
        ran = ran + 1
        if ran == 3 then s:op {{1, 1}, {2, 2}} end
      end)
      local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
      assert.is_true(s:op({{1, -1}, {2, -2}}, WAIT))
      timer:close()
      signal.handle("SIGUSR1", "original")
      assert.same({0, 0}, s:values())
      assert.is_true(ran >= 3)
    end)
end)
