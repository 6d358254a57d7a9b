-- Guards: what is taken for a block.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local sync, mmap, process, signal = ipc.sync, ipc.mmap, ipc.process, ipc.signal

local WAIT = 20 * t.slow

-- Each kind of guard, and what shows that nobody can take it now.
local KINDS = {
  {class = "mutex", guard = "guard", lock = "lock", held = "sync mutex (held)"},
  {class = "rwlock", guard = "read_guard", lock = "write_lock",
    held = "sync rwlock (reading)"},
  {class = "rwlock", guard = "write_guard", lock = "read_lock",
    held = "sync rwlock (writing)"},
}

local function in_child(fn, ...)
  local child <close> = assert(process.fork(fn, ...))
  assert.same({"exit", 0}, {child:wait(WAIT)})
end

local function assert_held(kind, object)
  assert.equal(kind.held, tostring(object))
  in_child(function() t.timed_out(object[kind.lock](object, 0)) end)
end

local function assert_free(kind, object)
  assert.equal("sync " .. kind.class, tostring(object))
  in_child(function()
    assert(object[kind.lock](object, 0))
    assert(object:unlock())
  end)
end

for _, kind in ipairs(KINDS) do
  local take = kind.guard
  describe("A guard by " .. take, function()
    it("holds it for a block", function()
      local object = assert(sync[kind.class]())
      do
        local guard <close>, recovered = assert(object[take](object, 0))
        assert.is_nil(recovered)
        assert.is_true(guard:is_open())
        assert.equal("sync guard of a sync " .. kind.class, tostring(guard))
        assert_held(kind, object)
        t.refused("EDEADLK", object[take](object))
        t.refused("EDEADLK", object[kind.lock](object, 0))
        assert_held(kind, object)
      end
      assert_free(kind, object)
    end)

    it("lets it go after an error, a return, a break", function()
      local object = assert(sync[kind.class]())
      t.raises("oops", function()
        local guard <close> = assert(object[take](object))
        error(tostring(guard) .. " oops")
      end)
      assert_free(kind, object)
      local function leave()
        local guard <close> = assert(object[take](object))
        return guard
      end
      assert.is_false(leave():is_open())
      assert_free(kind, object)
      for _ = 1, 3 do
        local guard <close> = assert(object[take](object))
        if guard then break end
      end
      assert_free(kind, object)
    end)

    it("is closed once, and then has nothing to do with it", function()
      local object = assert(sync[kind.class]())
      local first = assert(object[take](object))
      assert.is_true(first:close())
      assert.equal("sync guard (closed)", tostring(first))
      assert_free(kind, object)
      local second = assert(object[take](object))
      assert.is_true(first:close())
      assert_held(kind, object)
      assert.is_true(second:close())
      assert_free(kind, object)
    end)

    it("that was let go otherwise leaves what came after", function()
      local object = assert(sync[kind.class]())
      local guard = assert(object[take](object))
      assert(object:unlock())
      local again = kind.class == "mutex" and "lock"
        or take:gsub("guard", "lock")
      assert(object[again](object))
      guard:close()
      assert_held(kind, object)
      assert(object:unlock())
      guard = assert(object[take](object))
      object:close()
      assert.is_true(guard:close())
      t.raises("attempt to use a closed sync " .. kind.class, object[take],
        object)
    end)

    it("leaves it free in coroutines that end in any order", function()
      local object = assert(sync[kind.class]())
      local function worker()
        local guard <close> = assert(object[take](object))
        coroutine.yield()
        guard:close()
        coroutine.yield()
      end
      local one, two = coroutine.create(worker), coroutine.create(worker)
      assert(coroutine.resume(one))
      assert(coroutine.resume(one)) -- it is free
      assert(coroutine.resume(two))
      assert(coroutine.resume(one)) -- the end of its block
      assert_held(kind, object)
      assert(coroutine.close(two))
      assert_free(kind, object)
    end)

    it("is let go when it is collected, and keeps what it is of", function()
      local object = assert(sync[kind.class]())
      local guard = assert(object[take](object))
      assert_held(kind, object)
      assert.is_true(guard:is_open())
      guard = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert_free(kind, object)
      local weak = setmetatable({object}, {__mode = "v"})
      guard = assert(object[take](object))
      object = nil -- luacheck: ignore
      collectgarbage()
      assert.equal(kind.held, tostring(weak[1]))
      guard:close()
    end)

    it("of several nest", function()
      local region <close> = assert(mmap.map {size = 3 * sync.size "rwlock"})
      local list = {}
      for i = 1, 3 do
        list[i] = assert(sync[kind.class](region, (i - 1) * sync.size "rwlock",
          {create = true}))
      end
      t.raises("inside", function()
        local _ <close> = list[1][take](list[1])
        local _ <close> = list[2][take](list[2])
        do
          local _ <close> = list[3][take](list[3])
          for i = 1, 3 do assert_held(kind, list[i]) end
          t.refused("EBUSY", region:close())
        end
        assert_free(kind, list[3])
        error "inside"
      end)
      for i = 1, 3 do assert_free(kind, list[i]) end
    end)

    it("is the parent's, not the child's", function()
      local object = assert(sync[kind.class]())
      local guard <close> = assert(object[take](object))
      in_child(function()
        assert.equal("sync " .. kind.class, tostring(object))
        guard:close()
      end)
      assert_held(kind, object)
      guard:close()
      -- what the child took since is not let go by its copy of the parent's
      local other = assert(object[take](object))
      local r, w = assert(ipc.pipe.open())
      local child <close> = assert(process.fork(function()
        assert(r:read(1, WAIT))
        local own <close> = assert(object[take](object, WAIT))
        other:close()
        assert(own:is_open())
        assert.equal(kind.held, tostring(object))
      end))
      other:close()
      w:write "."
      assert.same({"exit", 0}, {child:wait(WAIT)})
      assert_free(kind, object)
      r:close()
      w:close()
    end)

    it("waits no longer than it may", function()
      local object = assert(sync[kind.class]())
      assert(object[kind.lock](object))
      in_child(function()
        t.timed_out(object[take](object, 0))
        local seconds = t.took(function()
          t.timed_out(object[take](object, 0.03))
        end)
        assert.is_true(seconds >= 0.03)
      end)
      for _, timeout in ipairs {-1, 0 / 0, "soon", {}} do
        t.raises("bad argument #2", function()
          object[take](object, timeout)
        end)
      end
      assert(object:unlock())
      assert_free(kind, object)
    end)
  end)
