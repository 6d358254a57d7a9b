-- What a Stream is, beside reading and writing: its life, descriptors, ends.
local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local fifo, pipe, process, stream = ipc.fifo, ipc.pipe, ipc.process,
  ipc.stream

local O_NONBLOCK, O_CLOEXEC = tonumber("4000", 8), tonumber("2000000", 8)

local function has_flag(fd, flag)
  local file <close> = assert(io.open("/proc/self/fdinfo/" .. fd))
  return tonumber(file:read "a":match "flags:%s*(%d+)", 8) & flag ~= 0
end

local function is_open(fd)
  return lfs.symlinkattributes("/proc/self/fd/" .. fd) ~= nil
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(10 * t.slow)})
  child:close()
end

-- Runs a script whose standard input is a socket. `peer`: what a Python
-- program does with the other side, `s`.
local DRIVER = [[
import socket, subprocess, sys
s, other = socket.socketpair()
s.settimeout(30)
child = subprocess.Popen(sys.argv[2:], stdin=other)
other.close()
exec(sys.argv[1])
sys.exit(child.wait())
]]

local PRELUDE = [[
local ipc = require "unixipc"
local stream, errno = ipc.stream, ipc.errno
local function code_of(...) return errno.name((select(3, ...))) end
]]

local function with_socket(peer, script)
  local result = t.children.run("", {command = {"python3", "-c", DRIVER, peer,
    os.getenv "LUA" or "lua5.4", t.names.file(PRELUDE .. script)}})
  assert.equal("", result.err)
  assert.equal(0, result.code)
  return result.out
end

