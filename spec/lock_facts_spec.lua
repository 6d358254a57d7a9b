-- What other people's suites check of locks on files, beyond lock_spec.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local lock, process, errno, signal = ipc.lock, ipc.process, ipc.errno,
  ipc.signal

local WAIT = 20 * t.slow
local RANGED = {"fcntl", "ofd"}
local MODES = {"shared", "exclusive"}

local function ended(child, code)
  assert.same({"exit", code or 0}, {child:wait(WAIT)})
  child:close()
end

-- Tells what a child's attempt to take the lock at once comes to: true, or the
-- name of the error.
local function in_child(fn)
  local r, w = assert(ipc.pipe.open())
  local child <close> = assert(process.fork(function()
    local ok, _, code = fn()
    w:write(ok and "true" or errno.name(code))
  end))
  w:close()
  local text = r:read("a", WAIT)
  r:close()
  assert.same({"exit", 0}, {child:wait(WAIT)})
  return text
end

local function try(kind, path, options)
  return in_child(function() return lock[kind](path, options, 0) end)
end

describe("flock", function()
  local function open(path)
    return assert(lock.open(path, {kind = "flock"}))
  end

  it("GV:flock.cc:TestSimpleExLock GV:flock.cc:TestSimpleShLock LTP:flock01 "
    .. "LTP:flock04 who may have it beside whom", function()
      for _, held in ipairs(MODES) do
        for _, wanted in ipairs(MODES) do
          local path = t.names.file()
          local l <close> = open(path)
          assert.is_true(l:lock(held, 0))
          local other <close> = open(path)
          local both = held == "shared" and wanted == "shared"
          if both then
            assert.is_true(other:lock(wanted, 0))
          else
            t.timed_out(other:lock(wanted, 0))
          end
          assert.equal(both and "true" or "ETIMEDOUT", try("flock", path,
            {shared = wanted == "shared"}))
        end
      end
    end)

  it("GV:flock.cc:TestSingleHolderUpgrade GV:flock.cc:TestSingleHolderDowngrade"
    .. " GV:flock.cc:TestRepeatedShLockingBySameHolder to and fro", function()
      local path = t.names.file()
      local l <close> = open(path)
      for _, mode in ipairs {"shared", "shared", "exclusive", "exclusive",
        "shared"} do
        assert.is_true(l:lock(mode, 0))
      end
      assert.equal("true", try("flock", path, {shared = true}))
      assert.equal("ETIMEDOUT", try("flock", path))
    end)

  it("GV:flock.cc:TestMultipleHolderSharedExclusiveUpgrade one that cannot be "
    .. "changed is kept, and says what is so", function()
      local path = t.names.file()
      local one <close> = open(path)
      local two <close> = open(path)
      one:lock("shared", 0)
      two:lock("shared", 0)
      t.timed_out(one:lock("exclusive", 0))
      t.timed_out(one:lock("exclusive", 0.02))
      two:unlock()
      assert.truthy(tostring(one):find "%(held%)$")
      t.timed_out(two:lock("exclusive", 0)) -- one has its shared lock yet
      assert.is_true(one:lock("exclusive", 0))
      t.timed_out(two:lock("shared", 0))
    end)

  it("one that was lost to somebody else meanwhile is not held", function()
    local path = t.names.file()
    local one <close> = open(path)
    local two <close> = open(path)
    one:lock("shared", 0)
    two:lock("shared", 0)
    local handler <close> = signals.handle("SIGUSR1", function()
      two:lock("exclusive", 0) -- one's is let go while it waits for another
    end)
    local timer <close> = signal.timer {after = 0.02, signal = "SIGUSR1"}
    t.timed_out(one:lock("exclusive", 0.1))
    assert.is_nil((tostring(one):find "held"))
    assert.truthy(tostring(two):find "held")
    two:unlock()
    assert.equal("true", try("flock", path))
    assert(handler and timer)
  end)

  it("GV:flock.cc:TestMultipleHolderSharedExclusiveDowngrade lets those in "
    .. "that share", function()
      local path = t.names.file()
      local one <close> = open(path)
      one:lock("exclusive", 0)
      local two <close> = open(path)
      t.timed_out(two:lock("shared", 0))
      one:lock("shared", 0)
      assert.is_true(two:lock("shared", 0))
    end)

  it("GV:flock.cc:TestDupFdUpgrade GV:flock.cc:TestDupFdUnlockRelease "
    .. "GV:flock.cc:TestDupFdFollowedByLock a duplicate is the same lock",
    function()
      local path = t.names.file()
      local file <close> = assert(io.open(path, "r+"))
      local copy <close> = assert(ipc.stream.from(file))
      local one = open(file)
      local two = open(copy)
      assert.is_true(one:lock("exclusive", 0))
      assert.is_true(two:lock("exclusive", 0))
      assert.is_true(two:lock("shared", 0))
      assert.equal("true", try("flock", path, {shared = true}))
      assert.is_true(two:unlock())
      assert.equal("true", try("flock", path))
    end)

  it("GV:flock.cc:TestLockableAnyMode LTP:flock02 whatever it is open for",
    function()
      local path = t.names.file()
      for _, mode in ipairs {"r", "w", "r+", "a"} do
        local file <close> = assert(io.open(path, mode))
        for _, how in ipairs(MODES) do
          local l <close> = open(file)
          assert.is_true(l:lock(how, 0))
        end
      end
    end)

  it("GV:flock.cc:BlockingLockFirstExclusiveSecondExclusive "
    .. "GV:flock.cc:BlockingLockFirstSharedSecondExclusive "
    .. "GV:flock.cc:BlockingLockFirstExclusiveSecondShared waits until it is "
    .. "let go", function()
      for _, case in ipairs {{"exclusive", "exclusive"},
        {"shared", "exclusive"}, {"exclusive", "shared"}} do
        local path = t.names.file()
        local l <close> = open(path)
        l:lock(case[1], 0)
        local child = assert(process.fork(function()
          assert(lock.flock(path, {shared = case[2] == "shared"}, WAIT))
        end))
        signals.await_state(child.pid, "S")
        assert.is_true(child:is_alive())
        l:unlock()
        ended(child)
      end
    end)

  it("GV:flock.cc:FlockDir GV:flock.cc:FlockSymlink GV:flock.cc:FlockProc a "
    .. "directory, a link, /proc", function()
      local dir <close> = assert(lock.flock(t.names.directory(), nil, 0))
      assert.equal("ETIMEDOUT", try("flock", t.names.directory()))
      local path, link = t.names.file(), t.names.path()
      assert(os.execute(("ln -s '%s' '%s'"):format(path, link)))
      local l <close> = assert(lock.flock(link, nil, 0))
      assert.equal("ETIMEDOUT", try("flock", path))
      local proc <close> = assert(lock.flock("/proc/self/maps", nil, 0))
      assert(dir and l and proc)
    end)

  it("GV:flock.cc:FlockSocket a socket", function()
    local a, b = assert(ipc.socket.pair())
    local one <close> = open(a)
    assert.is_true(one:lock("exclusive", 0))
    a:close()
    b:close()
  end)

  it("the death of the holder frees it, and who waits gets it", function()
    local path = t.names.file()
    local ready_r, ready_w = assert(ipc.pipe.open())
    local holder = assert(process.fork(function()
      local l <close> = assert(lock.flock(path))
      ready_w:write "."
      process.sleep(WAIT)
      return tostring(l) and 0
    end))
    ready_r:read(1, WAIT)
    local waiter = assert(process.fork(function()
      assert(lock.flock(path, nil, WAIT))
    end))
    signals.await_state(waiter.pid, "S")
    holder:kill "SIGKILL"
    holder:wait(WAIT)
    ended(waiter)
    ready_r:close()
    ready_w:close()
  end)
end)

