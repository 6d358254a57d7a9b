local t = require "support"
local nobody = require "support.nobody"
local ipc = require "unixipc"

local posix_shm, process = ipc.posix_shm, ipc.process

local SOON = 2 * t.slow

local function new(size, options)
  local all = {create = true, exclusive = true, temporary = true,
    size = size or 100}
  for name, value in pairs(options or {}) do all[name] = value end
  return assert(posix_shm.open(t.names.posix(), all))
end

local function as_root(name, test)
  it(name, function()
    if not nobody.is_there() then return pending "needs root" end
    test()
  end)
end

local function output_of(command)
  local pipe <close> = assert(io.popen(command))
  return (pipe:read "a")
end

describe("posix_shm.open", function()
  it("tells whether it made what it opened", function()
    local name = t.names.posix()
    local options = {create = true, size = 4096, temporary = true}
    local first, is_new = posix_shm.open(name, options)
    local second, is_new_too = posix_shm.open(name, options)
    first:close()
    second:close()
    assert.same({true, false}, {is_new, is_new_too})
  end)

  it("makes a segment of zeros", function()
    local s <close> = new(5000)
    assert.equal(5000, s:size())
    local r <close> = assert(s:map())
    assert.equal(("\0"):rep(5000), r:read())
    assert.equal(("posix_shm segment fd=%d %s"):format(s:fileno(), s:name()),
      tostring(s))
  end)

  it("is close-on-exec (OPTS:shm_open/11-1)", function()
    local s <close> = new()
    local info <close> = assert(io.open("/proc/self/fdinfo/" .. s:fileno()))
    assert.truthy(info:read("a"):find "flags:%s+02")
  end)

  it("gives the lowest descriptor, 0 as well (OPTS:shm_open/8-1)", function()
    local result = t.children.run(nil, {command = {"sh", "-c",
      [[exec "$0" -e '
        local shm = require "unixipc.posix_shm"
        local s = assert(shm.memfd(nil, {size = 10}))
        print(s:fileno(), s:size(), s:close())' <&-]],
      os.getenv "LUA" or "lua5.4"}})
    assert.equal("0\t10\ttrue\n", result.out, result.err)
  end)

  it("to read only is no more (OPTS:shm_open/20-1)", function()
    local s <close> = new(100, {mode = "rw-rw-rw-"})
    local r <close> = assert(posix_shm.open(s:name(), {readonly = true}))
    t.refused("EINVAL", r:truncate(10))
    t.refused("EACCES", r:map())
    local region <close> = assert(r:map {readonly = true})
    assert.is_true(region:is_readonly())
  end)

  it("can make one that this process only reads", function()
    local s <close> = new(100, {readonly = true})
    t.refused("EACCES", s:map())
  end)

  it("says EEXIST (OPTS:shm_open/22-1)", function()
    local s <close> = new()
    t.refused("EEXIST", posix_shm.open(s:name(),
      {create = true, exclusive = true, size = 10}))
  end)

  it("truncates (OPTS:shm_open/25-1, OPTS:shm_open/26-1)", function()
    local s <close> = new(100, {mode = "rw-r-----"})
    local stat = "stat -c '%a %u' /dev/shm" .. s:name()
    local before = output_of(stat)
    local again <close> = assert(posix_shm.open(s:name(), {truncate = true}))
    assert.equal(0, again:size())
    assert.equal(before, output_of(stat))
    assert.equal("640", before:match "%d+")
  end)

  it("leaves the size (PY:_test_multiprocessing.py:SharedMemory#2, "
    .. "POSIX_IPC:test_memory.py#2)", function()
    local s <close> = new(100)
    for _, size in ipairs {1000, 0} do
      local again <close> = assert(posix_shm.open(s:name(),
        {create = true, size = size}))
      assert.equal(100, again:size())
      t.refused("EINVAL", again:map {size = 1000})
    end
  end)

  it("makes none of nothing (PY:_test_multiprocessing.py:SharedMemory#3)",
    function()
      local name = t.names.posix()
      t.refused("EINVAL", posix_shm.open(name, {create = true}))
      t.refused("EINVAL", posix_shm.open(name, {create = true, size = 0}))
      t.raises("option 'size'", posix_shm.open, name,
        {create = true, size = -1})
      t.refused("ENOENT", posix_shm.open(name))
    end)

  it("says ENOSPC, and leaves nothing", function()
    local name = t.names.posix()
    t.refused("ENOSPC", posix_shm.open(name, {create = true, size = 1 << 45}))
    t.refused("ENOENT", posix_shm.open(name))
    local s <close> = new(100)
    t.refused("ENOSPC", s:truncate(1 << 45))
    assert.equal(100, s:size())
  end)

  local BAD = {
    [""] = "EINVAL", ["/"] = "EINVAL", ["test"] = "EINVAL",
    ["/a/b"] = "EACCES",
    ["/" .. ("x"):rep(256)] = "ENAMETOOLONG", -- OPTS:shm_unlink/10-1
  }
  it("refuses bad names as posix_mq does (OPTS:shm_unlink/10-1)", function()
    for name, code in pairs(BAD) do
      t.refused(code, posix_shm.open(name, {create = true, size = 1}))
      t.refused(code, posix_shm.unlink(name))
    end
  end)

  it("makes a name of its own", function()
    local s <close> = assert(posix_shm.open(nil, {size = 1, temporary = true}))
    assert(posix_shm.open(s:name())):close()
  end)

  -- Openers that come all the time never see it without its size.
  it("is never seen half made", function()
    local name = t.names.posix()
    local child <close> = assert(process.fork(function()
      for _ = 1, 300 do
        assert(posix_shm.open(name,
          {create = true, size = 8192, temporary = true})):close()
      end
    end))
    local seen = 0
    repeat
      local s <close> = posix_shm.open(name)
      if s then
        seen = seen + 1
        assert.equal(8192, s:size())
      end
    until child:wait(0)
    assert.is_true(seen >= 0)
  end)
end)

describe("posix_shm.unlink", function()
  it("leaves what is open (OPTS:shm_open/28-3, OPTS:shm_unlink/2-1)",
    function()
      local s <close> = new(100, {temporary = false})
      local r <close> = assert(s:map())
      r:write(0, "data")
      assert(posix_shm.unlink(s:name()))
      t.refused("ENOENT", posix_shm.open(s:name()))
      local again <close> = assert(s:map())
      assert.equal("data", again:read(0, 4))
    end)

  it("makes way for another one (OPTS:shm_unlink/5-1)", function()
    local old <close> = new(100, {temporary = false})
    local r <close> = assert(old:map())
    r:write(0, "old")
    assert(posix_shm.unlink(old:name()))
    local fresh <close> = assert(posix_shm.open(old:name(),
      {create = true, size = 10, temporary = true}))
    local r2 <close> = assert(fresh:map())
    assert.equal("\0\0\0", r2:read(0, 3))
    assert.equal("old", r:read(0, 3))
  end)

  as_root("says EACCES to strangers (OPTS:shm_unlink/9-1)", function()
    local s <close> = new()
    assert.equal("13", nobody.run(([[print((select(3,
      require("unixipc.posix_shm").unlink(%q))))]]):format(s:name())))
  end)

  it("says ENOENT (OPTS:shm_unlink/11-1)", function()
    t.refused("ENOENT", posix_shm.unlink(t.names.posix()))
  end)
end)

describe("posix_shm.list", function()
  it("shows them", function()
    local s <close> = new()
    local text = " " .. table.concat(assert(posix_shm.list()), " ") .. " "
    assert.truthy(text:find(" " .. s:name() .. " ", 1, true), text)
  end)
end)

describe("posix_shm.Shm", function()
  it("grows and shrinks (POSIX_IPC:test_memory.py#3)", function()
    local s <close> = new(100)
    do
      local r <close> = assert(s:map())
      r:fill(0, 100, "x")
    end
    assert(s:truncate(10000))
    assert.equal(10000, s:size())
    assert(s:truncate(50))
    assert.equal(50, s:size())
    assert(s:truncate(100))
    local r <close> = assert(s:map())
    assert.equal(("x"):rep(50) .. ("\0"):rep(50), r:read())
  end)

  it("can be closed twice (POSIX_IPC:test_memory.py#4)", function()
    local s = new()
    assert.is_true(s:close())
    local file <close> = assert(io.open(t.names.file())) -- may have its number
    assert.is_true(s:close())
    assert(file:seek "cur")
    assert.equal(-1, s:getfd())
    assert.equal("posix_shm segment (closed)", tostring(s))
    for _, name in ipairs {"size", "truncate", "map", "seal", "seals"} do
      t.raises("closed posix_shm segment", s[name], s, 1)
    end
  end)

  it("mapped to read is not written (POSIX_IPC:test_memory.py#5)", function()
    local s <close> = new()
    local r <close> = assert(s:map {readonly = true})
    t.raises("read-only", r.write, r, 0, "x")
  end)

  -- What no library can prevent: the process that touches it ends.
  it("cut under a map is SIGBUS (FBSD:posixshm_test.c#2)", function()
    local result = t.children.run([[
      local shm = require "unixipc.posix_shm"
      local s = assert(shm.memfd(nil, {size = 8192}))
      local r = assert(s:map())
      s:truncate(4096)
      print(#r:read(0, 4096))
      io.stdout:flush()
      r:read(4096, 1)
    ]], t.dying)
    assert.equal("4096\n", result.out)
    assert.equal(7, result.signal)
  end)

  it("is shared with a child", function()
    local s <close> = new()
    local r <close> = assert(s:map())
    local child <close> = assert(process.fork(function()
      r:write(0, "from the child")
      s:close()
    end))
    assert.same({"exit", 0}, {child:wait(SOON)})
    assert.equal("from the child", r:read(0, 14))
    assert(posix_shm.open(s:name())):close()
  end)

  it("is removed by the collector if temporary", function()
    local name = new():name()
    collectgarbage()
    t.refused("ENOENT", posix_shm.open(name))
  end)
end)

describe("A signal while space is taken", function()
  it("does not keep it from being given", function()
    local s <close> = assert(posix_shm.memfd(nil, {size = 1000}))
    ipc.signal.handle("SIGALRM", function() end)
    ipc.signal.interval("real", {after = 0.002, every = 0.05})
    local ok, message = s:truncate(128 << 20)
    ipc.signal.interval("real", {})
    ipc.signal.handle("SIGALRM", "original")
    assert.is_true(ok, message)
    assert.equal(128 << 20, s:size())
    local blocks <close> = assert(io.popen(("stat -L -c %%b /proc/%d/fd/%d")
      :format(process.pid(), s:fileno())))
    assert.is_true(blocks:read "n" * 512 >= 128 << 20)
  end)
end)

describe("posix_shm.memfd", function()
  it("says when there is not as much memory, and takes none", function()
    t.refused("ENOMEM", posix_shm.memfd(nil, {size = 1 << 50}))
    local s <close> = assert(posix_shm.memfd(nil, {size = 100}))
    t.refused("ENOMEM", s:truncate(1 << 50))
    assert.equal(100, s:size())
  end)

  it("can be sealed", function()
    local s <close> = assert(posix_shm.memfd("spec", {size = 100}))
    assert.same({}, s:seals())
    assert(s:seal("shrink", "grow"))
    assert.same({"shrink", "grow"}, s:seals())
    t.refused("EPERM", s:truncate(10))
    t.refused("EPERM", s:truncate(1000))
    local r <close> = assert(s:map())
    t.refused("EBUSY", s:seal "write")
    r:close()
    assert(s:seal("write", "seal"))
    t.refused("EPERM", s:map())
    t.refused("EPERM", s:seal "grow")
    t.raises("invalid option", s.seal, s, "open")
    assert(s:map {readonly = true}):close()
  end)

  it("has no name", function()
    local s <close> = assert(posix_shm.memfd())
    assert.is_nil(s:name())
    assert.equal(0, s:size())
    t.refused("EINVAL", s:map())
  end)

  it("but a named segment has no seals", function()
    local s <close> = new()
    assert.is_table(s:seals() or {})
    t.refused("EPERM", s:seal "grow")
  end)
end)
