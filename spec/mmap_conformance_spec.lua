-- What other people's suites check of mapped memory, beyond mmap_spec.
local t = require "support"
local ipc = require "unixipc"

local mmap, process, errno = ipc.mmap, ipc.process, ipc.errno

local WAIT = 20 * t.slow
local PAGE = mmap.page_size()

-- Sanitizers make nothing of mlock(2), and need more addresses than a limit
-- leaves them.
local it_real = (os.getenv "BUILD" or ""):find "asan" and pending
  or t.natively

local function read_all(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(WAIT)})
  child:close()
end

-- How a script in a process of its own ends: the signal that killed it.
local function killer(script)
  return t.children.run([[
    local ipc = require "unixipc"
    local mmap, PAGE = ipc.mmap, ipc.mmap.page_size()
  ]] .. script, t.dying).signal
end

describe("mmap", function()
  it("LTP:mmap01 what is written beyond the end of the file is not in it, "
    .. "and is zero at first", function()
      local path = t.names.file "end"
      local r <close> = assert(mmap.map {file = path, size = PAGE})
      assert.equal("end" .. ("\0"):rep(PAGE - 3), r:read())
      r:write(3, "beyond")
      r:sync()
      assert.equal("end", read_all(path))
    end)

  it("LTP:mmap02 OPTS:mmap/6-1 PY:test_mmap.py:test_access_parameter#1 to "
    .. "read only refuses every write", function()
      local path = t.names.file "read me"
      local file <close> = assert(io.open(path))
      local r <close> = assert(mmap.map {file = file, readonly = true})
      assert.equal("read me", r:read())
      t.raises("read-only", r.write, r, 0, "x")
      t.raises("read-only", r.fill, r)
      t.refused("EACCES", r:protect "rw")
      assert.equal("read me", read_all(path))
    end)

  it("LTP:mmap05 OPTS:mmap/6-2 PROT_NONE touched is SIGSEGV", function()
    assert.equal(11, killer [[
      local r = assert(mmap.map {size = PAGE})
      r:protect "none"
      r:read(0, 1)]])
  end)

  it("LTP:mmap08 OPTS:mmap/19-1 a descriptor that is not open: EBADF",
    function()
      t.refused("EBADF", mmap.map {file = 987, size = PAGE})
    end)

  it("OPTS:mmap/23-1 GV:mmap.cc:MapPipe GV:mmap.cc:MapDirectory what cannot "
    .. "be mapped: ENODEV", function()
      local r, w = assert(ipc.pipe.open())
      t.refused("ENODEV", mmap.map {file = r, size = PAGE, readonly = true})
      r:close()
      w:close()
      local _, _, code = mmap.map {file = "/", size = PAGE, readonly = true}
      assert.is_true(code == errno.ENODEV or code == errno.EISDIR)
    end)

  it("GV:mmap.cc:MapCharDevice GV:mmap.cc:MapDevZeroShared LTP:mmap10 "
    .. "/dev/zero is zeros, each time anew", function()
      for _, private in ipairs {false, true} do
        local r <close> = assert(mmap.map {file = "/dev/zero", size = 2 * PAGE,
          private = private})
        assert.equal(("\0"):rep(2 * PAGE), r:read())
        r:write(PAGE, "mine")
        local other <close> = assert(mmap.map {file = "/dev/zero",
          size = 2 * PAGE, private = private})
        assert.equal("\0\0\0\0", other:read(PAGE, 4))
      end
    end)

  it("LTP:mmap09 a file that is cut and grows again has zeros", function()
    local file <close> = assert(ipc.posix_shm.memfd(nil, {size = 3 * PAGE}))
    local r <close> = assert(file:map())
    r:fill(0, 3 * PAGE, "x")
    file:truncate(PAGE + 10)
    file:truncate(3 * PAGE)
    assert.equal(("x"):rep(PAGE + 10), r:read(0, PAGE + 10))
    assert.equal(("\0"):rep(2 * PAGE - 10), r:read(PAGE + 10))
  end)

  it("LTP:mmap13 GV:mmap.cc:SigBusDeath beyond the pages of the file: SIGBUS",
    function()
      assert.equal(7, killer [[
        local path = os.tmpname()
        io.open(path, "w"):write "x":close()
        local r = assert(mmap.map {file = path, size = 2 * PAGE})
        os.remove(path)
        assert(#r:read(0, PAGE) == PAGE)
        r:write(PAGE, "x")]])
    end)

  it("GV:mmap.cc:NoSigBusOnPagesBeforeEOF "
    .. "GV:mmap.cc:NoSigBusOnPageContainingEOF the page of the end can be "
    .. "touched", function()
      local path = t.names.file(("x"):rep(PAGE + 1))
      local r <close> = assert(mmap.map {file = path, size = 2 * PAGE})
      assert.equal("x" .. ("\0"):rep(PAGE - 1), r:read(PAGE))
      r:write(2 * PAGE - 1, "y")
      assert.equal(PAGE + 1, #read_all(path))
    end)

  it("OPTS:mmap/7-2 GV:mmap.cc:WritePrivate LTP:mmap-private what is written "
    .. "privately is not in the file", function()
      local path = t.names.file "the file"
      local r <close> = assert(mmap.map {file = path, private = true})
      r:write(4, "mine")
      assert.equal("the mine", r:read())
      assert.equal("the file", read_all(path))
      local other <close> = assert(mmap.map {file = path})
      assert.equal("the file", other:read())
    end)

  it("GV:mmap.cc:ReadSharedConsistentWithOverwrite write(2) and mapping are "
    .. "one", function()
      local path = t.names.file "0123456789"
      local r <close> = assert(mmap.map {file = path})
      local file <close> = assert(io.open(path, "r+"))
      file:write "abc"
      file:flush()
      assert.equal("abc3456789", r:read())
      r:write(5, "xyz")
      file:seek "set"
      assert.equal("abc34xyz89", file:read "a")
    end)

  it("GV:mmap.cc:MapOffset GV:mmap.cc:MapOffsetBeyondEnd pages from the "
    .. "middle on", function()
      local path = t.names.file(("a"):rep(PAGE) .. ("b"):rep(PAGE) .. "cc")
      local r <close> = assert(mmap.map {file = path, offset = PAGE})
      assert.equal(PAGE + 2, #r)
      assert.equal(("b"):rep(PAGE) .. "cc", r:read())
      local part <close> = assert(mmap.map {file = path, offset = PAGE,
        size = 10})
      assert.equal(("b"):rep(10), part:read())
      local beyond <close> = assert(mmap.map {file = path, offset = 8 * PAGE,
        size = PAGE})
      t.refused("EFAULT", beyond:advise "populate_read")
    end)

  it("GV:mmap.cc:HugeLength OPTS:mmap/24-1 more than there can be: ENOMEM",
    function()
      local _, _, code = mmap.map {size = math.maxinteger}
      assert.is_true(code == errno.ENOMEM or code == errno.EINVAL, code)
      t.refused("ENOMEM", mmap.map {size = 1 << 50})
    end)

  it("OPTS:mmap/31-1 an offset and a size over the largest file: EOVERFLOW",
    function()
      local path = t.names.file "x"
      local _, _, code = mmap.map {file = path, readonly = true,
        offset = math.maxinteger - math.maxinteger % PAGE, size = PAGE * 2}
      assert.is_true(code == errno.EOVERFLOW or code == errno.EINVAL, code)
    end)

  it("LTP:mmap12 MAP_POPULATE, LTP:mmap17 NORESERVE: memory as any other",
    function()
      for _, option in ipairs {"populate", "noreserve"} do
        local r <close> = assert(mmap.map {size = 4 * PAGE, [option] = true})
        assert.equal(("\0"):rep(4 * PAGE), r:read())
        r:write(4 * PAGE - 1, "x")
      end
      local path = t.names.file(("p"):rep(2 * PAGE))
      local r <close> = assert(mmap.map {file = path, populate = true})
      assert.equal(("p"):rep(2 * PAGE), r:read())
    end)

  it_real("OPTS:mmap/18-1 over RLIMIT_AS: ENOMEM", function()
    local result = t.children.run(nil, {command = {"sh", "-c",
      [[ulimit -v 200000; exec "$0" -e '
        local ipc = require "unixipc"
        print(ipc.errno.name((select(3, ipc.mmap.map {size = 1 << 30}))))
        print(ipc.mmap.map {size = 1 << 20} ~= nil)']],
      os.getenv "LUA" or "lua5.4"}})
    if t.under_valgrind or result.code ~= 0 then return pending "no limit" end
    assert.equal("ENOMEM\ntrue\n", result.out)
  end)

  it("OPTS:mmap/9-1 a size that is not of pages keeps to its bytes", function()
    for _, size in ipairs {1, 3333, PAGE + 1} do
      local r <close> = assert(mmap.map {size = size})
      assert.equal(size, #r)
      t.raises("out of bounds", r.write, r, size, "x")
      t.raises("out of bounds", r.read, r, 0, size + 1)
    end
  end)

  it("GV:fork.cc:PrivateMapping GV:fork.cc:SharedMapping a child shares what "
    .. "is shared, and has a copy of the rest", function()
      local shared <close> = assert(mmap.map {size = PAGE})
      local private <close> = assert(mmap.map {size = PAGE, private = true})
      private:write(0, "before")
      local r, w = assert(ipc.pipe.open())
      local child = assert(process.fork(function()
        w:close()
        r:read(1, WAIT)
        shared:write(0, private:read(0, 6))
        private:write(0, "child ")
      end))
      private:write(0, "parent")
      w:close()
      ended(child)
      r:close()
      assert.same({"before", "parent"},
        {shared:read(0, 6), private:read(0, 6)})
    end)
end)

describe("munmap", function()
  it("OPTS:munmap/1-1 GV:munmap.cc:HappyCase what is closed is gone, and "
    .. "raises", function()
      local r = assert(mmap.map {size = PAGE})
      assert.is_true(r:close())
      for _, call in ipairs {"read", "cstring", "fill", "sync", "lock"} do
        t.raises("closed", r[call], r)
      end
      t.raises("closed", function() return #r end)
    end)

  it("OPTS:munmap/3-1 OPTS:munmap/4-1 what was private is lost, what was "
    .. "shared is kept", function()
      local path = t.names.file "0000"
      local one = assert(mmap.map {file = path})
      local two = assert(mmap.map {file = path, private = true})
      one:write(0, "11")
      two:write(2, "22")
      one:close()
      two:close()
      assert.equal("1100", read_all(path))
    end)
end)

describe("mprotect", function()
  it("LTP:mprotect02 GV:mmap.cc:ReadOnlyDeath taken and given back", function()
    local r <close> = assert(mmap.map {size = 2 * PAGE})
    r:write(0, "kept")
    assert.is_true(r:protect "r")
    assert.is_true(r:is_readonly())
    t.raises("read-only", r.write, r, 0, "x")
    assert.is_true(r:protect "rw")
    r:write(4, "!")
    assert.equal("kept!", r:read(0, 5))
  end)

  it("LTP:mprotect01#3 of a file that is open to read only: EACCES", function()
    local file <close> = assert(io.open(t.names.file "x"))
    local r <close> = assert(mmap.map {file = file, readonly = true})
    t.refused("EACCES", r:protect "rw")
    local private <close> = assert(mmap.map {file = file, private = true,
      readonly = true})
    assert.is_true(private:protect "rw")
    private:write(0, "y")
    assert.equal("y", private:read())
  end)
end)

describe("msync", function()
  it("LTP:msync01 LTP:msync02 GV:msync.cc:NormallySucceeds "
    .. "GV:msync.cc:UnalignedLengthSucceeds any part, any way", function()
      local path = t.names.file(("x"):rep(3 * PAGE))
      local r <close> = assert(mmap.map {file = path})
      r:write(PAGE + 5, "synced")
      for _, how in ipairs {"wait", "async", "invalidate"} do
        for _, part in ipairs {{0, 3 * PAGE}, {PAGE + 5, 6}, {1, 0},
          {3 * PAGE, 0}} do
          assert.is_true(r:sync(part[1], part[2], how))
        end
      end
      assert.equal("synced", read_all(path):sub(PAGE + 6, PAGE + 11))
    end)

  it_real("LTP:msync03#2 locked pages are not invalidated: EBUSY", function()
    local r <close> = assert(mmap.map {file = t.names.file(("x"):rep(PAGE))})
    if not r:lock() then return pending "may not lock memory" end
    t.refused("EBUSY", r:sync(0, PAGE, "invalidate"))
    assert.is_true(r:sync())
    r:unlock()
    assert.is_true(r:sync(0, PAGE, "invalidate"))
  end)

  it("anonymous memory has nothing to write", function()
    local r <close> = assert(mmap.map {size = PAGE})
    assert.is_true(r:sync())
  end)
end)

describe("mremap", function()
  it("LTP:mremap01 LTP:mremap04 GV:mremap.cc:MayMove_Expansion what was there "
    .. "stays, the rest is zero", function()
      local r = assert(mmap.map {size = PAGE, private = true})
      r:fill(0, PAGE, "a")
      for _, size in ipairs {2 * PAGE, 100 * PAGE, PAGE, 10, 3 * PAGE} do
        local old = #r
        r = assert(r:resize(size))
        assert.equal(size, #r)
        local kept = math.min(old, size)
        assert.equal(r:read(0, 10), ("a"):rep(10))
        if size > old then
          assert.equal(("\0"):rep(10), r:read(kept, 10))
        end
        r:fill(0, size, "a")
      end
      r:close()
    end)

  it("LTP:mremap02 GV:mremap.cc:Noop to what it is, or to nothing", function()
    local r = assert(mmap.map {size = PAGE, private = true})
    t.refused("EINVAL", r:resize(0))
    t.raises("size must be", r.resize, r, -1)
    assert.equal(PAGE, #r)
    local same = assert(r:resize(PAGE))
    assert.equal(PAGE, #same)
    t.raises("closed", r.read, r)
    same:close()
  end)

  it("LTP:mremap03 one that is closed raises", function()
    local r = assert(mmap.map {size = PAGE, private = true})
    r:close()
    t.raises("closed", r.resize, r, 2 * PAGE)
  end)

  it("PY:test_mmap.py:test_resize_fails_if_mapping_held_elsewhere views go "
    .. "with the old one", function()
      local r = assert(mmap.map {size = 2 * PAGE, private = true})
      local part = r:view(PAGE, 10)
      local more <close> = assert(r:resize(4 * PAGE))
      t.raises("closed", part.read, part)
      assert.equal(4 * PAGE, #more)
    end)

  it("GV:mremap.cc:ExpansionPreservesCOWPagesAndExposesNewFilePages a file "
    .. "and its mapping grow, for all that map it", function()
      local path = t.names.file "start"
      local one = assert(mmap.map {file = path, resizable = true})
      local more <close> = assert(one:resize(2 * PAGE))
      more:write(PAGE, "further")
      assert.equal(2 * PAGE, #read_all(path))
      local other <close> = assert(mmap.map {file = path})
      assert.equal("further", other:read(PAGE, 7))
      assert.equal("start", other:cstring())
    end)
end)

describe("madvise", function()
  it("LTP:madvise01 every word is understood", function()
    local path = t.names.file(("x"):rep(4 * PAGE))
    local r <close> = assert(mmap.map {file = path})
    for _, word in ipairs {"normal", "random", "sequential", "willneed",
      "dontneed", "dontfork", "dofork", "dontdump", "dodump"} do
      assert.is_true(r:advise(word), word)
    end
    assert.equal(("x"):rep(4 * PAGE), r:read())
    t.raises("invalid option", r.advise, r, "please")
  end)

  it("LTP:madvise02#EINVAL what does not fit the memory: EINVAL", function()
    local r <close> = assert(mmap.map {file = t.names.file "x"})
    t.refused("EINVAL", r:advise "free") -- of private anonymous memory only
    t.refused("EINVAL", r:advise "wipeonfork")
  end)

  it("LTP:madvise03 LTP:madvise05 dontneed: anonymous private memory is zeros "
    .. "again, a file's pages come back", function()
      local private <close> = assert(mmap.map {size = PAGE, private = true})
      private:write(0, "gone")
      assert.is_true(private:advise "dontneed")
      assert.equal("\0\0\0\0", private:read(0, 4))
      local shared <close> = assert(mmap.map {size = PAGE})
      shared:write(0, "kept")
      assert.is_true(shared:advise "dontneed")
      assert.equal("kept", shared:read(0, 4))
    end)

  it("LTP:madvise10 wipeonfork: a child has zeros, the parent keeps all",
    function()
      local r <close> = assert(mmap.map {size = 2 * PAGE, private = true})
      r:fill(0, 2 * PAGE, "s")
      assert.is_true(r:advise("wipeonfork", 0, PAGE))
      ended(assert(process.fork(function()
        return r:read(0, PAGE) == ("\0"):rep(PAGE)
          and r:read(PAGE) == ("s"):rep(PAGE)
      end)))
      assert.equal(("s"):rep(2 * PAGE), r:read())
      assert.is_true(r:advise("keeponfork", 0, PAGE))
      ended(assert(process.fork(function() return r:read(0, 1) == "s" end)))
    end)

  it("LTP:madvise09 free memory is what it was, or zeros", function()
    local r <close> = assert(mmap.map {size = PAGE, private = true})
    r:fill(0, PAGE, "f")
    assert.is_true(r:advise "free")
    local byte = r:read(0, 1)
    assert.is_true(byte == "f" or byte == "\0")
    r:write(0, "w")
    assert.equal("w", r:read(0, 1))
  end)

  it("remove makes a hole in shared memory", function()
    local r <close> = assert(mmap.map {size = 2 * PAGE})
    r:fill(0, 2 * PAGE, "h")
    assert.is_true(r:advise("remove", PAGE, PAGE))
    assert.equal(("h"):rep(PAGE) .. ("\0"):rep(PAGE), r:read())
  end)
end)

describe("mlock", function()
  local function locked()
    local file <close> = assert(io.open "/proc/self/status")
    return tonumber(file:read "a":match "VmLck:%s*(%d+)")
  end

  it_real("LTP:mlock01 OPTS:mlock/5-1 LTP:munlock01 any part, pages all around",
    function()
      local r <close> = assert(mmap.map {size = 4 * PAGE})
      local before = locked()
      if not r:lock(PAGE + 1, 1) then return pending "may not lock" end
      assert.equal(before + PAGE // 1024, locked())
      assert.is_true(r:lock())
      assert.equal(before + 4 * PAGE // 1024, locked())
      assert.is_true(r:lock()) -- locks do not count
      assert.is_true(r:unlock())
      assert.equal(before, locked())
      assert.is_true(r:unlock())
    end)

  it("OPTS:mlock/8-1 the lock goes with the mapping", function()
    local before = locked()
    local r = assert(mmap.map {size = PAGE})
    if not r:lock() then return pending "may not lock" end
    r:close()
    assert.equal(before, locked())
  end)

  it_real("LTP:mlock02#1 LTP:mlock02#2 over the limit: ENOMEM, without any: "
    .. "EPERM",
    function()
      local function try(limit)
        return t.children.run(nil, {command = {"setpriv", "--reuid", "65534",
          "--regid", "65534", "--clear-groups",
          "--inh-caps", "-all,+dac_read_search",
          "--ambient-caps", "-all,+dac_read_search", "prlimit",
          "--memlock=" .. limit, os.getenv "LUA" or "lua5.4", "-e", [[
            local ipc = require "unixipc"
            local r = ipc.mmap.map {size = 8 * ipc.mmap.page_size()}
            print(ipc.errno.name((select(3, r:lock()))))]]}})
      end
      if not require "support.nobody".is_there() then
        return pending "needs root and setpriv"
      end
      assert.equal("ENOMEM\n", try(PAGE).out)
      assert.equal("EPERM\n", try(0).out)
    end)
end)

describe("mmap as PY:test_mmap.py has it", function()
  it("PY:test_mmap.py:test_basic find, slices, changes", function()
    local r <close> = assert(mmap.map {file = t.names.file(
      ("\0"):rep(PAGE) .. "foo" .. ("\0"):rep(PAGE - 3))})
    assert.equal(PAGE, r:find "foo")
    assert.equal(2 * PAGE, #r)
    assert.equal("\0", r:read(0, 1))
    assert.equal("\0foo\0", r:read(PAGE - 1, 5))
    r:write(0, "3")
    r:write(PAGE + 3, "bar")
    assert.equal("foobar\0", r:read(PAGE, 7))
    assert.equal(PAGE + 3, r:find("bar", PAGE))
    assert.is_nil((r:find("bar", 0, PAGE + 5)))
  end)

  it("PY:test_mmap.py:test_find_end within its limits", function()
    local r <close> = assert(mmap.map {file = t.names.file "one two ones"})
    assert.equal(0, r:find "one")
    assert.equal(8, r:find "ones")
    assert.equal(8, r:find("one", 1))
    assert.is_nil((r:find("one", 1, 9)))
    assert.equal(8, r:find("one", 1, 10))
    assert.is_nil((r:find "four"))
    assert.equal(3, r:find("", 3))
  end)

  it("PY:test_mmap.py:test_tougher_find every byte string is where it is",
    function()
      local data = ("0123456789ab\n"):rep(1000)
      local r <close> = assert(mmap.map {file = t.names.file(data)})
      for start = 0, #data - 1, 997 do
        for finish = start + 1, math.min(start + 600, #data), 213 do
          local piece = data:sub(start + 1, finish)
          assert.equal(data:find(piece, 1, true) - 1, r:find(piece))
        end
      end
    end)

  it("PY:test_mmap.py:test_move bytes move, also over themselves", function()
    local data = "0123456789"
    for from = 0, 9 do
      for to = 0, 9 do
        for n = 0, 10 - math.max(from, to) do
          local r <close> = assert(mmap.map {size = 10})
          r:write(0, data)
          r:copy(to, r, from, n)
          assert.equal(data:sub(1, to) .. data:sub(from + 1, from + n)
            .. data:sub(to + n + 1), r:read())
        end
      end
    end
    local r <close> = assert(mmap.map {size = 10})
    for _, bad in ipairs {{11, 0, 0}, {0, 11, 0}, {9, 0, 2}, {0, 9, 2},
      {-1, 0, 1}, {0, -1, 1}, {0, 0, -1}} do
      assert.is_false(pcall(r.copy, r, bad[1], r, bad[2], bad[3]))
    end
  end)

  it("PY:test_mmap.py:test_length_0_large_offset an offset beyond the file: "
    .. "EINVAL", function()
      t.refused("EINVAL", mmap.map {file = t.names.file(("x"):rep(100)),
        offset = PAGE * 16})
    end)

  it("PY:test_mmap.py:test_anonymous each byte can be set", function()
    local r <close> = assert(mmap.map {size = PAGE})
    for i = 0, PAGE - 1 do r:pack("B", i, i % 256) end
    for i = 0, PAGE - 1 do
      if (r:unpack("B", i)) ~= i % 256 then error("at " .. i) end
    end
  end)

  it("PY:test_mmap.py:test_context_manager closed at the end of its block, "
    .. "by an error too", function()
      local kept
      t.raises("stop", function()
        local r <close> = assert(mmap.map {size = 10})
        kept = r
        error "stop"
      end)
      assert.is_false(kept:is_open())
    end)

  it("PY:test_mmap.py:test_bad_file_desc PY:test_mmap.py:test_error no "
    .. "descriptor, no file", function()
      t.raises("descriptor", mmap.map, {file = -2, size = PAGE})
      t.refused("ENOENT", mmap.map {file = t.names.path(), size = PAGE})
    end)
end)