for _, kind in ipairs(RANGED) do
  local it_waits = kind == "ofd" and t.natively or it

  describe("Ranges of " .. kind, function()
    it("LTP:fcntl12 GV:fcntl.cc:SetLockIsRegional other bytes are others'",
      function()
        local path = t.names.file()
        local l <close> = assert(lock[kind](path, {start = 10, length = 10}))
        for _, case in ipairs {{0, 10, "true"}, {20, 0, "true"},
          {0, 11, "ETIMEDOUT"}, {19, 1, "ETIMEDOUT"}, {10, 1, "ETIMEDOUT"},
          {5, 100, "ETIMEDOUT"}, {0, 0, "ETIMEDOUT"}} do
          assert.equal(case[3], try(kind, path,
            {start = case[1], length = case[2]}))
        end
        assert(l)
      end)

    it("LTP:fcntl16 LTP:fcntl17 GV:fcntl.cc:SetReadLockMultiProc those who "
      .. "read share, who writes is alone", function()
        local path = t.names.file()
        local l <close> = assert(lock[kind](path, {shared = true}))
        assert.equal("true", try(kind, path, {shared = true}))
        assert.equal("ETIMEDOUT", try(kind, path))
        assert.is_true(l:lock("exclusive", 0))
        assert.equal("ETIMEDOUT", try(kind, path, {shared = true}))
      end)

    it("GV:fcntl.cc:SetLockUpgradeDowngrade one that cannot be changed is kept "
      .. "as it is", function()
        local path = t.names.file()
        local l <close> = assert(lock[kind](path, {shared = true}))
        local r, w = assert(ipc.pipe.open())
        local go_r, go_w = assert(ipc.pipe.open())
        local child = assert(process.fork(function()
          go_w:close()
          local mine <close> = assert(lock[kind](path, {shared = true}, 0))
          w:write "."
          go_r:read(1, WAIT)
          return tostring(mine) and 0
        end))
        r:read(1, WAIT)
        t.timed_out(l:lock("exclusive", 0))
        t.timed_out(l:lock("exclusive", 0.02))
        go_w:close()
        ended(child)
        assert.equal("ETIMEDOUT", try(kind, path))
        assert.is_true(l:lock("exclusive", 0))
        for _, s in ipairs {r, w, go_r} do s:close() end
      end)

    it("LTP:fcntl11 LTP:fcntl18 ranges join, split, and change in parts",
      function()
        local path = t.names.file()
        local l <close> = assert(lock.open(path, {kind = kind}))
        l:lock_range(0, 10)
        l:lock_range(10, 10)
        l:lock_range(5, 10, "shared")
        local function seen(start, length)
          return in_child(function()
            local mine = assert(lock.open(path, {kind = kind}))
            local h = mine:test_range(start, length)
            if not h then return true end
            return nil, "", errno[h.mode == "shared" and "ENOENT" or "EEXIST"]
          end)
        end
        assert.same({"EEXIST", "ENOENT", "EEXIST", "true"},
          {seen(0, 5), seen(5, 10), seen(15, 5), seen(20, 0)})
        l:unlock_range(0, 7)
        assert.same({"true", "ENOENT"}, {seen(0, 7), seen(7, 1)})
        l:unlock_range(0, 0)
        assert.equal("true", seen(0, 0))
      end)

    it("LTP:fcntl14#1 a length below 0 is what comes before", function()
      local path = t.names.file()
      local l <close> = assert(lock[kind](path, {start = 100, length = -10}))
      assert.same({"true", "ETIMEDOUT", "ETIMEDOUT", "true"},
        {try(kind, path, {start = 0, length = 90}),
          try(kind, path, {start = 90, length = 1}),
          try(kind, path, {start = 99, length = 1}),
          try(kind, path, {start = 100, length = 1})})
      assert(l)
    end)

    it("LTP:fcntl13#3 what is no range: EINVAL, EOVERFLOW", function()
      local path = t.names.file()
      t.refused("EINVAL", lock[kind](path, {start = -1, length = 1}))
      t.refused("EINVAL", lock[kind](path, {start = 5, length = -6}))
      t.refused("EOVERFLOW", lock[kind](path,
        {start = math.maxinteger, length = 2}))
      local l <close> = assert(lock.open(path, {kind = kind}))
      t.refused("EINVAL", l:lock_range(-1, 1))
      t.refused("EINVAL", l:unlock_range(-5, 1))
      assert.is_true(l:lock_range(math.maxinteger, 1))
    end)

    it("GV:fcntl.cc:SetLockBadOpenFlagsRead to share one must be open to read: "
      .. "EBADF", function()
        local path = t.names.file()
        local file <close> = assert(io.open(path, "w"))
        local l = assert(lock.open(file, {kind = kind}))
        t.refused("EBADF", l:lock("shared", 0))
        assert.is_true(l:lock("exclusive", 0))
        local reader <close> = assert(io.open(path, "r"))
        local other = assert(lock.open(reader, {kind = kind}))
        t.refused("EBADF", other:lock("exclusive", 0))
      end)

    it("GV:fcntl.cc:SetLockUnlockOnNothing to unlock nothing is no error",
      function()
        local l <close> = assert(lock.open(t.names.file(), {kind = kind}))
        assert.is_true(l:unlock())
        assert.is_true(l:unlock_range(3, 4))
      end)

    it_waits("GV:fcntl.cc:SetWriteLockThenBlockingWriteLock "
      .. "GV:fcntl.cc:SetReadLockThenBlockingWriteLock "
      .. "GV:fcntl.cc:SetWriteLockThenBlockingReadLock waits till it is let go",
      function()
        for _, case in ipairs {{"exclusive", "exclusive"},
          {"shared", "exclusive"}, {"exclusive", "shared"}} do
          local path = t.names.file()
          local l <close> = assert(lock.open(path, {kind = kind}))
          l:lock(case[1], 0)
          local child = assert(process.fork(function()
            assert(lock[kind](path, {shared = case[2] == "shared"}, WAIT))
          end))
          signals.await_state(child.pid, "S")
          assert.is_true(child:is_alive())
          l:unlock()
          ended(child)
        end
      end)

    it_waits("runs handlers while it waits, and keeps its time", function()
      local path = t.names.file()
      local go_r, go_w = assert(ipc.pipe.open())
      local r, w = assert(ipc.pipe.open())
      local child = assert(process.fork(function()
        go_w:close()
        local mine <close> = assert(lock[kind](path))
        w:write "."
        go_r:read(1, WAIT)
        return tostring(mine) and 0
      end))
      r:read(1, WAIT)
      local ran = 0
      local handler <close> = signals.handle("SIGUSR1", function()
        ran = ran + 1
      end)
      local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
      local seconds = t.took(function()
        t.timed_out(lock[kind](path, nil, 0.1))
      end)
      assert.is_true(seconds >= 0.1 and ran >= 3)
      go_w:close()
      ended(child)
      for _, s in ipairs {r, w, go_r} do s:close() end
      assert(handler and timer)
    end)

    it("GV:fcntl.cc:SetLockDroppedOnClose the end of the process frees it",
      function()
        local path = t.names.file()
        ended(assert(process.fork(function()
          assert(lock[kind](path))
          process.exit(0)
        end)))
        local l <close> = assert(lock[kind](path, nil, 0))
        assert(l)
      end)

    it("GV:fcntl.cc:SetLockPipe a pipe's ends are one file, or have no locks",
      function()
        local r, w = assert(ipc.pipe.open())
        local l = assert(lock.open(w, {kind = kind}))
        local ok, _, code = l:lock("exclusive", 0)
        assert.is_true(ok or code == errno.EINVAL)
        r:close()
        w:close()
      end)
  end)
