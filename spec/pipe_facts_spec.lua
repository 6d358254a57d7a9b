-- What other people's suites check of pipes and FIFOs, beyond the specs of
-- pipe, fifo and streams.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local pipe, fifo, process, errno = ipc.pipe, ipc.fifo, ipc.process, ipc.errno
local signal, poll, stream = ipc.signal, ipc.poll, ipc.stream

local WAIT = 20 * t.slow

local function ended(child, code)
  assert.same({"exit", code or 0}, {child:wait(WAIT)})
  child:close()
end

-- A pipe, closed at the end of the block.
local function new(options)
  local r, w = assert(pipe.open(options))
  return r, w, setmetatable({}, {__close = function()
    r:close()
    w:close()
  end})
end

describe("pipe", function()
  it("LTP:pipe01 LTP:pipe10 GV:pipe.cc:Write what is written is read",
    function()
      local r, w, _ <close> = new()
      for _, n in ipairs {1, 2, 100, 4096, 65536} do
        local bytes = ("p"):rep(n)
        assert(w:write(bytes))
        assert.equal(bytes, r:read(n, WAIT))
      end
      t.timed_out(r:read_some(nil, 0))
    end)

  it("LTP:pipe02 LTP:pipe08 GV:pipe.cc:ReaderSideCloses PERL:t/io/pipe.t#1 "
    .. "nobody reads: EPIPE each time, and the process lives", function()
      local r, w, _ <close> = new()
      r:close()
      for _ = 1, 3 do
        t.refused("EPIPE", w:write "x")
        t.refused("EPIPE", w:write_some("x", 0))
      end
    end)

  it("LTP:pipe04 LTP:pipe09 two children write, one reads all of both",
    function()
      local r, w, _ <close> = new()
      local list = {}
      for i = 1, 2 do
        list[i] = assert(process.fork(function()
          for _ = 1, 300 do w:write(tostring(i)) end
        end))
      end
      w:close()
      local all = r:read("a", WAIT)
      assert.equal(600, #all)
      assert.equal(300, select(2, all:gsub("1", "")))
      for _, child in ipairs(list) do ended(child) end
    end)

  it("LTP:pipe11 one writes, many read: each byte is one reader's", function()
    local r, w, _ <close> = new()
    local answer_r, answer_w, _ <close> = new()
    local list = {}
    for i = 1, 5 do
      list[i] = assert(process.fork(function()
        w:close()
        local n = 0
        for part in function() return r:read_some(64) end do n = n + #part end
        answer_w:write(n, "\n")
      end))
    end
    r:close()
    answer_w:close()
    w:write(("x"):rep(10000))
    w:close()
    local sum = 0
    for n in answer_r:lines "n" do sum = sum + n end
    assert.equal(10000, sum)
    for _, child in ipairs(list) do ended(child) end
  end)

  it("LTP:pipe06 LTP:pipe07 as many as there are descriptors, then EMFILE; "
    .. "a closed one can be had again", function()
      local result = t.children.run(nil, {command = {"sh", "-c",
        [[ulimit -n 40; exec "$0" -e '
          local ipc = require "unixipc"
          local pipe, errno = ipc.pipe, ipc.errno
          local list = {}
          repeat
            local r, w, code = pipe.open()
            list[#list + 1] = r and {r, w}
            if not r then print(errno.name(code)) end
          until not r
          print(#list >= 10 and #list <= 19)
          -- One may be left: not enough for two ends.
          local last = io.open "/dev/null"
          list[1][1]:close()
          print(errno.name((select(3, pipe.open()))))
          list[1][2]:close()
          print(pipe.open() ~= nil)
          if last then last:close() end']], os.getenv "LUA" or "lua5.4"}})
      assert.equal("EMFILE\ntrue\nEMFILE\ntrue\n", result.out, result.err)
    end)

  it("LTP:pipe14 FBSD:pipe_wraparound_test.c PY:test_os.py bytes keep their "
    .. "order however full it is", function()
      local r, w, _ <close> = new {capacity = 4096}
      local sent, got = {}, {}
      for i = 1, 200 do
        local piece = ("%d,"):format(i):rep(1 + i * 7 % 400)
        local rest = piece
        while #rest > 0 do
          local n = w:write_some(rest, 0) or 0
          rest = rest:sub(n + 1)
          if n == 0 or i % 3 == 0 then got[#got + 1] = r:read_some(1000, 0) end
        end
        sent[#sent + 1] = piece
      end
      w:close()
      got[#got + 1] = r:read "a"
      assert.is_true(table.concat(sent) == table.concat(got))
    end)

  it("LTP:pipe2_01 LTP:pipe2_02 GV:pipe.cc:CloExec NBSD:t_pipe2.c:"
    .. "pipe2_cloexec no program has it", function()
      local r, w, _ <close> = new()
      local child <close> = assert(process.spawn({"sh", "-c",
        ("test -e /proc/self/fd/%d || test -e /proc/self/fd/%d"):format(
          r:fileno(), w:fileno())}))
      assert.same({"exit", 1}, {child:wait(WAIT)})
    end)

  it("LTP:pipe2_03 with packets a read takes one, cut to what was asked for",
    function()
      local r, w, _ <close> = new {packet = true}
      w:write "first"
      w:write "second"
      assert.equal("first", r:read_some(nil, 0))
      assert.equal("second", r:read_some(nil, 0))
    end)

  it("LTP:fcntl30 GV:pipe.cc:SizeChange the capacity is of pages, a power of "
    .. "two, of at least what was asked for", function()
      local r, w, _ <close> = new()
      local page = ipc.mmap.page_size()
      for _, case in ipairs {{1, page}, {page, page}, {page + 1, 2 * page},
        {3 * page, 4 * page}, {65536, 65536}} do
        assert.equal(case[2], w:set_capacity(case[1]))
        assert.same({case[2], case[2]}, {r:capacity(), w:capacity()})
      end
    end)

  it("LTP:fcntl37 GV:pipe.cc:SizeChangeFull EBUSY for what is in it; EINVAL or "
    .. "a refusal for what cannot be", function()
      local r, w, _ <close> = new()
      w:write(("x"):rep(8192))
      t.refused("EBUSY", w:set_capacity(4096))
      r:read(8192)
      assert.equal(4096, w:set_capacity(4096))
      assert.is_false((pcall(function()
        return assert(w:set_capacity((1 << 31) + 1))
      end)))
      assert.equal(4096, r:capacity())
    end)

  it("GV:pipe.cc:SizeChange a smaller one holds as much as it says, and a "
    .. "larger one", function()
      local r, w, _ <close> = new()
      for _, n in ipairs {4096, 16384, 131072} do
        assert.equal(n, w:set_capacity(n))
        local sent = 0
        repeat
          local more = w:write_some(("x"):rep(4096), 0)
          sent = sent + (more or 0)
        until not more
        assert.equal(n, sent)
        assert.equal(n, #r:read(n))
      end
    end)

  it("GV:pipe.cc:NonBlocking a full one, and no time: nothing was taken",
    function()
      local r, w, _ <close> = new {capacity = 4096}
      assert.equal(4096, w:write_some(("x"):rep(5000), 0))
      t.timed_out(w:write_some("y", 0))
      w:set_timeout(0)
      assert.equal(0, t.timed_out(w:write "y"))
      assert.equal(("x"):rep(4096), r:read_some())
      assert.equal(2, w:write_some("yy", 0))
      assert.equal("yy", r:read_some())
    end)

  it("GV:pipe.cc:WriterSideCloses NBSD:t_pipe2.c:pipe2_basic the end is the "
    .. "end, as often as it is asked for", function()
      local r, w, _ <close> = new()
      w:close()
      for _ = 1, 3 do
        assert.is_nil(r:read "l")
        assert.is_nil(r:read_some())
        assert.equal("", r:read "a")
        assert.is_nil(r:read(1))
      end
    end)

  it("GV:pipe.cc:BlockWriteClosed a writer that waits is told EPIPE when the "
    .. "reader closes", function()
      local r, w, _ <close> = new()
      repeat until not w:write_some(("x"):rep(4096), 0)
      local child = assert(process.fork(function()
        r:close()
        local _, _, code, done = w:write "more"
        return code == errno.EPIPE and done == 0
      end))
      w:close()
      signals.await_state(child.pid, "S")
      r:close()
      ended(child)
    end)

  it("a reader that waits gets what comes, though it asked for more",
    function()
      local r, w, _ <close> = new()
      local child = assert(process.fork(function()
        w:close()
        return r:read_some(1000, WAIT) == "abc"
      end))
      signals.await_state(child.pid, "S")
      w:write "abc"
      ended(child)
    end)

  it("GV:pipe.cc:OpenViaProcSelfFD the other side can be opened by /proc",
    function()
      local r, w, _ <close> = new()
      local again <close> = assert(stream.from(assert(io.open(
        ("/proc/%d/fd/%d"):format(process.pid(), r:fileno()), "w"))))
      again:write "through /proc"
      assert.equal("through /proc", r:read(13, WAIT))
      w:close()
      t.timed_out(r:read(1, 0)) -- there is a writer still
    end)

  it("GV:pipe.cc:PipeFdCount a writer that was inherited keeps it open",
    function()
      local r, w, _ <close> = new()
      local go_r, go_w, _ <close> = new()
      local child = assert(process.fork(function()
        go_w:close()
        go_r:read(1, WAIT)
      end))
      w:close()
      t.timed_out(r:read(1, 0.01))
      go_w:close()
      ended(child)
      assert.is_nil(r:read(1, WAIT))
    end)

  it("GV:pipe.cc:Streaming a megabyte through a page", function()
    local r, w, _ <close> = new {capacity = 4096}
    local bytes = {}
    for i = 1, 1024 do bytes[i] = (string.char(i % 251)):rep(1024) end
    local all = table.concat(bytes)
    local child = assert(process.fork(function()
      r:close()
      assert(w:write(all))
    end))
    w:close()
    assert.is_true(r:read("a", WAIT) == all)
    ended(child)
  end)

  it("NBSD:t_pipe.c:pipe_restart a read goes on after signals", function()
    local r, w, _ <close> = new()
    local ran = 0
    local handler <close> = signals.handle("SIGUSR1", function()
      ran = ran + 1
      if ran == 3 then w:write "at last\n" end
    end)
    local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
    assert.equal("at last", r:read("l", WAIT))
    assert(handler and timer)
  end)

  it("poll tells room, input, the end, and that nobody reads", function()
    local r, w, _ <close> = new {capacity = 4096}
    local function events(object, wanted)
      local _, list = poll.wait({{object, wanted}}, 0)
      return list and list[1]
    end
    assert.same({nil, "w"}, {events(r, "r"), events(w, "w")})
    w:write(("x"):rep(4096))
    assert.equal("r", events(r, "r"))
    assert.is_nil(events(w, "w"))
    r:read_some()
    assert.equal("w", events(w, "w"))
    w:write "last"
    w:close()
    assert.equal("rh", events(r, "r"))
    r:read_some()
    assert.equal("rh", events(r, "r")) -- the end can be read
    local r2, w2, _ <close> = new()
    r2:close()
    assert.equal("we", events(w2, "w"))
  end)
end)

describe("popen", function()
  it("PERL:t/io/pipe.t#2 PY:test_popen.py:test_return_code the status of the "
    .. "program", function()
      for _, code in ipairs {0, 1, 42, 255} do
        local s <close>, child = assert(pipe.popen("exit " .. code))
        assert.is_nil(s:read())
        assert.same({"exit", code}, {child:wait(WAIT)})
        child:close()
      end
      local s <close>, child = assert(pipe.popen("kill -9 $$"))
      assert.is_nil(s:read())
      assert.same({"signal", "SIGKILL"}, {child:wait(WAIT)})
      child:close()
    end)

  it("PY:test_subprocess.py:test_communicate_pipe_buf as much as one likes "
    .. "through both of its ends", function()
      local child <close> = assert(process.spawn({"sh", "-c",
        "cat; cat /dev/null; head -c 200000 /dev/zero >&2"},
        {stdin = "pipe", stdout = "pipe", stderr = "pipe"}))
      local out, err, how, code = child:communicate(("i"):rep(300000), WAIT)
      assert.same({300000, 200000, "exit", 0}, {#out, #err, how, code})
    end)

  it("PY:test_subprocess.py:test_communicate_epipe a program that reads "
    .. "nothing does no harm", function()
      local child <close> = assert(process.spawn({"true"}, {stdin = "pipe",
        stdout = "pipe"}))
      local out, _, how, code = child:communicate(("x"):rep(1 << 20), WAIT)
      assert.same({"", "exit", 0}, {out, how, code})
    end)
end)

describe("FIFO", function()
  it("NBSD:t_mkfifo.c:mkfifo_err FBSD:fifo_create.c what is no place: ENOENT, "
    .. "ENOTDIR, ENAMETOOLONG", function()
      local file = t.names.file ""
      t.refused("ENOTDIR", fifo.create(file .. "/x"))
      t.refused("ENOENT", fifo.create(t.names.path() .. "/x"))
      t.refused("ENAMETOOLONG", fifo.create("/tmp/" .. ("n"):rep(256)))
      t.refused("ENAMETOOLONG", fifo.create("/" .. ("n/"):rep(2100)))
      t.refused("ENOENT", fifo.create "")
      t.refused("EEXIST", fifo.create("/tmp", {exclusive = true}))
    end)

  it("LTP:mknod01 LTP:mkfifo ELOOP for links that go round", function()
    local path = t.names.path()
    assert(os.execute(("ln -s '%s' '%s'"):format(path, path)))
    t.refused("ELOOP", fifo.create(path .. "/x"))
    t.refused("ELOOP", fifo.open(path, "rw"))
  end)

  it("NBSD:t_mkfifo.c:mkfifo_remove FBSD:fifo_misc.c what is open outlives "
    .. "its name", function()
      local path = t.names.path()
      assert(fifo.create(path))
      local s <close> = assert(fifo.open(path, "rw"))
      assert.is_true(fifo.unlink(path))
      s:write "still\n"
      assert.equal("still", s:read("l", 0))
      t.refused("ENOENT", fifo.open(path, "w", nil, 0))
      t.refused("ENOENT", fifo.unlink(path))
    end)

  it("LTP:open06 LTP:read03 NBSD:t_mkfifo.c:mkfifo_nonblock a writer without "
    .. "a reader is not there in time; a reader is", function()
      local path = t.names.path()
      assert(fifo.create(path))
      t.timed_out(fifo.open(path, "w", nil, 0))
      local child = assert(process.fork(function()
        local w <close> = assert(fifo.open(path, "w", nil, WAIT))
        w:write "hello"
      end))
      local r <close> = assert(fifo.open(path, "r", nil, WAIT))
      assert.equal("hello", r:read("a", WAIT))
      ended(child)
      fifo.unlink(path)
    end)

  it("FBSD:fifo_open.c#1 many readers, one writer: the last to close is the "
    .. "end", function()
      local path = t.names.path()
      assert(fifo.create(path))
      local both = assert(fifo.open(path, "rw"))
      local r <close> = assert(fifo.open(path, "r", nil, WAIT))
      local w1 = assert(fifo.open(path, "w", nil, WAIT))
      local w2 = assert(fifo.open(path, "w", nil, WAIT))
      both:close()
      w1:write "one "
      w1:close()
      assert.equal("one ", (r:read(4, 0)))
      t.timed_out(r:read(1, 0.01))
      w2:write "two"
      w2:close()
      assert.equal("two", r:read("a", WAIT))
      fifo.unlink(path)
    end)

  it("GV:fifo.cc:Fifo its mode counts when it is opened: EACCES", function()
    local nobody = require "support.nobody"
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local path = t.names.path()
    assert(os.execute("chmod 755 " .. t.names.directory()))
    assert(fifo.create(path, {mode = "0600"}))
    assert.equal("EACCES", nobody.run([[
      print(code(ipc.fifo.open(arg[1], "w", nil, 0)))]], path))
    fifo.unlink(path)
  end)

  it("poll waits for a writer, tells its bytes and its end", function()
    local path = t.names.path()
    assert(fifo.create(path))
    local both = assert(fifo.open(path, "rw"))
    local r <close> = assert(fifo.open(path, "r", nil, WAIT))
    t.timed_out(poll.wait({r}, 0))
    both:write "x"
    assert.equal("r", select(2, assert(poll.wait({r}, 0)))[1])
    r:read(1)
    both:close()
    assert.equal("rh", select(2, assert(poll.wait({r}, 0)))[1])
    fifo.unlink(path)
  end)
end)
