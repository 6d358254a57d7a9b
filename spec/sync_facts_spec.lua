-- What other people's suites check of mutexes, conditions, barriers and
-- read-write locks, beyond sync_spec.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local sync, process, signal = ipc.sync, ipc.process, ipc.signal
local mmap, atomic = ipc.mmap, ipc.atomic

local WAIT = 20 * t.slow

local function fork(fn)
  return assert(process.fork(fn))
end

local function ended(...)
  for _, child in ipairs {...} do
    assert.same({"exit", 0}, {child:wait(WAIT)})
    child:close()
  end
end

-- A child that takes something and dies with it.
local function die_with(fn)
  local r, w = assert(ipc.pipe.open())
  local child <close> = fork(function()
    assert(fn())
    w:write "."
    process.sleep(WAIT)
  end)
  assert.equal(".", r:read(1, WAIT))
  child:kill "SIGKILL"
  child:wait(WAIT)
  r:close()
  w:close()
end

describe("A mutex", function()
  it("OPTS:pthread_mutex_lock/1-1 OPTS:pthread_mutex_lock/2-1 keeps a counter "
    .. "whole", function()
      local region <close> = assert(mmap.map {size = 4096})
      local mutex = assert(sync.mutex(region, 0, {create = true}))
      local list = {}
      for i = 1, 6 do
        list[i] = fork(function()
          for _ = 1, 200 do
            assert(mutex:lock(WAIT))
            region:pack("i8", 1024, region:unpack("i8", 1024) + 1)
            assert(mutex:unlock())
          end
        end)
      end
      ended(table.unpack(list))
      assert.equal(1200, (region:unpack("i8", 1024)))
    end)

  it("OPTS:pthread_mutex_trylock/1-1 OPTS:pthread_mutex_timedlock/1-1 held by "
    .. "another: not at once, not in time, never early", function()
      local mutex = assert(sync.mutex())
      assert(mutex:lock())
      ended(fork(function()
        t.timed_out(mutex:lock(0))
        local took = t.took(function() t.timed_out(mutex:lock(0.05)) end)
        return took >= 0.05
      end))
      assert(mutex:unlock())
      ended(fork(function()
        assert(mutex:lock(0))
        assert(mutex:unlock())
      end))
    end)

  it("OPTS:pthread_mutex_lock/4-1 OPTS:pthread_mutex_unlock/5-1 taken twice: "
    .. "EDEADLK, let go by another: EPERM", function()
      local mutex = assert(sync.mutex())
      t.refused("EPERM", mutex:unlock())
      assert(mutex:lock())
      t.refused("EDEADLK", mutex:lock())
      t.refused("EDEADLK", mutex:lock(0))
      ended(fork(function() t.refused("EPERM", mutex:unlock()) end))
      assert(mutex:unlock())
      t.refused("EPERM", mutex:unlock())
    end)

  it("LTP:pthread_mutexattr_setrobust the next one is told that its owner "
    .. "died, and makes it good", function()
      local mutex = assert(sync.mutex())
      t.refused("EINVAL", mutex:consistent())
      die_with(function() return mutex:lock() end)
      assert.same({true, "recovered"}, {mutex:lock(WAIT)})
      assert.is_true(mutex:consistent())
      assert(mutex:unlock())
      assert.same({true}, {mutex:lock(0)})
      t.refused("EINVAL", mutex:consistent())
      assert(mutex:unlock())
    end)

  it("who lets it go without making it good, loses it for all", function()
    local mutex = assert(sync.mutex())
    die_with(function() return mutex:lock() end)
    assert.same({true, "recovered"}, {mutex:lock(WAIT)})
    assert(mutex:unlock())
    for _ = 1, 2 do t.refused("ENOTRECOVERABLE", mutex:lock(WAIT)) end
    for _ = 1, 2 do
      ended(fork(function()
        local lock = mutex:bind()
        for _ = 1, 2 do
          t.refused("ENOTRECOVERABLE", mutex:lock(0))
          t.refused("ENOTRECOVERABLE", lock(WAIT))
        end
      end))
    end
    t.refused("EPERM", mutex:unlock())
  end)

  it("and all who wait then are told", function()
    local mutex = assert(sync.mutex())
    die_with(function() return mutex:lock() end)
    assert.same({true, "recovered"}, {mutex:lock(WAIT)})
    local list = {}
    for i = 1, 4 do
      list[i] = fork(function()
        t.refused("ENOTRECOVERABLE", mutex:lock(WAIT))
      end)
    end
    for _, child in ipairs(list) do signals.await_state(child.pid, "S") end
    assert(mutex:unlock())
    ended(table.unpack(list))
  end)

  it("who waits when the owner dies is woken", function()
    local mutex = assert(sync.mutex())
    local r, w = assert(ipc.pipe.open())
    local holder <close> = fork(function()
      assert(mutex:lock())
      w:write "."
      process.sleep(WAIT)
    end)
    r:read(1, WAIT)
    local waiter = fork(function()
      local ok, how = mutex:lock(WAIT)
      return ok and how == "recovered" and mutex:consistent()
        and mutex:unlock()
    end)
    signals.await_state(waiter.pid, "S")
    holder:kill "SIGKILL"
    holder:wait(WAIT)
    ended(waiter)
    r:close()
    w:close()
  end)

  it("runs handlers while it waits, and goes on", function()
    local mutex = assert(sync.mutex())
    local r, w = assert(ipc.pipe.open())
    local go_r, go_w = assert(ipc.pipe.open())
    local holder = fork(function()
      go_w:close()
      assert(mutex:lock())
      w:write "."
      go_r:read(1, WAIT)
      assert(mutex:unlock())
    end)
    r:read(1, WAIT)
    local ran = 0
    local handler <close> = signals.handle("SIGUSR1", function()
      ran = ran + 1
      if ran == 3 then go_w:close() end
    end)
    local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
    assert(mutex:lock(WAIT))
    assert(mutex:unlock())
    ended(holder)
    for _, s in ipairs {r, w, go_r} do s:close() end
    assert(handler and timer)
  end)
end)

