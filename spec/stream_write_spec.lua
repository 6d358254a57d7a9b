local t = require "support"
local ipc = require "unixipc"
local errno, pipe, process, stream = ipc.errno, ipc.pipe, ipc.process,
  ipc.stream

-- The call runs out of time: not early, and not much too late. Returns how
-- many bytes were done.
local function expires(seconds, fn, ...)
  local results = table.pack(t.took(fn, ...))
  assert.is_true(results[1] >= seconds, "early: " .. results[1])
  assert.is_true(results[1] < seconds + 2 * t.slow, "late: " .. results[1])
  return t.timed_out(table.unpack(results, 2, results.n))
end

local function ended(child, ...)
  assert.same({"exit", 0, ...}, {child:wait(10 * t.slow)})
  child:close()
end

-- What a child reads up to the end; asked for when the writer is closed.
local function collector(r, w)
  local back_r, back_w = assert(pipe.open())
  local child = assert(process.fork(function()
    w:close()
    back_r:close()
    assert(back_w:write(r:read "a"))
  end))
  back_w:close()
  return function()
    local bytes = back_r:read "a"
    back_r:close()
    ended(child)
    return bytes
  end
end

-- What is in the pipe, without waiting for more.
local function taken(r)
  local n = r:available()
  return n > 0 and r:read(n) or ""
end

