local t = require "support"
local ipc = require "unixipc"
local pipe, process, stream = ipc.pipe, ipc.process, ipc.stream

-- The call runs out of time: not early, and not much too late. Returns how
-- many bytes are in the buffer.
local function expires(seconds, fn, ...)
  local results = table.pack(t.took(fn, ...))
  assert.is_true(results[1] >= seconds, "early: " .. results[1])
  assert.is_true(results[1] < seconds + 2 * t.slow, "late: " .. results[1])
  return t.timed_out(table.unpack(results, 2, results.n))
end

-- A stream to read these bytes from, and then the end of file.
local function source(bytes)
  local r, w = assert(pipe.open())
  assert(w:write(bytes))
  w:close()
  return r
end

-- The same, but each read(2) brings a single byte.
local function dripping(bytes)
  local r, w = assert(pipe.open {packet = true, capacity = 1 << 20})
  for i = 1, #bytes do assert(w:set_timeout(0):write(bytes:sub(i, i))) end
  w:close()
  return r
end

-- A child that writes to the other end of a stream, whatever the function
-- does with it.
local function fed_by(fn, ...)
  local r, w = assert(pipe.open())
  local child = assert(process.fork(function(...)
    r:close()
    fn(w, ...)
  end, ...))
  w:close()
  return r, child
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(10 * t.slow)})
  child:close()
end

-- Until a child that said it is about to wait does so.
local function await_sleep(pid)
  repeat
    local file <close> = assert(io.open("/proc/" .. pid .. "/stat"))
    local is_asleep = file:read "a":find "%) S"
  until is_asleep
end