describe("A condition", function()
  -- A mutex, a condition and a word that they guard.
  local function new()
    local region = assert(mmap.map {size = 4096})
    return assert(sync.mutex(region, 0, {create = true})),
      assert(sync.condition(region, 1024, {create = true})),
      atomic.int32(region, 2048)
  end

  it("PY:_test_multiprocessing.py:_TestCondition.test_notify one each time",
    function()
      local mutex, condition, awake = new()
      local asleep = atomic.int32()
      local list = {}
      for i = 1, 3 do
        list[i] = fork(function()
          assert(mutex:lock())
          asleep:fetch_add(1)
          assert(condition:wait(mutex, WAIT))
          awake:fetch_add(1)
          assert(mutex:unlock())
        end)
      end
      while asleep:load() < 3 do process.sleep(0.001) end
      for n = 1, 3 do
        assert(mutex:lock())
        condition:notify()
        assert(mutex:unlock())
        local deadline = process.now() + WAIT
        while awake:load() < n and process.now() < deadline do
          process.sleep(0.001)
        end
        assert.is_true(awake:load() >= n)
      end
      ended(table.unpack(list))
    end)

  it("PY:_test_multiprocessing.py:_TestCondition.test_notify_all all of them",
    function()
      local mutex, condition, flag = new()
      local asleep = atomic.int32()
      local list = {}
      for i = 1, 5 do
        list[i] = fork(function()
          assert(mutex:lock())
          asleep:fetch_add(1)
          while flag:load() == 0 do assert(condition:wait(mutex, WAIT)) end
          assert(mutex:unlock())
        end)
      end
      while asleep:load() < 5 do process.sleep(0.001) end
      assert(mutex:lock())
      flag:store(1)
      condition:notify_all()
      assert(mutex:unlock())
      ended(table.unpack(list))
    end)

  it("PY:_test_multiprocessing.py:_TestCondition.test_timeout time runs out, "
    .. "and the mutex is held again", function()
      local mutex, condition = new()
      t.refused("EPERM", condition:wait(mutex, 0))
      assert(mutex:lock())
      local took = t.took(function()
        t.timed_out(condition:wait(mutex, 0.03))
      end)
      assert.is_true(took >= 0.03)
      t.refused("EDEADLK", mutex:lock(0))
      assert(mutex:unlock())
    end)

  it("a notification that nobody waits for is nobody's", function()
    local mutex, condition = new()
    condition:notify()
    condition:notify_all()
    assert(mutex:lock())
    t.timed_out(condition:wait(mutex, 0.02))
    assert(mutex:unlock())
  end)
end)

describe("A barrier", function()
  it("PY:_test_multiprocessing.py:_TestBarrier.test_barrier_10 "
    .. "OPTS:pthread_barrier_wait/1-1 nobody goes on before all have come, "
    .. "again and again", function()
      local region <close> = assert(mmap.map {size = 4096})
      local barrier = assert(sync.barrier(region, 0,
        {create = true, parties = 4}))
      local come = atomic.int32(region, 2048)
      local last = atomic.int32(region, 2052)
      local list = {}
      for i = 1, 4 do
        list[i] = fork(function()
          for round = 1, 20 do
            come:fetch_add(1)
            local is_last = barrier:wait(WAIT)
            if come:load() < 4 * round then return 5 end
            if is_last then last:fetch_add(1) end
            if barrier:wait(WAIT) == nil then return 6 end
          end
        end)
      end
      ended(table.unpack(list))
      assert.same({80, 20}, {come:load(), last:load()})
    end)

  it("PY:_test_multiprocessing.py:_TestBarrier.test_single_thread of one "
    .. "does not wait", function()
      local barrier = assert(sync.barrier(nil, nil,
        {create = true, parties = 1}))
      for _ = 1, 3 do assert.is_true(barrier:wait(0)) end
    end)

  it("PY:_test_multiprocessing.py:_TestBarrier.test_timeout who gives up has "
    .. "not come", function()
      local barrier = assert(sync.barrier(nil, nil,
        {create = true, parties = 2}))
      t.timed_out(barrier:wait(0.02))
      local child = fork(function()
        return barrier:wait(WAIT) ~= nil
      end)
      signals.await_state(child.pid, "S")
      assert.is_true(barrier:wait(WAIT))
      ended(child)
    end)
end)