describe("a Stream", function()
  local r, w

  before_each(function() r, w = assert(pipe.open()) end)
  after_each(function()
    r:close()
    w:close()
  end)

  describe("closed", function()
    local METHODS = {"read", "read_some", "lines", "write", "write_some",
      "flush", "setvbuf", "send", "receive", "set_limit", "set_timeout",
      "available", "shutdown", "to_file", "fileno", "pollfd", "events",
      "capacity", "set_capacity"}

    it("has no descriptor any more", function()
      local fd = r:fileno()
      assert.is_true(is_open(fd))
      assert.same({n = 1, true}, table.pack(r:close()))
      assert.is_false(is_open(fd))
    end)

    it("GV:pipe.cc:CloseTwice is closed once: no stranger is hit", function()
      local fd = r:fileno()
      r:close()
      local r2, w2 = assert(pipe.open())
      assert.equal(fd, r2:fileno())
      assert.is_true(r:close())
      assert.is_true(r:close())
      r = nil -- luacheck: ignore
      collectgarbage()
      w2:write "still open\n"
      assert.equal("still open", r2:read())
      r = r2
      w2:close()
    end)

    it("raises at every method that needs it open", function()
      r:close()
      for _, name in ipairs(METHODS) do
        t.raises("attempt to use a closed stream", r[name], r)
      end
    end)

    it("still answers what event loops and people ask", function()
      r:close()
      assert.equal(-1, r:getfd())
      assert.is_nil(r:timeout())
      assert.is_false(r:dirty())
      assert.equal("pipe stream (closed)", tostring(r))
    end)

    it("by <close>, also when an error passes", function()
      local fd
      t.raises("passing", function()
        local s <close> = assert(stream.from(r))
        fd = s:fileno()
        assert.is_true(is_open(fd))
        error "passing"
      end)
      assert.is_false(is_open(fd))
    end)

    it("by the collector", function()
      local fd = stream.from(r):fileno()
      collectgarbage()
      collectgarbage()
      assert.is_false(is_open(fd))
      for _ = 1, 200 do pipe.open() end
      collectgarbage()
      collectgarbage()
      local count = 0
      for _ in lfs.dir "/proc/self/fd" do count = count + 1 end
      assert.is_true(count < 100, count .. " descriptors")
    end)

    it("is the end of file for the other side", function()
      w:close()
      assert.is_nil(r:read(1))
      r:close()
    end)

    it("by a child stays open here, and the other way round", function()
      ended(assert(process.fork(function()
        w:write "child\n"
        w:close()
        r:close()
      end)))
      w:write "parent\n"
      assert.equal("child", r:read())
      assert.equal("parent", r:read())
    end)

    it("says what it could not write, and is closed all the same", function()
      w:setvbuf("full", 100000):set_timeout(0.02)
      w:write(("x"):rep(80000))
      local fd = w:fileno()
      local seconds = t.took(function() t.timed_out(w:close()) end)
      assert.is_true(seconds >= 0.02 and seconds < 2 * t.slow)
      assert.is_false(is_open(fd))
      assert.is_true(w:close())
    end)
  end)

  it("is told from other things", function()
    for _, other in ipairs {io.stdin, {}, "x", 1} do
      t.raises("stream expected", r.close, other)
      t.raises("stream expected", r.available, other)
    end
    local child <close> = assert(process.spawn {"true"})
    t.raises("stream expected", r.close, child)
    child:wait()
    assert.equal("unixipc", getmetatable(r))
  end)

  it("says what it is", function()
    assert.equal("pipe stream fd=" .. r:fileno(), tostring(r))
    local file <close> = assert(io.tmpfile())
    local null <close> = assert(io.open "/dev/null")
    for name, fd in pairs {["file stream"] = file, ["device stream"] = null,
      ["pipe stream"] = w} do
      local s <close> = assert(stream.from(fd))
      assert.equal(name .. " fd=" .. s:fileno(), tostring(s))
    end
    local path = t.names.path()
    local f = assert(fifo.open(path, "rw", {create = true, temporary = true}))
    assert.equal(("fifo stream fd=%d %s"):format(f:fileno(), path),
      tostring(f))
    f:close()
    assert.equal("fifo stream (closed)", tostring(f))
    local fds = r:fileno() .. "," .. w:fileno()
    local both <close> = stream.join(r, w, "both ends")
    assert.equal(("pipe stream fd=%s both ends"):format(fds), tostring(both))
  end)

  it("fits into event loops", function()
    for _, s in ipairs {r, w} do
      assert.equal("integer", math.type(s:fileno()))
      assert.equal(s:fileno(), s:pollfd())
      assert.equal(s:fileno(), s:getfd())
      assert.is_nil(s:timeout())
      assert.is_false(s:dirty())
    end
    assert.equal("r", r:events())
    assert.equal("w", w:events())
    w:write "one\ntwo\n"
    assert.is_false(r:dirty()) -- that is for the kernel to tell
    r:read()
    assert.is_true(r:dirty())
    assert.equal(0, r:timeout())
    r:read()
    assert.is_false(r:dirty())
    assert.is_nil(r:timeout())
  end)

  it("has descriptors that no program inherits", function()
    local path = t.names.path()
    local both = assert(fifo.open(path, "rw", {create = true}))
    local command, child = assert(pipe.popen({"cat"}, "rw"))
    local list = {r, w, both, assert(fifo.open(path, "r")),
      assert(fifo.open(path, "w")), assert(stream.from(r)),
      assert(stream.from(io.stderr)), command, child}
    for _, object in ipairs(list) do
      local fd = object:fileno() -- -1: valgrind knows no pidfd
      assert.is_true(fd < 0 or has_flag(fd, O_CLOEXEC), tostring(object))
    end
    local file = assert(w:to_file())
    local seen <close> = assert(stream.from(file))
    local target = lfs.symlinkattributes("/proc/self/fd/" .. r:fileno(),
      "target")
    assert.is_true(has_flag(seen:fileno(), O_CLOEXEC))
    -- one level down nobody sees the pipe, by whatever number
    local pipe_lines <close> = assert(io.popen "ls -l /proc/self/fd")
    assert.is_nil(pipe_lines:read "a":find(target, 1, true))
    file:close()
    command:shutdown "write"
    ended(child)
    for _, object in ipairs(list) do object:close() end
    fifo.unlink(path)
  end)

  it("leaves the descriptors of a program blocking", function()
    -- O_NONBLOCK is of the open file, which parent and child share
    local PYTHON = [[
import fcntl, os, sys
print([fcntl.fcntl(n, fcntl.F_GETFL) & os.O_NONBLOCK for n in (0, 1)])
sys.stdout.flush()
print(sys.stdin.readline().strip() + "!")]]
    local result, output = assert(pipe.open())
    local child = assert(process.spawn({"python3", "-c", PYTHON},
      {stdin = r, stdout = output}))
    output:close()
    assert.equal("[0, 0]", result:read("l", 10 * t.slow))
    assert.is_true(has_flag(r:fileno(), O_NONBLOCK))
    w:write "late\n"
    assert.equal("late!", result:read("l", 10 * t.slow))
    ended(child)
    result:close()
    t.timed_out(r:read(1, 0))
    local s, command = assert(pipe.popen({"python3", "-c", PYTHON}, "rw"))
    assert.equal("[0, 0]", s:read("l", 10 * t.slow))
    s:write "x\n"
    assert.equal("x!", s:read("l", 10 * t.slow))
    ended(command)
    s:close()
  end)

  describe("available", function()
    it("counts what is in the kernel and in the buffer", function()
      assert.equal(0, r:available())
      w:write "one\ntwo"
      assert.equal(7, r:available())
      r:read()
      assert.equal(3, r:available())
      w:write "more"
      assert.equal(7, r:available())
      r:read(5)
      assert.equal(2, r:available())
      w:close()
      assert.equal(2, r:available())
      r:read "a"
      assert.equal(0, r:available())
    end)

    it("GV:pipe.cc:FionRead is of the reading end: else EBADF", function()
      w:write "12345"
      assert.equal(5, r:available())
      assert.equal("ioctl: Bad file descriptor",
        (t.refused("EBADF", w:available())))
    end)

    it("is what is left of a file, and ENOTTY of a device", function()
      local file <close> = assert(io.open(t.names.file "123456"))
      file:setvbuf "no"
      file:read(2)
      local s <close> = assert(stream.from(file))
      assert.equal(4, s:available())
      local null <close> = assert(io.open "/dev/null")
      local d <close> = assert(stream.from(null))
      t.refused("ENOTTY", d:available())
    end)
  end)

  describe("shutdown", function()
    it("of writing is the end of file, of reading EPIPE", function()
      assert.same({n = 1, true}, table.pack(w:shutdown "write"))
      assert.is_nil(r:read(1))
      t.refused("EBADF", w:write "x")
      local r2, w2 = assert(pipe.open())
      assert.is_true(r2:shutdown "read")
      t.refused("EPIPE", w2:write "x")
      t.refused("EBADF", r2:read(1))
      r2:close()
      w2:close()
    end)

    it("is of both ways when not told", function()
      local fd = w:fileno()
      assert.is_true(w:shutdown())
      assert.is_false(is_open(fd))
      assert.is_true(r:shutdown "both")
      assert.is_true(r:close())
    end)

    it("leaves the other way of a program open", function()
      local s, child = assert(pipe.popen({"cat"}, "rw"))
      s:setvbuf "full"
      s:write "kept back"
      assert.is_true(s:shutdown "write")
      t.refused("EBADF", s:write "x")
      t.refused("EBADF", s:shutdown "write")
      assert.equal("kept back", s:read "a")
      assert.is_true(s:shutdown "read")
      ended(child)
      assert.is_true(s:close())
    end)

    it("says EBADF when there is no such way", function()
      assert.equal("shutdown: Bad file descriptor",
        (t.refused("EBADF", r:shutdown "write")))
      t.refused("EBADF", w:shutdown "read")
      w:write "x"
      assert.equal("x", r:read(1))
    end)

    it("says what kept it from writing what is kept back", function()
      w:setvbuf "full"
      w:write "x"
      r:close()
      assert.equal("shutdown: Broken pipe",
        (t.refused("EPIPE", w:shutdown "write")))
    end)

    it("raises at another word", function()
      t.raises("invalid option 'reading'; known: read, write, both",
        r.shutdown, r, "reading")
      t.raises("string expected", r.shutdown, r, {})
    end)

    it("of one way of a FIFO open for both is refused: ENOTSOCK", function()
      local path = t.names.path()
      local f = assert(fifo.open(path, "rw",
        {create = true, temporary = true}))
      t.refused("ENOTSOCK", f:shutdown "write")
      f:close()
    end)
  end)

  describe("set_timeout", function()
    local CALLS = {
      function(s) return s:read() end,
      function(s) return s:read "a" end,
      function(s) return s:read(3, 4, nil) end,
      function(s) return s:read_some() end,
      function(s) return s:receive() end,
    }

    it("gives the time of calls that are given none", function()
      assert.equal(r, r:set_timeout(0.02))
      for _, call in ipairs(CALLS) do
        local results = table.pack(t.took(call, r))
        assert.is_true(results[1] >= 0.02 and results[1] < 2 * t.slow)
        t.timed_out(table.unpack(results, 2))
      end
      w:set_timeout(0.02)
      w:write(("x"):rep(65536))
      for _, call in ipairs {
        function() return w:write "x" end,
        function() return w:write_some "x" end,
        function() return w:send "x" end,
        function() return w:setvbuf "full":write "x":flush() end,
        function() return w:setvbuf "no" end,
        function() return w:shutdown() end,
        function() return w:to_file() end,
      } do
        local results = table.pack(t.took(call))
        assert.is_true(results[1] >= 0.02 and results[1] < 2 * t.slow)
        t.timed_out(table.unpack(results, 2))
      end
      r:read(65536)
    end)

    it("gives way to a call's own", function()
      r:set_timeout(1000)
      t.timed_out(r:read("l", 0))
      t.timed_out(r:read_some(1, 0))
      t.timed_out(r:receive(0))
      w:set_timeout(1000)
      w:write(("x"):rep(65536))
      t.timed_out(w:write_some("x", 0))
      t.timed_out(w:send("x", 0))
    end)

    it("of nil is for ever again", function()
      r:set_timeout(0)
      t.timed_out(r:read())
      assert.equal(r, r:set_timeout(nil))
      local child = assert(process.fork(function() w:write "came\n" end))
      assert.equal("came", r:read())
      ended(child)
      r:set_timeout(0):set_timeout()
      child = assert(process.fork(function() w:write "came\n" end))
      assert.equal("came", r:read())
      ended(child)
    end)

    it("raises at what is no time", function()
      for _, bad in ipairs {-1, 0 / 0, -math.huge} do
        t.raises("timeout must be", r.set_timeout, r, bad)
      end
      t.raises("number expected", r.set_timeout, r, "x")
      t.raises("number expected", r.set_timeout, r, {})
    end)
  end)
end)

