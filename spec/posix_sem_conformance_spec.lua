-- What other people's suites check of POSIX semaphores, beyond posix_sem_spec.
local t = require "support"
local nobody = require "support.nobody"
local ipc = require "unixipc"

local errno, posix_sem, process = ipc.errno, ipc.posix_sem, ipc.process
local signal, mmap = ipc.signal, ipc.mmap

local WAIT = 20 * t.slow

local function new(initial, options, name)
  local all = {create = true, exclusive = true, temporary = true,
    initial = initial}
  for key, value in pairs(options or {}) do all[key] = value end
  return assert(posix_sem.open(name or t.names.posix(), all))
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(WAIT)})
  child:close()
end

describe("sem_open", function()
  it("OPTS:sem_open/1-1 OPTS:sem_open/4-1 one that is there is opened, its "
    .. "value stays", function()
      local s <close> = new(3)
      local again <close> = assert(posix_sem.open(s:name(),
        {create = true, initial = 9}))
      assert.equal(3, again:value())
      assert.is_true(again:wait(0))
      assert.same({2, 2}, {s:value(), again:value()})
    end)

  it("OPTS:sem_open/3-1 OPTS:sem_open/10-1 it is its maker's", function()
    local s <close> = new(0, {mode = "0640"})
    local pipe <close> = assert(io.popen(
      ("stat -c '%%a %%u' /dev/shm/sem.%s"):format(s:name():sub(2))))
    assert.equal("640 " .. process.ids().euid, pipe:read())
  end)

  it("OPTS:sem_open/2-1 not for whom the mode does not allow it: EACCES",
    function()
      if not nobody.is_there() then return pending "needs root and setpriv" end
      local s <close> = new(1, {mode = "0600"})
      assert.equal("EACCES", nobody.run([[
        print(code(ipc.posix_sem.open(arg[1])))]], s:name()))
      local open <close> = new(1, {mode = "0666"})
      assert.equal("true", nobody.run([[
        print(assert(ipc.posix_sem.open(arg[1])):wait(0))]], open:name()))
      assert.equal(0, open:value())
    end)

  it("LTP:sem_open names are one name each, of up to 251 characters",
    function()
      for _, name in ipairs {"/" .. ("n"):rep(251), "/a b", "/sem.x"} do
        local s <close> = new(1, nil, name)
        local again <close> = assert(posix_sem.open(name))
        assert.equal(1, again:value())
        assert.equal(name, s:name())
      end
      t.refused("ENAMETOOLONG", posix_sem.open("/" .. ("n"):rep(252)))
    end)

  it("what is there and is no semaphore is none", function()
    local name = t.names.posix()
    local path = "/dev/shm/sem." .. name:sub(2)
    assert(io.open(path, "w")):close()
    local s, message, code = posix_sem.open(name)
    os.remove(path)
    assert.is_nil(s, message)
    assert.equal(errno.EINVAL, code)
  end)

  it("of many that make it exclusively one does", function()
    local name = t.names.posix()
    local count = t.race(function()
      local s, _, code = posix_sem.open(name,
        {create = true, exclusive = true, initial = 1})
      return s and 7 or code
    end)
    assert.is_true(posix_sem.unlink(name))
    assert.same({[7] = 1, [errno.EEXIST] = 7}, count)
  end)
end)

