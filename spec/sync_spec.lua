local t = require "support"
local ipc = require "unixipc"

local sync, mmap, process, signal = ipc.sync, ipc.mmap, ipc.process, ipc.signal

local SOON = 2 * t.slow

-- Runs fn in a child that is then killed, at once.
local function in_killed_child(fn)
  local child <close> = assert(process.fork(function()
    fn()
    os.execute("kill -KILL " .. process.pid())
  end))
  assert.same({"signal", "SIGKILL"}, {child:wait(SOON)})
end

local function in_child(fn)
  local child <close> = assert(process.fork(fn))
  return select(2, child:wait(5 * SOON))
end

-- Children that each run fn; all must end well.
local function in_children(n, fn)
  local children = {}
  for i = 1, n do children[i] = assert(process.fork(fn, i)) end
  for _, child in ipairs(children) do
    assert.same({"exit", 0}, {child:wait(20 * SOON)})
  end
end

local function with_alarm(handler, fn)
  signal.handle("SIGALRM", handler)
  signal.alarm(0.02)
  local ok, message = pcall(fn)
  signal.handle("SIGALRM", "original")
  if not ok then error(message, 0) end
end

local KINDS = {"mutex", "rwlock", "semaphore", "condition", "barrier", "once"}

describe("A sync object", function()
  for _, kind in ipairs(KINDS) do
    it("stands in a region: " .. kind, function()
      local r <close> = assert(mmap.map {size = 64 + sync.size(kind, 8)})
      t.refused("EINVAL", sync[kind](r, 64))
      local options = {create = true}
      if kind == "rwlock" then options.readers = 8 end
      if kind == "barrier" then options.parties = 8 end
      local made <close> = assert(sync[kind](r, 64, options))
      local found <close> = assert(sync[kind](r, 64))
      assert.equal("sync " .. kind, tostring(made))
      assert.equal("sync " .. kind, tostring(found))
      assert.is_true(found:close())
      assert.is_true(found:close())
      assert.equal("sync " .. kind .. " (closed)", tostring(found))
      t.raises("multiple of 16", sync[kind], r, 65, options)
      t.raises("out of bounds", sync[kind], r, #r, options)
      t.raises("unknown option", sync[kind], r, 64, {size = 1})
      local other = kind == "once" and "mutex" or "once"
      t.refused("EINVAL", sync[other](r, 64))
    end)
  end

  it("says when its region is closed", function()
    local r = assert(mmap.map {size = 4096})
    local m = assert(sync.mutex(r, 0, {create = true}))
    local lock = m:bind()
    assert(m:lock())
    t.refused("EBUSY", r:close())
    assert(m:unlock())
    assert(r:close())
    t.raises("closed region", m.lock, m)
    t.raises("closed region", lock)
    assert.is_true(m:close())
  end)
end)

describe("A sync object in a region that may not be written", function()
  for _, kind in ipairs(KINDS) do
    it("raises: " .. kind, function()
      local r <close> = assert(mmap.map {size = 4096})
      local view = r:view(0)
      local o <close> = assert(sync[kind](view, 0, {create = true}))
      assert(r:protect "r")
      local method = ({mutex = "lock", rwlock = "read_lock",
        semaphore = "post", condition = "notify", barrier = "wait",
        once = "is_done"})[kind]
      t.raises("read-only region", o[method], o)
      t.raises("read-only region", sync[kind], r, 0, {create = true})
      assert(r:protect "rw")
    end)
  end

  it("is not made so while something in it is held", function()
    local r <close> = assert(mmap.map {size = 4096})
    local m <close> = assert(sync.mutex(r, 0, {create = true}))
    assert(m:lock())
    t.refused("EBUSY", r:protect "r")
    t.refused("EBUSY", r:protect "none")
    assert(r:protect "rw")
    assert(m:unlock())
    assert(r:protect "r")
  end)
end)

describe("sync.mutex", function()
  it("is for one at a time", function()
    local m <close> = assert(sync.mutex())
    assert.is_true(m:lock())
    assert.equal("sync mutex (held)", tostring(m))
    assert.equal(0, in_child(function()
      return m:lock(0.01) == nil and m:unlock() == nil and 0 or 1
    end))
    assert.is_true(m:unlock())
    assert.equal(0, in_child(function() return m:lock(0) and 0 or 1 end))
  end)

  it("finds a deadlock with oneself, and what is not held", function()
    local m <close> = assert(sync.mutex())
    assert(m:lock())
    t.refused("EDEADLK", m:lock())
    t.refused("EDEADLK", m:lock(0))
    assert(m:unlock())
    t.refused("EPERM", m:unlock())
    t.refused("EINVAL", m:consistent())
  end)

  it("tells the next one that its owner died", function()
    local m <close> = assert(sync.mutex())
    in_killed_child(function() m:lock() end)
    assert.same({true, "recovered"}, {m:lock(SOON)})
    assert(m:consistent())
    assert(m:unlock())
    assert.same({true}, {m:lock(0)})
    m:unlock()
  end)

  it("wakes who waits when its owner dies", function()
    local m <close> = assert(sync.mutex())
    local r, w = assert(ipc.pipe.open())
    local child <close> = assert(process.fork(function()
      m:lock()
      w:write "."
      process.sleep(100)
    end))
    r:read(1, SOON)
    local seconds = t.took(function()
      with_alarm(function() child:kill "KILL" end, function()
        assert.same({true, "recovered"}, {m:lock(5 * SOON)})
      end)
    end)
    assert.is_true(seconds < SOON)
    m:unlock()
    t.refused("ENOTRECOVERABLE", m:lock())
    child:wait()
    r:close()
    w:close()
  end)

  it("counts exactly", function()
    local r <close> = assert(mmap.map {size = 4096})
    local m <close> = assert(sync.mutex(r, 64, {create = true}))
    in_children(8, function()
      local lock, unlock = m:bind()
      for _ = 1, 500 do
        assert(lock())
        r:pack("j", 0, r:unpack("j", 0) + 1)
        assert(unlock())
      end
    end)
    assert.equal(4000, (r:unpack("j", 0)))
  end)

  it("looks at the timeout even if it need not wait", function()
    local m <close> = assert(sync.mutex())
    local lock = m:bind()
    t.raises("timeout", m.lock, m, -1)
    t.raises("timeout", lock, 0 / 0)
    t.raises("number expected", lock, {})
    assert(lock(nil))
    assert(m:unlock())
    local s <close> = assert(sync.semaphore(nil, nil, {initial = 1}))
    t.raises("timeout", s.wait, s, -1)
    assert.equal(1, s:value())
  end)

  it("may be let go by another object of the same place", function()
    local r = assert(mmap.map {size = 64})
    local m = assert(sync.mutex(r, 0, {create = true}))
    local other = assert(sync.mutex(r))
    assert(m:lock())
    assert(other:unlock())
    t.refused("EPERM", m:unlock())
    m:close()
    other:close()
    assert(r:close())
  end)

  it("is let go by close, <close> and the collector", function()
    local r <close> = assert(mmap.map {size = 64})
    local m <close> = assert(sync.mutex(r, 0, {create = true}))
    do
      local other <close> = assert(sync.mutex(r))
      other:lock()
    end
    assert(m:lock(0))
    m:unlock()
    assert(sync.mutex(r)):lock()
    collectgarbage()
    assert(m:lock(0))
    m:unlock()
  end)
end)

describe("sync.rwlock", function()
  it("is for one writer or many readers", function()
    local rw <close> = assert(sync.rwlock(nil, nil, {readers = 4}))
    assert(rw:read_lock())
    assert.equal("sync rwlock (reading)", tostring(rw))
    assert.equal(0, in_child(function()
      return rw:read_lock(0) and rw:unlock() and not rw:write_lock(0) and 0
        or 1
    end))
    t.refused("EDEADLK", rw:read_lock())
    t.refused("EDEADLK", rw:write_lock())
    assert(rw:unlock())
    t.refused("EPERM", rw:unlock())
    assert(rw:write_lock())
    assert.equal(0, in_child(function()
      return not rw:read_lock(0) and not rw:write_lock(0.01) and 0 or 1
    end))
    t.refused("EDEADLK", rw:write_lock())
    assert(rw:unlock())
  end)

  it("forgets readers that died, and tells of writers", function()
    local rw <close> = assert(sync.rwlock(nil, nil, {readers = 2}))
    for _ = 1, 5 do in_killed_child(function() rw:read_lock() end) end
    assert.same({true}, {rw:write_lock(SOON)})
    rw:unlock()
    in_killed_child(function() rw:write_lock() end)
    assert.same({true, "recovered"}, {rw:read_lock(SOON)})
    rw:unlock()
    assert.same({true, "recovered"}, {rw:write_lock(SOON)})
    rw:unlock()
    assert.same({true}, {rw:read_lock(SOON)})
    rw:unlock()
  end)

  it("leaves the gate when time is up or a handler raises", function()
    local rw <close> = assert(sync.rwlock())
    local r, w = assert(ipc.pipe.open())
    local child <close> = assert(process.fork(function()
      rw:read_lock()
      w:write "."
      process.sleep(100)
    end))
    r:read(1, SOON)
    t.timed_out(rw:write_lock(0.02))
    assert(rw:read_lock(0))
    rw:unlock()
    with_alarm(function() error "enough" end, function()
      t.raises("enough", rw.write_lock, rw, SOON)
    end)
    assert(rw:read_lock(0))
    rw:unlock()
    child:kill "KILL"
    assert(rw:write_lock(SOON))
    rw:unlock()
    child:wait()
    r:close()
    w:close()
  end)
end)

describe("A handler while a sync.rwlock is waited for", function()
  -- With a reader in a child, so that write_lock waits behind the gate.
  local function while_read(handler, test)
    local rw = assert(sync.rwlock())
    local r, w = assert(ipc.pipe.open())
    local child <close> = assert(process.fork(function()
      rw:read_lock()
      w:write "."
      process.sleep(100)
    end))
    r:read(1, SOON)
    with_alarm(function() handler(rw, child) end, function() test(rw) end)
    child:kill "KILL"
    child:wait()
    r:close()
    w:close()
    rw:close()
  end

  it("cannot unlock what is not held yet", function()
    while_read(function(rw, child)
      assert.equal("sync rwlock (waiting)", tostring(rw))
      t.refused("EPERM", rw:unlock())
      t.refused("EDEADLK", rw:read_lock())
      t.refused("EDEADLK", rw:write_lock())
      child:kill "KILL"
    end, function(rw)
      assert.is_true(rw:write_lock(SOON))
      assert.equal("sync rwlock (writing)", tostring(rw))
      assert(rw:unlock())
    end)
  end)

  it("may close it", function()
    while_read(function(rw) rw:close() end, function(rw)
      t.raises("closed sync rwlock", rw.write_lock, rw, SOON)
    end)
  end)

  it("may take it first", function()
    local rw <close> = assert(sync.rwlock())
    local r, w = assert(ipc.pipe.open())
    local child <close> = assert(process.fork(function()
      rw:write_lock()
      w:write "."
      process.sleep(100)
    end))
    r:read(1, SOON)
    with_alarm(function()
      child:kill "KILL"
      assert(rw:read_lock(SOON))
    end, function() t.refused("EDEADLK", rw:read_lock(SOON)) end)
    assert.equal("sync rwlock (reading)", tostring(rw))
    assert(rw:unlock())
    assert(rw:write_lock(0))
    assert(rw:unlock())
    child:wait()
    r:close()
    w:close()
  end)
end)

describe("sync.semaphore", function()
  it("counts", function()
    local s <close> = assert(sync.semaphore(nil, nil, {initial = 2}))
    local wait, post = s:bind()
    assert(s:wait(0))
    assert(wait())
    t.timed_out(wait(0))
    t.timed_out(s:wait(0.01))
    assert(post(3))
    assert.equal(3, s:value())
    t.refused("EOVERFLOW", s:post(0x3fffffff))
    t.raises("count", s.post, s, -1)
  end)

  it("passes between processes", function()
    local ping <close> = assert(sync.semaphore())
    local pong <close> = assert(sync.semaphore())
    local child <close> = assert(process.fork(function()
      for _ = 1, 200 do
        assert(ping:wait(SOON))
        pong:post()
      end
    end))
    for _ = 1, 200 do
      ping:post()
      assert(pong:wait(SOON))
    end
    child:wait(SOON)
  end)
end)

describe("sync.condition", function()
  it("hands over work, one by one", function()
    local r <close> = assert(mmap.map {size = 4096})
    local m <close> = assert(sync.mutex(r, 64, {create = true}))
    local c <close> = assert(sync.condition(r, 128, {create = true}))
    local child <close> = assert(process.fork(function()
      for i = 1, 100 do
        assert(m:lock())
        r:pack("j", 0, i)
        c:notify()
        while r:unpack("j", 0) ~= 0 do assert(c:wait(m, SOON)) end
        m:unlock()
      end
    end))
    for i = 1, 100 do
      assert(m:lock())
      while r:unpack("j", 0) == 0 do assert(c:wait(m, SOON)) end
      assert.equal(i, (r:unpack("j", 0)))
      r:pack("j", 0, 0)
      c:notify_all()
      m:unlock()
    end
    assert.same({"exit", 0}, {child:wait(SOON)})
  end)

  it("has the mutex again, whatever happens", function()
    local m <close> = assert(sync.mutex())
    local c <close> = assert(sync.condition())
    t.refused("EPERM", c:wait(m, 0))
    assert(m:lock())
    t.timed_out(c:wait(m, 0.01))
    t.refused("EDEADLK", m:lock())
    with_alarm(function() error "enough" end, function()
      t.raises("enough", c.wait, c, m, SOON)
    end)
    t.refused("EDEADLK", m:lock())
    assert(m:unlock())
    t.raises("sync mutex expected", c.wait, c, c)
  end)
end)

describe("sync.barrier", function()
  it("lets all go when all have come", function()
    local r <close> = assert(mmap.map {size = 4096})
    local b <close> = assert(sync.barrier(r, 1024,
      {create = true, parties = 4}))
    in_children(4, function(i)
      for turn = 1, 50 do
        r:pack("j", 8 * i, turn)
        local last = b:wait(SOON)
        assert(last ~= nil)
        for j = 1, 4 do assert(r:unpack("j", 8 * j) >= turn) end
        assert(b:wait(SOON) ~= nil)
      end
    end)
  end)

  it("does not count the dead, nor who gave up", function()
    local b <close> = assert(sync.barrier())
    t.timed_out(b:wait(0.01))
    with_alarm(function() error "enough" end, function()
      t.raises("enough", b.wait, b, SOON)
    end)
    local child = assert(process.fork(function() b:wait() end))
    process.sleep(0.05)
    child:kill "KILL"
    child:wait(SOON)
    t.timed_out(b:wait(0.05))
    local alive <close> = assert(process.fork(function()
      return b:wait(SOON) ~= nil
    end))
    assert.is_true(b:wait(SOON) ~= nil)
    assert.same({"exit", 0}, {alive:wait(SOON)})
  end)
end)

describe("sync.once", function()
  it("is done once", function()
    local r <close> = assert(mmap.map {size = 4096})
    local once <close> = assert(sync.once(r, 64, {create = true}))
    local function count() r:pack("j", 0, r:unpack("j", 0) + 1) end
    t.raises("not this time", once.call, once,
      function() error "not this time" end)
    in_killed_child(function()
      once:call(function() os.execute("kill -KILL " .. process.pid()) end)
    end)
    assert.is_false(once:is_done())
    in_children(4, function() assert(once:call(count, SOON) ~= nil) end)
    assert.equal(1, (r:unpack("j", 0)))
    assert.is_false(once:call(count))
    assert.is_true(once:is_done())
    t.raises("function expected", once.call, once)
  end)

  it("finds a deadlock with oneself", function()
    local once <close> = assert(sync.once())
    assert(once:call(function() t.refused("EDEADLK", once:call(print)) end))
  end)
end)