describe("A rwlock", function()
  it("OPTS:pthread_rwlock_rdlock/1-1 many read, OPTS:pthread_rwlock_wrlock/1-1 "
    .. "one writes, alone", function()
      local lock = assert(sync.rwlock())
      assert(lock:read_lock(0))
      ended(fork(function()
        assert(lock:read_lock(0))
        assert(lock:unlock())
        t.timed_out(lock:write_lock(0))
        t.timed_out(lock:write_lock(0.02))
      end))
      assert(lock:unlock())
      assert(lock:write_lock(0))
      ended(fork(function()
        t.timed_out(lock:read_lock(0))
        t.timed_out(lock:write_lock(0))
        t.refused("EPERM", lock:unlock())
      end))
      t.refused("EDEADLK", lock:write_lock(0))
      t.refused("EDEADLK", lock:read_lock(0))
      assert(lock:unlock())
      t.refused("EPERM", lock:unlock())
    end)

  it("OPTS:pthread_rwlock_unlock a writer that waits goes when the last reader "
    .. "has gone, and before new readers", function()
      local lock = assert(sync.rwlock())
      local order = atomic.int32()
      assert(lock:read_lock(0))
      local writer = fork(function()
        assert(lock:write_lock(WAIT))
        order:compare_exchange(0, 1)
        assert(lock:unlock())
      end)
      signals.await_state(writer.pid, "S")
      local reader = fork(function()
        assert(lock:read_lock(WAIT))
        order:compare_exchange(0, 2)
        assert(lock:unlock())
      end)
      signals.await_state(reader.pid, "S")
      assert(lock:unlock())
      ended(writer, reader)
      assert.equal(1, order:load())
    end)

  it("dead readers are forgotten, a dead writer is told of", function()
    local lock = assert(sync.rwlock())
    die_with(function() return lock:read_lock() end)
    assert.same({true}, {lock:write_lock(WAIT)})
    assert(lock:unlock())
    die_with(function() return lock:write_lock() end)
    assert.same({true, "recovered"}, {lock:read_lock(WAIT)})
    assert(lock:unlock())
    assert.same({true, "recovered"}, {lock:write_lock(WAIT)})
    assert(lock:unlock())
    assert.same({true}, {lock:read_lock(WAIT)})
    assert(lock:unlock())
  end)
end)

describe("A semaphore", function()
  it("PY:_test_multiprocessing.py:_TestSemaphore.test_timeout counts, waits, "
    .. "and wakes as many as it is given", function()
      local s = assert(sync.semaphore(nil, nil, {create = true, initial = 2}))
      assert.same({true, true}, {s:wait(0), s:wait(0)})
      t.timed_out(s:wait(0))
      local took = t.took(function() t.timed_out(s:wait(0.03)) end)
      assert.is_true(took >= 0.03)
      local list = {}
      for i = 1, 3 do list[i] = fork(function() assert(s:wait(WAIT)) end) end
      for _, child in ipairs(list) do signals.await_state(child.pid, "S") end
      assert(s:post(3))
      ended(table.unpack(list))
      assert.equal(0, s:value())
    end)

  it("has a most, over which nothing is given: EOVERFLOW", function()
    local s = assert(sync.semaphore(nil, nil,
      {create = true, initial = 0x3ffffffe}))
    assert.is_true(s:post())
    t.refused("EOVERFLOW", s:post())
    assert.equal(0x3fffffff, s:value())
  end)
end)

describe("A once", function()
  it("OPTS:pthread_once/1-1 OPTS:pthread_once/4-1 of many one does it, and the "
    .. "others wait until it is done", function()
      local region <close> = assert(mmap.map {size = 4096})
      local once = assert(sync.once(region, 0, {create = true}))
      local count = atomic.int32(region, 2048)
      local list = {}
      for i = 1, 5 do
        list[i] = fork(function()
          assert(once:call(function()
            process.sleep(0.01)
            count:fetch_add(1)
          end, WAIT) ~= nil)
          return count:load() == 1
        end)
      end
      ended(table.unpack(list))
      assert.is_true(once:is_done())
      assert.is_false(once:call(error))
    end)

  it("OPTS:pthread_once/3-1 who dies over it, or raises, has not done it",
    function()
      local once = assert(sync.once())
      t.raises("not yet", once.call, once, function() error "not yet" end)
      assert.is_false(once:is_done())
      local child <close> = fork(function()
        once:call(function() signal.raise "SIGKILL" end)
      end)
      child:wait(WAIT)
      assert.is_false(once:is_done())
      assert.is_true(once:call(function() end, WAIT))
      assert.is_true(once:is_done())
    end)
end)
