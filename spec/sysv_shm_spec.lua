local t = require "support"
local ipc = require "unixipc"
local nobody = require "support.nobody"
local sysv, sysv_shm, process = ipc.sysv, ipc.sysv_shm, ipc.process

local NEW = {create = true, temporary = true}
local PAGE = 4096

local function new_segment(size, options, key)
  return assert(sysv_shm.get(key, size or 100, options or NEW))
end

local function new_key()
  return assert(sysv.ftok(t.names.file ""))
end

local function peer(...)
  local command = table.concat({t.program "sysv_peer", ...}, " ")
  local pipe <close> = assert(io.popen(command .. " 2>&1"))
  return (pipe:read "a":gsub("\n$", ""))
end

describe("sysv_shm.get", function()
  it("GV:shm.cc:LookupByKey opens with a smaller size, or none", function()
    local key = new_key()
    local m <close>, is_new = new_segment(100, NEW, key)
    for _, size in ipairs {0, 1, 100} do
      local same <close>, again = assert(sysv_shm.get(key, size))
      assert.equal(m:id(), same:id())
      assert.is_false(again)
    end
    local same <close> = assert(sysv_shm.get(key))
    assert.equal(m:id(), same:id())
    assert.is_true(is_new)
  end)

  it("GV:shm.cc:SegmentsSizeFixedOnCreation not with a larger one: EINVAL",
    function()
      local key = new_key()
      local m <close> = new_segment(100, NEW, key)
      assert(sysv_shm.get(key, 50)):close()
      local message = t.refused("EINVAL", sysv_shm.get(key, 200))
      assert.truthy(message:find "more than the segment has")
      t.refused("EINVAL", sysv_shm.get(key, 200, {create = true}))
      assert.equal(100, m:stat().size)
    end)

  it("GV:shm.cc:GracefullyFailOnZeroLenSegmentCreation: EINVAL", function()
    t.refused("EINVAL", sysv_shm.get(new_key(), 0, {create = true}))
    t.refused("EINVAL", sysv_shm.get(nil, nil, {create = true}))
    t.raises("must not be negative", sysv_shm.get, 1, -1)
  end)

  it("GV:shm.cc:RequestingUnalignedSizeSucceeds keeps the size", function()
    local m <close> = new_segment(3333)
    assert.equal(3333, m:stat().size)
    local r <close> = assert(m:attach())
    assert.equal(3333, #r)
  end)

  it("LTP:shmget02#1 exclusive: EEXIST", function()
    local key = new_key()
    local m <close> = new_segment(100, NEW, key)
    t.refused("EEXIST", sysv_shm.get(key, 100,
      {create = true, exclusive = true}))
    assert.equal(0, m:stat().attached)
  end)

  it("without create: ENOENT", function()
    t.refused("ENOENT", sysv_shm.get(new_key(), 100))
  end)

  it("LTP:shmget02#3 asks for rights: EACCES", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local m <close> = new_segment(100, NEW, new_key())
    assert.equal("EACCES true EACCES", nobody.run([[
      local key = tonumber(arg[1])
      print(code(ipc.sysv_shm.get(key, 100, {mode = "rw-------"})),
        ipc.sysv_shm.get(key) ~= nil, code(ipc.sysv_shm.get(key):attach()))
    ]], tostring(m:key())))
  end)

  it("LTP:shmget04 asks for rights of the owner too: EACCES", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    assert.equal("EACCES", nobody.run([[
      local key = ipc.sysv.ftok(arg[1])
      local m <close> = assert(ipc.sysv_shm.get(key, 100,
        {create = true, temporary = true, mode = 0}))
      print(code(ipc.sysv_shm.get(key, 100, {mode = "rw-------"})))
    ]], t.names.file ""))
  end)

  t.natively("LTP:shmget02#4 huge pages are there or not", function()
    local m, message, code = sysv_shm.get(nil, 1 << 21,
      {create = true, temporary = true, huge = "2M"})
    if m then
      m:close()
    else
      local limit = code == ipc.errno.EPERM and "hugetlb_shm_group"
        or "nr_hugepages"
      assert.truthy(message:find("/proc/sys/vm/" .. limit .. ": %d+"), message)
    end
    if not nobody.is_there() then return end
    local out = nobody.run([[
      print(code(ipc.sysv_shm.get(nil, 1 << 21,
        {create = true, temporary = true, huge = "default"})))
      print((select(2, ipc.sysv_shm.get(nil, 1 << 21,
        {create = true, temporary = true, huge = "default"}))))
    ]])
    assert.truthy(out:find "^EPERM\n.*hugetlb_shm_group", out)
  end)

  it("raises for options that there are not", function()
    t.raises("unknown word '4K'", sysv_shm.get, 1, 1, {huge = "4K"})
    t.raises("unknown option 'size'", sysv_shm.get, 1, 1, {size = 1})
    assert(sysv_shm.get(nil, 1, {create = true, temporary = true,
      noreserve = true})):close()
  end)
end)

describe("Segment:attach", function()
  it("GV:shm.cc:AttachDetach counts", function()
    local m <close> = new_segment()
    assert.equal(0, m:stat().attached)
    local a = assert(m:attach())
    assert.equal(1, m:stat().attached)
    local b = assert(m:attach())
    assert.equal(2, m:stat().attached)
    a:write(5, "seen")
    assert.equal("seen", b:read(5, 4))
    a:close()
    assert.equal(1, m:stat().attached)
    b:close()
    b:close()
    assert.equal(0, m:stat().attached)
    assert.equal(("sysv_shm region (closed)"), tostring(b))
  end)

  it("GV:shm.cc:IpcStat#2 tells who, and when", function()
    local m <close> = new_segment()
    assert.same({0, 0, 0}, {m:stat().attached_at, m:stat().detached_at,
      m:stat().last_user})
    local r = assert(m:attach())
    r:close()
    local s = m:stat()
    assert.equal(process.pid(), s.last_user)
    assert.equal(process.pid(), s.creator)
    assert.is_true(math.abs(os.time() - s.attached_at) <= 2)
    assert.is_true(math.abs(os.time() - s.detached_at) <= 2)
  end)

  it("shares memory between processes", function()
    local m <close> = new_segment(PAGE)
    local r <close> = assert(m:attach())
    r:write(0, "hello")
    local child = assert(process.fork(function()
      local mine <close> = assert(m:attach())
      mine:write(100, mine:read(0, 5):upper())
    end))
    assert.same({"exit", 0}, {child:wait(10 * t.slow)})
    child:close()
    assert.equal("HELLO", r:read(100, 5))
  end)

  it("keeps the memory after the segment's removal: "
    .. "GV:shm.cc:RemovedSegmentsAreMarkedDeleted PERL:cpan/IPC-SysV/t/shm.t",
    function()
      local m <close> = new_segment(100, NEW, new_key())
      local r = assert(m:attach())
      r:write(10, "data")
      assert.is_false(m:stat().is_removed)
      assert.is_true(m:remove())
      local s = m:stat()
      assert.is_true(s.is_removed)
      assert.equal("rw-------", s.mode)
      assert.equal("data", r:read(10, 4))
      r:write(20, "more")
      assert.equal("more", r:read(20, 4))
      t.refused("ENOENT", sysv_shm.get(m:key() == 0 and 1 or m:key()))
      r:close()
      t.refused("EINVAL", m:stat())
    end)

  it("WSL:shm.c#1 PERL:t/io/shm.t#2 needs a segment: EINVAL", function()
    local m = new_segment()
    m:remove()
    t.refused("EINVAL", m:attach())
    t.refused("EINVAL", m:stat())
    t.refused("EINVAL", m:lock())
    t.refused("EINVAL", m:remove())
    t.refused("EINVAL", m:set {mode = 0})
    m:close()
    t.refused("EINVAL", sysv_shm.from_id(-1))
  end)

  it("LTP:shmat03 WSL:shm.c#2 takes an address that is free: EINVAL",
    function()
      local m <close> = new_segment(PAGE)
      local r = assert(m:attach())
      local address = r:address()
      t.refused("EINVAL", m:attach {address = 1})
      t.refused("EINVAL", m:attach {address = address})
      t.refused("EINVAL", m:attach {address = address + 1})
      r:close()
      local there <close> = assert(m:attach {address = address})
      assert.equal(address, there:address())
    end)

  it("WSL:shm.c#2 replaces another region", function()
    local m <close>, n = new_segment(PAGE), new_segment(PAGE - 10)
    local old = assert(m:attach())
    local part = old:view(1, 2)
    old:write(0, "old")
    local new <close> = assert(n:attach {replace = old})
    assert.is_false(old:is_open())
    t.raises("closed region", part.read, part)
    assert.equal("\0\0\0", new:read(0, 3))
    assert.same({0, 1}, {m:stat().attached, n:stat().attached})
    n:close()
    local large <close> = new_segment(2 * PAGE)
    t.raises("its size differs", large.attach, large, {replace = new})
    t.raises("attached region expected", m.attach, m, {replace = old})
    t.raises("attached region expected", m.attach, m, {replace = 5})
    t.raises("attached region expected", m.attach, m,
      {replace = ipc.region.new(PAGE)})
  end)

  it("replaces no region in which a lock is held: EBUSY", function()
    local m <close> = new_segment(PAGE)
    local n <close> = new_segment(PAGE)
    local r <close> = assert(m:attach())
    local mutex <close> = assert(ipc.sync.mutex(r, 0, {create = true}))
    assert(mutex:lock())
    t.refused("EBUSY", n:attach {replace = r})
    assert.is_true(r:is_open())
    assert(mutex:unlock())
    assert(n:attach {replace = r}):close()
  end)

  it("LTP:shmat04 counts when a mapping was split", function()
    local m <close> = new_segment(3 * PAGE, NEW, new_key())
    assert.equal("0", peer("split", m:key()))
    assert.equal(0, m:stat().attached)
    local r <close> = assert(m:attach())
    assert.equal(3 * PAGE, #r)
  end)

  it("GV:shm.cc:PartialUnmap survives what a peer unmaps", function()
    local m <close> = new_segment(2 * PAGE, NEW, new_key())
    local r <close> = assert(m:attach())
    assert.equal("-1 1", peer("partial", m:key()))
    assert.equal(1, m:stat().attached)
    r:write(0, "still here")
  end)

  it("LTP:shmctl01#1 WSL:shm.c#4 is inherited by fork", function()
    local m <close> = new_segment()
    local r <close> = assert(m:attach())
    local ready_r, ready_w = assert(ipc.pipe.open())
    local stop_r, stop_w = assert(ipc.pipe.open())
    local children = {}
    for i = 1, 20 do
      children[i] = assert(process.fork(function()
        stop_w:close()
        ready_w:write "x"
        stop_r:read "a"
        r:write(i, "c")
      end))
    end
    assert.equal(20, #ready_r:read(20, 10 * t.slow))
    assert.equal(21, m:stat().attached)
    stop_w:close()
    for _, child in ipairs(children) do
      assert.same({"exit", 0}, {child:wait(10 * t.slow)})
      child:close()
    end
    for _, s in ipairs {ready_r, ready_w, stop_r} do s:close() end
    assert.equal(1, m:stat().attached)
    assert.is_true(m:stat().detached_at > 0)
    assert.equal(("c"):rep(20), r:read(1, 20))
    r:close()
    assert.equal(0, m:stat().attached)
  end)

  it("is detached when it is collected", function()
    local m <close> = new_segment()
    do
      local r = assert(m:attach())
      assert.equal(100, #r:view(0))
    end
    collectgarbage()
    collectgarbage()
    assert.equal(0, m:stat().attached)
  end)

  it("WSL:shm.c#5 needs rights: EACCES", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    assert.equal("true EACCES", nobody.run([[
      local m <close> = assert(ipc.sysv_shm.get(nil, 100,
        {create = true, temporary = true, mode = "r--------"}))
      local r <close> = assert(m:attach {readonly = true})
      print(r:is_readonly(), code(m:attach()))
    ]]))
  end)
end)

describe("Segment:set", function()
  it("GV:shm.cc:ShmCtlSet changes the mode", function()
    local m <close> = new_segment()
    local old = m:stat()
    assert.is_true(m:set {mode = "0766"})
    assert.equal("rwxrw-rw-", m:stat().mode)
    assert.is_true(m:stat().changed_at >= old.changed_at)
  end)

  it("LTP:shmctl08 changes nothing else", function()
    local m <close> = new_segment()
    local old = m:stat()
    assert.is_true(m:set {mode = "rw-rw-rw-"})
    local new = m:stat()
    for name, value in pairs(old) do
      if name ~= "mode" and name ~= "changed_at" then
        assert.equal(value, new[name], name)
      end
    end
  end)

  it("is for the owner, who need not have rights", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local other <close> = new_segment()
    assert.equal("EACCES true rw------- EPERM", nobody.run([[
      local m <close> = assert(ipc.sysv_shm.get(nil, 1,
        {create = true, temporary = true, mode = 0}))
      io.write(code(m:attach()), " ", tostring(m:set {mode = 384}), " ")
      local other = assert(ipc.sysv_shm.from_id(tonumber(arg[1])))
      print(m:stat().mode, code(other:set {mode = 511}))
    ]], tostring(other:id())))
  end)

  it("raises for what cannot be set", function()
    local m <close> = new_segment()
    t.raises("unknown option 'size'", m.set, m, {size = 1})
    t.raises("table expected", m.set, m)
  end)
end)

describe("Segment:lock", function()
  it("LTP:shmctl07 keeps it in memory", function()
    local m <close> = new_segment()
    local ok, message, code = m:lock()
    if not ok then
      assert.truthy(code == ipc.errno.EPERM or code == ipc.errno.ENOMEM)
      return pending(message)
    end
    assert.is_true(m:stat().is_locked)
    assert.equal("rw-------", m:stat().mode)
    assert.is_true(m:unlock())
    assert.is_false(m:stat().is_locked)
  end)
end)
