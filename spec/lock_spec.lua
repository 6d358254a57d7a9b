local t = require "support"
local ipc = require "unixipc"

local lock, process, pipe, signal = ipc.lock, ipc.process, ipc.pipe, ipc.signal
local stream, errno = ipc.stream, ipc.errno

local SOON = 2 * t.slow
local KINDS = {"flock", "fcntl", "ofd"}
local RANGED = {"fcntl", "ofd"}

-- Runs fn in a child, and returns what it returned, as text.
local function in_child(fn)
  local r, w = assert(pipe.open())
  local child <close> = assert(process.fork(function()
    local values = table.pack(fn())
    for i = 1, values.n do values[i] = tostring(values[i]) end
    w:send(table.concat(values, " "))
  end))
  w:close()
  local text = r:receive(SOON)
  r:close()
  assert.same({"exit", 0}, {child:wait(SOON)})
  return text
end

-- Can another process have it at once? A lock of that kind, not held here.
local function is_free(kind, target, options)
  return in_child(function()
    local l = lock[kind](target, options, 0)
    return l ~= nil
  end) == "true"
end

for _, kind in ipairs(KINDS) do
  -- valgrind does not know that F_OFD_SETLKW may block.
  local it_waits = kind == "ofd" and t.natively or it
  describe("lock." .. kind, function()
    it("keeps others out until it is closed", function()
      local path = t.names.file()
      do
        local l <close> = assert(lock[kind](path))
        assert.equal(kind .. " lock " .. path .. " (held)", tostring(l))
        assert.is_false(is_free(kind, path))
        assert.is_false(is_free(kind, path, {shared = true}))
        l:close()
        assert.is_true(l:close())
        assert.equal(kind .. " lock (closed)", tostring(l))
        t.raises("closed lock", l.lock, l)
      end
      assert.is_true(is_free(kind, path))
    end)

    it("lets in those that share", function()
      local path = t.names.file()
      local l <close> = assert(lock[kind](path, {shared = true}))
      assert.is_true(is_free(kind, path, {shared = true}))
      assert.is_false(is_free(kind, path))
      assert(l:lock "exclusive")
      assert.is_false(is_free(kind, path, {shared = true}))
      assert(l:lock "shared")
      assert.is_true(is_free(kind, path, {shared = true}))
    end)

    it("does not count (GV:flock.cc:TestRepeatedExLockingSingleUnlock)",
      function()
        local path = t.names.file()
        local l <close> = assert(lock.open(path, {kind = kind}))
        assert(l:lock())
        assert(l:lock())
        assert(l:unlock())
        assert.is_true(is_free(kind, path))
      end)

    it("unlocks what is not locked (GV:flock.cc:TestUnlockWithNoHolders)",
      function()
        local l <close> = assert(lock.open(t.names.file(), {kind = kind}))
        assert.is_true(l:unlock())
      end)

    it_waits("ends with its process", function()
      local path = t.names.file()
      local r, w = assert(pipe.open())
      local child <close> = assert(process.fork(function()
        local _ <close> = assert(lock[kind](path))
        w:write "."
        process.sleep(100)
      end))
      assert.equal(".", r:read(1, SOON))
      t.timed_out(lock[kind](path, nil, 0.02))
      child:kill "KILL"
      assert(lock[kind](path, nil, SOON)):close()
      child:wait()
      r:close()
      w:close()
    end)

    it_waits("waits, no shorter than it should", function()
      local path = t.names.file()
      local r, w = assert(pipe.open())
      local child <close> = assert(process.fork(function()
        local _ <close> = assert(lock[kind](path))
        w:write "."
        process.sleep(0.15)
      end))
      assert.equal(".", r:read(1, SOON))
      local seconds = t.took(function()
        t.timed_out(lock[kind](path, nil, 0.05))
      end)
      assert.is_true(seconds >= 0.05)
      local _ <close> = assert(lock[kind](path, nil, SOON))
      child:wait()
      r:close()
      w:close()
    end)

    it_waits("runs handlers while it waits", function()
      local path = t.names.file()
      local r, w = assert(pipe.open())
      local child <close> = assert(process.fork(function()
        local _ <close> = assert(lock[kind](path))
        w:write "."
        process.sleep(100)
      end))
      assert.equal(".", r:read(1, SOON))
      signal.handle("SIGALRM", function() child:kill "KILL" end)
      signal.alarm(0.02)
      assert(lock[kind](path, nil, SOON)):close()
      signal.handle("SIGALRM", "original")
      child:wait()
      r:close()
      w:close()
    end)

    it("takes descriptors, and leaves them open", function()
      local path = t.names.file()
      local file <close> = assert(io.open(path, "r+"))
      for _, target in ipairs {file, stream.from(file),
                               assert(lock.open(path)) and nil} do
        local l = assert(lock[kind](target))
        assert.is_false(is_free(kind, path))
        l:close()
        assert.is_true(is_free(kind, path))
        if target ~= file then target:close() end
      end
      assert(file:write "still open")
    end)

    it("makes the file only if asked to", function()
      local path = t.names.path()
      t.refused("ENOENT", lock[kind](path))
      local _ <close> = assert(lock[kind](path, {create = true, mode = 438}))
      local stat <close> = assert(io.popen("stat -c %a " .. path))
      assert.equal(666, stat:read "n")
    end)

    it("says who holds it", function()
      local path = t.names.file "0123456789"
      local l <close> = assert(lock.open(path, {kind = kind}))
      assert.is_false(l:test())
      local r, w = assert(pipe.open())
      local done, finish = assert(pipe.open())
      local child <close> = assert(process.fork(function()
        local _ <close> = assert(lock[kind](path, {shared = true}))
        w:write "."
        finish:close()
        done:read(1)
      end))
      assert.equal(".", r:read(1, SOON))
      assert.is_false(l:test "shared")
      local holder = l:test()
      assert.equal("shared", holder.mode)
      if kind == "ofd" then
        assert.is_nil(holder.pid)
      elseif holder.pid then
        assert.equal(child.pid, holder.pid)
      end
      finish:close()
      child:wait()
      done:close()
      r:close()
      w:close()
    end)

    it("raises for a closed file, and bad arguments", function()
      local file = assert(io.open(t.names.file(), "r+"))
      local l = assert(lock[kind](file))
      file:close()
      t.raises("file is closed", l.lock, l)
      l:close()
      t.raises("unknown option 'x'", lock[kind], "/", {x = 1})
      t.raises("no descriptor", lock[kind], {})
      t.raises("timeout", lock[kind], "/", nil, -1)
      local other <close> = assert(lock.open(t.names.file(), {kind = kind}))
      t.raises("invalid option", other.lock, other, "unlock")
    end)

    it("is let go by the collector", function()
      local path = t.names.file()
      assert(lock[kind](path))
      collectgarbage()
      assert.is_true(is_free(kind, path))
    end)

    it("is not let go by a forked child's end", function()
      local path = t.names.file()
      local l <close> = assert(lock[kind](path))
      in_child(function() return l:close() end)
      assert.is_false(is_free(kind, path))
    end)
  end)
