-- What other people's suites check of shared memory objects and memfds, beyond
-- posix_shm_spec.
local t = require "support"
local nobody = require "support.nobody"
local ipc = require "unixipc"

local errno, posix_shm, process = ipc.errno, ipc.posix_shm, ipc.process
local mmap = ipc.mmap

local WAIT = 20 * t.slow
local PAGE = mmap.page_size()

local function new(size, options, name)
  local all = {create = true, exclusive = true, temporary = true, size = size}
  for key, value in pairs(options or {}) do all[key] = value end
  return assert(posix_shm.open(name or t.names.posix(), all))
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(WAIT)})
  child:close()
end

describe("shm_open", function()
  it("OPTS:shm_open/1-1 OPTS:shm_open/5-1 the same name is the same memory, in "
    .. "every process", function()
      local s <close> = new(PAGE)
      local r <close> = assert(s:map())
      ended(assert(process.fork(function()
        local other <close> = assert(posix_shm.open(s:name()))
        assert(other:map()):write(10, "from the child")
      end)))
      assert.equal("from the child", r:read(10, 14))
    end)

  it("OPTS:shm_open/13-1 OPTS:shm_open/39-2 to read only: neither the size "
    .. "nor a byte can be changed", function()
      local s <close> = new(PAGE)
      local reader <close> = assert(posix_shm.open(s:name(),
        {readonly = true}))
      t.refused("EACCES", reader:map())
      for _, size in ipairs {0, PAGE - 1, 2 * PAGE} do
        t.refused("EINVAL", reader:truncate(size))
      end
      local r <close> = assert(reader:map {readonly = true})
      t.raises("read-only", r.write, r, 0, "x")
      local private <close> = assert(reader:map {private = true})
      private:write(0, "mine")
      assert.equal("\0\0\0\0", r:read(0, 4))
    end)

  it("OPTS:shm_open/15-1 OPTS:shm_open/16-1 OPTS:shm_open/17-1 OPTS:shm_open/"
    .. "18-1 a new one is its maker's, with the mode", function()
      for _, mode in ipairs {"600", "640", "666"} do
        local s <close> = new(1, {mode = "0" .. mode})
        local pipe <close> = assert(io.popen(
          "stat -c '%a %u %g' /dev/shm" .. s:name()))
        local ids = process.ids()
        assert.equal(("%s %d %d"):format(mode, ids.euid, ids.egid),
          pipe:read())
      end
    end)

  it("OPTS:shm_open/20-2 OPTS:shm_open/20-3 its maker may write whatever the "
    .. "mode says", function()
      local s <close> = new(PAGE, {mode = 0})
      local r <close> = assert(s:map())
      r:write(0, "x")
      assert.is_true(s:truncate(2 * PAGE))
    end)

  it("OPTS:shm_open/23-1 of many that make it exclusively one does", function()
    local name = t.names.posix()
    local count = t.race(function()
      local s, _, code = posix_shm.open(name,
        {create = true, exclusive = true, size = 1})
      return s and 7 or code
    end)
    assert.is_true(posix_shm.unlink(name))
    assert.same({[7] = 1, [errno.EEXIST] = 7}, count)
  end)

  it("OPTS:shm_open/28-1 OPTS:shm_open/28-2 it stays, with its bytes, when all "
    .. "have closed it", function()
      local name = t.names.posix()
      local s = new(100, {temporary = false}, name)
      local r = assert(s:map())
      r:write(0, "stays")
      r:close()
      s:close()
      local again <close> = assert(posix_shm.open(name))
      assert.same({100, "stays"}, {again:size(),
        assert(again:map()):read(0, 5)})
      assert.is_true(posix_shm.unlink(name))
    end)

  it("OPTS:shm_open/32-1 OPTS:shm_open/37-1 OPTS:shm_open/38-1 without the "
    .. "right to: EACCES", function()
      if not nobody.is_there() then return pending "needs root and setpriv" end
      local s <close> = new(1, {mode = "0644"})
      assert.equal("EACCES EACCES 1", nobody.run([[
        local shm = ipc.posix_shm
        print(code(shm.open(arg[1])),
          code(shm.open(arg[1], {truncate = true, size = 1})),
          shm.open(arg[1], {readonly = true}):size())
      ]], s:name()))
    end)

  it("OPTS:shm_open/34-1 no descriptor left: EMFILE, and no name", function()
    local name = t.names.posix()
    local result = t.children.run(nil, {command = {"sh", "-c",
      [[ulimit -n 16; exec "$0" -e '
        local ipc = require "unixipc"
        local list = {ipc.posix_shm, ipc.errno}
        repeat
          local file = io.open "/dev/null"
          list[#list + 1] = file
        until not file
        for _, fn in ipairs {ipc.posix_shm.open, ipc.posix_shm.memfd} do
          print(ipc.errno.name((select(3,
            fn(arg[1], {create = fn == ipc.posix_shm.open or nil,
            size = 1})))))
        end' /dev/null "$1"]], os.getenv "LUA" or "lua5.4", name}})
    assert.truthy(result.out:find "^EMFILE\nEMFILE\n", result.out
      .. result.err)
    t.refused("ENOENT", posix_shm.open(name))
  end)

  it("OPTS:shm_open/39-1 OPTS:shm_open/41-1 names that are none", function()
    t.refused("ENAMETOOLONG", posix_shm.open("/" .. ("n"):rep(256)))
    t.refused("ENAMETOOLONG", posix_shm.open("/" .. ("n"):rep(5000)))
    t.refused("ENOENT", posix_shm.open("/" .. ("n"):rep(255)))
    for _, name in ipairs {"/.", "/..", "", "/", "name"} do
      t.refused("EINVAL", posix_shm.open(name, {create = true, size = 1}))
      t.refused("EINVAL", posix_shm.unlink(name))
    end
  end)

  it("OPTS:shm_unlink/6-1 OPTS:shm_unlink/8-1 a name that is unlinked is free "
    .. "at once, for one of another size", function()
      local s <close> = new(100, {temporary = false})
      local r <close> = assert(s:map())
      r:write(0, "old")
      assert.is_true(posix_shm.unlink(s:name()))
      t.refused("ENOENT", posix_shm.unlink(s:name()))
      local other <close> = new(5000, nil, s:name())
      assert.equal(5000, other:size())
      assert.same({"old", "\0\0\0"},
        {r:read(0, 3), assert(other:map()):read(0, 3)})
    end)

  it("FBSD:posixshm_test.c:unlink_after_map what is mapped outlives name and "
    .. "descriptor", function()
      local s = new(PAGE)
      local r <close> = assert(s:map())
      r:write(0, "here")
      s:close() -- temporary: the name goes
      t.refused("ENOENT", posix_shm.open(s:name()))
      assert.equal("here", r:read(0, 4))
      ended(assert(process.fork(function() r:write(0, "also") end)))
      assert.equal("also", r:read(0, 4))
    end)

  it("PY:_test_multiprocessing.py:SharedMemory#1 each has a map of its own",
    function()
      local s <close> = new(512)
      local one <close> = assert(s:map())
      local other <close> = assert(assert(posix_shm.open(s:name())):map())
      one:write(0, "\42")
      assert.equal("\42", other:read(0, 1))
      other:write(511, "\1")
      assert.equal("\1", one:read(511, 1))
      assert.not_equal(one:address(), other:address())
    end)

  it("POSIX_IPC:test_memory.py the descriptor maps as a file", function()
    local s <close> = new(3333)
    local r <close> = assert(mmap.map {file = s})
    r:write(3332, "x")
    assert.equal("x", assert(s:map()):read(3332, 1))
    assert.equal(3333, #r)
  end)
end)

describe("Shm:truncate and map", function()
  it("FBSD:posixshm_test.c:trunc_resize what is beyond the end goes, and comes "
    .. "back as zeros", function()
      local s <close> = new(3 * PAGE)
      assert(s:map()):fill(0, 3 * PAGE, "x")
      for _, size in ipairs {2 * PAGE, PAGE + 100, 0} do
        assert.is_true(s:truncate(size))
        assert.equal(size, s:size())
      end
      assert.is_true(s:truncate(3 * PAGE))
      assert.equal(("\0"):rep(3 * PAGE), assert(s:map()):read())
    end)

  it("an empty one cannot be mapped: EINVAL; nor beyond its end", function()
    local s <close> = assert(posix_shm.memfd())
    t.refused("EINVAL", s:map())
    s:truncate(PAGE)
    t.refused("EINVAL", s:map {size = PAGE + 1})
    t.refused("EINVAL", s:map {offset = PAGE})
    t.refused("EINVAL", s:map {offset = 1})
    t.raises("option 'size'", s.map, s, {size = 0})
    assert(s:map {size = 1}):close()
  end)

  it("a part is the part", function()
    local s <close> = new(3 * PAGE)
    local all <close> = assert(s:map())
    local part <close> = assert(s:map {offset = PAGE, size = 10})
    part:write(0, "0123456789")
    assert.equal("0123456789", all:read(PAGE, 10))
    assert.equal(10, #part)
  end)
end)

describe("memfd_create", function()
  local function memfd(size)
    return assert(posix_shm.memfd("conformance", {size = size or PAGE}))
  end

  it("GV:memfd.cc:Name /proc shows the label", function()
    local s <close> = memfd()
    local pipe <close> = assert(io.popen(("readlink /proc/%d/fd/%d"):format(
      process.pid(), s:fileno())))
    assert.equal("/memfd:conformance (deleted)", pipe:read())
  end)

  it("LTP:memfd_create02 labels of up to 249 bytes, none too", function()
    assert(posix_shm.memfd(("l"):rep(249))):close()
    assert(posix_shm.memfd("")):close()
    t.refused("EINVAL", posix_shm.memfd(("l"):rep(250)))
    t.raises("zero", posix_shm.memfd, "a\0b")
  end)

  it("GV:memfd.cc:WriteRead GV:memfd.cc:Mmap a file as any other", function()
    local s <close> = memfd()
    local file <close> = assert(assert(ipc.stream.from(s)):to_file "r+")
    file:write "by write"
    file:flush()
    local r <close> = assert(s:map())
    assert.equal("by write", r:read(0, 8))
    r:write(0, "by map, ")
    file:seek "set"
    assert.equal("by map, ", file:read(8))
  end)

  it("GV:memfd.cc:DuplicateFDsShareContent each new one is another", function()
    local one <close> = memfd()
    local other <close> = memfd()
    local again <close> = assert(posix_shm.from(one))
    assert(one:map()):write(0, "one")
    assert.equal("\0\0\0", assert(other:map()):read(0, 3))
    assert.equal("one", assert(again:map()):read(0, 3))
    again:truncate(10)
    assert.equal(10, one:size())
  end)

  it("GV:memfd.cc:SealsGetSet seals add up", function()
    local s <close> = memfd()
    assert.same({}, s:seals())
    for i, word in ipairs {"shrink", "grow", "write", "seal"} do
      assert.is_true(s:seal(word))
      assert.equal(i, #s:seals())
    end
    t.refused("EPERM", s:seal "future_write")
    assert.is_nil((s:seal "write"))
    assert.equal(4, #s:seals())
  end)

  it("GV:memfd.cc:SealGrowWithTruncate GV:memfd.cc:SealShrink "
    .. "LTP:memfd_create01 sizes stay", function()
      local grow <close> = memfd(2 * PAGE)
      grow:seal "grow"
      t.refused("EPERM", grow:truncate(2 * PAGE + 1))
      assert.is_true(grow:truncate(PAGE))
      t.refused("EPERM", grow:truncate(2 * PAGE))
      local shrink <close> = memfd(2 * PAGE)
      shrink:seal "shrink"
      t.refused("EPERM", shrink:truncate(2 * PAGE - 1))
      assert.is_true(shrink:truncate(3 * PAGE))
      t.refused("EPERM", shrink:truncate(2 * PAGE))
    end)

  it("GV:memfd.cc:SealWriteWithMmap GV:memfd.cc:SealWriteWithWrite nothing "
    .. "is written any more", function()
      local s <close> = memfd()
      local r = assert(s:map())
      r:write(0, "last")
      r:close()
      assert.is_true(s:seal "write")
      t.refused("EPERM", s:map())
      local seen <close> = assert(s:map {readonly = true})
      assert.equal("last", seen:read(0, 4))
      local mine <close> = assert(s:map {private = true})
      mine:write(0, "mine")
      assert.equal("last", seen:read(0, 4))
      local stream <close> = assert(ipc.stream.from(s))
      t.refused("EPERM", stream:write "x")
    end)

  it("GV:memfd.cc:SealWriteWithOutstandingWritbleMapping "
    .. "GV:memfd.cc:NoPartialSealApplicationWhenWriteSealRejected EBUSY, and "
    .. "no seal of several is set", function()
      local s <close> = memfd()
      local r = assert(s:map())
      t.refused("EBUSY", s:seal("write", "shrink"))
      assert.same({}, s:seals())
      r:close()
      assert.is_true(s:seal("write", "shrink"))
      assert.equal(2, #s:seals())
    end)

  it("future_write lets those that have it mapped go on", function()
    local s <close> = memfd()
    local r <close> = assert(s:map())
    if not s:seal "future_write" then return pending "not in this kernel" end
    r:write(0, "goes on")
    t.refused("EPERM", s:map())
    assert.equal("goes on", assert(s:map {readonly = true}):read(0, 7))
  end)

  it("GV:memfd.cc:SealsAreInodeLevelProperties they bind whoever has it",
    function()
      local s <close> = memfd()
      local other <close> = assert(posix_shm.from(s))
      other:seal "shrink"
      assert.same({"shrink"}, s:seals())
      t.refused("EPERM", s:truncate(0))
      ended(assert(process.fork(function()
        return select(3, s:truncate(0)) == errno.EPERM
      end)))
    end)

  it("GV:memfd.cc:TmpfsFilesHaveSealSeal a named segment cannot be sealed",
    function()
      local s <close> = new(PAGE)
      t.refused("EPERM", s:seal "shrink")
      assert.is_true(s:truncate(0))
    end)

  it("GV:memfd.cc:CanOpenFromProcfs GV:memfd.cc:MemfdMustBeWritableToModify"
    .. "Seals one that is opened to read cannot seal", function()
      local s <close> = memfd()
      assert(s:map()):write(0, "shown")
      local path = ("/proc/%d/fd/%d"):format(process.pid(), s:fileno())
      local file <close> = assert(io.open(path))
      local reader <close> = assert(posix_shm.from(file))
      assert.equal("shown", assert(reader:map {readonly = true}):read(0, 5))
      t.refused("EPERM", reader:seal "grow")
      t.refused("EACCES", reader:map())
      assert.is_true(s:seal "grow")
      assert.same({"grow"}, reader:seals())
    end)

  it("GV:memfd.cc:OtherProcessCanOpenFromProcfs passed by descriptor to a "
    .. "program", function()
      local s <close> = memfd()
      assert(s:map()):write(0, "for the program")
      local child <close> = assert(process.spawn(
        {"head", "-c", "15", "/dev/fd/3"}, {stdout = "pipe", fds = {[3] = s}}))
      assert.equal("for the program", child.stdout:read("a", WAIT))
      child:wait(WAIT)
    end)

  it("is no program's that is not given it", function()
    local s <close> = memfd()
    local child <close> = assert(process.spawn({"sh", "-c",
      "test -e /proc/self/fd/" .. s:fileno()}))
    assert.same({"exit", 1}, {child:wait(WAIT)})
  end)
end)
