-- Memory that runs out: at each single allocation, in a program in C that
-- runs the library. See spec/c/oom_host.c for what it looks for.
local t = require "support"

local names = t.names

-- What every script begins with. A task may be run any number of times. Lua's
-- own string buffers are made ready here: short of memory they would break for
-- good.
local PRELUDE = [[
  local _ = ("x"):rep(10000)
  local ipc = require "unixipc"
  local pipe, fifo, process, poll = ipc.pipe, ipc.fifo, ipc.process, ipc.poll
  local stream, errno = ipc.stream, ipc.errno
  local path = ...
]]

local run_host = t.out_of_memory.run_host

local function survives(least, script)
  t.out_of_memory.survives(least, script, names.path ".fifo")
end

describe("Out of memory", function()
  it("loading every module", function()
    survives(100, [[
      return function()
        local ipc = require "unixipc"
        for _, name in ipairs {"errno", "stream", "pipe", "fifo", "process",
          "poll"} do
          assert(ipc[name], name)
        end
      end
    ]])
  end)

  it("opening a pipe, writing and reading", function()
    survives(10, PRELUDE .. [[
      return function()
        local r, w = assert(pipe.open {capacity = 65536})
        w:write("line\n", 42, " rest\n", ("x"):rep(30000), "\n")
        w:write_some "some"
        local line, number, rest = r:read("l", "n", 3, 5)
        assert(line == "line" and number == 42 and rest == " re")
        assert(r:read("L", 1) == "st\n")
        assert(#r:read("l", 1) == 30000)
        assert(r:read_some(nil, 1) == "some")
        assert(tostring(r):find "pipe" and r:available() == 0)
        assert(select(3, r:read("l", 0)) == errno.ETIMEDOUT)
        r:close()
        w:close()
      end
    ]])
  end)

  it("handling signals", function()
    survives(10, PRELUDE .. [[
      local signal, calls = ipc.signal, 0
      local function count(name, info)
        assert(name == "SIGUSR1" and info.pid == process.pid())
        calls = calls + 1
      end
      return function()
        signal.handle("SIGUSR1", count)
        calls = 0
        for i = 1, 3 do
          assert(signal.raise "SIGUSR1")
          signal.dispatch()
        end
        assert(calls >= 3)
        signal.handle("SIGUSR1", "default")
      end
    ]])
  end)

  it("reading lines and all the rest", function()
    survives(10, PRELUDE .. [[
      return function()
        local r, w = assert(pipe.open())
        for i = 1, 100 do w:write("line ", i, "\n") end
        w:write "1 2\n"
        w:close()
        local count = 0
        for line in r:lines() do
          count = count + 1
          if count == 100 then break end
        end
        for a, b in r:lines("n", "n") do
          assert(a == 1 and b == 2)
          break
        end
        assert(r:read "a" == "\n")
      end
    ]])
  end)

  it("writing with buffers", function()
    survives(5, PRELUDE .. [[
      return function()
        local r, w = assert(pipe.open())
        w:setvbuf("full", 1000)
        for i = 1, 100 do w:write("line ", i, "\n") end
        assert(w:flush(1))
        w:setvbuf "line"
        w:write "part"
        w:write "of a line\n"
        w:close()
        assert(#r:read "a" > 700)
      end
    ]])
  end)

  it("sending and receiving messages", function()
    survives(10, PRELUDE .. [[
      return function()
        local r, w = assert(pipe.open())
        w:send(("x"):rep(10000))
        assert(#r:receive(1) == 10000)
        w:setvbuf "full"
        for i = 1, 50 do w:send("message " .. i) end
        w:flush()
        for i = 1, 50 do assert(r:receive(1) == "message " .. i) end
        r:set_limit(10)
        w:send(("x"):rep(20)):flush()
        assert(select(3, r:receive(1)) == errno.EMSGSIZE)
      end
    ]])
  end)

  it("turning streams into files and back", function()
    survives(5, PRELUDE .. [[
      return function()
        local r, w = assert(pipe.open())
        local file <close> = assert(w:to_file())
        local again = assert(stream.from(file))
        again:write "bytes\n"
        local both = stream.join(r, w, "name")
        assert(both:read "l" == "bytes")
        both:shutdown "write"
        both:close()
        again:close()
      end
    ]])
  end)

  it("opening a temporary FIFO", function()
    survives(5, PRELUDE .. [[
      assert(not os.rename(path, path), "the FIFO is still there")
      return function()
        local both = assert(fifo.open(path, "rw",
          {create = true, temporary = true, mode = "rw-r-----"}))
        both:write "x"
        assert(both:read(1, 1) == "x" and tostring(both):find(path, 1, true))
        both:close()
        assert(select(3, fifo.open(path, "r")) == errno.ENOENT)
      end
    ]])
  end)

  it("starting a program", function()
    survives(30, PRELUDE .. [[
      return function()
        local r, w = assert(pipe.open())
        local child = assert(process.spawn(
          {"sh", "-c", "cat; echo $A; echo $B >&5", "x", 1, 2.5},
          {stdin = "pipe", stdout = "pipe", stderr = "null", cwd = "/",
            env = {A = "1", B = 2}, fds = {[5] = w}, setsid = true}))
        local out, _, how, code = child:communicate("hello ", 5)
        assert(out == "hello 1\n" and how == "exit" and code == 0)
        assert(r:read("l", 1) == "2")
        assert(tostring(child):find "exit 0")
      end
    ]])
  end)

  it("waiting for a change of a program, and asking what it used", function()
    survives(30, PRELUDE .. [[
      return function()
        local child = assert(process.spawn({"cat"}, {stdin = "pipe",
          groups = "inherit", nice = 1, parent_death_signal = "SIGKILL"}))
        child.stdin:close()
        assert(child:wait_change(5) == "exit")
        assert(child:usage().max_resident > 0)
        assert(process.usage().user >= 0)
      end
    ]])
  end)

  it("guards of a mutex and a rwlock", function()
    survives(20, PRELUDE .. [[
      local sync = require "unixipc.sync"
      return function()
        local mutex, lock = assert(sync.mutex()), assert(sync.rwlock())
        do
          local one <close> = assert(mutex:guard(0))
          local two <close> = assert(lock:read_guard(0))
          assert(tostring(one):find "of a sync mutex" and two:is_open())
        end
        local one <close> = assert(mutex:guard(0))
        local two <close> = assert(lock:write_guard(0))
        one:close()
        assert(mutex:lock(0))
      end
    ]])
  end)

  it("failing to start a program", function()
    survives(10, PRELUDE .. [[
      return function()
        local child, _, number = process.spawn({"/nonexistent"},
          {stdin = "pipe", stdout = "pipe", stderr = "pipe"})
        assert(not child and number == errno.ENOENT)
        child, _, number = process.spawn({"true"},
          {stdin = "pipe", stdout = "/nonexistent/x"})
        assert(not child and number == errno.ENOENT)
      end
    ]])
  end)

  it("popen", function()
    survives(30, PRELUDE .. [[
      return function()
        local s, child = assert(pipe.popen({"cat"}, "rw", {stderr = "null"}))
        s:write "x\n"
        assert(s:read("l", 5) == "x")
        s:shutdown "write"
        assert(s:read("a", 5) == "")
        assert(child:wait(5) == "exit")
      end
    ]])
  end)

  it("forking; a child without memory has failed, as by any error", function()
    survives(5, PRELUDE .. [[
      return function()
        local r, w = assert(pipe.open())
        local child = assert(process.fork(function(...)
          w:setvbuf "full"
          w:write(table.concat({...}, " "))
          return 7
        end, "several", "arguments"))
        w:close()
        local text = r:read("a", 5)
        local how, code = child:wait(5)
        assert(how == "exit")
        if code == 7 then assert(text == "several arguments") end
        assert(code == 7 or code == 1, code)
      end
    ]])
  end)

  it("poll.wait", function()
    survives(10, PRELUDE .. [[
      return function()
        local list = {}
        for i = 1, 5 do
          local r, w = assert(pipe.open())
          w:write "x"
          list[2 * i - 1], list[2 * i] = r, {w, "w"}
        end
        local objects, events = poll.wait(list, 1)
        assert(#objects == 10 and events[1] == "r" and events[2] == "w")
      end
    ]])
  end)

  it("a Poller", function()
    survives(20, PRELUDE .. [[
      return function()
        local p <close> = assert(poll.new())
        local list = {}
        for i = 1, 40 do
          local r, w = assert(pipe.open())
          list[i] = r
          w:write "one\ntwo\n"
          r:read "l"
          assert(p:add(r, "r", {edge = true}))
        end
        assert(#p:wait(1) == 40 and #p == 40)
        for _, r in ipairs(list) do
          assert(p:modify(r, "rp", {oneshot = true}))
          assert(p:remove(r))
        end
        assert(#p == 0 and tostring(p):find "of 0")
      end
    ]])
  end)

  it("telling errors, ids and names", function()
    survives(3, PRELUDE .. [[
      return function()
        assert(process.ids().pid == process.pid())
        assert(errno.strerror "ENOENT" and errno.name(2) == "ENOENT")
        assert(not fifo.create "/nonexistent/x")
        assert(not pcall(pipe.open, {capcity = 1}))
        assert(not pcall(pipe.open, {capacity = -1}))
      end
    ]])
  end)

  it("waiting in a coroutine", function()
    survives(5, PRELUDE .. [[
      return function()
        local r, w = assert(pipe.open())
        local read = coroutine.wrap(function()
          coroutine.yield(select(2, r:read(1, 0.0001)))
        end)
        assert(read() == "timeout")
      end
    ]])
  end)
end)

describe("A program in C that runs Lua", function()
  it("has its atexit functions run by itself only, not by forks", function()
    local result = run_host("plain", [[
      local process = require "unixipc.process"
      print(process.fork(function() end):wait(5))
      print(process.fork(function() process.exit(3) end):wait(5))
      print(process.fork(function() coroutine.wrap(process.exit)(4) end)
        :wait(5))
    ]])
    assert.equal("exit\t0\nexit\t3\nexit\t4\natexit\n", result.out)
  end)

  it("keeps its own handler of Ctrl-C, whatever was waited for", function()
    local result = run_host("plain", [[
      local blocking = require "support.blocking"
      for _, name in ipairs(blocking.names) do
        local case <close> = blocking.new(name)
        case.enter()
        case.call(0.001)
      end
    ]])
    assert.equal("atexit\n", result.out, result.err)
    assert.equal("", result.err)
    assert.equal(0, result.code)
  end)

  it("may be one whose forked child raises", function()
    local result = run_host("plain", [[
      local process = require "unixipc.process"
      print(process.fork(error, "went wrong"):wait(5))
    ]])
    assert.equal("exit\t1\natexit\n", result.out)
    assert.truthy(result.err:find "^went wrong\nstack traceback:")
  end)
end)
