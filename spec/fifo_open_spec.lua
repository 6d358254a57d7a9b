-- Opening FIFOs: waiting for the other side, signals, temporary ones.
local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local fifo, pipe, process = ipc.fifo, ipc.pipe, ipc.process

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

-- Until a child that said it is about to wait does so.
local function await_sleep(pid)
  repeat
    local file <close> = assert(io.open("/proc/" .. pid .. "/stat"))
    local is_asleep = file:read "a":find "%) S"
  until is_asleep
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

  describe("open", function()
    it("says that the other side is not there in time", function()
      assert(fifo.create(path))
      for _, way in ipairs {"r", "w"} do
        expires(0.03, fifo.open, path, way, nil, 0.03)
        expires(0, fifo.open, path, way, nil, 0)
        expires(1e-9, fifo.open, path, way, nil, 1e-9)
      end
      assert.equal("fifo 600", stat(path))
    end)

    it("LTP:open06 finds no reader at once", function()
      assert(fifo.create(path))
      local seconds = t.took(function()
        t.timed_out(fifo.open(path, "w", nil, 0))
      end)
      assert.is_true(seconds < 1 * t.slow)
    end)

    it("GV:fifo.cc:FifoOpenRDWR waits for nobody when open for both",
      function()
        assert(fifo.create(path))
        local s = assert(fifo.open(path, "rw", nil, 0))
        assert.equal(s, s:write "to myself\n")
        assert.equal("to myself", s:read())
        t.timed_out(s:read("l", 0)) -- never the end of file: it is a writer
        s:close()
        s = assert(fifo.open(path, "rw"))
        s:close()
      end)

    it("is for reading when not told", function()
      assert(fifo.create(path))
      local w <close> = assert(fifo.open(path, "rw"))
      local r <close> = assert(fifo.open(path))
      w:write "x"
      assert.equal("x", r:read(1))
      t.refused("EBADF", r:write "x")
    end)

    it("FBSD:fifo_open.c#2 pairs: each side waits for the other", function()
      assert(fifo.create(path))
      for _, ways in ipairs {{"r", "w"}, {"w", "r"}} do
        local clock_r, clock_w = assert(pipe.open())
        local child = assert(process.fork(function()
          clock_w:write(process.now(), "\n")
          local s = assert(fifo.open(path, ways[1], nil, 20 * t.slow))
          clock_w:write(process.now(), "\n")
          s:close()
        end))
        clock_r:read "n"
        t.timed_out(clock_r:read("n", 0.03)) -- it waits for us
        local before = process.now()
        local s = assert(fifo.open(path, ways[2], nil, 20 * t.slow))
        assert.is_true(clock_r:read "n" >= before)
        ended(child)
        for _, other in ipairs {s, clock_r, clock_w} do other:close() end
      end
    end)

    it("opens at once when the other side waits already, at 0 too", function()
      assert(fifo.create(path))
      for _, command in ipairs {"echo hello >%s", "cat %s"} do
        local way = command:find "echo" and "r" or "w"
        local child = assert(process.spawn({"sh", "-c", command:format(path)},
          {stdout = "pipe"}))
        local s
        repeat s = fifo.open(path, way, nil, 0) until s
        if way == "r" then
          assert.equal("hello\n", s:read "a")
        else
          s:write "hello"
          s:close()
          assert.equal("hello", child.stdout:read "a")
        end
        s:close()
        child.stdout:close()
        ended(child)
      end
    end)

    it("gives way to a peer that comes while it waits", function()
      assert(fifo.create(path))
      local child = assert(process.spawn {"sh", "-c", "echo from sh >" .. path})
      local s = assert(fifo.open(path, "r", nil, 20 * t.slow))
      assert.equal("from sh", s:read())
      assert.is_nil(s:read())
      s:close()
      ended(child)
      child = assert(process.spawn({"socat", "-u", "PIPE:" .. path .. ",rdonly",
        "-"}, {stdout = "pipe"}))
      s = assert(fifo.open(path, "w", nil, 20 * t.slow))
      s:write "to socat"
      s:close()
      assert.equal("to socat", child.stdout:read "a")
      child.stdout:close()
      ended(child)
    end)

    it("leaves a timed-out opening without a trace", function()
      assert(fifo.create(path))
      for _ = 1, 20 do t.timed_out(fifo.open(path, "r", nil, 0.001)) end
      for _ = 1, 20 do t.timed_out(fifo.open(path, "w", nil, 0.001)) end
      t.timed_out(fifo.open(path, "w", nil, 0)) -- no reader stayed behind
      local r <close>, w = open_both()
      w:close()
      assert.is_nil(r:read(1, 0)) -- nor a writer
    end)

    it("makes it when told to", function()
      local s = assert(fifo.open(path, "rw", {create = true, mode = "0640"}))
      assert.equal("fifo 640", stat(path))
      s:close()
      s = assert(fifo.open(path, "rw", {create = true, mode = "0600"}))
      assert.equal("fifo 640", stat(path))
      s:close()
      t.timed_out(fifo.open(path, "r", {create = true}, 0))
      assert.equal("fifo 640", stat(path))
    end)

    it("makes nothing unless told to", function()
      assert.equal("open: " .. path .. ": No such file or directory",
        (t.refused("ENOENT", fifo.open(path, "r", nil, 0))))
      t.refused("ENOENT", fifo.open(path, "w", {}, 0))
      t.refused("ENOENT", fifo.open(path, "rw", {create = false}, 0))
      t.refused("ENOENT", fifo.open(path, "rw", {temporary = true}, 0))
      assert.is_false(exists(path))
    end)

    it("refuses one that is there, with exclusive", function()
      local options = {create = true, exclusive = true}
      local s = assert(fifo.open(path, "rw", options))
      assert.equal("mkfifo: " .. path .. ": File exists",
        (t.refused("EEXIST", fifo.open(path, "rw", options, 0))))
      s:close()
    end)

    it("refuses what is no FIFO", function()
      local file, directory = t.names.file "content", t.names.directory()
      for _, way in ipairs {"r", "w", "rw"} do
        t.refused("EISDIR", fifo.open(directory, way, nil, 0))
        t.refused("EINVAL", fifo.open(file, way, nil, 0))
        t.refused("EINVAL", fifo.open("/dev/null", way, nil, 0))
        for _, there in ipairs {file, directory} do
          t.refused("EEXIST", fifo.open(there, way, {create = true}, 0))
          t.refused("EEXIST", fifo.open(there, way,
            {create = true, exclusive = true, temporary = true}, 0))
        end
      end
      local content <close> = assert(io.open(file))
      assert.equal("content", content:read "a")
    end)

    it("tells what the system refuses", function()
      local long = t.names.directory() .. "/" .. ("x"):rep(256)
      for _, options in ipairs {{create = true}, {}} do
        t.refused("ENAMETOOLONG", fifo.open(long, "r", options, 0))
        t.refused("ENAMETOOLONG",
          fifo.open(("/tmp"):rep(1100), "w", options, 0))
        t.refused("ENOENT", fifo.open("/nonexistent/fifo", "r", options, 0))
        t.refused("ENOTDIR", fifo.open("/etc/passwd/fifo", "w", options, 0))
      end
      local loop = t.names.path()
      assert(lfs.link(loop, loop, true))
      t.refused("ELOOP", fifo.open(loop, "r", nil, 0))
    end)

    it("says EACCES to whom the mode does not allow it", function()
      local command = 'exec "$@"'
      if os.execute "test $(id -u) = 0" then
        local drop = "setpriv --bounding-set=-dac_override,-dac_read_search "
          .. "--inh-caps=-all "
        if not os.execute(drop .. "true 2>&-") then pending "needs setpriv" end
        command = "exec " .. drop .. '"$@"'
      end
      assert(fifo.create(path, {mode = "---------"}))
      assert.equal("EACCES EACCES EACCES\n", under(command, [[
          print(code_of(fifo.open(arg[1], "r", nil, 5)),
            code_of(fifo.open(arg[1], "w", nil, 5)),
            code_of(fifo.open(arg[1], "rw", nil, 5)))
        ]], path))
    end)

    it("says EMFILE at the limit of descriptors, and keeps no file", function()
      assert.equal("EMFILE EMFILE EMFILE nil fifo stream\n", under(
        'ulimit -n 24; exec "$@"', [[
          local files = {}
          repeat
            local file = io.open "/dev/null"
            files[#files + 1] = file
          until not file
          local function code(way)
            return code_of(fifo.open(arg[1], way,
              {create = true, temporary = true}, 5))
          end
          local codes = {code "r", code "w", code "rw"}
          table.remove(files):close()
          local left = io.open(arg[1], "r+")
          local s = assert(fifo.open(arg[1], "rw",
            {create = true, temporary = true}))
          print(codes[1], codes[2], codes[3], left,
            tostring(s):match "^fifo stream")
        ]], path))
      assert.is_false(exists(path))
    end)

    it("raises at wrong arguments, and makes nothing", function()
      local options = {create = true}
      t.raises("embedded zero", fifo.open, path .. "\0x", "rw", options)
      t.raises("string expected", fifo.open)
      t.raises("invalid option 'x'", fifo.open, path, "x", options)
      t.raises("invalid option 'a'", fifo.open, path, "a", options)
      t.raises("table expected", fifo.open, path, "r", 0.5)
      t.raises("unknown option 'nonblock'", fifo.open, path, "r",
        {create = true, nonblock = true})
      t.raises("option 'temporary': boolean expected", fifo.open, path, "r",
        {create = true, temporary = "yes"})
      t.raises("option 'mode'", fifo.open, path, "r",
        {create = true, mode = "x"})
      for _, bad in ipairs {-1, 0 / 0, -math.huge} do
        t.raises("timeout must be", fifo.open, path, "r", options, bad)
      end
      t.raises("number expected", fifo.open, path, "r", options, "soon")
      assert.is_false(exists(path))
    end)

    it("makes nothing with exclusive alone", function()
      t.refused("ENOENT", fifo.open(path, "rw", {exclusive = true}, 0))
      assert.is_false(exists(path))
    end)
  end)

  describe("opening that signals interrupt", function()
    -- The library's own tick has a handler that does nothing else than to
    -- interrupt. Another process sends it without end.
    local SENDER = [[
import os, signal, sys, time
number = signal.SIGRTMAX - 1
try:
    while True:
        os.kill(int(sys.argv[1]), number)
        time.sleep(0.0002)
except ProcessLookupError:
    pass]]

    local START = [[
      -- once through a blocking opening, so that the handler is there
      assert(select(2, fifo.open(arg[1], "r", nil, 0)) == "timeout")
      local sender = assert(process.spawn({"python3", "-c", arg[2],
        tostring(process.pid())}))
    ]]

    -- A shell opens it 300 times, each time for a moment: none goes by.
    local HAND_OFF = START .. [[
      local peer, child = assert(ipc.pipe.popen('i=0; while [ $i -lt 300 ]; '
        .. 'do : ' .. arg[3] .. '"$FIFO"; echo closed; read x; '
        .. 'i=$((i + 1)); done', "rw",
        {env = {FIFO = arg[1], PATH = os.getenv "PATH"}}))
      for i = 1, 300 do
        local s, message = fifo.open(arg[1], arg[4], nil, 20)
        if not s then print(i, message) os.exit(1) end
        s:close()
        assert(peer:read "l" == "closed")
        peer:write "\n"
      end
      print(child:wait(20))
      sender:kill "SIGKILL"
      sender:wait()
    ]]

    it("NBSD:t_mkfifo.c:mkfifo_sigopen_race loses no hand-off", function()
      assert(fifo.create(path))
      assert.equal("exit 0\n",
        under('exec "$@"', HAND_OFF, path, SENDER, ">", "r"))
      assert.equal("exit 0\n",
        under('exec "$@"', HAND_OFF, path, SENDER, "<", "w"))
    end)

    it("does not end early for it, nor late", function()
      assert(fifo.create(path))
      local out = under('exec "$@"', START .. [[
        for _, way in ipairs {"r", "w"} do
          local start = process.now()
          local s, message = fifo.open(arg[1], way, nil, 0.1)
          local seconds = process.now() - start
          print(s, message, seconds >= 0.1, seconds < 5)
        end
        sender:kill "SIGKILL"
        sender:wait()
      ]], path, SENDER)
      assert.equal(("nil timeout true true\n"):rep(2), out)
    end)

    it("GV:fifo.cc:OpenBlockedAndInterrupted is broken by Ctrl-C", function()
      assert(fifo.create(path))
      for _, way in ipairs {"r", "w"} do
        local gate = t.children.gate()
        local child = t.children.start(PRELUDE .. [[
          local ok, message = pcall(function()
            io.open(arg[1], "w"):close()
            return fifo.open(arg[2], arg[3])
          end)
          print(ok, message, code_of(fifo.open(arg[2], arg[3], nil, 0)))
        ]], {args = {gate, path, way}})
        t.children.pass_gate(gate)
        await_sleep(child.pid)
        child:kill "INT"
        local result = child:wait()
        assert.equal("", result.err)
        assert.truthy(result.out:find "^false\t.*interrupted!\tETIMEDOUT\n$",
          result.out)
      end
    end)

    it("removes what it made when Ctrl-C breaks it", function()
      local child = t.children.start(PRELUDE .. [[
        print(pcall(fifo.open, arg[1], "r", {create = true, temporary = true}))
      ]], {args = {path}})
      while not exists(path) do process.sleep(0.001) end
      child:kill "INT"
      local result = child:wait()
      assert.truthy(result.out:find "^false\t.*interrupted!", result.out)
      assert.is_false(exists(path))
    end)
  end)

  describe("temporary", function()
    local OPTIONS = {create = true, temporary = true}

    it("goes when the stream is closed", function()
      local s = assert(fifo.open(path, "rw", OPTIONS))
      assert.is_true(exists(path))
      assert.is_true(s:close())
      assert.is_false(exists(path))
      assert(fifo.create(path)) -- another one with that name
      assert.is_true(s:close())
      assert.is_true(exists(path))
    end)

    it("goes by <close>, by the collector and at the end", function()
      do
        local s <close> = assert(fifo.open(path, "rw", OPTIONS))
        assert.is_true(exists(path) and s ~= nil)
      end
      assert.is_false(exists(path))
      assert(fifo.open(path, "rw", OPTIONS))
      assert.is_true(exists(path))
      collectgarbage()
      collectgarbage()
      assert.is_false(exists(path))
      under('exec "$@"', [[
        keep = assert(fifo.open(arg[1], "rw", {create = true,
          temporary = true}))
        assert(io.open(arg[1], "r+"))
      ]], path)
      assert.is_false(exists(path))
    end)

    it("goes when the opening fails", function()
      t.timed_out(fifo.open(path, "r", OPTIONS, 0.01))
      assert.is_false(exists(path))
      t.timed_out(fifo.open(path, "w", OPTIONS, 0))
      assert.is_false(exists(path))
    end)

    it("stays when it was there before", function()
      assert(fifo.create(path))
      local s = assert(fifo.open(path, "rw", OPTIONS))
      s:close()
      assert.is_true(exists(path))
      t.timed_out(fifo.open(path, "r", OPTIONS, 0))
      assert.is_true(exists(path))
      s = assert(fifo.open(path, "rw", {temporary = true}))
      s:close()
      assert.is_true(exists(path))
    end)

    it("stays when a child closes it", function()
      local s = assert(fifo.open(path, "rw", OPTIONS))
      ended(assert(process.fork(function() s:close() end)))
      ended(assert(process.fork(function()
        s = nil
        collectgarbage()
      end)))
      ended(assert(process.fork(function() end)))
      assert.is_true(exists(path))
      s:close()
      assert.is_false(exists(path))
    end)

    it("is not another one with its name", function()
      local s = assert(fifo.open(path, "rw", OPTIONS))
      assert(fifo.unlink(path))
      assert(fifo.create(path))
      assert.is_true(s:close())
      assert.is_true(exists(path))
    end)

    it("may be gone already", function()
      local s = assert(fifo.open(path, "rw", OPTIONS))
      assert(fifo.unlink(path))
      assert.is_true(s:close())
      local file = t.names.file()
      assert(os.rename(file, path))
      assert.is_true(s:close())
      assert.is_true(exists(path))
    end)
  end)
end)