end

describe("fcntl", function()
  it("LTP:fcntl19 a child has none of its parent's locks", function()
    local path = t.names.file()
    local l <close> = assert(lock.fcntl(path))
    ended(assert(process.fork(function()
      t.timed_out(lock.fcntl(path, nil, 0))
      local held = l:test()
      return held and held.pid == process.parent()
    end)))
  end)

  it("GV:fcntl.cc:GetReadLockOnReadLock GV:fcntl.cc:GetReadLockOnWriteLock "
    .. "GV:fcntl.cc:GetWriteLockOnReadLock GV:fcntl.cc:GetLockOnNothing who is "
    .. "in the way of what", function()
      local path = t.names.file()
      local r, w = assert(ipc.pipe.open())
      local go_r, go_w = assert(ipc.pipe.open())
      local child = assert(process.fork(function()
        go_w:close()
        local l = assert(lock.open(path, {kind = "fcntl"}))
        l:lock_range(0, 10, "shared")
        l:lock_range(20, 5)
        w:write "."
        go_r:read(1, WAIT)
      end))
      r:read(1, WAIT)
      local l <close> = assert(lock.open(path, {kind = "fcntl"}))
      assert.is_false(l:test_range(0, 10, "shared"))
      assert.same({mode = "shared", start = 0, length = 10, pid = child.pid},
        l:test_range(0, 10))
      assert.same({mode = "exclusive", start = 20, length = 5,
        pid = child.pid}, l:test_range(12, 0, "shared"))
      assert.is_false(l:test_range(10, 10))
      go_w:close()
      ended(child)
      assert.is_false(l:test_range(0, 0))
      for _, s in ipairs {r, w, go_r} do s:close() end
    end)

  it("LTP:fcntl17#2 LTP:fcntl deadlocks are found, and the lock that was held "
    .. "is held yet", function()
      local path = t.names.file()
      local r, w = assert(ipc.pipe.open())
      local l <close> = assert(lock.open(path, {kind = "fcntl"}))
      assert(l:lock_range(0, 1))
      local child = assert(process.fork(function()
        local mine = assert(lock.open(path, {kind = "fcntl"}))
        assert(mine:lock_range(1, 1))
        w:write "."
        assert(mine:lock_range(0, 1, "exclusive", WAIT))
      end))
      r:read(1, WAIT)
      signals.await_state(child.pid, "S")
      process.sleep(0.01)
      t.refused("EDEADLK", l:lock_range(1, 1, "exclusive", WAIT))
      assert.is_true(l:unlock_range(0, 1))
      ended(child)
      r:close()
      w:close()
    end)
end)

