local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local fifo, process = ipc.fifo, ipc.process

-- The call runs out of time: not early, and not much too late.
local function expires(seconds, fn, ...)
  local results = table.pack(t.took(fn, ...))
  assert.is_true(results[1] >= seconds, "early: " .. results[1])
  assert.is_true(results[1] < seconds + 2 * t.slow, "late: " .. results[1])
  t.timed_out(table.unpack(results, 2, results.n))
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(10 * t.slow)})
  child:close()
end

-- As stat(1) has it: "fifo 600".
local function stat(path)
  local output <close> = assert(io.popen("stat -c '%F %a' " .. path))
  return output:read()
end

local function exists(path)
  return lfs.symlinkattributes(path) ~= nil
end

-- Runs a script after what a shell command sets up; it ends in: exec "$@"
local PRELUDE = [[
local ipc = require "unixipc"
local fifo, process, errno = ipc.fifo, ipc.process, ipc.errno
local function code_of(...) return errno.name((select(3, ...))) end
]]

local function under(command, script, ...)
  local result = t.children.run("", {command = {"sh", "-c", command, "sh",
    os.getenv "LUA" or "lua5.4", t.names.file(PRELUDE .. script), ...}})
  assert.equal("", result.err)
  assert.equal(0, result.code)
  return (result.out:gsub("\t", " "))
end