describe("sem_wait, sem_post", function()
  it("OPTS:sem_wait/1-1 OPTS:sem_wait/11-1 takes one at a time", function()
    local s <close> = new(2)
    assert.is_true(s:wait())
    assert.equal(1, s:value())
    assert.is_true(s:wait(5))
    assert.equal(0, s:value())
    t.timed_out(s:wait(0))
    assert.equal(0, s:value())
  end)

  it("OPTS:sem_wait/3-1 OPTS:sem_wait/5-1 waits until somebody posts",
    function()
      local s <close> = new(0)
      local child = assert(process.fork(function() assert(s:wait(WAIT)) end))
      process.sleep(0.02)
      assert.is_true(child:is_alive())
      s:post()
      ended(child)
      assert.equal(0, s:value())
    end)

  it("OPTS:sem_wait/7-1 OPTS:sem_wait/13-1 runs handlers while it waits, and "
    .. "goes on", function()
      local s <close> = new(0)
      local ran = 0
      signal.handle("SIGUSR1", function()
        ran = ran + 1
        if ran == 3 then s:post() end
      end)
      local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
      assert.is_true(s:wait())
      timer:close()
      signal.handle("SIGUSR1", "original")
      assert.is_true(ran >= 3)
    end)

  it("OPTS:sem_wait/12-1 a killed waiter takes none", function()
    local s <close> = new(0)
    local child <close> = assert(process.fork(function() s:wait() end))
    process.sleep(0.02)
    child:kill "SIGKILL"
    assert.same({"signal", "SIGKILL"}, {child:wait(WAIT)})
    s:post()
    assert.equal(1, s:value())
    assert.is_true(s:wait(0))
  end)

  it("OPTS:sem_timedwait/2-1 OPTS:sem_timedwait/3-1 OPTS:sem_timedwait/7-1 "
    .. "time runs out, and the value stays", function()
      local s <close> = new(0)
      local seconds = t.took(function() t.timed_out(s:wait(0.05)) end)
      assert.is_true(seconds >= 0.05)
      assert.equal(0, s:value())
      assert.is_true(s:post())
      assert.is_true(s:wait(0.05))
    end)

  it("OPTS:sem_timedwait/1-1 OPTS:sem_timedwait/11-1 what can be had is had, "
    .. "whatever the time", function()
      local s <close> = new(3)
      for _, time in ipairs {0, 1e-9, 1e9} do assert.is_true(s:wait(time)) end
      t.timed_out(s:wait(1e-9))
    end)

  it("OPTS:sem_post/1-1 OPTS:sem_post/2-1 OPTS:sem_post/4-1 counts", function()
    local s <close> = new(0)
    for n = 1, 100 do
      assert.is_true(s:post())
      assert.equal(n, s:value())
    end
    assert.is_true(s:post(5))
    assert.equal(105, s:value())
  end)

  it("OPTS:sem_getvalue/2-1 OPTS:sem_getvalue/5-1 with waiters it is 0",
    function()
      local s <close> = new(0)
      local list = {}
      for i = 1, 3 do
        list[i] = assert(process.fork(function() assert(s:wait(WAIT)) end))
      end
      process.sleep(0.02)
      assert.equal(0, s:value())
      assert.equal(0, s:value())
      s:post(3)
      for _, child in ipairs(list) do ended(child) end
    end)

  it("PY:_test_multiprocessing.py:_TestSemaphore#1 keeps out all but so many",
    function()
      local s <close> = new(2)
      local region <close> = assert(mmap.map {size = 4096})
      local inside = ipc.atomic.int32(region, 0)
      local most = ipc.atomic.int32(region, 4)
      local list = {}
      for i = 1, 6 do
        list[i] = assert(process.fork(function()
          for _ = 1, 100 do
            assert(s:wait(WAIT))
            local n = inside:fetch_add(1) + 1
            if n > 2 then most:store(n) end
            inside:fetch_sub(1)
            s:post()
          end
        end))
      end
      for _, child in ipairs(list) do ended(child) end
      assert.same({0, 0, 2}, {most:load(), inside:load(), s:value()})
    end)
end)

describe("sem_close, sem_unlink", function()
  it("OPTS:sem_close/1-1 OPTS:sem_close/2-1 OPTS:sem_close/3-1 the value "
    .. "stays when it is closed", function()
      local name = t.names.posix()
      local s = new(1, {temporary = false}, name)
      s:post()
      assert.is_true(s:close())
      assert.is_true(s:close())
      local again <close> = assert(posix_sem.open(name))
      assert.equal(2, again:value())
      assert.is_true(posix_sem.unlink(name))
    end)

  it("OPTS:sem_unlink/2-1 OPTS:sem_unlink/2-2 OPTS:sem_unlink/9-1 who has it "
    .. "open goes on, in all processes", function()
      local s <close> = new(0)
      local child = assert(process.fork(function() assert(s:wait(WAIT)) end))
      assert.is_true(posix_sem.unlink(s:name()))
      t.refused("ENOENT", posix_sem.open(s:name()))
      s:post()
      ended(child)
    end)

  it("OPTS:sem_unlink/4-2 OPTS:sem_unlink/5-1 names that are too long: "
    .. "ENAMETOOLONG", function()
      t.refused("ENAMETOOLONG", posix_sem.unlink("/" .. ("n"):rep(300)))
      t.refused("ENAMETOOLONG", posix_sem.unlink("/" .. ("n"):rep(5000)))
    end)

  it("POSIX_IPC:test_semaphores.py a name that is unlinked twice: ENOENT",
    function()
      local s <close> = new(0, {temporary = false})
      assert.is_true(posix_sem.unlink(s:name()))
      t.refused("ENOENT", posix_sem.unlink(s:name()))
    end)
end)

describe("sem_init", function()
  local function unnamed(region, initial, offset)
    return assert(posix_sem.unnamed(region, offset or 0,
      {create = true, initial = initial}))
  end

  it("OPTS:sem_init/3-1 OPTS:sem_init/3-2 is shared by processes", function()
    local region <close> = assert(mmap.map {size = 4096})
    local s = unnamed(region, 0)
    local child = assert(process.fork(function() assert(s:wait(WAIT)) end))
    s:post()
    ended(child)
    assert.equal(0, s:value())
  end)

  it("OPTS:sem_init/1-1 OPTS:sem_init/5-1 many stand side by side", function()
    local region <close> = assert(mmap.map {size = 4096})
    local list = {}
    for i = 1, 4096 // posix_sem.size do
      list[i] = unnamed(region, i, (i - 1) * posix_sem.size)
    end
    for i, s in ipairs(list) do assert.equal(i, s:value()) end
    assert.is_true(#list >= 100)
  end)

  it("POSIX_IPC:test_semaphores.py of a mapping that is opened by its name",
    function()
      local shm <close> = assert(ipc.posix_shm.open(nil,
        {size = 4096, temporary = true}))
      local s = unnamed(assert(shm:map()), 0)
      local child = assert(process.fork(function()
        local mine <close> = assert(ipc.posix_shm.open(shm:name()))
        assert(posix_sem.unnamed(assert(mine:map()))):post()
      end))
      assert.is_true(s:wait(WAIT))
      ended(child)
    end)
end)