end

-- A child that dies in the block.
local function die_with(object, take)
  local child <close> = assert(process.fork(function()
    local guard <close> = assert(object[take](object))
    process.exit(guard:is_open() and 3)
  end))
  assert.same({"exit", 3}, {child:wait(WAIT)})
end

describe("Mutex:guard", function()
  it("tells that the last owner died; made good, it is as before", function()
    local mutex = assert(sync.mutex())
    die_with(mutex, "guard")
    do
      local guard <close>, recovered = assert(mutex:guard(WAIT))
      assert.equal("recovered", recovered)
      assert.is_true(guard:is_open())
      assert(mutex:consistent())
    end
    local guard <close>, recovered = assert(mutex:guard(0))
    assert.is_nil(recovered)
    assert.is_true(guard:is_open())
  end)

  it("after an error before that nobody takes it again", function()
    local mutex = assert(sync.mutex())
    die_with(mutex, "guard")
    t.raises("it cannot be", function()
      local _ <close> = assert(mutex:guard(WAIT))
      error "it cannot be made good"
    end)
    t.refused("ENOTRECOVERABLE", mutex:guard(WAIT))
    t.refused("ENOTRECOVERABLE", mutex:lock(0))
  end)

  it("lasts over a Condition's wait", function()
    local mutex, condition = assert(sync.mutex()), assert(sync.condition())
    do
      local guard <close> = assert(mutex:guard())
      t.timed_out(condition:wait(mutex, 0.01))
      assert.is_true(guard:is_open())
      assert_held(KINDS[1], mutex)
    end
    assert_free(KINDS[1], mutex)
    do
      local guard <close> = assert(mutex:guard())
      -- a handler takes it while it is let go, and gives it back
      signals.with_handler("SIGUSR1", function()
        local inner <close> = assert(mutex:guard(WAIT))
        assert.is_true(inner:is_open())
      end, function()
        local timer <close> = signals.soon "SIGUSR1"
        t.timed_out(condition:wait(mutex, 0.05))
        assert.is_true(guard:is_open() and timer:is_open())
      end)
      assert_held(KINDS[1], mutex)
    end
    assert_free(KINDS[1], mutex)
  end)

  it("is not there when a handler raises while it waits", function()
    local mutex = assert(sync.mutex())
    assert(mutex:lock())
    local child <close> = assert(process.fork(function()
      signal.handle("SIGALRM", function() error "enough" end)
      signal.alarm(0.02)
      local ok, message = pcall(mutex.guard, mutex, WAIT)
      assert(not ok and message:find "enough")
      assert(tostring(mutex) == "sync mutex")
    end))
    assert.same({"exit", 0}, {child:wait(WAIT)})
    assert(mutex:unlock())
  end)
end)

describe("RWLock:write_guard", function()
  it("tells readers and the next writer that a writer died", function()
    local lock = assert(sync.rwlock())
    die_with(lock, "write_guard")
    for _, take in ipairs {"read_guard", "write_guard"} do
      local guard <close>, recovered = assert(lock[take](lock, WAIT))
      assert.equal("recovered", recovered)
      assert.is_true(guard:is_open())
    end
    local guard <close>, recovered = assert(lock:read_guard(WAIT))
    assert.is_nil(recovered)
    assert.is_true(guard:is_open())
    in_child(function()
      local other <close> = assert(lock:read_guard(0)) -- readers together
      assert.is_true(other:is_open())
    end)
  end)
end)