describe("Stream:read", function()
  local r, w

  before_each(function() r, w = assert(pipe.open()) end)
  after_each(function()
    r:close()
    w:close()
  end)

  it("reads a line without its end when no format is given", function()
    w:write "one\ntwo\n\nlast"
    w:close()
    assert.equal("one", r:read())
    assert.equal("two", r:read "l")
    assert.equal("", r:read())
    assert.equal("last", r:read())
    assert.equal(1, select("#", r:read()))
    assert.is_nil(r:read())
  end)

  it("reads what a program wrote", function()
    local file = t.names.file()
    assert(os.execute("printf 'a\\000b\\r\\n\\377' >" .. file))
    local s <close> = stream.from(assert(io.open(file)))
    assert.same({"a\0b\r\n", "\255"}, {s:read("L", "a")})
  end)

  it("reads by several formats at once", function()
    w:write "12 rest\nwhole\nabcde 0x10 tail"
    w:close()
    assert.same({12, " rest", "whole\n", "abc", "de", 16, " tail"},
      {r:read("n", "l", "L", 3, 2, "n", "a")})
  end)

  it("stops at the first value that is not there", function()
    w:write "one\n"
    w:close()
    local results = table.pack(r:read("l", "l", "a"))
    assert.same({"one", nil, n = 2}, results)
    assert.equal("", r:read "a")
  end)

  it("takes the last of several arguments for the timeout", function()
    w:write "abcdefgh12345678"
    assert.same({"abcd", n = 1}, table.pack(r:read(4, 0.5)))
    assert.same({"efgh", n = 1}, table.pack(r:read(4, nil)))
    assert.same({"1234", "56", n = 2}, table.pack(r:read(4, 2, nil)))
    assert.same({"7", "8", n = 2}, table.pack(r:read(1, 1, 0)))
    expires(0.02, r.read, r, 2, 0.02)
  end)

  it("reads a count of zero when there is more to come", function()
    w:write "xy"
    assert.equal("", r:read(0))
    assert.same({"", "x", "", n = 3}, table.pack(r:read(0, 1, 0, nil)))
    assert.equal("y", r:read(1))
    w:close()
    assert.is_nil(r:read(0))
  end)

  it("reads what is there when a count is larger", function()
    w:write "abc"
    w:close()
    assert.equal("abc", r:read(math.maxinteger))
    assert.is_nil(r:read(1))
  end)

  it("gives the empty string for all of nothing, again and again", function()
    w:close()
    assert.equal("", r:read "a")
    assert.equal("", r:read "a")
    assert.is_nil(r:read "l")
  end)

  it("takes up to 250 formats", function()
    local formats = {}
    for i = 1, 250 do formats[i] = 1 end
    formats[251] = "l"
    w:write(("z"):rep(250), "end\n")
    local results = table.pack(r:read(table.unpack(formats)))
    assert.equal(251, results.n)
    assert.equal(("z"):rep(250), table.concat(results, "", 1, 250))
    assert.equal("end", results[251])
  end)

  it("raises at wrong formats, and takes nothing", function()
    w:write "data\n"
    t.raises("invalid format", r.read, r, "x")
    t.raises("invalid format", r.read, r, "")
    t.raises("invalid format", r.read, r, "*")
    t.raises("string expected", r.read, r, nil)
    t.raises("string expected", r.read, r, {})
    t.raises("string expected", r.read, r, true, 1)
    t.raises("must not be negative", r.read, r, -1)
    t.raises("no integer representation", r.read, r, 1.5)
    assert.equal("data", r:read())
  end)

  it("raises at wrong timeouts", function()
    for _, bad in ipairs {-1, -0.001, 0 / 0, -math.huge, math.mininteger} do
      t.raises("timeout must be", r.read, r, "l", bad)
      t.raises("timeout must be", r.read_some, r, 1, bad)
    end
  end)

  it("raises when it is not a stream or closed", function()
    t.raises("stream expected", r.read, io.stdin)
    t.raises("stream expected", r.read)
    r:close()
    t.raises("closed stream", r.read, r)
    t.raises("closed stream", r.read_some, r)
    t.raises("closed stream", r.lines, r)
  end)

  it("LTP:pipe03 refuses the writing end: EBADF", function()
    assert.equal("read: Bad file descriptor",
      (t.refused("EBADF", w:read "l")))
    t.refused("EBADF", w:read(1))
    t.refused("EBADF", w:read "a")
    t.refused("EBADF", w:read_some())
    t.refused("EBADF", w:read(1, 0))
  end)

  it("tells what the system refuses: EIO, EISDIR", function()
    local mem <close> = assert(io.open "/proc/self/mem")
    local s <close> = assert(stream.from(mem))
    assert.equal("read: Input/output error",
      (t.refused("EIO", s:read "l")))
    t.refused("EIO", s:read_some())
    local root <close> = assert(io.open "/")
    local d <close> = assert(stream.from(root))
    t.refused("EISDIR", d:read "a")
    t.refused("EISDIR", d:read "n")
  end)

  it("gives what it has read before an error, and the error", function()
    local mem <close> = assert(io.open "/proc/self/mem")
    local s <close> = assert(stream.from(mem))
    assert.same({n = 4, nil, "read: Input/output error", 5, 0},
      table.pack(s:read("l", "l")))
  end)

  describe("with a timeout", function()
    local formats = {
      l = {"ab", "c\n", "abc"},
      L = {"ab", "c\n", "abc\n"},
      n = {" 1", "2 ", 12},
      [4] = {"abc", "d", "abcd"},
    }

    it("LTP:read03 tells nothing yet from the end of file", function()
      for _, format in ipairs {"l", "L", "a", "n", 1, 0} do
        assert.same({n = 1, 0}, table.pack(t.timed_out(r:read(format, 0))))
      end
      t.timed_out(r:read_some(nil, 0))
      w:close()
      assert.same({n = 1}, table.pack(r:read("l", 0)))
      assert.same({n = 1}, table.pack(r:read_some(nil, 0)))
    end)

    it("does not end early", function()
      for _, format in ipairs {"l", "L", "a", "n", 1} do
        expires(0.03, r.read, r, format, 0.03)
      end
      expires(0.03, r.read_some, r, 10, 0.03)
      expires(1e-9, r.read, r, "l", 1e-9)
    end)

    it("loses nothing: what came stays for the next call", function()
      for format, row in pairs(formats) do
        w:write(row[1])
        -- white space before a numeral is taken
        local kept = #(row[1]:gsub(" ", ""))
        assert.equal(kept, expires(0.01, r.read, r, format, 0.01))
        assert.equal(kept, t.timed_out(r:read(format, 0)))
        w:write(row[2])
        assert.equal(row[3], r:read(format, 5))
        r:read_some(nil, 0)
      end
    end)

    it("loses nothing of all up to the end", function()
      w:write "abc"
      assert.equal(3, t.timed_out(r:read("a", 0)))
      w:write "def"
      assert.equal(6, t.timed_out(r:read("a", 0.01)))
      w:close()
      assert.equal("abcdef", r:read("a", 5))
    end)

    it("gives the values before the one that is not there", function()
      w:write "one\ntwo\nthr"
      assert.same({n = 6, "one", "two", nil, "timeout", 110, 3},
        table.pack(r:read("l", "l", "l", 0.01)))
      w:write "ee\n"
      assert.equal("three", r:read("l", 0))
    end)

    it("tries once at 0 and needs no time when all is there", function()
      w:write "abc\n"
      assert.equal("abc", r:read("l", 0))
      for _, long in ipairs {math.huge, 1e300, math.maxinteger} do
        w:write "x"
        assert.equal("x", r:read(1, long))
      end
    end)

    it("counts the time of the whole call, not of each piece", function()
      local gate_r <close>, gate_w = assert(pipe.open())
      local input <close>, child = fed_by(function(out)
        gate_w:close()
        repeat
          out:write "."
          local _, why = gate_r:read_some(1, 0.005)
        until why ~= "timeout"
      end)
      local got = 0
      while got < 3 do -- a piece or more in that time
        local before = got
        got = expires(0.1, input.read, input, "l", 0.1)
        assert.is_true(got >= before)
      end
      gate_w:close()
      assert.truthy(input:read("a", 10 * t.slow):find "^%.+$")
      ended(child)
    end)

    it("wakes when the bytes come, from another process", function()
      local go_r, go_w = assert(pipe.open())
      local input <close>, child = fed_by(function(out)
        go_r:read(1)
        out:write "come\n"
      end)
      assert.equal(0, t.timed_out(input:read("l", 0.01)))
      go_w:write "!"
      local seconds, line = t.took(input.read, input, "l", 30)
      assert.equal("come", line)
      assert.is_true(seconds < 5 * t.slow)
      ended(child)
      go_r:close()
      go_w:close()
    end)
  end)

  it("GV:pipe.cc:WriterSideClosesReadDataFirst", function()
    w:write "data"
    w:close()
    assert.equal("data", r:read(100))
    assert.is_nil(r:read(100))
    assert.is_nil(r:read(100))
  end)

  it("LTP:pipe13 wakes every reader when the last writer closes", function()
    local ready_r <close>, ready_w = assert(pipe.open())
    local readers = {}
    for i = 1, 10 do
      readers[i] = assert(process.fork(function()
        w:close()
        ready_w:write "."
        return r:read(1) == nil and 7 or 1
      end))
    end
    assert.equal(10, #ready_r:read(10, 10 * t.slow))
    for _, child in ipairs(readers) do
      assert.is_nil((child:wait(0)), "did not wait for input")
    end
    w:close()
    for _, child in ipairs(readers) do
      assert.same({"exit", 7}, {child:wait(10 * t.slow)})
      child:close()
    end
    ready_w:close()
  end)

  it("writes out what is kept back before it sleeps", function()
    local s <close>, child = assert(pipe.popen({"cat"}, "rw"))
    s:setvbuf "full"
    s:write "question\n"
    assert.equal("question", s:read("l", 10 * t.slow))
    s:shutdown "write"
    ended(child)
  end)

  it("keeps what came when Ctrl-C breaks it", function()
    local gate = t.children.gate()
    local child = t.children.start([[
      local pipe = require "unixipc.pipe"
      local r, w = assert(pipe.open())
      w:write "begun"
      local ok, message = pcall(function()
        io.open(arg[1], "w"):close()
        return r:read "l"
      end)
      print(ok, message)
      w:write ", ended\n"
      print(r:read("l", 5))
    ]], {args = {gate}})
    t.children.pass_gate(gate)
    await_sleep(child.pid)
    child:kill "INT"
    local result = child:wait()
    assert.equal("", result.err)
    assert.truthy(result.out:find("^false\t.*interrupted!"), result.out)
    assert.truthy(result.out:find("\nbegun, ended\n", 1, true), result.out)
  end)

  it("reads 10 MB that a child writes, unchanged", function()
    local block = {}
    for i = 0, 255 do block[i + 1] = string.char(i) end
    local bytes = table.concat(block):rep(40000)
    local input <close>, child = fed_by(function(out)
      assert(out:write(bytes))
    end)
    assert.is_true(input:read "a" == bytes)
    ended(child)
  end)
end)

-- The same calls on a Lua file, a regular file, a pipe, and one that brings a
-- byte at a time: they must give the same, values and types.
describe("Stream:read gives what Lua's io library gives", function()
  local FORMATS = {
    {}, {"l"}, {"L"}, {"a"}, {"n"}, {0}, {1}, {3}, {"n", "n"}, {"l", "n"},
    {"n", "l"}, {"n", "L", 0}, {"a", "a"}, {"l", "L", "a"}, {0, "l"},
    {"n", 1, "n", 2}, {"*l"}, {"*n", "*a"}, {"*L", "*L"}, {2, "l", "n"},
    {"lines"}, {"number", "all"},
  }

  local function describe_values(...)
    local words = {}
    for i = 1, select("#", ...) do
      local value = select(i, ...)
      words[i] = math.type(value) == "float" and ("%a"):format(value)
        or type(value) == "string" and #value > 300
        and ("%d bytes, %q"):format(#value, value:sub(-20))
        or ("%q"):format(value)
    end
    return table.concat(words, ", ")
  end

  -- Reads over and over, past the end.
  local function transcript(input, formats)
    local lines = {}
    for i = 1, 9 do
      lines[i] =
        describe_values(input:read(table.unpack(formats, 1, formats.n)))
    end
    return table.concat(lines, "\n")
  end

  -- One nil more, for the timeout: else a count at the end would be it.
  local function with_timeout(formats)
    return {n = #formats > 1 and #formats + 1 or #formats,
      table.unpack(formats)}
  end

  local function compare(bytes, kinds)
    local path = t.names.file(bytes)
    for _, formats in ipairs(FORMATS) do
      local file <close> = assert(io.open(path, "rb"))
      local expected = transcript(file, table.pack(table.unpack(formats)))
      for name, open in pairs(kinds) do
        local s <close> = open(bytes, path)
        assert.equal(expected, transcript(s, with_timeout(formats)),
          ("%q by %s from a %s"):format(bytes:sub(1, 300),
            describe_values(table.unpack(formats)), name))
      end
    end
  end

  local function regular(_, path)
    local file <close> = assert(io.open(path, "rb"))
    return assert(stream.from(file))
  end

  local SMALL = {pipe = source, ["dripping pipe"] = dripping,
    ["regular file"] = regular}

  it("for lines", function()
    for _, bytes in ipairs {
      "", "\n", "\n\n", "a", "a\n", "\na", "one\ntwo\n", "one\ntwo",
      "one\r\ntwo\r\n\r\n", "\r", "\0", "\0\n\0", "a\0b\n\0c",
      "\255\254\n\128", " \t \n x \n", ("x"):rep(100) .. "\ny",
    } do
      compare(bytes, SMALL)
    end
  end)

  it("for numerals", function()
    for _, bytes in ipairs {
      "1", "12 34", "  7\n8", "-5", "+5", "- 5", "--5", "+-5", "0", "00",
      "007", "0x10", "0X1F", "0x", "0xg", "-0x10", "0x.8", "0x8.", "0x.",
      "0x1p4", "0x1p-2", "0x1P+2", "0x1p", "0x.p1", "1.5", ".5", "5.", ".",
      "-.5", "..5", "1..2", "1.2.3", "1e5", "1E5", "1e+5", "1e-5", "1e",
      "1e+", "1ee5", "e5", ".e5", "1e5x", "0e12", "1x", "x1", "nan", "inf",
      "-inf", "infinity", "1,5", "1_000", "0b11", "1 2 3 4 5 6 7 8 9 10",
      "9223372036854775807", "9223372036854775808", "-9223372036854775808",
      "-9223372036854775809", "0xffffffffffffffff", "0x1ffffffffffffffff",
      "1e308", "1e309", "-1e309", "1e-400", "0.1", "123456789.123456789",
      "1\0002", "\0001", "1\0", "\v\f\r\t\n 1", " ", "  \n ", "1\n2\n3",
      "0x1p99999", "1f", "1a", "0x1g", "0xa.bp1c", "٣", "\1602", "1l", "4n5",
    } do
      compare(bytes, SMALL)
    end
  end)

  it("for numerals of 200 characters and more", function()
    for n = 198, 203 do
      compare(("7"):rep(n), SMALL)
      compare("-" .. ("7"):rep(n - 1) .. " 8", SMALL)
      compare("0x" .. ("f"):rep(n - 2) .. "z", SMALL)
      compare("." .. ("3"):rep(n - 1) .. "\n9", SMALL)
      compare(("0"):rep(n) .. "1e5", SMALL)
    end
    compare(("7"):rep(200) .. ".", {pipe = source, file = regular})
    compare((" "):rep(500) .. "5", {pipe = source, file = regular})
    compare(("1"):rep(1000), {pipe = source, file = regular})
  end)

  it("for long lines", function()
    local function child_pipe(bytes)
      local r, child = fed_by(function(w) w:write(bytes) end)
      child:close()
      return r
    end
    local kinds = {["regular file"] = regular, child = child_pipe}
    for _, n in ipairs {8191, 8192, 8193, 65535, 65536, 65537, 300000} do
      compare(("a"):rep(n) .. "\n" .. ("b"):rep(n), kinds)
    end
    compare((("c"):rep(65536) .. "\n"):rep(3), kinds)
    compare(("\0"):rep(200000), kinds)
  end)

  it("for random bytes", function()
    math.randomseed(20)
    local alphabet = "0123456789+-.eExXpPabf \n\r\t\0zQ"
    for _ = 1, 60 do
      local bytes = {}
      for i = 1, math.random(0, 40) do
        local at = math.random(#alphabet)
        bytes[i] = alphabet:sub(at, at)
      end
      compare(table.concat(bytes), SMALL)
    end
  end)
end)

describe("Stream:read_some", function()
  it("gives what is there: at least a byte, at most max", function()
    local r <close>, w = assert(pipe.open())
    w:write "abcdef"
    assert.equal("ab", r:read_some(2))
    assert.equal("cdef", r:read_some(100))
    w:write "x"
    w:write "y"
    assert.equal("xy", r:read_some())
    w:write "z"
    w:close()
    assert.equal("z", r:read_some(math.maxinteger, 1))
    assert.same({n = 1}, table.pack(r:read_some()))
    assert.same({n = 1}, table.pack(r:read_some(5, 0)))
  end)

  it("gives what other calls have left in the buffer first", function()
    local r <close>, w = assert(pipe.open())
    w:write "line\nrest"
    assert.equal("line", r:read())
    w:write "more"
    w:close()
    assert.equal("rest", r:read_some())
    assert.equal("more", r:read_some())
  end)

  it("does not wait for more than a byte", function()
    local gate_r <close>, gate_w = assert(pipe.open())
    local input <close>, child = fed_by(function(w)
      gate_w:close()
      w:write "a"
      gate_r:read(1) -- until the other side has what it waits for
    end)
    assert.equal("a", input:read_some(100, 10 * t.slow))
    gate_w:close()
    ended(child)
  end)

  it("raises at a max that is no count", function()
    local r <close> = source "x"
    t.raises("must be positive", r.read_some, r, 0)
    t.raises("must be positive", r.read_some, r, -1)
    t.raises("number expected", r.read_some, r, "l")
    t.raises("no integer representation", r.read_some, r, 0.5)
    assert.equal("x", r:read_some(1))
  end)
end)

describe("Stream:lines", function()
  local function all(...)
    local list = {}
    for a, b in ... do list[#list + 1] = b and {a, b} or a end
    return list
  end

  it("gives line after line, and leaves the stream open", function()
    local r <close> = source "one\n\nthree"
    assert.same({"one", "", "three"}, all(r:lines()))
    assert.is_nil(r:read())
    assert.same({}, all(r:lines()))
  end)

  it("takes the formats of read", function()
    assert.same({"a\n", "b"}, all(source "a\nb":lines "L"))
    assert.same({"abc", "de"}, all(source "abcde":lines(3)))
    assert.same({{1, " one"}, {2, " two"}},
      all(source "1 one\n2 two\n":lines("n", "l")))
    assert.same({"1", "2"}, all(source "12":lines(1)))
    assert.same({{"ab", "c"}, "de"}, all(source "abcde":lines(2, 1)))
  end)

  it("gives what io.lines gives", function()
    for _, bytes in ipairs {"", "\n", "a", "a\nb\n\nc", "1 2\nx", "\0\n\r\n"} do
      local path = t.names.file(bytes)
      for _, formats in ipairs {{}, {"l"}, {"L"}, {1}, {"n"}, {2, "l"}} do
        local s <close> = source(bytes)
        assert.same(all(io.lines(path, table.unpack(formats))),
          all(s:lines(table.unpack(formats))))
      end
    end
  end)

  it("keeps the stream alive", function()
    local next_line = source "one\ntwo\n":lines()
    collectgarbage()
    collectgarbage()
    assert.same({"one", "two"}, {next_line(), next_line()})
  end)

  it("gives 100,000 lines of a child", function()
    local r <close>, child = fed_by(function(w)
      w:setvbuf "full"
      for i = 1, 100000 do w:write("line ", i, "\n") end
    end)
    local i = 0
    for line in r:lines() do
      i = i + 1
      if line ~= "line " .. i then error(line .. " is number " .. i) end
    end
    assert.equal(100000, i)
    ended(child)
  end)

  it("waits as long as set_timeout says and raises then", function()
    local r <close>, w = assert(pipe.open())
    w:write "one\ntw"
    r:set_timeout(0.02)
    local next_line = r:lines()
    assert.equal("one", next_line())
    local seconds = t.took(t.raises, "timeout", next_line)
    assert.is_true(seconds >= 0.02 and seconds < 2 * t.slow)
    t.raises("timeout", r:lines(3))
    w:write "o\n"
    assert.equal("two", next_line())
    w:close()
    assert.is_nil(next_line())
  end)

  it("raises at an error, as io.lines does", function()
    local mem <close> = assert(io.open "/proc/self/mem")
    local s <close> = assert(stream.from(mem))
    t.raises("read: Input/output error", s:lines())
    t.raises("read: Input/output error", s:lines("n", "a"))
    local r, w <close> = assert(pipe.open())
    t.raises("read: Bad file descriptor", w:lines())
    r:close()
  end)

  it("raises at wrong formats when it reads", function()
    local r <close> = source "data"
    t.raises("invalid format", r:lines "x")
    t.raises("must not be negative", r:lines(-1))
    assert.equal("data", r:read())
  end)

  it("takes up to 250 formats", function()
    local formats = {}
    for i = 1, 250 do formats[i] = 1 end
    local r <close> = source(("x"):rep(251))
    assert.equal(250, select("#", r:lines(table.unpack(formats))()))
    formats[251] = 1
    t.raises("too many arguments", r.lines, r, table.unpack(formats))
  end)

  it("raises when the stream is closed in between", function()
    local r = source "one\ntwo\n"
    local next_line, next_byte = r:lines(), r:lines(1)
    assert.equal("one", next_line())
    r:close()
    t.raises("closed stream", next_line)
    t.raises("closed stream", next_byte)
  end)
end)