describe("ofd", function()
  it("GV:fcntl.cc:TestOFDBasicLock LTP:fcntl36 two opens in one process "
    .. "exclude each other", function()
      local path = t.names.file()
      local one <close> = assert(lock.ofd(path, nil, 0))
      t.timed_out(lock.ofd(path, nil, 0))
      t.timed_out(lock.fcntl(path, nil, 0))
      one:unlock()
      assert(lock.ofd(path, nil, 0)):close()
    end)

  it("GV:fcntl.cc:TestOFDUnlocksOnLastClose GV:fcntl.cc:TestOFDInherits"
    .. "LockAfterDup a child that has the descriptor keeps it", function()
      local path = t.names.file()
      local go_r, go_w = assert(ipc.pipe.open())
      local l = assert(lock.ofd(path))
      local file = assert(io.open(path, "r+"))
      local mine = assert(lock.open(file, {kind = "ofd"}))
      l:close()
      assert.is_true(mine:lock("exclusive", 0))
      local child = assert(process.fork(function()
        go_w:close()
        go_r:read(1, WAIT)
        process.exit(0)
      end))
      file:close()
      t.timed_out(lock.ofd(path, nil, 0.01))
      go_w:close()
      ended(child)
      go_r:close()
      assert(lock.ofd(path, nil, 0)):close()
    end)

  it("GV:fcntl.cc:TestOFDLocksHoldAfterExec a program keeps the lock of a "
    .. "descriptor that it was given", function()
      local path = t.names.file()
      local file = assert(io.open(path, "r+"))
      local l = assert(lock.ofd(file, nil, 0))
      local child <close> = assert(process.spawn({"cat"},
        {stdin = "pipe", fds = {[7] = file}}))
      file:close()
      t.timed_out(lock.ofd(path, nil, 0.01))
      child.stdin:close()
      assert.same({"exit", 0}, {child:wait(WAIT)})
      assert(lock.ofd(path, nil, 0)):close()
      assert(l)
    end)

  it("GV:fcntl.cc:TestOFDGetLkReturnsNegPID who holds it is not known",
    function()
      local path = t.names.file()
      local one <close> = assert(lock.ofd(path, {start = 2, length = 3}))
      local other <close> = assert(lock.open(path, {kind = "ofd"}))
      assert.same({mode = "exclusive", start = 2, length = 3}, other:test())
      assert.is_false(one:test())
    end)

  it("GV:fcntl.cc:TestOFDCanUpgradeLock", function()
    local path = t.names.file()
    local one <close> = assert(lock.ofd(path, {shared = true}))
    assert.is_true(one:lock("exclusive", 0))
    t.timed_out(lock.ofd(path, {shared = true}, 0))
    assert.is_true(one:lock("shared", 0))
    assert(lock.ofd(path, {shared = true}, 0)):close()
  end)

  it("PY:test_fcntl.py:test_lockf_exclusive PY:test_fcntl.py:test_lockf_share "
    .. "Python's locks are seen, and ours by Python", function()
      if not os.execute "command -v python3 >/dev/null" then
        return pending "needs python3"
      end
      local path = t.names.file()
      local function python(mode)
        local child <close> = assert(process.spawn({"python3", "-c", ([[
import fcntl, sys
f = open(sys.argv[1], "r+")
try:
    fcntl.lockf(f, fcntl.LOCK_%s | fcntl.LOCK_NB)
except OSError:
    sys.exit(7)
]]):format(mode), path}))
        return select(2, child:wait(WAIT))
      end
      local l <close> = assert(lock.ofd(path, {shared = true}))
      assert.same({0, 7}, {python "SH", python "EX"})
      l:lock "exclusive"
      assert.same({7, 7}, {python "SH", python "EX"})
      l:unlock()
      assert.equal(0, python "EX")
    end)
end)