describe("fifo", function()
  local path

  before_each(function() path = t.names.path() end)
  after_each(function() os.remove(path) end)

  -- Both ends of a new FIFO.
  local function open_both()
    assert(fifo.create(path))
    local both = assert(fifo.open(path, "rw"))
    local r = assert(fifo.open(path, "r", nil, 0))
    local w = assert(fifo.open(path, "w", nil, 0))
    both:close()
    return r, w
  end

  describe("create", function()
    it("NBSD:t_mkfifo.c:mkfifo_stat makes a FIFO for its owner", function()
      assert.same({n = 1, true}, table.pack(fifo.create(path)))
      assert.equal("fifo 600", stat(path))
    end)

    it("makes it for whom it is told", function()
      for mode, octal in pairs {["rw-rw----"] = "660", ["0644"] = "644",
        ["666"] = "666", ["rwxrwxrwx"] = "777", ["-w--w--w-"] = "222",
        ["---------"] = "0", [tonumber("620", 8)] = "620", ["000"] = "0"} do
        assert(fifo.create(path, {mode = mode}))
        assert.equal("fifo " .. octal, stat(path))
        assert(os.remove(path))
      end
    end)

    it("makes it so whatever the umask, which stays as it is", function()
      for _, umask in ipairs {"000", "022", "077", "777"} do
        local out = under("umask " .. umask .. '; exec "$@"', [[
          assert(fifo.create(arg[1] .. ".1", {mode = "rw-rw-rw-"}))
          assert(fifo.open(arg[1] .. ".2", "rw",
            {create = true, mode = "rw-rw--w-"}))
          assert(fifo.create(arg[1] .. ".3"))
          os.execute("umask; stat -c %a " .. arg[1] .. ".?; rm " .. arg[1]
            .. ".?")
        ]], path)
        assert.equal("0" .. umask .. "\n666\n662\n600\n", out)
      end
    end)

    it("is content with one that is there, and leaves it", function()
      assert(fifo.create(path, {mode = "rw-r-----"}))
      assert.is_true(fifo.create(path, {mode = "rw-------"}))
      assert.is_true(fifo.create(path, {exclusive = false}))
      assert.equal("fifo 640", stat(path))
    end)

    it("NBSD:t_mkfifo.c#1 is not, with exclusive: EEXIST", function()
      assert.is_true(fifo.create(path, {exclusive = true}))
      assert.equal("mkfifo: " .. path .. ": File exists",
        (t.refused("EEXIST", fifo.create(path, {exclusive = true}))))
    end)

    it("NIX:test_unistd.rs says EEXIST when something else is there",
      function()
        local directory = t.names.directory()
        local file = t.names.file()
        local link = t.names.path()
        assert(lfs.link("/nonexistent/target", link, true))
        for _, there in ipairs {directory, file, "/dev/null", link} do
          assert.equal("mkfifo: " .. there
            .. ": File exists, and is no FIFO",
            (t.refused("EEXIST", fifo.create(there))))
          t.refused("EEXIST", fifo.create(there, {exclusive = true}))
        end
      end)

    it("follows a link to a FIFO", function()
      local link = t.names.path()
      assert(fifo.create(path))
      assert(lfs.link(path, link, true))
      assert.is_true(fifo.create(link))
      t.refused("EEXIST", fifo.create(link, {exclusive = true}))
    end)

    it("tells what the system refuses", function()
      local long = t.names.directory() .. "/" .. ("x"):rep(256)
      t.refused("ENAMETOOLONG", fifo.create(long))
      t.refused("ENAMETOOLONG", fifo.create(("/tmp"):rep(1100)))
      t.refused("ENOENT", fifo.create "/nonexistent/fifo")
      t.refused("ENOENT", fifo.create "")
      t.refused("ENOTDIR", fifo.create "/etc/passwd/fifo")
      assert.equal("mkfifo: /nonexistent/fifo: No such file or directory",
        (select(2, fifo.create "/nonexistent/fifo")))
    end)

    it("raises at wrong arguments, and makes nothing", function()
      t.raises("embedded zero", fifo.create, path .. "\0x")
      t.raises("string expected", fifo.create)
      t.raises("string expected", fifo.create, {})
      t.raises("table expected", fifo.create, path, "0600")
      t.raises("unknown option 'exlusive'", fifo.create, path,
        {exlusive = true})
      t.raises("unknown option 'create'", fifo.create, path, {create = true})
      t.raises("option 'exclusive': boolean expected", fifo.create, path,
        {exclusive = 1})
      for _, bad in ipairs {"rw", "rw-rw-rw", "wr-------", "0888", "01000",
        "99", "", "0600\0", 512, -1, 0.5, {}, true} do
        t.raises("option 'mode'", fifo.create, path, {mode = bad})
      end
      assert.is_false(exists(path))
    end)
  end)

  describe("unlink", function()
    it("removes the name", function()
      assert(fifo.create(path))
      assert.same({n = 1, true}, table.pack(fifo.unlink(path)))
      assert.is_false(exists(path))
      assert.equal("unlink: " .. path .. ": No such file or directory",
        (t.refused("ENOENT", fifo.unlink(path))))
    end)

    it("leaves it to those who have it open", function()
      local r <close>, w = open_both()
      assert(fifo.unlink(path))
      w:write "still\n"
      assert.equal("still", r:read())
      w:close()
      assert.is_nil(r:read())
    end)

    it("removes nothing but FIFOs", function()
      local file = t.names.file "content"
      assert.equal("unlink: " .. file .. ": not a FIFO",
        (t.refused("EINVAL", fifo.unlink(file))))
      t.refused("EISDIR", fifo.unlink(t.names.directory()))
      t.refused("EINVAL", fifo.unlink "/dev/null")
      assert.is_true(exists(file))
      t.refused("ENOTDIR", fifo.unlink "/etc/passwd/fifo")
      t.refused("ENAMETOOLONG", fifo.unlink(("/tmp"):rep(1100)))
    end)

    it("raises at wrong arguments", function()
      t.raises("embedded zero", fifo.unlink, path .. "\0")
      t.raises("string expected", fifo.unlink)
      t.raises("string expected", fifo.unlink, {})
    end)
  end)

  describe("Stream", function()
    it("NBSD:t_mkfifo.c:readeof_nonblock#1 is at its end with no writer",
      function()
        local r <close>, w = open_both()
        w:close()
        assert.same({n = 1}, table.pack(r:read("l", 0)))
        assert.same({n = 1}, table.pack(r:read_some(1, 0)))
        assert.same({n = 1}, table.pack(r:receive(0)))
      end)

    it("NBSD:t_mkfifo.c:readeof_block#1 is so for a call that waits too",
      function()
        local r <close>, w = open_both()
        w:close()
        local seconds, line = t.took(r.read, r, "l")
        assert.is_nil(line)
        assert.is_true(seconds < 5 * t.slow)
      end)

    it("NBSD:t_mkfifo.c:readeof_block#2 gives what the writer left first",
      function()
        local r <close>, w = open_both()
        w:write "x"
        w:close()
        assert.equal("x", r:read(1))
        assert.is_nil(r:read(1))
      end)

    it("is not at its end while there is a writer", function()
      local r <close>, w = open_both()
      t.timed_out(r:read(1, 0))
      expires(0.03, r.read, r, "l", 0.03)
      w:close()
      assert.is_nil(r:read(1, 0))
    end)

    it("goes on after the end when another writer comes", function()
      local r <close>, w = open_both()
      w:write "first\n"
      w:close()
      assert.equal("first", r:read())
      assert.is_nil(r:read())
      assert(os.execute("echo second >" .. path))
      assert.equal("second", r:read("l", 0))
      assert.is_nil(r:read())
      w = assert(fifo.open(path, "w", nil, 0))
      t.timed_out(r:read("l", 0))
      w:write "third\n"
      w:close()
      assert.equal("third", r:read())
      assert.is_nil(r:read())
    end)

    it("GV:fifo.cc:FifoTruncNoOp keeps its data when opened again", function()
      local both = assert(fifo.open(path, "rw", {create = true}))
      both:write "kept"
      assert(os.execute(": >" .. path)) -- with O_TRUNC
      local again = assert(fifo.open(path, "w", nil, 0))
      again:write " and more"
      assert.equal("kept and more", both:read(13, 0))
      again:close()
      both:close()
    end)

    it("says EPIPE when nobody reads any more", function()
      local r, w = open_both()
      r:close()
      t.refused("EPIPE", w:write "x")
      w:close()
    end)

    it("carries 10 MB between processes, both ways of blocking", function()
      local bytes = ("0123456789abcdef"):rep(655360)
      local r, w = open_both()
      local child = assert(process.fork(function()
        r:close()
        assert(w:write(bytes))
      end))
      w:close()
      assert.is_true(r:read "a" == bytes)
      ended(child)
      child = assert(process.spawn({"sh", "-c", "cat <" .. path .. " | cksum"},
        {stdout = "pipe"}))
      w = assert(fifo.open(path, "w", nil, 20 * t.slow))
      assert(w:write(bytes))
      w:close()
      r:close()
      local file = t.names.file(bytes)
      local expected <close> = assert(io.popen("cksum <" .. file))
      assert.equal(expected:read "a", child.stdout:read "a")
      child.stdout:close()
      ended(child)
    end)

    it("has the capacity of a pipe", function()
      local r <close>, w = open_both()
      assert.equal(65536, r:capacity())
      assert.equal(131072, w:set_capacity(131072))
      assert.equal(131072, r:capacity())
      w:close()
    end)

    it("speaks with an echo server in Python", function()
      local back = t.names.path()
      assert(fifo.create(path))
      assert(fifo.create(back))
      local child = assert(process.spawn({"python3", "-c", [[
import sys
with open(sys.argv[1], "rb", 0) as r, open(sys.argv[2], "wb", 0) as w:
    for line in r: w.write(line.upper())]], path, back}))
      local w = assert(fifo.open(path, "w", nil, 20 * t.slow))
      local r = assert(fifo.open(back, "r", nil, 20 * t.slow))
      for i = 1, 50 do
        w:write("line ", i, "\n")
        assert.equal("LINE " .. i, r:read("l", 10 * t.slow))
      end
      w:close()
      assert.is_nil(r:read("l", 10 * t.slow))
      r:close()
      ended(child)
      assert(fifo.unlink(back))
    end)
  end)
end)
