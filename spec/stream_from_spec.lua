-- Streams from descriptors and files, files from Streams, one Stream of two.
local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local fifo, pipe, process, stream = ipc.fifo, ipc.pipe, ipc.process,
  ipc.stream

local O_NONBLOCK = tonumber("4000", 8)

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

local PRELUDE = [[
local ipc = require "unixipc"
local stream, errno = ipc.stream, ipc.errno
local function code_of(...) return errno.name((select(3, ...))) end
]]

-- Runs a script with room for so many descriptors.
local function with_limit(limit, script)
  local result = t.children.run("", {command = {"sh", "-c",
    'ulimit -n "$0"; exec "$@"', limit, os.getenv "LUA" or "lua5.4",
    t.names.file(PRELUDE .. script)}})
  assert.equal("", result.err)
  assert.equal(0, result.code)
  return result.out
end

describe("stream.from", function()
  local r, w

  before_each(function() r, w = assert(pipe.open()) end)
  after_each(function()
    r:close()
    w:close()
  end)

  it("takes an integer, and each side closes its own", function()
    local s = assert(stream.from(r:fileno()))
    assert.are_not.equal(r:fileno(), s:fileno())
    w:write "one\ntwo\n"
    assert.equal("one\n", s:read(4))
    s:close()
    w:write "three\n"
    assert.equal("three", r:read())
    s = assert(stream.from(w:fileno()))
    w:close()
    s:write "four\n"
    s:close()
    assert.equal("four", r:read())
    assert.is_nil(r:read())
  end)

  it("adopts an integer itself", function()
    local path = t.names.path()
    local result = t.children.run("", {command = {"sh", "-c",
      'exec 7>"$0"; exec "$@"', path, os.getenv "LUA" or "lua5.4",
      t.names.file(PRELUDE .. [[
        local s = assert(stream.from(7, {adopt = true}))
        assert(s:fileno() == 7)
        s:setvbuf "full":write "adopted"
        assert(s:close())
        print(code_of(stream.from(7)), code_of(stream.from(7, {adopt = true})))
      ]])}})
    assert.equal("", result.err)
    assert.equal("EBADF\tEBADF\n", result.out)
    local file <close> = assert(io.open(path))
    assert.equal("adopted", file:read "a")
  end)

  it("takes a Lua file, and flushes it first", function()
    local file = assert(w:to_file())
    file:setvbuf "full"
    file:write "file, "
    local s = assert(stream.from(file))
    s:write "stream, "
    file:write "file"
    file:close()
    s:close()
    w:close()
    assert.equal("file, stream, file", r:read "a")
  end)

  it("goes on in a regular file where the Lua file is", function()
    local file <close> = assert(io.open(t.names.file "one\ntwo\nthree\n"))
    file:read()
    local s <close> = assert(stream.from(file))
    assert.equal("two\nthree\n", s:read "a")
  end)

  it("leaves to a Lua file what that has read ahead from a pipe", function()
    local file = assert(r:to_file())
    w:write "one\ntwo\n"
    assert.equal("one", file:read())
    w:write "three\n"
    w:close()
    local s <close> = assert(stream.from(file))
    assert.equal("three\n", s:read "a")
    assert.equal("two\n", file:read "a")
    file:close()
  end)

  it("takes a file of io.popen and leaves it as it is", function()
    local gate = t.children.gate()
    local file = assert(io.popen("printf 'one\\ntwo\\n'; exec cat " .. gate
      .. " >/dev/null"))
    local s = assert(stream.from(file))
    assert.equal("pipe stream fd=" .. s:fileno(), tostring(s))
    assert.equal("one", s:read("l", 10 * t.slow))
    assert.equal("two\n", s:read("a", 10 * t.slow))
    assert.is_false(has_flag(s:fileno(), O_NONBLOCK))
    s:close()
    t.children.open_gate(gate)
    assert.is_true(file:close())
    file = assert(io.popen("grep -q through", "w"))
    s = assert(stream.from(file))
    s:write "through\n"
    assert.is_false(has_flag(s:fileno(), O_NONBLOCK))
    s:close()
    assert.is_true(file:close())
  end)

  it("takes any object with a descriptor", function()
    for _, name in ipairs {"fileno", "pollfd", "getfd"} do
      local object = {[name] = function() return w:fileno() end}
      local s <close> = assert(stream.from(object))
      s:write(name)
      assert.equal(name, r:read(#name))
    end
    local s <close> = assert(stream.from(w))
    s:write "x"
    assert.equal("x", r:read(1))
  end)

  it("is open as the descriptor is, or as told", function()
    local path = t.names.file "content"
    for mode, events in pairs {r = "r", w = "w", a = "w", ["r+"] = "r"} do
      local file <close> = assert(io.open(path, mode))
      local s <close> = assert(stream.from(file))
      assert.equal(events, s:events())
      assert.equal(mode == "r", s:write "" == nil)
    end
    local file <close> = assert(io.open(path, "r+"))
    local s <close> = assert(stream.from(file, {mode = "r"}))
    t.refused("EBADF", s:write "x")
    local s2 <close> = assert(stream.from(file, {mode = "w"}))
    t.refused("EBADF", s2:read(1))
    assert.equal("w", s2:events())
    local s3 <close> = assert(stream.from(file, {mode = "rw"}))
    assert.equal(s3, s3:write "both")
    assert.equal("", s3:read "a")
  end)

  it("reads and writes a regular file", function()
    local path = t.names.path()
    local file = assert(io.open(path, "w"))
    local s = assert(stream.from(file))
    s:write("line ", 1, "\n", ("x"):rep(200000), "\n")
    s:send "message"
    s:close()
    file:close()
    file = assert(io.open(path, "r"))
    s = assert(stream.from(file))
    assert.equal("line 1", s:read())
    assert.equal(200000, #s:read())
    assert.equal("message", s:receive())
    assert.is_nil(s:read())
    s:close()
    file:close()
  end)

  it("tells what the system refuses: EBADF", function()
    assert.equal("fcntl: Bad file descriptor",
      (t.refused("EBADF", stream.from(1 << 20))))
    t.refused("EBADF", stream.from(1 << 20, {adopt = true}))
    local fd = stream.from(r):fileno()
    collectgarbage()
    t.refused("EBADF", stream.from(fd))
  end)

  it("says EBADF for a way that the descriptor is not open for", function()
    t.refused("EBADF", stream.from(w, {mode = "r"}))
    t.refused("EBADF", stream.from(w, {mode = "rw"}))
    t.refused("EBADF", stream.from(r, {mode = "w"}))
    w:write "x"
    assert.equal("x", r:read(1))
  end)

  it("says EMFILE at the limit of descriptors, and leaks none", function()
    assert.equal("EMFILE EMFILE EMFILE EMFILE ok\n", with_limit(20, [[
      local r, w = assert(ipc.pipe.open())
      local files, file = {}
      repeat
        file = io.open "/dev/null"
        files[#files + 1] = file
      until not file
      local from, to = code_of(stream.from(r)), code_of(r:to_file())
      local pipe = code_of(ipc.pipe.open())
      table.remove(files):close() -- one is too few for a pipe
      local again = code_of(ipc.pipe.open())
      local s = assert(stream.from(w))
      s:write "ok"
      print(from, to, pipe, again, r:read(2))
    ]]):gsub("\t", " "))
  end)

  it("raises at wrong arguments", function()
    t.raises("descriptor", stream.from)
    t.raises("descriptor", stream.from, "x")
    t.raises("descriptor", stream.from, {})
    t.raises("descriptor", stream.from, -1)
    t.raises("descriptor", stream.from, 1 << 31)
    t.raises("descriptor", stream.from, 1.5)
    t.raises("descriptor", stream.from, {fileno = function() end})
    t.raises("unknown option 'way'", stream.from, r, {way = "r"})
    t.raises("option 'mode': unknown word 'a'", stream.from, r, {mode = "a"})
    t.raises("option 'mode': string expected", stream.from, r, {mode = 1})
    t.raises("option 'adopt': boolean expected", stream.from, 3, {adopt = 1})
    t.raises("only an integer", stream.from, r, {adopt = true})
    t.raises("table expected", stream.from, r, "r")
    local file = assert(io.tmpfile())
    file:close()
    t.raises("file is closed", stream.from, file)
    local s = assert(stream.from(r))
    s:close()
    t.raises("object is closed", stream.from, s)
  end)
end)

describe("Stream:to_file", function()
  local r, w

  before_each(function() r, w = assert(pipe.open()) end)
  after_each(function()
    r:close()
    w:close()
  end)

  it("gives Lua files with descriptors of their own", function()
    local out, input = assert(w:to_file()), assert(r:to_file())
    assert.equal("file", io.type(out))
    out:write("line\n", 12)
    out:close()
    assert.equal("closed file", io.type(out))
    w:write " 13\n"
    w:close()
    r:close()
    assert.same({"line", 12, 13}, {input:read("l", "n", "n")})
    assert.equal("\n", input:read "a")
    assert.is_true(input:close())
  end)

  it("gives files that block, while the stream does not", function()
    local file = assert(r:to_file())
    local child = assert(process.fork(function()
      r:close()
      w:close()
      return file:read "l" == "late" and 0 or 5
    end))
    assert.is_true(has_flag(r:fileno(), O_NONBLOCK))
    assert.is_nil((child:wait(0.01)))
    w:write "late\n"
    ended(child)
    file:close()
    t.timed_out(r:read(1, 0))
  end)

  it("gives a file that waits for room", function()
    local file = assert(w:to_file())
    w:close()
    local child = assert(process.fork(function()
      file:write(("x"):rep(1 << 20))
      file:close()
    end))
    file:close()
    assert.equal(1 << 20, #r:read "a")
    ended(child)
  end)

  it("gives one way of two", function()
    local s, child = assert(pipe.popen({"cat"}, "rw"))
    local out = assert(s:to_file "w")
    local input = assert(s:to_file "r")
    out:write "through\n"
    out:close()
    s:shutdown "write"
    assert.equal("through", input:read())
    assert.is_nil(input:read())
    input:close()
    s:close()
    ended(child)
  end)

  it("gives both ways of a FIFO in one file", function()
    local path = t.names.path()
    local s = assert(fifo.open(path, "rw",
      {create = true, temporary = true}))
    local file = assert(s:to_file())
    file:setvbuf "no"
    file:write "round\n"
    file:seek "cur" -- between writing and reading, as C asks for
    assert.equal("round", file:read())
    file:close()
    s:close()
  end)

  it("does not wait for the other side of a FIFO", function()
    local path = t.names.path()
    local result = t.children.run([[
      local fifo = require "unixipc.fifo"
      local both = assert(fifo.open(arg[1], "rw", {create = true}))
      local r = assert(fifo.open(arg[1], "r"))
      local w = assert(fifo.open(arg[1], "w"))
      w:write "before\n"
      w:close()
      both:close()
      local file = assert(r:to_file())
      print(file:read(), file:read())
      file:close()
    ]], {args = {path}, timeout = 5 * t.slow})
    assert.is_false(result.timed_out)
    assert.equal("before\tnil\n", result.out)
    assert(fifo.unlink(path))
  end)

  it("writes out what is kept back first", function()
    w:setvbuf "full"
    w:write "kept, "
    local file = assert(w:to_file())
    file:write "file"
    file:close()
    assert.equal("kept, file", r:read(10))
  end)

  it("says EBUSY when input is in the buffer already", function()
    w:write "one\ntwo\n"
    r:read()
    assert.equal("fdopen: Device or resource busy",
      (t.refused("EBUSY", r:to_file())))
    r:read()
    local file = assert(r:to_file())
    w:write "three\n"
    assert.equal("three", file:read())
    file:close()
  end)

  it("says EBADF when it is not open that way, EINVAL for both", function()
    t.refused("EBADF", r:to_file "w")
    t.refused("EBADF", w:to_file "r")
    t.refused("EINVAL", r:to_file "r+")
    t.refused("EINVAL", w:to_file "w+")
  end)

  it("says what kept it from writing what is kept back", function()
    w:setvbuf "full"
    w:write "x"
    r:close()
    t.refused("EPIPE", w:to_file())
  end)

  it("raises at a mode that is none", function()
    t.raises("invalid mode", r.to_file, r, "x")
    t.raises("invalid mode", r.to_file, r, "")
    t.raises("string expected", r.to_file, r, {})
  end)

  it("gives a file that the collector closes", function()
    assert(w:to_file())
    w:close()
    collectgarbage()
    collectgarbage()
    assert.is_nil(r:read("l", 5))
  end)
end)

describe("stream.join", function()
  it("reads from the one and writes to the other", function()
    local r, to_us = assert(pipe.open())
    local from_us, w = assert(pipe.open())
    local fds = {r:fileno(), w:fileno()}
    local both = assert(stream.join(r, w))
    assert.equal("pipe stream (closed)", tostring(r))
    assert.equal("pipe stream (closed)", tostring(w))
    t.raises("closed stream", r.read, r)
    to_us:write "in\n"
    both:write "out\n"
    assert.equal("in", both:read())
    assert.equal("out", from_us:read())
    assert.equal("r", both:events())
    assert.equal(fds[1], both:fileno())
    assert.is_true(both:close())
    assert.is_false(is_open(fds[1]) or is_open(fds[2]))
    assert.is_nil(from_us:read())
    t.refused("EPIPE", to_us:write "x")
    from_us:close()
    to_us:close()
  end)

  it("keeps what is in the buffers", function()
    local r, to_us = assert(pipe.open())
    local from_us, w = assert(pipe.open())
    to_us:write "one\ntwo\n"
    r:read()
    w:setvbuf "full":write "kept"
    local both = assert(stream.join(r, w))
    assert.is_true(both:dirty())
    assert.equal("two", both:read())
    both:write ", more"
    assert.equal(0, from_us:available())
    both:shutdown "write"
    assert.equal("kept, more", from_us:read "a")
    for _, s in ipairs {both, from_us, to_us} do s:close() end
  end)

  it("is closed by the collector, with both descriptors", function()
    local r, to_us = assert(pipe.open())
    local from_us, w = assert(pipe.open())
    stream.join(r, w)
    r, w = nil, nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_nil(from_us:read(1, 5))
    t.refused("EPIPE", to_us:write "x")
    from_us:close()
    to_us:close()
  end)

  it("raises at a temporary FIFO, which stays what it is", function()
    local path = t.names.path()
    local child = assert(process.fork(function()
      while not lfs.attributes(path) do process.sleep(0.001) end
      return assert(fifo.open(path, "w")):write "x" ~= nil
    end))
    local f = assert(fifo.open(path, "r", {create = true, temporary = true}))
    local r, w = assert(pipe.open())
    t.raises("must not be temporary", stream.join, f, w)
    assert.equal("x", f:read "a")
    assert.is_true(f:close())
    assert.is_nil((lfs.attributes(path)))
    ended(child)
    r:close()
    w:close()
  end)

  it("raises at wrong arguments, and leaves them as they are", function()
    local r, w = assert(pipe.open())
    t.raises("must be open for reading", stream.join, w, r)
    t.raises("must be open for writing", stream.join, r, r)
    t.raises("must be open for reading", stream.join, w, w)
    t.raises("stream expected", stream.join, r)
    t.raises("stream expected", stream.join, 3, w)
    t.raises("string expected", stream.join, r, w, {})
    w:write "x"
    assert.equal("x", r:read(1))
    local both = stream.join(r, w)
    t.raises("must be open for reading", stream.join, both, both)
    t.raises("closed stream", stream.join, r, w)
    both:close()
  end)
end)