end

-- The shells' flock(1) is a peer that knows nothing of us.
describe("lock.flock", function()
  it("is what flock(1) takes", function()
    if not os.execute "command -v flock >/dev/null" then
      return pending "flock(1) is not installed"
    end
    local path = t.names.file()
    local l <close> = assert(lock.flock(path))
    assert.is_nil(os.execute("flock -n " .. path .. " true"))
    l:unlock()
    assert.is_true(os.execute("flock -n " .. path .. " true"))
  end)

  it("has no ranges and no other words "
    .. "(GV:flock.cc:InvalidOpCombinations)", function()
    local l <close> = assert(lock.open(t.names.file(), {kind = "flock"}))
    t.raises("invalid option", l.lock, l, "exclusive|shared")
    t.raises("whole file", l.lock_range, l, 0, 1)
    t.raises("whole file", lock.open, "/", {kind = "flock", start = 1})
  end)

  it("is shared by two opens (GV:flock.cc:TestMultipleShared)", function()
    local path = t.names.file()
    local one <close> = assert(lock.flock(path, {shared = true}, 0))
    local two <close> = assert(lock.flock(path, {shared = true}, 0))
    t.timed_out(lock.flock(path, nil, 0)) -- see the next
    assert(one and two)
  end)

  it("binds one process too "
    .. "(GV:flock.cc:TestExclusiveLockFailExclusiveHolderNonblocking, "
    .. "GV:flock.cc:TestMultipleHolderSharedExclusive, LTP:flock06)",
    function()
      local path = t.names.file()
      local one <close> = assert(lock.flock(path))
      t.timed_out(lock.flock(path, nil, 0))
      assert.is_false(is_free("flock", path))
      one:lock "shared"
      local two <close> = assert(lock.flock(path, {shared = true}, 0))
      t.timed_out(two:lock("exclusive", 0))
    end)

  it("stays until the last descriptor closes "
    .. "(GV:flock.cc:TestDupFdCloseRelease)", function()
    local path = t.names.file()
    local s = assert(stream.from(assert(io.open(path, "r+"))))
    local again = assert(stream.from(s))
    local l = assert(lock.open(s, {kind = "flock"}))
    assert(l:lock())
    again:close()
    assert.is_false(is_free("flock", path))
    s:close()
    collectgarbage()
    assert.is_true(is_free("flock", path))
    l:close()
  end)

  it("of a parent is released by its child (LTP:flock03)", function()
    local path = t.names.file()
    local l <close> = assert(lock.flock(path))
    in_child(function() return l:unlock() end)
    assert.is_true(is_free("flock", path))
  end)

  it("sees the ends of a pipe as one (GV:flock.cc:FlockPipe)", function()
    local r, w = assert(pipe.open())
    local l <close> = assert(lock.flock(r))
    t.timed_out(lock.flock(w, nil, 0))
    l:close()
    r:close()
    w:close()
  end)

  it("says EBADF for a path descriptor (GV:flock.cc:BadFD)", function()
    local result = t.children.run(nil, {command = {
      t.program "with_path_fd", t.names.file(), os.getenv "LUA" or "lua5.4",
      "-e", [[print((select(3, require("unixipc.lock").flock(9))))]]}})
    assert.equal(errno.EBADF .. "\n", result.out, result.err)
  end)
end)

