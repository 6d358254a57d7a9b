-- What other people's suites check of segments, beyond sysv_shm_spec.
local t = require "support"
local nobody = require "support.nobody"
local ipc = require "unixipc"
local sysv, sysv_shm, process = ipc.sysv, ipc.sysv_shm, ipc.process

local WAIT = 20 * t.slow
local PAGE = ipc.mmap.page_size()

local function new(size, options)
  local all = {create = true, temporary = true}
  for name, value in pairs(options or {}) do all[name] = value end
  return assert(sysv_shm.get(nil, size or PAGE, all))
end

local function new_key()
  return assert(sysv.ftok(t.names.file ""))
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(WAIT)})
  child:close()
end

local function as_nobody(name, test)
  it(name, function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    test()
  end)
end

describe("shmget", function()
  it("LTP:shmget02#2 GV:shm.cc:NonExistentSegmentsAreNotFound: ENOENT",
    function()
      local key = new_key()
      t.refused("ENOENT", sysv_shm.get(key, PAGE))
      t.refused("ENOENT", sysv_shm.get(key, PAGE, {exclusive = true}))
    end)

  it("GV:shm.cc:RequestingDuplicateCreationFails: EEXIST", function()
    local key = new_key()
    local m <close> = assert(sysv_shm.get(key, PAGE,
      {create = true, exclusive = true, temporary = true}))
    t.refused("EEXIST", sysv_shm.get(key, PAGE,
      {create = true, exclusive = true}))
    local again <close>, is_new = assert(sysv_shm.get(key, PAGE,
      {create = true}))
    assert.same({m:id(), false}, {again:id(), is_new})
  end)

  it("GV:shm.cc:RequestingSegmentSmallerThanSHMMINFails: EINVAL", function()
    t.refused("EINVAL", sysv_shm.get(new_key(), 0, {create = true}))
    t.raises("negative", sysv_shm.get, new_key(), -1, {create = true})
    local one <close> = new(1)
    local r <close> = assert(one:attach())
    assert.equal(1, #r)
  end)

  it("a private one is another each time", function()
    local one <close> = new()
    local other <close> = new()
    assert.not_equal(one:id(), other:id())
    assert.same({0, 0}, {one:key(), other:key()})
  end)

  it("LTP:shmget06 an id that is taken gives another one", function()
    local m <close> = new()
    local path = "/proc/sys/kernel/shm_next_id"
    local file = io.open(path, "w")
    if not (file and file:write(tostring(m:id()), "\n") and file:close()) then
      return pending("cannot set " .. path)
    end
    local other <close> = new()
    assert.not_equal(m:id(), other:id())
    file = assert(io.open(path, "w"))
    file:write "-1\n"
    file:close()
  end)

  it("GV:shm.cc:DetachedSegmentsPersist keeps what was written", function()
    local key = new_key()
    ended(assert(process.fork(function()
      local m = assert(sysv_shm.get(key, 3333, {create = true}))
      assert(m:attach()):write(3000, "left behind")
    end)))
    local m <close> = assert(sysv_shm.get(key))
    assert.equal(0, m:stat().attached)
    local r <close> = assert(m:attach())
    assert.equal("left behind", r:read(3000, 11))
    assert.is_true(m:remove())
  end)

  it("SYSV_IPC:test_memory.py new memory is all zeros, of any size", function()
    for _, size in ipairs {1, 100, PAGE, PAGE + 1, 10 * PAGE} do
      local m <close> = new(size)
      local r <close> = assert(m:attach())
      assert.equal(("\0"):rep(size), r:read())
      assert.equal(size, m:stat().size)
    end
  end)
end)

describe("shmat", function()
  it("LTP:shmat01 twice is twice the same memory, each with its rights",
    function()
      local m <close> = new()
      local one <close> = assert(m:attach())
      local two <close> = assert(m:attach())
      local three <close> = assert(m:attach {readonly = true})
      assert.not_equal(one:address(), two:address())
      one:write(10, "seen")
      assert.equal("seen", two:read(10, 4))
      assert.equal("seen", three:read(10, 4))
      assert.is_true(three:is_readonly())
      assert.equal(3, m:stat().attached)
    end)

  it("LTP:shmat02#2 an address that is none: EINVAL", function()
    local m <close> = new()
    t.refused("EINVAL", m:attach {address = PAGE + 1})
    local free = assert(m:attach())
    local address = free:address()
    free:close()
    t.refused("EINVAL", m:attach {address = address + 1})
    local r <close> = assert(m:attach {address = address})
    assert.equal(address, r:address())
  end)

  as_nobody("LTP:shmat02#3 without the right to: EACCES", function()
    local m <close> = new(PAGE, {mode = "0600"})
    assert.equal("EACCES EACCES", nobody.run([[
      local m = assert(ipc.sysv_shm.from_id(tonumber(arg[1])))
      print(code(m:attach()), code(m:attach {readonly = true}))
    ]], tostring(m:id())))
  end)

  it("GV:shm.cc:AllowsAttachToRemovedSegmentWithRefs by its id it can be "
    .. "attached as long as somebody has it", function()
      local m = assert(sysv_shm.get(nil, PAGE, {create = true}))
      local r = assert(m:attach())
      r:write(0, "still here")
      assert.is_true(m:remove())
      local again <close> = assert(m:attach())
      assert.equal("still here", again:read(0, 10))
      assert.equal(2, m:stat().attached)
      assert.is_true(m:stat().is_removed)
      local by_id = assert(sysv_shm.from_id(m:id()))
      local third <close> = assert(by_id:attach {readonly = true})
      assert.equal("still here", third:read(0, 10))
      r:close()
      m:close()
    end)

  it("GV:shm.cc:RemovedSegmentsAreNotDiscoverable by their key", function()
    local key = new_key()
    local m = assert(sysv_shm.get(key, PAGE, {create = true}))
    local r <close> = assert(m:attach())
    assert.is_true(m:remove())
    t.refused("ENOENT", sysv_shm.get(key))
    local new_one <close>, is_new = assert(sysv_shm.get(key, 2 * PAGE,
      {create = true, temporary = true}))
    assert.is_true(is_new)
    assert.not_equal(m:id(), new_one:id())
    assert.equal(PAGE, #r)
  end)

  it("GV:shm.cc:RemovedSegmentsAreDestroyed with the last that has them: "
    .. "EINVAL", function()
      local m = new()
      local r = assert(m:attach())
      m:remove()
      assert.is_true(m:stat().is_removed)
      r:close()
      t.refused("EINVAL", m:stat())
      t.refused("EINVAL", m:attach())
      t.refused("EINVAL", sysv_shm.from_id(m:id()))
    end)

  it("GV:shm.cc:NoDestructionOfAttachedSegmentWithMultipleRmid", function()
    local m = new()
    local r <close> = assert(m:attach())
    r:write(0, "alive")
    for _ = 1, 3 do assert.is_true(m:remove()) end
    assert.equal("alive", r:read(0, 5))
    assert.equal(1, m:stat().attached)
  end)

  it("GV:shm.cc:MprotectWriteOnReadonlySegmentFails: EACCES", function()
    local m <close> = new()
    local r <close> = assert(m:attach {readonly = true})
    t.refused("EACCES", r:protect "rw")
    assert.is_true(r:protect "r")
  end)

  it("GV:shm.cc:MprotectWriteOnWritableSegmentSucceeds", function()
    local m <close> = new()
    local r <close> = assert(m:attach())
    assert.is_true(r:protect "r")
    t.raises("read-only", r.write, r, 0, "x")
    assert.is_true(r:protect "rw")
    r:write(0, "x")
    assert.equal("x", r:read(0, 1))
  end)
end)

describe("shmdt", function()
  it("LTP:shmdt02 GV:shm.cc:MultipleDetachFails a second time does nothing",
    function()
      local m <close> = new()
      local r = assert(m:attach())
      local other <close> = assert(m:attach())
      assert.is_true(r:close())
      assert.is_true(r:close())
      assert.equal(1, m:stat().attached)
      other:write(0, "x")
    end)

  it("LTP:shmdt01 GV:shm.cc:SegmentNotAccessibleAfterDetach raises, and "
    .. "the process lives", function()
      local m <close> = new()
      local r = assert(m:attach())
      local part = r:view(8, 8)
      r:close()
      t.raises("closed", r.read, r, 0, 1)
      t.raises("closed", r.write, r, 0, "x")
      t.raises("closed", part.read, part, 0, 1)
    end)

  it("the end of a process detaches, also by SIGKILL", function()
    local m <close> = new()
    local ready_r, ready_w = assert(ipc.pipe.open())
    local child = assert(process.fork(function()
      local r <close> = assert(m:attach())
      ready_w:write "."
      process.sleep(WAIT)
      return #r
    end))
    ready_r:read(1, WAIT)
    assert.equal(1, m:stat().attached)
    child:kill "SIGKILL"
    child:wait(WAIT)
    assert.equal(0, m:stat().attached)
    assert.equal(child.pid, m:stat().last_user)
    ready_r:close()
    ready_w:close()
  end)

  it("a program that is started has nothing attached", function()
    local m <close> = new()
    local r <close> = assert(m:attach())
    local child <close> = assert(process.spawn({"cat"}, {stdin = "pipe"}))
    assert.equal(1, m:stat().attached)
    child.stdin:close()
    child:wait(WAIT)
    assert.equal(PAGE, #r)
  end)
end)

describe("shmctl", function()
  as_nobody("LTP:shmctl02 a stranger may not look, set, lock or remove",
    function()
      local m <close> = new(PAGE, {mode = "0600"})
      assert.equal("EACCES EPERM EPERM EPERM EPERM", nobody.run([[
        local m = assert(ipc.sysv_shm.from_id(tonumber(arg[1])))
        print(code(m:stat()), code(m:set {mode = 0}), code(m:lock()),
          code(m:unlock()), code(m:remove()))
      ]], tostring(m:id())))
      assert.equal("rw-------", m:stat().mode)
    end)

  it("LTP:shmctl02#EINVAL there is no segment -1", function()
    t.refused("EINVAL", sysv_shm.from_id(-1))
    t.refused("EINVAL", sysv.remove("shm", -1))
  end)

  it("LTP:shmctl01#2 GV:shm.cc:IpcStat tells all of a new one", function()
    local m <close> = new(3333, {mode = "0640"})
    local s, ids = m:stat(), process.ids()
    assert.same({3333, 0, process.pid(), 0, 0, 0, "rw-r-----", ids.euid,
      ids.egid, false, false}, {s.size, s.attached, s.creator, s.last_user,
      s.attached_at, s.detached_at, s.mode, s.uid, s.creator_gid,
      s.is_removed, s.is_locked})
    assert.is_true(math.abs(os.time() - s.changed_at) <= 5 * t.slow)
  end)

  as_nobody("LTP:shmctl04 GV:shm.cc:ShmStat all see all segments in the list",
    function()
      local m <close> = new(12345, {mode = 0})
      assert.equal("12345 0", nobody.run([[
        for _, entry in ipairs(assert(ipc.sysv.list "shm")) do
          if entry.id == tonumber(arg[1]) then
            print(entry.size, entry.attached)
          end
        end]], tostring(m:id())))
    end)

  it("GV:shm.cc:ShmInfo GV:shm.cc:IpcInfo counts segments and pages",
    function()
      local before = sysv.usage().shm
      local m <close> = new(3 * PAGE)
      local r <close> = assert(m:attach())
      r:write(0, "x")
      r:write(2 * PAGE, "x")
      local now = sysv.usage().shm
      assert.same({1, 3}, {now.segments - before.segments,
        now.pages - before.pages})
      assert.is_true(now.resident_pages - before.resident_pages >= 2)
      assert.equal(1, sysv.limits().shm.least_bytes)
    end)

  it("the owner may be another one, who then may remove it", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local m = new(PAGE, {mode = "0600"})
    assert.is_true(m:set {uid = 65534})
    local s = m:stat()
    assert.same({65534, process.ids().euid}, {s.uid, s.creator_uid})
    assert.equal("true", nobody.run([[
      print(assert(ipc.sysv_shm.from_id(tonumber(arg[1]))):remove())
    ]], tostring(m:id())))
    t.refused("EINVAL", m:stat())
  end)
end)
