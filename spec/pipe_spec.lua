local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local pipe, process, stream = ipc.pipe, ipc.process, ipc.stream

local PAGE = 4096

local function ended(child, how, code)
  assert.same({how or "exit", code or 0}, {child:wait(10 * t.slow)})
  child:close()
end

local function count_descriptors()
  local count = 0
  for _ in lfs.dir "/proc/self/fd" do count = count + 1 end
  return count
end

-- Runs a script through a shell command that ends in: exec "$@"
local PRELUDE = [[
local ipc = require "unixipc"
local pipe, errno = ipc.pipe, ipc.errno
local function code_of(...) return errno.name((select(3, ...))) end
]]

local function under(command, script, ...)
  local result = t.children.run("", {command = {"sh", "-c", command, "sh",
    os.getenv "LUA" or "lua5.4", t.names.file(PRELUDE .. script), ...}})
  assert.equal("", result.err)
  assert.equal(0, result.code)
  return (result.out:gsub("\t", " "))
end

-- With the rights of an ordinary user, as to resources. Nil: it cannot be had.
local function unprivileged()
  if not os.execute "test $(id -u) = 0" then return 'exec "$@"' end
  local drop = "setpriv --bounding-set=-sys_resource,-sys_admin "
    .. "--inh-caps=-all "
  return os.execute(drop .. "true 2>&-") and "exec " .. drop .. '"$@"'
end