for _, kind in ipairs(RANGED) do
  describe("A range of " .. kind, function()
    it("is what it says (LTP:fcntl11, GV:fcntl.cc:GetWriteLockOnWriteLock)",
      function()
        local path = t.names.file()
        local l <close> = assert(lock.open(path, {kind = kind}))
        assert(l:lock_range(10, 30))
        assert(l:unlock_range(20, 10))
        local function ranges()
          local other <close> = assert(lock.open(path, {kind = kind}))
          local a = other:test_range(0, 0)
          local b = other:test_range(a.start + a.length, 0)
          return a.mode, a.pid, a.start, a.length, b.start, b.length,
            other:test_range(20, 10)
        end
        local pid = kind == "fcntl" and process.pid() or nil
        assert.equal(("exclusive %s 10 10 30 10 false"):format(pid),
          in_child(ranges))
      end)

    it("counts from where it is told (LTP:fcntl14)", function()
      local path = t.names.file(("x"):rep(100))
      local file <close> = assert(io.open(path, "r+"))
      file:setvbuf "no"
      file:seek("set", 50)
      local CASES = {
        {{start = 5, length = 10}, 5, 10},
        {{start = 5, length = 0}, 5, 0},
        {{start = 10, length = -5}, 5, 5},
        {{whence = "current", start = 5, length = 5}, 55, 5},
        {{whence = "current", start = 0, length = -10}, 40, 10},
        {{whence = "end", start = -20, length = 10}, 80, 10},
        {{whence = "end", start = 0, length = 0}, 100, 0},
      }
      for _, case in ipairs(CASES) do
        local l = assert(lock[kind](file, case[1]))
        assert.equal(case[2] .. " " .. case[3], in_child(function()
          local other <close> = assert(lock.open(path, {kind = kind}))
          local holder = other:test()
          return holder.start, holder.length
        end))
        l:close()
      end
      t.refused("EINVAL", lock[kind](file, {start = -1}))
      t.raises("unknown word", lock[kind], file, {whence = "middle"}) -- fcntl13
    end)

    it("is EBADF without the right to it "
      .. "(GV:fcntl.cc:SetLockBadOpenFlagsWrite)", function()
      local file <close> = assert(io.open(t.names.file(), "r"))
      t.refused("EBADF", lock[kind](file, nil, 0))
      assert(lock[kind](file, {shared = true})):close()
    end)

    it("is the file's, whatever its name (GV:fcntl.cc:SetLockAcrossRename)",
      function()
        local path = t.names.file()
        local l <close> = assert(lock[kind](path))
        assert(os.rename(path, path .. ".new"))
        assert.is_false(is_free(kind, path .. ".new"))
        os.remove(path .. ".new")
        l:close()
      end)

    it("is refused by time when taken (LTP:fcntl22)", function()
      local path = t.names.file()
      local l <close> = assert(lock[kind](path, {start = 0, length = 5}))
      assert.is_false(is_free(kind, path, {start = 4, length = 1}))
      assert.is_true(is_free(kind, path, {start = 5, length = 1}))
      l:close()
    end)
  end)