local function pattern(n)
  local block = {}
  for i = 0, 255 do block[i + 1] = string.char(i) end
  return table.concat(block):rep(n // 256 + 1):sub(1, n)
end

describe("Stream:write", function()
  local r, w

  before_each(function() r, w = assert(pipe.open()) end)
  after_each(function()
    r:close()
    w:close()
  end)

  it("writes strings of any bytes and gives the stream", function()
    assert.equal(w, w:write "abc")
    assert.equal(w, w:write("", "\0\255\r\n", ""))
    assert.equal(w, w:write())
    assert.equal(w, w:write "")
    assert.equal("abc\0\255\r\n", taken(r))
  end)

  it("writes numbers as tostring does", function()
    local numbers = {0, -1, 12, 1.5, 0.1, 1.0, -0.0, 1e100, 2 ^ 53, 1 / 3,
      math.maxinteger, math.mininteger, math.huge, -math.huge}
    w:write(table.unpack(numbers))
    for i, n in ipairs(numbers) do numbers[i] = tostring(n) end
    assert.equal(table.concat(numbers), taken(r))
    w:write("x", 1, "y", 2.5, "\n")
    assert.equal("x1y2.5\n", taken(r))
  end)

  it("writes any number of arguments in their order", function()
    for _, n in ipairs {1, 15, 16, 17, 32, 33, 200} do
      local words = {}
      for i = 1, n do words[i] = i % 5 == 0 and "" or i .. "," end
      assert.equal(w, w:write(table.unpack(words)))
      assert.equal(table.concat(words), taken(r))
    end
  end)

  it("is read by a program", function()
    local path = t.names.path()
    local s, child = assert(pipe.popen("cat >" .. path, "w"))
    s:write("a\0b", 1, "\n")
    s:close()
    ended(child)
    local file <close> = assert(io.open(path, "rb"))
    assert.equal("a\0b1\n", file:read "a")
  end)

  it("raises at wrong arguments, and writes nothing", function()
    t.raises("string expected, got table", w.write, w, "a", {})
    t.raises("string expected, got nil", w.write, w, "a", nil)
    t.raises("string expected, got boolean", w.write, w, true, "a")
    t.raises("stream expected", w.write, io.stdout, "a")
    assert.equal(0, r:available())
  end)

  it("raises when the stream is closed", function()
    w:close()
    t.raises("closed stream", w.write, w, "a")
    t.raises("closed stream", w.write_some, w, "a")
    t.raises("closed stream", w.flush, w)
    t.raises("closed stream", w.setvbuf, w, "no")
  end)

  it("LTP:pipe03 refuses the reading end: EBADF", function()
    assert.equal("write: Bad file descriptor",
      (t.refused("EBADF", r:write "x")))
    assert.equal(0, select(2, t.refused("EBADF", r:write "x")))
    t.refused("EBADF", r:write_some "x")
    t.refused("EBADF", r:setvbuf("full"):write "x")
  end)

  it("tells what the system refuses: ENOSPC", function()
    local file <close> = assert(io.open("/dev/full", "w"))
    local s <close> = assert(stream.from(file))
    assert.same({n = 4, nil, "write: No space left on device",
      errno.ENOSPC, 0}, table.pack(s:write "abc"))
  end)

  it("names the file in its message", function()
    local path = t.names.path()
    local both = assert(ipc.fifo.open(path, "rw", {create = true}))
    local only = assert(ipc.fifo.open(path, "w"))
    local in_way = assert(ipc.fifo.open(path, "r"))
    assert.equal("write: " .. path .. ": Bad file descriptor",
      (t.refused("EBADF", in_way:write "x")))
    both:close()
    in_way:close()
    assert.equal("write: " .. path .. ": Broken pipe",
      (t.refused("EPIPE", only:write "x")))
    only:close()
    assert(ipc.fifo.unlink(path))
  end)

  describe("when there is no room", function()
    it("LTP:pipe12 takes exactly the capacity, then no more", function()
      local capacity = r:capacity()
      w:set_timeout(0)
      assert.equal(capacity, t.timed_out(w:write(("x"):rep(capacity + 1))))
      assert.equal(capacity, r:available())
      assert.equal(0, t.timed_out(w:write "x"))
      assert.equal(("x"):rep(capacity), taken(r))
    end)

    it("waits as long as set_timeout says, not less", function()
      w:set_timeout(0.03)
      assert.equal(65536, expires(0.03, w.write, w, ("x"):rep(70000)))
      assert.equal(0, expires(0.03, w.write, w, "x"))
      assert.equal(65536, r:available())
    end)

    it("counts the bytes of all arguments that were taken", function()
      w:set_timeout(0)
      local words = {}
      for i = 1, 40 do words[i] = ("%d"):format(i % 10):rep(2000) end
      local done = t.timed_out(w:write(table.unpack(words)))
      local got = taken(r)
      assert.equal(done, #got)
      assert.is_true(done > 30000 and done < 80000)
      assert.equal(table.concat(words):sub(1, done), got)
    end)

    it("goes on when a reader makes some", function()
      local bytes = pattern(10 * 1000 * 1000)
      local result = collector(r, w)
      r:close()
      assert.equal(w, w:write(bytes))
      w:close()
      assert.is_true(result() == bytes)
    end)

    it("writes 10 MB of many arguments", function()
      local words = {}
      for i = 1, 100 do words[i] = pattern(100 * 1000 + i) end
      local result = collector(r, w)
      r:close()
      assert.equal(w, w:write(table.unpack(words)))
      w:close()
      assert.is_true(result() == table.concat(words))
    end)
  end)

  describe("when nobody reads any more", function()
    it("says EPIPE", function()
      r:close()
      for _ = 1, 3 do
        assert.same({n = 4, nil, "write: Broken pipe", errno.EPIPE, 0},
          table.pack(w:write "x"))
      end
      assert.equal("write: Broken pipe",
        (t.refused("EPIPE", w:write_some "x")))
    end)

    it("raises no signal, whatever the disposition", function()
      local result = t.children.run [[
        local ipc = require "unixipc"
        local function status(name)
          local file <close> = io.open "/proc/self/status"
          local bits = file:read "a":match(name .. ":\t(%x+)")
          return tonumber(bits, 16) >> (13 - 1) & 1
        end
        assert(status "SigIgn" == 0 and status "SigCgt" == 0)
        local function broken(w)
          assert(select(3, w:write "x") == ipc.errno.EPIPE)
          assert(select(3, w:write_some "x") == ipc.errno.EPIPE)
          assert(select(3, w:send "x") == ipc.errno.EPIPE)
          assert(w:setvbuf("full"):write "x")
          assert(select(3, w:flush()) == ipc.errno.EPIPE)
          assert(select(3, w:close()) == ipc.errno.EPIPE)
        end
        local r, w = ipc.pipe.open()
        r:close()
        broken(ipc.stream.from(w))
        broken(w)
        local file = io.popen("exec true", "w") -- a pipe that may block
        local s = ipc.stream.from(file)
        while s:write "x" do end
        broken(s)
        assert(status "SigIgn" == 0 and status "SigCgt" == 0)
        assert(status "SigBlk" == 0 and status "SigPnd" == 0)
        assert(status "ShdPnd" == 0)
        print "survived"
      ]]
      assert.equal("", result.err)
      assert.equal("survived\n", result.out)
      assert.equal(0, result.code)
    end)

    it("GV:pipe.cc:BlockPartialWriteClosed tells how far it came", function()
      local bytes = pattern(10 * 1000 * 1000)
      local child = assert(process.fork(function()
        w:close()
        return r:read(300000) == bytes:sub(1, 300000)
      end))
      r:close()
      local _, done = t.refused("EPIPE", w:write(bytes))
      assert.is_true(done >= 300000 and done < #bytes, done)
      assert.equal(0, select(2, t.refused("EPIPE", w:write "x")))
      ended(child)
    end)

    it("says so when the program has ended", function()
      local s, child = assert(pipe.popen({"true"}, "w"))
      ended(child)
      t.refused("EPIPE", s:write "x")
      s:close()
    end)
  end)

  it("PY:_test_eintr.py#2 does not mix records of up to PIPE_BUF bytes",
    function()
      local SIZE, COUNT, WRITERS = 4096, 200, 4
      local children = {}
      for i = 1, WRITERS do
        children[i] = assert(process.fork(function()
          r:close()
          local words = {}
          for k = 1, 16 do words[k] = ("%d"):format(i):rep(SIZE // 16) end
          for _ = 1, COUNT do assert(w:write(table.unpack(words))) end
        end))
      end
      w:close()
      local seen = {}
      for record in r:lines(SIZE) do
        local first = record:sub(1, 1)
        assert.is_true(record == first:rep(SIZE), "mixed")
        seen[first] = (seen[first] or 0) + 1
      end
      assert.same({["1"] = COUNT, ["2"] = COUNT, ["3"] = COUNT,
        ["4"] = COUNT}, seen)
      for _, child in ipairs(children) do ended(child) end
    end)

  it("FBSD:fifo_io.c#2 goes on after signals, and no byte is lost or twice",
    function()
      -- stopped and continued: that interrupts each sleep
      local bytes = pattern(512 * 1024)
      local ready_r, ready_w = assert(pipe.open())
      local writer = assert(process.fork(function()
        r:close()
        ready_w:write "."
        assert(w:write(bytes))
      end))
      w:close()
      assert.equal(".", ready_r:read(1))
      local got = {}
      for part in function() return r:read(8192) end do
        got[#got + 1] = part
        os.execute(("kill -STOP %d; kill -CONT %d"):format(writer.pid,
          writer.pid))
      end
      assert.is_true(table.concat(got) == bytes)
      ended(writer)
      ready_r:close()
      ready_w:close()
    end)
end)

describe("Stream:write_some", function()
  local r, w

  before_each(function() r, w = assert(pipe.open()) end)
  after_each(function()
    r:close()
    w:close()
  end)

  it("says how many bytes there was room for", function()
    assert.equal(3, w:write_some "abc")
    assert.equal(0, w:write_some "")
    local n = w:write_some(("x"):rep(100000))
    assert.is_true(n > 60000 and n <= 65533, n)
    assert.equal("abc" .. ("x"):rep(n), taken(r))
  end)

  it("waits for room for a byte", function()
    w:write(("x"):rep(65536))
    expires(0.03, w.write_some, w, "y", 0.03)
    t.timed_out(w:write_some("y", 0))
    local free = #r:read_some()
    local n = w:write_some(("y"):rep(10000), 5)
    assert.is_true(n >= 1 and n <= free, n)
  end)

  it("writes out what is kept back first", function()
    w:setvbuf "full"
    w:write "kept, "
    assert.equal(4, w:write_some "some")
    assert.equal("kept, some", taken(r))
    w:setvbuf "no"
    w:write(("x"):rep(65536))
    w:setvbuf "full"
    w:write "kept"
    expires(0.02, w.write_some, w, "y", 0.02)
    assert.equal(("x"):rep(65536), taken(r))
    assert.equal(1, w:write_some "y")
    assert.equal("kepty", taken(r))
  end)

  it("raises at wrong arguments", function()
    t.raises("string expected", w.write_some, w)
    t.raises("string expected", w.write_some, w, {})
    t.raises("timeout must be", w.write_some, w, "x", -1)
    t.raises("timeout must be", w.write_some, w, "x", 0 / 0)
    t.raises("number expected", w.write_some, w, "x", "y")
    assert.equal(0, r:available())
  end)

  it("never blocks in a pipe shared with a blocking writer", function()
    local gate = t.children.gate()
    local file = assert(io.popen("cat " .. gate, "w")) -- reads no input
    local s = assert(stream.from(file))
    local total = 0
    repeat
      local n = s:write_some(("x"):rep(50000), 0)
      total = total + (n or 0)
    until not n
    assert.is_true(total >= 61440 and total <= 65536, total)
    expires(0.02, s.write_some, s, "x", 0.02)
    assert.equal(0, expires(0.02, s.set_timeout(s, 0.02).write, s, "x"))
    s:close()
    t.children.open_gate(gate)
    file:close()
  end)
end)

describe("Stream:setvbuf", function()
  local r, w

  before_each(function() r, w = assert(pipe.open()) end)
  after_each(function()
    r:close()
    w:close()
  end)

  it("keeps nothing back at first, and with no", function()
    w:write "a"
    assert.equal("a", taken(r))
    assert.equal(w, w:setvbuf "no")
    w:write "b"
    assert.equal("b", taken(r))
  end)

  it("keeps lines back until they end, with line", function()
    assert.equal(w, w:setvbuf "line")
    assert.equal(w, w:write "one")
    assert.equal("", taken(r))
    w:write(" more", " and\n", "tail")
    assert.equal("one more and\ntail", taken(r))
    w:write "no end"
    assert.equal("", taken(r))
    w:write "\n"
    assert.equal("no end\n", taken(r))
  end)

  it("keeps back what fits, with full", function()
    assert.equal(w, w:setvbuf("full", 10))
    w:write "12345\n"
    w:write(67, 89)
    assert.equal("", taken(r))
    w:write "a"
    assert.equal("12345\n6789", taken(r))
    w:write "bcdefghij"
    assert.equal("", taken(r))
    w:write("", "")
    assert.equal("", taken(r))
    w:flush()
    assert.equal("abcdefghij", taken(r))
  end)

  it("writes straight what is larger than the buffer", function()
    w:setvbuf("full", 4)
    w:write "ab"
    w:write "12345"
    assert.equal("ab12345", taken(r))
    w:write("x", "123456789", "y")
    assert.equal("x123456789", taken(r))
    w:flush()
    assert.equal("y", taken(r))
  end)

  it("keeps back 64 KiB when no size is given", function()
    w:setvbuf "full"
    w:write(("x"):rep(65536))
    assert.equal(0, r:available())
    w:write "y"
    assert.equal(65536, r:available())
  end)

  it("writes out what was kept back before it changes", function()
    w:setvbuf "full"
    w:write "old"
    w:setvbuf("full", 2)
    assert.equal("old", taken(r))
    w:write "a"
    w:setvbuf "no"
    assert.equal("a", taken(r))
    w:set_timeout(0)
    w:write(("x"):rep(65536))
    w:setvbuf "full"
    w:write "kept"
    t.timed_out(w:setvbuf "no")
    taken(r)
    assert.equal(w, w:setvbuf "no")
    assert.equal("kept", taken(r))
  end)

  it("raises at wrong arguments", function()
    t.raises("invalid option", w.setvbuf, w, "some")
    t.raises("string expected", w.setvbuf, w)
    t.raises("string expected", w.setvbuf, w, {})
    for _, size in ipairs {0, -1, 1 << 31, math.maxinteger} do
      t.raises("size must be", w.setvbuf, w, "full", size)
    end
    t.raises("no integer representation", w.setvbuf, w, "full", 1.5)
  end)

  it("gives the same bytes in the same order, whatever the mode", function()
    math.randomseed(7)
    local result = collector(r, w)
    r:close()
    local expected = {}
    local function text()
      local s = pattern(math.random(0, 300)) .. (math.random(3) == 1 and "\n"
        or "")
      expected[#expected + 1] = s
      return s
    end
    for _ = 1, 2000 do
      local choice = math.random(12)
      if choice == 1 then
        local modes = {"no", "line", "full"}
        assert(w:setvbuf(modes[math.random(3)], math.random(1, 500)))
      elseif choice == 2 then
        assert(w:flush())
      elseif choice == 3 then
        local s = pattern(100)
        expected[#expected + 1] = s:sub(1, w:write_some(s))
      else
        assert(w:write(text(), text(), text()))
      end
    end
    assert(w:close())
    assert.is_true(result() == table.concat(expected))
  end)
end)

describe("Stream:flush", function()
  local r, w

  before_each(function()
    r, w = assert(pipe.open())
    w:setvbuf "full"
  end)
  after_each(function()
    r:close()
    w:close()
  end)

  it("writes out what is kept back and gives the stream", function()
    assert.equal(w, w:flush())
    w:write("a", 1)
    assert.equal(0, r:available())
    assert.equal(w, w:flush())
    assert.equal("a1", taken(r))
    assert.equal(w, w:flush(0))
    assert.equal("", taken(r))
  end)

  it("keeps what it could not write", function()
    local bytes = pattern(80000)
    w:setvbuf("full", 100000)
    w:write(bytes)
    assert.equal(65536, expires(0.03, w.flush, w, 0.03))
    assert.equal(0, t.timed_out(w:flush(0)))
    local got = taken(r)
    assert.equal(w, w:flush(0))
    assert.is_true(got .. taken(r) == bytes)
  end)

  it("says EPIPE", function()
    w:write "x"
    r:close()
    assert.same({n = 4, nil, "write: Broken pipe", errno.EPIPE, 0},
      table.pack(w:flush()))
    assert.same({n = 3, nil, "close: Broken pipe", errno.EPIPE},
      table.pack(w:close()))
  end)

  it("raises at a wrong timeout", function()
    t.raises("timeout must be", w.flush, w, -1)
    t.raises("timeout must be", w.flush, w, 0 / 0)
    t.raises("number expected", w.flush, w, "x")
  end)

  it("is done by close, by <close> and by the collector", function()
    w:write "closed, "
    assert.is_true(w:close())
    local r2, w2 = assert(pipe.open())
    do
      local s <close> = w2:setvbuf "full"
      s:write "left"
    end
    local r3, w3 = assert(pipe.open())
    w3:setvbuf("full"):write "collected"
    w3 = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal("closed, ", r:read "a")
    assert.equal("left", r2:read "a")
    assert.equal("collected", r3:read("a", 5))
    r2:close()
    r3:close()
  end)
end)

describe("buffered output and fork", function()
  it("comes out once, from the process that wrote it", function()
    local r <close>, w = assert(pipe.open())
    w:setvbuf "full"
    w:write "parent before;"
    local child = assert(process.fork(function()
      w:write "child;" -- flushed when the child leaves
    end))
    ended(child)
    assert.equal("child;", taken(r))
    w:write "parent after"
    w:close()
    assert.equal("parent before;parent after", r:read "a")
  end)

  it("of the parent is dropped in the child however it is left", function()
    local r <close>, w = assert(pipe.open())
    w:setvbuf("full"):write "parent;"
    local ways = {
      function() w:close() end,
      function() w:flush() end,
      function() w:setvbuf "no" end,
      function() w:shutdown "write" end,
      function() w:write_some "some;" end,
      function() w:send "m" end,
      function() assert(w:to_file()):close() end,
      function() w = nil; collectgarbage() end,
      function() process.exit(0) end,
      function() os.exit(0, true) end,
      function() end,
    }
    local children = {}
    for i, fn in ipairs(ways) do
      children[i] = assert(process.fork(fn))
      ended(children[i])
    end
    assert.equal("some;\0\0\0\1m", taken(r))
    assert(w:close())
    assert.equal("parent;", r:read "a")
  end)

  it("of the child goes out however it ends", function()
    local r <close>, w = assert(pipe.open())
    w:setvbuf "full"
    local function run(code, fn)
      local child = assert(process.fork(fn))
      assert.same({"exit", code}, {child:wait(10 * t.slow)})
      child:close()
      return taken(r)
    end
    assert.equal("returned", run(0, function() w:write "returned" end))
    assert.equal("exited", run(3, function()
      w:write "exited"
      process.exit(3)
    end))
    assert.equal("new stream", run(0, function()
      local s = stream.from(w):setvbuf "line"
      s:write "new stream"
    end))
    w:close()
  end)

  it("of a child that raises goes out, and so do Lua's files", function()
    local result = t.children.run [[
      local ipc = require "unixipc"
      io.stdout:setvbuf "full"
      io.write "once;"
      local s = ipc.stream.from(2):setvbuf "full"
      s:write "[parent]"
      local child = ipc.process.fork(function()
        io.write "child;"
        s:write "[child]"
        error "on purpose"
      end)
      io.write(table.concat({child:wait()}, " "), "\n")
    ]]
    assert.equal("once;child;exit 1\n", result.out)
    assert.equal(1, select(2, result.err:gsub("%[parent%]", "")))
    assert.equal(1, select(2, result.err:gsub("%[child%]", "")))
    assert.truthy(result.err:find("on purpose\nstack traceback:", 1, true))
  end)

  it("of messages comes out once", function()
    local r <close>, w = assert(pipe.open())
    w:setvbuf "full"
    w:send "parent"
    ended(assert(process.fork(function() w:send "child" end)))
    w:close()
    assert.equal("child", r:receive())
    assert.equal("parent", r:receive())
    assert.is_nil(r:receive())
  end)

  it("of a joined stream goes out when the child leaves", function()
    local r <close>, w = assert(pipe.open())
    local r2 = assert(pipe.open())
    local both <close> = stream.join(r2, w:setvbuf "full")
    ended(assert(process.fork(function() both:write "joined" end)))
    assert.equal("joined", taken(r))
  end)

  it("half a message goes out whole when the child leaves", function()
    local r <close>, w = assert(pipe.open())
    local half_r <close>, half_w = assert(pipe.open())
    local message = pattern(100000)
    local child = assert(process.fork(function()
      r:close()
      local _, why, _, done = w:send(message, 0)
      half_w:write(why, " ", done, "\n")
    end))
    w:close()
    assert.equal("timeout 65536", half_r:read("l", 10 * t.slow))
    half_w:close()
    assert.is_true(r:receive(10 * t.slow) == message)
    ended(child)
  end)
end)