describe("pipe.open", function()
  it("gives a stream to read from and one to write to", function()
    local r, w = assert(pipe.open())
    assert.equal(w, w:write "through")
    w:close()
    assert.equal("through", r:read "a")
    r:close()
    r, w = assert(pipe.open(nil))
    r:close()
    w:close()
    r, w = assert(pipe.open {})
    r:close()
    w:close()
  end)

  it("makes a pipe between processes", function()
    local r, w = assert(pipe.open())
    local child = assert(process.fork(function()
      r:close()
      w:write("hello from ", process.pid(), "\n")
    end))
    w:close()
    assert.equal("hello from " .. child.pid, r:read())
    assert.is_nil(r:read())
    ended(child)
    r:close()
  end)

  it("FBSD:fifo_io.c#1 keeps no boundaries", function()
    local r, w = assert(pipe.open())
    w:write "12345"
    w:write "67890"
    assert.equal("1234567890", r:read_some(10))
    w:write "12345"
    w:write "67890"
    assert.equal("1234567890", r:read(10))
    r:close()
    w:close()
  end)

  it("keeps them in packet mode, up to PIPE_BUF", function()
    local r, w = assert(pipe.open {packet = true})
    w:write "one"
    w:write("two", " and ", 3)
    w:write "longer"
    w:write(("x"):rep(PAGE))
    assert.equal("one", r:read_some())
    assert.equal("two and 3", r:read_some())
    assert.equal("long", r:read_some(4))
    assert.equal("er", r:read_some(4))
    assert.equal(PAGE, #r:read_some())
    w:write(("y"):rep(PAGE + 1))
    assert.equal(PAGE, #r:read_some())
    assert.equal("y", r:read_some())
    w:write "1"
    w:write "2"
    assert.equal("12", r:read(2))
    t.timed_out(r:read_some(1, 0))
    r:close()
    w:close()
    r, w = assert(pipe.open {packet = false})
    w:write "one"
    w:write "two"
    assert.equal("onetwo", r:read_some())
    r:close()
    w:close()
  end)

  it("makes it as large as asked for", function()
    for asked, given in pairs {[1] = PAGE, [PAGE] = PAGE,
      [PAGE + 1] = 2 * PAGE, [100000] = 131072, [1 << 20] = 1 << 20} do
      local r, w = assert(pipe.open {capacity = asked})
      assert.equal(given, r:capacity())
      w:set_timeout(0)
      local _, _, _, done = w:write(("x"):rep(given + 1))
      assert.equal(given, done)
      r:close()
      w:close()
    end
  end)

  it("GV:pipe.cc:BadOptions raises at options that it does not know",
    function()
      t.raises("unknown option 'size'", pipe.open, {size = 1})
      t.raises("unknown option 'nonblock'", pipe.open, {nonblock = true})
      t.raises("options must have names", pipe.open, {"packet"})
      t.raises("table expected", pipe.open, "packet")
      t.raises("option 'packet': boolean expected", pipe.open, {packet = 1})
      t.raises("option 'capacity': integer expected", pipe.open,
        {capacity = "1"})
      for _, bad in ipairs {0, -1, 1.5, 1 << 31, 0 / 0} do
        t.raises("option 'capacity': integer from 1", pipe.open,
          {capacity = bad})
      end
    end)

  it("says EMFILE at the limit of descriptors, and leaks none", function()
    assert.equal("EMFILE EMFILE pipe2: Too many open files pipe stream\n",
      under('ulimit -n 30; exec "$@"', [[
        local list = {}
        repeat
          local r, w, code = pipe.open()
          list[#list + 1] = {r, w}
        until not r
        local first = code_of(pipe.open())
        local null = io.open "/dev/null" -- there may be room for one
        local second, message = code_of(pipe.open()), select(2, pipe.open())
        if null then null:close() end
        list = nil
        collectgarbage()
        local r = assert(pipe.open())
        print(first, second, message, (tostring(r):gsub(" fd=%d+", "")))
      ]]))
  end)

  it("collects what nobody closed before it says EMFILE", function()
    -- what the collector has not found yet is open still: closing is better
    local before = count_descriptors()
    for _ = 1, 50 do
      local r, w = assert(pipe.open())
      r:close()
      w:close()
    end
    assert.equal(before, count_descriptors())
  end)

  it("works when standard input and output are closed", function()
    local path = t.names.path()
    under('exec "$@" <&- >&- 2>&-', [[
      local file = assert(io.open(arg[1], "w"))
      local s, child = assert(pipe.popen({"cat"}, "rw"))
      s:write "through cat"
      s:shutdown "write"
      local r, w = assert(pipe.open())
      w:write " and a pipe"
      w:close()
      file:write(s:read "a", r:read "a", " ", table.concat({child:wait()}, " "))
    ]], path)
    local file <close> = assert(io.open(path))
    assert.equal("through cat and a pipe exit 0", file:read "a")
  end)
end)

describe("Stream:capacity", function()
  it("LTP:pipe2_04#1 belongs to the pipe: both ends have it", function()
    local r, w = assert(pipe.open())
    assert.equal(65536, r:capacity())
    assert.equal(65536, w:capacity())
    assert.equal(PAGE, r:set_capacity(0))
    assert.equal(PAGE, w:capacity())
    assert.equal(131072, w:set_capacity(70000))
    assert.equal(131072, r:capacity())
    r:close()
    w:close()
  end)

  it("says EBUSY when more than that is in it, and keeps it", function()
    local r, w = assert(pipe.open())
    w:write(("x"):rep(3 * PAGE))
    assert.equal("fcntl: Device or resource busy",
      (t.refused("EBUSY", w:set_capacity(PAGE))))
    assert.equal(65536, w:capacity())
    assert.equal(4 * PAGE, r:set_capacity(3 * PAGE))
    assert.equal(3 * PAGE, #r:read(3 * PAGE))
    r:close()
    w:close()
  end)

  it("says EBADF for what is no pipe", function()
    local file <close> = assert(io.tmpfile())
    local s <close> = assert(stream.from(file))
    t.refused("EBADF", s:capacity())
    t.refused("EBADF", s:set_capacity(PAGE))
  end)

  it("says EPERM over the limit for users, and opens nothing", function()
    local command = unprivileged() or pending "needs setpriv"
    assert.equal("EPERM EPERM fcntl: Operation not permitted 65536 true\n",
      under(command, [[
        local file <close> = assert(io.open "/proc/sys/fs/pipe-max-size")
        local most = file:read "n"
        collectgarbage "stop"
        local r, w = assert(pipe.open())
        local code = code_of(w:set_capacity(most + 1))
        local opened = code_of(pipe.open {capacity = most + 1})
        local _, message = pipe.open {capacity = most + 1}
        local r2, w2 = pipe.open()
        print(code, opened, message, r:capacity(),
          r2:fileno() == w:fileno() + 1 and w2:fileno() == r2:fileno() + 1)
      ]]))
  end)

  it("LTP:pipe15 is less for a user of many pipes, and all goes on",
    function()
      local command = unprivileged() or pending "needs setpriv"
      local out = under("ulimit -n $(ulimit -Hn); " .. command, [[
        local file <close> = assert(io.open "/proc/sys/fs/pipe-user-pages-soft")
        local pages = file:read "n"
        local keep, least = {}, math.maxinteger
        for i = 1, pages // 16 + 30 do
          local r, w, code = pipe.open()
          if not r then print(code) os.exit(0) end
          keep[i] = {r, w}
          least = math.min(least, r:capacity())
        end
        local r, w = table.unpack(keep[#keep])
        w:set_timeout(0)
        local done = select(4, w:write(("x"):rep(100000)))
        assert(done == r:capacity(), done)
        assert(r:read(done) == ("x"):rep(done))
        assert(w:write "still")
        print(least, r:read(5))
      ]])
      if out == "24\n" then pending "too few descriptors are allowed" end
      local least, word = out:match "^(%d+) (%a+)\n$"
      assert.equal("still", word)
      assert.is_true(tonumber(least) >= PAGE and tonumber(least) < 65536)
    end)

  it("raises at what is no size", function()
    local r, w = assert(pipe.open())
    for _, bad in ipairs {-1, 1 << 31} do
      t.raises("capacity must be", w.set_capacity, w, bad)
    end
    t.raises("number expected", w.set_capacity, w)
    t.raises("no integer representation", w.set_capacity, w, 0.5)
    t.raises("stream expected", w.capacity, io.stdout)
    r:close()
    w:close()
    t.raises("closed stream", w.capacity, w)
    t.raises("closed stream", w.set_capacity, w, PAGE)
  end)
end)

describe("pipe.popen", function()
  it("reads the output of a shell command", function()
    local s, child = assert(pipe.popen "echo one; echo two")
    assert.equal("one", s:read())
    assert.equal("two\n", s:read "a")
    ended(child)
    s:close()
    s, child = assert(pipe.popen("printf x", "r"))
    assert.equal("x", s:read "a")
    t.refused("EBADF", s:write "x")
    ended(child)
    s:close()
  end)

  it("reads what io.popen reads", function()
    local command = "cat Makefile; ls -l csrc | sort -r; printf '\\0\\n'"
    local file <close> = assert(io.popen(command))
    local s <close>, child = assert(pipe.popen(command))
    assert.equal(file:read "a", s:read "a")
    ended(child)
  end)

  it("writes the input of a command", function()
    local path = t.names.path()
    local s, child = assert(pipe.popen("tr a-z A-Z >" .. path, "w"))
    s:write("hello ", 1, "\n")
    t.refused("EBADF", s:read())
    s:close()
    ended(child)
    local file <close> = assert(io.open(path))
    assert.equal("HELLO 1\n", file:read "a")
  end)

  it("starts a program without a shell", function()
    local s, child = assert(pipe.popen {"printf", "%s|", "$HOME; echo *",
      "", "a b", "'\"\\\n"})
    assert.equal("$HOME; echo *||a b|'\"\\\n|", s:read "a")
    ended(child)
    s:close()
  end)

  it("gives the status of the program", function()
    for _, row in ipairs {
      {"exit 0", "exit", 0}, {"exit 3", "exit", 3}, {"exit 255", "exit", 255},
      {"kill -TERM $$", "signal", "SIGTERM"},
      {"kill -KILL $$", "signal", "SIGKILL"},
      {"nonexistent_command_of_a_test 2>/dev/null", "exit", 127},
    } do
      local s, child = assert(pipe.popen(row[1]))
      assert.equal("", s:read "a")
      ended(child, row[2], row[3])
      s:close()
    end
  end)

  it("says at once that there is no such program", function()
    local before = count_descriptors()
    for _, mode in ipairs {"r", "w", "rw"} do
      local message = t.refused("ENOENT",
        pipe.popen({"nonexistent_program_of_a_test"}, mode))
      assert.truthy(message:find(
        "nonexistent_program_of_a_test: No such file or directory", 1, true))
    end
    t.refused("ENOENT", pipe.popen {"/nonexistent/program"})
    t.refused("EACCES", pipe.popen {"/etc/passwd"})
    t.refused("EACCES", pipe.popen {"/etc"})
    t.refused("ENOTDIR", pipe.popen {"/etc/passwd/program"})
    t.refused("ENAMETOOLONG", pipe.popen {"/" .. ("x"):rep(300)})
    collectgarbage()
    assert.equal(before, count_descriptors())
  end)

  it("says EMFILE at the limit of descriptors", function()
    assert.equal("EMFILE ok\n", under('ulimit -n 24; exec "$@"', [[
      local files = {}
      repeat
        local file = io.open "/dev/null"
        files[#files + 1] = file
      until not file
      local code = code_of(pipe.popen("echo no", "rw"))
      for _, file in ipairs(files) do file:close() end
      local s, child = assert(pipe.popen "echo ok")
      print(code, s:read())
      child:wait()
    ]]))
  end)

  it("talks both ways", function()
    local s, child = assert(pipe.popen("while read x; do echo \"<$x>\"; done",
      "rw"))
    for i = 1, 100 do
      s:write(i, "\n")
      assert.equal("<" .. i .. ">", s:read("l", 10 * t.slow))
    end
    assert.is_true(s:shutdown "write")
    assert.is_nil(s:read())
    ended(child)
    s:close()
  end)

  it("sorts 200,000 lines both ways", function()
    local numbers = {}
    for i = 1, 200000 do numbers[i] = ("%07d"):format(i * 7919 % 1000003) end
    local s, child = assert(pipe.popen({"sort"}, "rw", {env = {LC_ALL = "C"}}))
    s:setvbuf "full"
    for _, number in ipairs(numbers) do assert(s:write(number, "\n")) end
    s:shutdown "write"
    table.sort(numbers)
    local i = 0
    for line in s:lines() do
      i = i + 1
      if line ~= numbers[i] then error("line " .. i .. " is " .. line) end
    end
    assert.equal(#numbers, i)
    ended(child)
    s:close()
  end)

  it("passes on the options of spawn", function()
    local s, child = assert(pipe.popen('echo "$X-$HOME"; pwd; echo e >&2',
      "r", {env = {X = "set", PATH = os.getenv "PATH"}, cwd = "/",
        stderr = "stdout"}))
    assert.equal("set-\n/\ne\n", s:read "a")
    ended(child)
    s:close()
    s, child = assert(pipe.popen("echo out; echo err >&2", "r",
      {stderr = "pipe"}))
    assert.equal("out\n", s:read "a")
    assert.equal("err\n", child.stderr:read "a")
    child.stderr:close()
    ended(child)
    s:close()
    s, child = assert(pipe.popen("cat", "r", {stdin = "null"}))
    assert.equal("", s:read "a")
    ended(child)
    s:close()
  end)

  it("says what is wrong with an option's file", function()
    t.refused("ENOENT", pipe.popen("true", "r", {cwd = "/nonexistent"}))
    t.refused("ENOENT", pipe.popen("true", "r", {stdin = "/nonexistent"}))
  end)

  it("takes a time to wait, as all streams", function()
    local gate = t.children.gate()
    local s, child = assert(pipe.popen {"cat", gate})
    local seconds = t.took(function() t.timed_out(s:read("l", 0.03)) end)
    assert.is_true(seconds >= 0.03 and seconds < 2 * t.slow)
    t.timed_out(child:wait(0))
    t.children.open_gate(gate)
    assert.is_nil(s:read("l", 10 * t.slow))
    ended(child)
    s:close()
  end)

  it("ends a writing program with SIGPIPE when its reader closes", function()
    local s, child = assert(pipe.popen {"yes"})
    assert.equal("y", s:read())
    s:close()
    ended(child, "signal", "SIGPIPE")
  end)

  it("ends a program with its input when the collector closes", function()
    local s, child = assert(pipe.popen({"cat"}, "rw"))
    s:shutdown "read"
    s = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    ended(child)
  end)

  it("shares no descriptor between two programs", function()
    local first, child = assert(pipe.popen({"cat"}, "w",
      {stdout = "null"}))
    local second, other = assert(pipe.popen({"cat"}, "rw"))
    first:close() -- the other holds no end of it open
    ended(child)
    second:shutdown "write"
    assert.equal("", second:read "a")
    ended(other)
    second:close()
  end)

  it("raises at wrong arguments", function()
    t.raises("invalid mode 'x'; known: r, w, rw", pipe.popen, "true", "x")
    t.raises("invalid mode '1'", pipe.popen, "true", 1)
    t.raises("invalid mode", pipe.popen, "true", {})
    t.raises("bad argument #1 to 'popen' (string or table expected, got nil)",
      pipe.popen)
    t.raises("bad argument #1 to 'popen'", pipe.popen, 12)
    t.raises("bad argument #1 to 'popen'", pipe.popen, {})
    t.raises("bad argument #1 to 'popen'", pipe.popen, {"echo", {}})
    t.raises("zero", pipe.popen, {"echo", "a\0b"})
    t.raises("zero", pipe.popen, "echo a\0b")
    t.raises("option 'stdout' is the stream's own", pipe.popen, "true", "r",
      {stdout = "null"})
    t.raises("option 'stdin' is the stream's own", pipe.popen, "true", "rw",
      {stdin = "null"})
    t.raises("unknown option 'directory'", pipe.popen, "true", "r",
      {directory = "/"})
  end)
end)
