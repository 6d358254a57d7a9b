local t = require "support"
local ipc = require "unixipc"

local mmap, process, posix_shm = ipc.mmap, ipc.process, ipc.posix_shm

local SOON = 2 * t.slow
local PAGE = mmap.page_size()

local function read_all(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

describe("mmap.map", function()
  it("gives anonymous memory, shared with children", function()
    local r <close> = assert(mmap.map {size = 100})
    assert.equal(("\0"):rep(100), r:read())
    assert.equal("mmap region 100 bytes", tostring(r))
    local child <close> = assert(process.fork(function() r:write(0, "x") end))
    child:wait(SOON)
    assert.equal("x", r:read(0, 1))
  end)

  it("or private", function()
    local r <close> = assert(mmap.map {size = 100, private = true})
    local child <close> = assert(process.fork(function() r:write(0, "x") end))
    child:wait(SOON)
    assert.equal("\0", r:read(0, 1))
  end)

  it("knows shared or private, nothing else (OPTS:mmap/21-1)", function()
    t.raises("unknown option 'shared'", mmap.map, {size = 1, shared = true})
  end)

  it("refuses length 0 (LTP:mmap06#1, PY:test_mmap.py:test_empty_file)",
    function()
      t.refused("EINVAL", mmap.map {size = 0})
      t.refused("EINVAL", mmap.map {file = t.names.file()})
      t.refused("EINVAL", mmap.map {file = t.names.file "x", offset = PAGE})
    end)

  it("maps a part of a file (OPTS:mmap/11-1, PY:test_mmap.py:test_offset)",
    function()
      local path = t.names.file(("a"):rep(PAGE) .. "bcd")
      local r <close> = assert(mmap.map {file = path, offset = PAGE})
      assert.equal("bcd", r:read())
      assert.equal(("mmap region %s 3 bytes"):format(path), tostring(r))
      t.refused("EINVAL", mmap.map {file = path, offset = 1})
      t.raises("option 'offset'", mmap.map, {file = path, offset = -1})
    end)

  it("needs a file open to read (LTP:mmap06#2)", function()
    local file <close> = assert(io.open(t.names.file(), "w"))
    file:write "x"
    file:flush()
    t.refused("EACCES", mmap.map {file = file})
    local r <close> = assert(io.open(t.names.file "x", "r"))
    t.refused("EACCES", mmap.map {file = r})
    assert(mmap.map {file = r, private = true}):close()
    assert(mmap.map {file = r, readonly = true}):close()
  end)

  it("outlives the file's name and descriptor (OPTS:mmap/12-1)", function()
    local path = t.names.file "data"
    local file = assert(io.open(path, "r+"))
    local r <close> = assert(mmap.map {file = file})
    file:close()
    os.remove(path)
    assert.equal("data", r:read())
  end)

  it("changes the file (OPTS:mmap/7-1)", function()
    local path = t.names.file "data"
    do
      local r <close> = assert(mmap.map {file = path})
      r:write(0, "DA")
    end
    assert.equal("DAta", read_all(path))
    local private <close> = assert(mmap.map {file = path, private = true})
    private:write(0, "x")
    assert.equal("DAta", read_all(path))
  end)

  it("reaches what comes later (GV:mmap.cc:WriteSharedTruncateUp)", function()
    local path = t.names.file "x"
    local r <close> = assert(mmap.map {file = path, size = 2 * PAGE})
    local file <close> = assert(io.open(path, "r+"))
    file:seek("set", 2 * PAGE - 1)
    file:write "y"
    file:flush()
    assert.equal("y", r:read(2 * PAGE - 1, 1))
    r:write(PAGE, "z")
  end)

  it("makes and extends files", function()
    local path = t.names.path()
    t.refused("ENOENT", mmap.map {file = path, size = 10})
    local r <close> = assert(mmap.map {file = path, size = 10, create = true})
    assert.equal(10, #read_all(path))
    local more <close> = assert(mmap.map {file = path, size = 20,
      extend = true})
    assert.equal(20, #read_all(path))
    assert.equal(#r + 10, #more)
  end)

  -- What no library can prevent: the process that touches it ends.
  it("touched without rights is SIGSEGV (OPTS:mmap/6-2)", function()
    local result = t.children.run([[
      local r = assert(require("unixipc.mmap").map {size = 10})
      print(r:protect "none")
      io.stdout:flush()
      r:read()
    ]], t.dying)
    assert.equal("true\n", result.out)
    assert.equal(11, result.signal)
  end)

  it("of a segment, private and shared (OPTS:mmap/7-3 + 7-4)", function()
    local s <close> = assert(posix_shm.memfd(nil, {size = 10}))
    for _, private in ipairs {true, false} do
      local r <close> = assert(s:map {private = private})
      r:write(0, private and "p" or "s")
      local child <close> = assert(process.fork(function()
        local mine <close> = assert(s:map())
        return mine:read(0, 1) == "s"
      end))
      assert.same({"exit", private and 1 or 0}, {child:wait(SOON)})
    end
  end)

  it("raises for bad options", function()
    t.raises("table expected", mmap.map)
    t.raises("no descriptor", mmap.map, {file = true})
    t.raises("unknown option 'length'", mmap.map, {length = 1})
  end)
end)

describe("A mapped Region", function()
  it("can be closed twice (OPTS:munmap/2-1, "
    .. "PY:test_mmap.py:test_double_close)", function()
    local r = assert(mmap.map {size = 10})
    assert.is_true(r:close())
    assert.is_true(r:close())
    assert.equal("mmap region (closed)", tostring(r))
    for _, name in ipairs {"read", "sync", "lock", "resize"} do
      t.raises("closed region", r[name], r, 1)
    end
  end)

  it("is synchronised (PY:test_mmap.py:test_flush_return_value, "
    .. "LTP:msync03#1)", function()
    local path = t.names.file(("x"):rep(3 * PAGE))
    local r <close> = assert(mmap.map {file = path})
    assert.is_true(r:sync())
    assert.is_true(r:sync(PAGE + 5, 10))
    assert.is_true(r:sync(0, nil, "async"))
    assert.is_true(r:sync(0, nil, "invalidate"))
    t.raises("invalid option", r.sync, r, 0, nil, "async|wait")
    t.raises("out of bounds", r.sync, r, 0, 4 * PAGE)
    t.raises("out of bounds", r.sync, r, -1)
  end)

  it("is protected", function()
    local r <close> = assert(mmap.map {size = 10})
    assert(r:protect "r")
    t.raises("read-only", r.write, r, 0, "x")
    assert(r:protect "rw")
    r:write(0, "x")
    t.raises("view", r:view().protect, r:view(), "r")
    local file <close> = assert(io.open(t.names.file "x"))
    local m <close> = assert(mmap.map {file = file, readonly = true})
    t.refused("EACCES", m:protect "rw")
    t.raises("read-only", m.write, m, 0, "x")
  end)

  it("takes advice and is locked", function()
    local r <close> = assert(mmap.map {size = 2 * PAGE, private = true})
    r:write(PAGE, "x")
    for _, word in ipairs {"normal", "random", "sequential", "willneed"} do
      assert.is_true(r:advise(word))
    end
    assert(r:advise("dontneed", PAGE))
    assert.equal("\0", r:read(PAGE, 1))
    t.raises("invalid option", r.advise, r, "goodluck")
    local ok, message, code = r:lock()
    assert.truthy(ok or code == ipc.errno.ENOMEM or code == ipc.errno.EPERM,
      message)
    assert.is_true(r:unlock())
  end)

  it("is resized (PY:test_mmap.py:test_resize)", function()
    local small = assert(mmap.map {size = 10, private = true})
    small:write(0, "0123456789")
    local view = small:view(2)
    local big = assert(small:resize(3 * PAGE))
    t.raises("closed region", small.read, small)
    t.raises("closed region", view.read, view)
    assert.equal("0123456789\0\0", big:read(0, 12))
    local less <close> = assert(big:resize(5))
    assert.equal("01234", less:read())
    t.refused("EINVAL", less:resize(0))
    local shared <close> = assert(mmap.map {size = 10})
    t.refused("EINVAL", shared:resize(20))
  end)

  it("has zeros where there was something before", function()
    local r = assert(mmap.map {size = 100, private = true})
    r:write(0, ("x"):rep(100))
    r = assert(assert(r:resize(40)):resize(PAGE + 1))
    assert.equal(("x"):rep(40) .. ("\0"):rep(PAGE - 39), r:read())
    r:close()
  end)

  it("leaves alone what comes after it in the file", function()
    local path = t.names.file(("x"):rep(3 * PAGE))
    local r = assert(mmap.map {file = path, offset = PAGE, size = PAGE,
      resizable = true})
    r = assert(r:resize(10))
    assert.equal(3 * PAGE, #read_all(path))
    r = assert(r:resize(2 * PAGE))
    assert.equal(3 * PAGE, #read_all(path))
    assert.equal("x", r:read(2 * PAGE - 1, 1))
    r = assert(r:resize(2 * PAGE + 1))
    assert.equal(3 * PAGE + 1, #read_all(path))
    r = assert(r:resize(PAGE))
    assert.equal(2 * PAGE, #read_all(path))
    r:close()
  end)

  it("tells that the file was cut, before it is touched", function()
    local s <close> = assert(posix_shm.memfd(nil, {size = 2 * PAGE}))
    local r <close> = assert(s:map())
    local ok, message, code = r:advise "populate_read"
    if not ok and code ~= ipc.errno.EFAULT then
      return pending(message) -- before Linux 5.14
    end
    assert.is_true(ok)
    assert(s:truncate(PAGE))
    t.refused("EFAULT", r:advise "populate_read")
    t.refused("EFAULT", r:advise("populate_write", PAGE))
    assert.is_true(r:advise("populate_write", 0, PAGE))
  end)

  it("cannot be resized while something in it is held", function()
    local r = assert(mmap.map {size = PAGE, private = true})
    local m <close> = assert(ipc.sync.mutex(r, 0, {create = true}))
    assert(m:lock())
    t.refused("EBUSY", r:resize(2 * PAGE))
    assert(m:unlock())
    assert(r:resize(2 * PAGE)):close()
  end)

  it("is resized with its file", function()
    local path = t.names.file "0123456789"
    local r = assert(mmap.map {file = path, resizable = true})
    local big = assert(r:resize(2 * PAGE))
    big:write(PAGE, "x")
    assert.equal(2 * PAGE, #read_all(path))
    local small <close> = assert(big:resize(4))
    assert.equal("0123", small:read())
    assert.equal("0123", read_all(path))
  end)
end)