end

describe("lock.fcntl", function()
  it("never minds its own (GV:fcntl.cc:GetLockOnLockSameProcess)", function()
    local path = t.names.file()
    local l <close> = assert(lock.fcntl(path))
    local file <close> = assert(io.open(path, "r+"))
    local other = assert(lock.open(file, {kind = "fcntl"}))
    assert.is_false(other:test())
    assert(other:lock("exclusive", 0))
    l:unlock()
  end)

  it("tells that nobody has it (LTP:fcntl05)", function()
    local l <close> = assert(lock.open(t.names.file(), {kind = "fcntl"}))
    assert.is_false(l:test_range(3, 4))
  end)

  it("takes no words that are none (LTP:fcntl13#1)", function()
    local l <close> = assert(lock.open(t.names.file(), {kind = "fcntl"}))
    t.raises("invalid option", l.lock, l, "F_BOGUS")
    t.raises("unknown word", lock.fcntl, "/", {whence = "bogus"})
  end)

  it("says EBADF for what is not open (LTP:fcntl13#2)", function()
    t.refused("EBADF", lock.fcntl(987654))
  end)

  it("is gone when any descriptor of the file closes (LTP:fcntl15)",
    function()
      local path = t.names.file()
      local _ <close> = assert(lock.fcntl(path))
      assert(io.open(path)):close()
      assert.is_true(is_free("fcntl", path))
    end)

  it("finds a deadlock", function()
    local path = t.names.file "ab"
    local mine <close> = assert(lock.open(path, {kind = "fcntl"}))
    assert(mine:lock_range(0, 1))
    local r, w = assert(pipe.open())
    local child <close> = assert(process.fork(function()
      local theirs <close> = assert(lock.open(path, {kind = "fcntl"}))
      assert(theirs:lock_range(1, 1))
      w:write "."
      return (select(3, theirs:lock_range(0, 1, "exclusive", SOON)))
    end))
    r:read(1, SOON)
    local code -- of the one that came second
    repeat
      code = select(3, mine:lock_range(1, 1, "exclusive", 0.05))
    until code ~= errno.ETIMEDOUT
    mine:close()
    local _, exit_code = child:wait(SOON)
    assert.equal(errno.EDEADLK, code or exit_code)
    r:close()
    w:close()
  end)
end)

describe("lock.ofd", function()
  it("stays when another descriptor closes "
    .. "(GV:fcntl.cc:TestOFDNoUnlockOnClose)", function()
    local path = t.names.file()
    local l <close> = assert(lock.ofd(path))
    assert(io.open(path)):close()
    assert.is_false(is_free("ofd", path))
    l:close()
  end)

  it("and fcntl's see each other in one process (LTP:fcntl36)", function()
    local path = t.names.file()
    local one <close> = assert(lock.ofd(path))
    t.timed_out(lock.fcntl(path, nil, 0))
    one:close()
    local two <close> = assert(lock.fcntl(path))
    t.timed_out(lock.ofd(path, nil, 0))
    two:close()
  end)

  it("keeps appends apart (LTP:fcntl34)", function()
    local path = t.names.file()
    local workers = {}
    for i = 1, 4 do
      workers[i] = assert(process.fork(function()
        local file <close> = assert(io.open(path, "a"))
        file:setvbuf "no"
        for _ = 1, 50 do
          local _ <close> = assert(lock.ofd(path, nil, SOON))
          for _ = 1, 4 do file:write(i) end
          file:write "\n"
        end
      end))
    end
    for _, worker in ipairs(workers) do
      assert.same({"exit", 0}, {worker:wait(10 * SOON)})
    end
    local count = 0
    for line in io.lines(path) do
      count = count + 1
      assert.truthy(line:find "^(%d)%1%1%1$", line)
    end
    assert.equal(200, count)
  end)
end)