describe("a Stream on a socket", function()
  it("GV:socket_generic_test_cases.cc:BasicReadWrite", function()
    assert.equal("socket stream fd=N r\npong\n", with_socket([[
assert s.recv(5) == b"ping\n"
s.sendall(b"pong\n")]], [[
      local s = assert(stream.from(0))
      print((tostring(s):gsub("%d+", "N")), s:events())
      s:write "ping\n"
      print(s:read())
      local file <close> = io.open("/proc/self/fdinfo/" .. s:fileno())
      assert(tonumber(file:read "a":match "flags:%s*(%d+)", 8) & 2048 == 0)
    ]]):gsub("\t", " "))
  end)

  it("GV:socket_generic_test_cases.cc:RecvWaitAll reads a whole count",
    function()
      assert.equal("halfhalf\n", with_socket([[
s.sendall(b"half")
s.recv(1)
s.sendall(b"half")]], [[
        local s = assert(stream.from(0))
        assert(select(4, s:read(8, 0.05)) == 4)
        s:write "."
        print(s:read(8))
      ]]))
    end)

  it("GV:socket_unix_stream.cc:WriteOneSideClosed says EPIPE", function()
    assert.equal("EPIPE EPIPE\n", with_socket([[
s.close()]], [[
      local s = assert(stream.from(0))
      assert(s:read(1) == nil)
      print(code_of(s:write "x"), code_of(s:send "x"))
    ]]):gsub("\t", " "))
  end)

  it("LTP:shutdown01 ends one direction only", function()
    assert.equal("EPIPE ETIMEDOUT reply nil\n", with_socket([[
assert s.recv(100) == b"last"
assert s.recv(100) == b""
s.sendall(b"reply")
s.close()]], [[
      local s = assert(stream.from(0))
      local code = select(3, s:read(1, 0))
      s:setvbuf "full":write "last"
      assert(s:shutdown "write")
      print(code_of(s:write_some "x"), errno.name(code), s:read(5), s:read(1))
    ]]):gsub("\t", " "))
  end)

  it("GV:socket_unix.cc:Shutdown lets data in flight be read", function()
    assert.equal("in flight nil EPIPE\n", with_socket([[
s.sendall(b"in flight")
assert s.recv(100) == b"."
assert s.recv(100) == b""]], [[
      local s = assert(stream.from(0))
      while s:available() < 9 do ipc.poll.wait({s}, 1) end
      s:write "."
      assert(s:shutdown "both")
      print(s:read(9), s:read(1), code_of(s:write "x"))
    ]]):gsub("\t", " "))
  end)

  it("says ECONNRESET when the peer left data unread", function()
    assert.equal("ECONNRESET\n", with_socket([[
s.recv(1, socket.MSG_PEEK)
s.close()]], [[
      local s = assert(stream.from(0))
      s:write "never read"
      print(code_of(s:read(1)))
    ]]))
  end)

  it("never blocks where the kernel would, and loses nothing", function()
    local gate = t.children.gate()
    assert.equal("true\t20000000\n", with_socket(([[
open("%s").read()
total = 0
while total < 20000000: total += len(s.recv(65536))
s.sendall(b"%%d" %% total)
s.close()]]):format(gate), ([[
      local s = assert(stream.from(0))
      local bytes = ("x"):rep(20000000)
      local _, why, _, n = s:set_timeout(0.02):write(bytes)
      assert(why == "timeout")
      io.open("%s", "w"):close()
      assert(s:set_timeout(nil):write(bytes:sub(n + 1)))
      s:shutdown "write"
      print(n > 0 and n < #bytes, s:read "a")
    ]]):format(gate)))
  end)
end)
