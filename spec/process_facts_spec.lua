-- What other people's suites check of fork, exec, wait and subprocesses, beyond
-- the specs of process.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local process, signal, errno, poll = ipc.process, ipc.signal, ipc.errno,
  ipc.poll

local WAIT = 20 * t.slow

-- What a program prints, and how it ended.
local function output(argv, options)
  local all = {stdout = "pipe"}
  for name, value in pairs(options or {}) do all[name] = value end
  local child <close> = assert(process.spawn(argv, all))
  local out, _, how, code = child:communicate(nil, WAIT)
  return out, how, code
end

describe("fork", function()
  it("LTP:fork01 GV:fork.cc:ExitCode the child is another process of this "
    .. "parent, and its code is told", function()
      local parent = process.pid()
      for _, code in ipairs {0, 1, 42, 127, 255} do
        local child <close> = assert(process.fork(function()
          if process.parent() ~= parent or process.pid() == parent then
            return 99
          end
          return code
        end))
        assert.same({"exit", code}, {child:wait(WAIT)})
      end
    end)

  it("LTP:fork07 LTP:fork09 PERL:t/op/fork.t#1 what is open is shared, and the "
    .. "position with it", function()
      local path = t.names.file "abcdef"
      local file <close> = assert(ipc.stream.from(assert(io.open(path))))
      local child <close> = assert(process.fork(function()
        return file:read "a" == "abcdef"
      end))
      assert.same({"exit", 0}, {child:wait(WAIT)})
      assert.equal("", file:read "a") -- the child has read it
    end)

  it("LTP:fork08 a child that closes its copy leaves the parent's", function()
    local r, w = assert(ipc.pipe.open())
    local child <close> = assert(process.fork(function()
      r:close()
      w:close()
    end))
    child:wait(WAIT)
    w:write "still"
    assert.equal("still", r:read(5, WAIT))
    r:close()
    w:close()
  end)

  it("LTP:fork13 GV:fork.cc:Multi many, each with a number of its own",
    function()
      local list, seen = {}, {}
      for i = 1, 50 do
        list[i] = assert(process.fork(function() return i end))
        assert.is_nil(seen[list[i].pid])
        seen[list[i].pid] = true
      end
      for i, child in ipairs(list) do
        assert.same({"exit", i}, {child:wait(WAIT)})
        child:close()
      end
    end)

  it("LTP:fork03 GV:fork.cc:PrivateMemory what the child changes is its own",
    function()
      local value = {1, 2, 3}
      local child <close> = assert(process.fork(function()
        value[1] = "changed"
        return value[1] == "changed"
      end))
      assert.same({"exit", 0}, {child:wait(WAIT)})
      assert.same({1, 2, 3}, value)
    end)

  it("OPTS:fork/12-1 OPTS:fork/13-1 pending signals, alarms and locks are not "
    .. "the child's; OPTS:fork/14-1 its mask is", function()
      local mask <close> = signals.block {"SIGUSR1", "SIGUSR2"}
      signal.raise "SIGUSR1"
      local child <close> = assert(process.fork(function()
        return #signal.pending() == 0 and #signal.mask() == 2
      end))
      assert.same({"exit", 0}, {child:wait(WAIT)})
      assert.equal("SIGUSR1", (signal.wait("SIGUSR1", 0)))
      assert(mask)
    end)

  it("PERL:t/op/fork.t#2 a child's child is waited for by the child", function()
    local child <close> = assert(process.fork(function()
      local inner <close> = assert(process.fork(function() return 3 end))
      local _, code = inner:wait(WAIT)
      return code + 1
    end))
    assert.same({"exit", 4}, {child:wait(WAIT)})
  end)

  it("LTP:getppid an orphan has another parent", function()
    local r, w = assert(ipc.pipe.open())
    local child <close> = assert(process.fork(function()
      local before = process.pid()
      assert(process.fork(function()
        local deadline = process.now() + WAIT
        while process.parent() == before and process.now() < deadline do
          process.sleep(0.001)
        end
        w:write(process.parent() ~= before and "adopted" or "not")
      end))
    end))
    child:wait(WAIT)
    w:close()
    assert.equal("adopted", r:read("a", WAIT))
    r:close()
  end)
end)

describe("wait", function()
  it("LTP:waitpid01 LTP:waitid how it ended: code or signal", function()
    for _, name in ipairs {"SIGTERM", "SIGKILL", "SIGALRM", "SIGUSR2",
      "SIGRTMIN+2"} do
      local child <close> = assert(process.fork(function()
        signal.raise(name)
        process.sleep(WAIT)
      end))
      assert.same({"signal", name}, {child:wait(WAIT)})
    end
  end)

  it("GV:wait.cc:MultipleForkOutOfOrder GV:wait.cc:AfterExit in any order, "
    .. "also long after", function()
      local list = {}
      for i = 1, 5 do
        list[i] = assert(process.fork(function() return i * 10 end))
      end
      for _, child in ipairs(list) do t.await_exit(child) end
      for i = 5, 1, -1 do
        assert.same({"exit", i * 10}, {list[i]:wait(0)})
        list[i]:close()
      end
    end)

  it("GV:wait.cc:WaitWNOHANG LTP:waitpid with no time it only asks", function()
    local child <close> = assert(process.spawn({"cat"}, {stdin = "pipe"}))
    t.timed_out(child:wait(0))
    assert.is_true(child:is_alive())
    child.stdin:close()
    assert.same({"exit", 0}, {child:wait(WAIT)})
    assert.is_false(child:is_alive())
  end)

  it("LTP:waitpid#any GV:wait.cc:WaitAnyChildTest.MultipleFork of several the "
    .. "one that ends", function()
      local list = {}
      for i = 1, 3 do
        list[i] = assert(process.spawn({"cat"}, {stdin = "pipe"}))
      end
      t.timed_out(poll.wait(list, 0))
      for _, i in ipairs {2, 3, 1} do
        list[i].stdin:close()
        local ready = assert(poll.wait({list[i]}, WAIT))
        assert.equal(list[i], ready[1])
        assert.same({"exit", 0}, {list[i]:wait(0)})
        list[i]:close()
      end
    end)

  it("GV:pidfd_test.cc:Poll GV:pidfd_test.cc:Epoll PY:test_posix.py:"
    .. "test_pidfd_open ready to read at the end", function()
      local child <close> = assert(process.spawn({"cat"}, {stdin = "pipe"}))
      local p <close> = assert(poll.new())
      p:add(child)
      t.timed_out(p:wait(0))
      child.stdin:close()
      assert.same({child}, (p:wait(WAIT)))
      child:wait(WAIT)
      p:remove(child)
    end)

  it("GV:pidfd_test.cc:SendSignalToDeadChildFails "
    .. "GV:pidfd_test.cc:SendSignalToZombieSucceeds a signal for the dead",
    function()
      local child <close> = assert(process.fork(function() end))
      t.await_exit(child)
      assert.is_true(child:kill(0))
      assert.is_true(child:kill "SIGTERM")
      assert.same({"exit", 0}, {child:wait(WAIT)})
      t.refused("ESRCH", child:kill(0))
      t.refused("ESRCH", child:kill "SIGTERM")
    end)

  it("GV:wait.cc:AfterChildExecve SIGCHLD ignored: there is nothing to wait "
    .. "for", function()
      local ignored <close> = signals.handle("SIGCHLD", "ignore")
      local child <close> = assert(process.spawn {"true"})
      t.refused("ECHILD", child:wait(WAIT))
      assert(ignored)
    end)

  it("runs handlers while it waits, and goes on", function()
    local ran = 0
    local child <close> = assert(process.spawn({"cat"}, {stdin = "pipe"}))
    local handler <close> = signals.handle("SIGUSR1", function()
      ran = ran + 1
      if ran == 3 then child.stdin:close() end
    end)
    local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
    assert.same({"exit", 0}, {child:wait(WAIT)})
    assert.equal(true, ran >= 3)
    assert(handler and timer)
  end)
end)

describe("process.open", function()
  it("GV:pidfd_test.cc:OpenPidfdSelfSucceeds LTP:pidfd_open01 this one, its "
    .. "parent, any", function()
      for _, pid in ipairs {process.pid(), process.parent(), 1} do
        local one <close> = assert(process.open(pid))
        assert.equal(pid, one.pid)
        assert.is_true(one:is_alive())
        t.refused("ECHILD", one:wait(0))
        t.timed_out(poll.wait({one}, 0))
      end
    end)

  it("GV:pidfd_test.cc:PidfdOpenInvalid LTP:pidfd_open02 none: ESRCH, and what "
    .. "is no number: EINVAL", function()
      local child = assert(process.fork(function() end))
      child:wait(WAIT)
      assert.equal("pidfd_open: pid " .. child.pid .. ": No such process",
        (t.refused("ESRCH", process.open(child.pid))))
      t.refused("EINVAL", process.open(0))
      t.refused("EINVAL", process.open(-1))
      t.raises("no process number", process.open, 1 << 31)
      t.raises("number expected", process.open, "me")
      child:close()
    end)

  it("LTP:pidfd_open03 GV:pidfd_test.cc:SendSignalToDeadChildFails the end of "
    .. "somebody else's child is seen, and its status is the parent's",
    function()
      local child <close> = assert(process.spawn({"cat"}, {stdin = "pipe"}))
      do
        local seen <close> = assert(process.open(child.pid))
        assert.is_true(seen:kill(0))
        child.stdin:close()
        assert.same({seen}, (poll.wait({seen}, WAIT)))
        assert.is_false(seen:is_alive())
      end
      assert.same({"exit", 0}, {child:wait(0)})
    end)

  it("GV:pidfd_test.cc:SendSignalViaPidfdOpenPidfdToSelfSucceeds "
    .. "LTP:pidfd_send_signal01 signals it, and never another one", function()
      local child <close> = assert(process.spawn {"sleep", "60"})
      local other <close> = assert(process.open(child.pid))
      assert.is_true(other:kill "SIGTERM")
      assert.same({"signal", "SIGTERM"}, {child:wait(WAIT)})
      t.refused("ESRCH", other:kill "SIGTERM")
      assert.is_false(other:is_alive())
      local got = 0
      local handler <close> = signals.handle("SIGUSR1", function()
        got = got + 1
      end)
      assert(process.open(process.pid())):kill "SIGUSR1"
      signal.dispatch()
      assert.equal(1, got)
      assert(handler)
    end)
end)

describe("exec", function()
  it("GV:exec.cc:OneArg GV:exec.cc:FiveArg LTP:execve01 gets its arguments as "
    .. "they are, the first too", function()
      for _, args in ipairs {{}, {""}, {"a", "b c", "$HOME", "'", "\n"},
        {("x"):rep(100000)}} do
        local argv = table.move(args, 1, #args, 5, {"sh", "-c",
          'for a; do printf "<%s>" "$a"; done', "sh"})
        assert.equal(#args == 0 and "" or "<" .. table.concat(args, "><")
          .. ">", (output(argv)))
      end
    end)

  it("PY:test_subprocess.py:test_executable GV:exec.cc:ExecFn its name may be "
    .. "another than the program's", function()
      assert.equal("other name\n", (output({"other name", "-c", "echo $0"},
        {program = "sh"})))
      assert.equal("-login\n", (output({"-login", "-c", "echo $0"},
        {program = "/bin/sh"})))
      local message = t.refused("ENOENT",
        process.spawn({"true"}, {program = "/no/such/program"}))
      assert.truthy(message:find("/no/such/program", 1, true))
    end)

  it("GV:exec.cc:OneEnv GV:exec.cc:FiveEnv LTP:execve gets the environment it "
    .. "is given, and no other", function()
      assert.equal("A=1\n", (output({"env"}, {program = "/usr/bin/env",
        env = {A = "1"}})))
      assert.equal("", (output({"/usr/bin/env"}, {env = {}})))
      local all = output({"/usr/bin/env"}, {env_add = {NEW = "x\ny"}})
      assert.truthy(all:find "NEW=x\ny")
      assert.truthy(("\n" .. all):find "\nPATH=")
      local less = "\n" .. output({"/usr/bin/env"},
        {env_add = {PATH = false}})
      assert.is_nil((less:find "\nPATH="))
    end)

  it("LTP:execve02 LTP:execve03 GV:exec.cc:NotFound GV:exec.cc:NoExecPerm what "
    .. "cannot be run is an error here, by name", function()
      local file = t.names.file "#!/bin/sh\n"
      local cases = {
        EACCES = {file}, ENOENT = {"/no/such"}, ENOTDIR = {file .. "/x"},
        ENAMETOOLONG = {"/" .. ("n"):rep(300)},
      }
      for code, argv in pairs(cases) do
        t.refused(code, process.spawn(argv))
      end
      t.refused("EACCES", process.spawn {t.names.directory()})
      local binary = t.names.file "\127ELF is no program"
      assert(os.execute("chmod +x " .. binary))
      t.refused("ENOEXEC", process.spawn {binary})
      t.refused("E2BIG", process.spawn {"true", ("x"):rep(1 << 20),
        ("x"):rep(1 << 22)})
      local missing = t.names.file "#!/no/such/interpreter\n"
      assert(os.execute("chmod +x " .. missing))
      t.refused("ENOENT", process.spawn {missing})
    end)

  it("GV:exec.cc:InterpreterScript GV:exec.cc:InterpreterScriptArgSplit a "
    .. "script is run by its interpreter", function()
      local script = t.names.file '#!/bin/sh -e\necho "$#: $1"\nfalse\necho no'
      assert(os.execute("chmod +x " .. script))
      local out, how, code = output {script, "an argument"}
      assert.same({"1: an argument\n", "exit", 1}, {out, how, code})
    end)

  it("PY:test_subprocess.py:test_cwd LTP:chdir its directory, and one that is "
    .. "none", function()
      local directory = t.names.directory()
      assert.equal(directory .. "\n", (output({"pwd"}, {cwd = directory})))
      t.refused("ENOENT", process.spawn({"true"}, {cwd = "/no/such"}))
      t.refused("ENOTDIR", process.spawn({"true"},
        {cwd = t.names.file ""}))
    end)

  it("PY:test_subprocess.py:test_umask its umask, and not this process's",
    function()
      for _, case in ipairs {{"0027", "0027"}, {63, "0077"}, {0, "0000"},
        {"----w--w-", "0022"}} do
        assert.equal(case[2] .. "\n", (output({"sh", "-c", "umask"},
          {umask = case[1]})))
      end
      local before = output {"sh", "-c", "umask"}
      output({"true"}, {umask = 0})
      assert.equal(before, (output {"sh", "-c", "umask"}))
      for _, bad in ipairs {512, -1, "x", true} do
        t.raises("option 'umask'", process.spawn, {"true"}, {umask = bad})
      end
    end)

  local function status(options)
    local out = output({"grep", "-E", "SigBlk|SigIgn", "/proc/self/status"},
      options)
    local function has(name, sig)
      return tonumber(out:match(name .. ":%s*(%x+)"), 16)
        & 1 << (signal.number(sig) - 1) ~= 0
    end
    return has
  end

  it("PY:test_subprocess.py:test_restore_signals "
    .. "PY:test_posix.py:TestPosixSpawn.test_setsigdef ignored, for it the "
    .. "default", function()
      local ignored <close> = signals.handle("SIGUSR2", "ignore")
      local too <close> = signals.handle("SIGPIPE", "ignore")
      local has = status()
      assert.is_true(has("SigIgn", "SIGUSR2") and has("SigIgn", "SIGPIPE"))
      has = status {signal_default = "SIGPIPE"}
      assert.is_true(has("SigIgn", "SIGUSR2"))
      assert.is_false(has("SigIgn", "SIGPIPE"))
      has = status {signal_default = "all"}
      assert.is_false(has("SigIgn", "SIGUSR2") or has("SigIgn", "SIGPIPE"))
      assert.equal("ignore", signal.handler "SIGPIPE")
      t.raises("SIGFOO", process.spawn, {"true"}, {signal_default = "SIGFOO"})
      assert(ignored and too)
    end)

  it("PY:test_posix.py:TestPosixSpawn.test_setsigmask a mask of its own",
    function()
      local mask <close> = signals.block {"SIGUSR1", "SIGTERM"}
      local before = signal.mask()
      local has = status()
      assert.is_true(has("SigBlk", "SIGUSR1") and has("SigBlk", "SIGTERM"))
      has = status {signal_mask = {}}
      assert.is_false(has("SigBlk", "SIGUSR1") or has("SigBlk", "SIGTERM"))
      has = status {signal_mask = {"SIGHUP"}}
      assert.is_true(has("SigBlk", "SIGHUP"))
      assert.is_false(has("SigBlk", "SIGTERM"))
      assert.same(before, signal.mask())
      local child <close> = assert(process.spawn({"sleep", "60"},
        {signal_mask = {}}))
      child:kill "SIGTERM"
      assert.same({"signal", "SIGTERM"}, {child:wait(WAIT)})
      t.raises("bad argument #2", process.spawn, {"true"},
        {signal_mask = "SIGFOO"})
      assert(mask)
    end)

  it("GV:vfork.cc:ParentStopsUntilChildExecves "
    .. "GV:vfork.cc:SigchldReceivedDuringVforkIsDelivered signals that come "
    .. "while it starts are not lost", function()
      local values, handler <close> = signals.collect "SIGRTMIN+6"
      local child = assert(process.fork(function()
        for i = 1, 100 do
          signal.queue(process.parent(), "SIGRTMIN+6", i)
        end
      end))
      for _ = 1, 10 do
        local program <close> = assert(process.spawn {"true"})
        assert.same({"exit", 0}, {program:wait(WAIT)})
      end
      child:wait(WAIT)
      child:close()
      signal.dispatch()
      assert.equal(100, #values)
      for i = 1, 100 do assert.equal(i, values[i]) end
      assert(handler)
    end)

  it("PY:test_subprocess.py:test_start_new_session "
    .. "PY:test_subprocess.py:test_process_group_0 LTP:setsid01 LTP:setpgid01 "
    .. "session and group", function()
      local child <close> = assert(process.spawn({"cat"}, {stdin = "pipe",
        setsid = true}))
      assert.same({child.pid, child.pid},
        {process.session(child.pid), process.group(child.pid)})
      local other <close> = assert(process.spawn({"cat"}, {stdin = "pipe",
        pgroup = true}))
      assert.same({process.session(), other.pid},
        {process.session(other.pid), process.group(other.pid)})
      local third <close> = assert(process.spawn({"cat"}, {stdin = "pipe",
        pgroup = other.pid}))
      assert.equal(other.pid, process.group(third.pid))
      for _, one in ipairs {child, other, third} do
        one.stdin:close()
        one:wait(WAIT)
      end
    end)

  it("LTP:setpgid02 LTP:setpgid03 LTP:getsid02 LTP:getpgid02 what is refused",
    function()
      assert.equal("getpgid: pid 2147483646: No such process",
        (t.refused("ESRCH", process.group(0x7ffffffe))))
      assert.equal("getsid: pid 2147483646: No such process",
        (t.refused("ESRCH", process.session(0x7ffffffe))))
      t.refused("ESRCH", process.set_group(0x7ffffffe))
      local child <close> = assert(process.spawn({"cat"}, {stdin = "pipe"}))
      t.refused("EACCES", process.set_group(child.pid)) -- it has called exec
      local _, _, code = process.set_group(nil, 0x7ffffffe)
      assert.equal(errno.EPERM, code)
      child.stdin:close()
      child:wait(WAIT)
    end)
end)

describe("communicate", function()
  it("PY:test_subprocess.py:test_communicate_timeout what came before is "
    .. "there after", function()
      local r, w = assert(ipc.pipe.open())
      local child <close> = assert(process.spawn({"sh", "-c",
        "echo before; read x <&3; echo after $x"},
        {stdout = "pipe", fds = {[3] = r}}))
      t.timed_out(child:communicate(nil, 0.05))
      w:write "input\n"
      local out, _, how, code = child:communicate(nil, WAIT)
      assert.same({"before\nafter input\n", "exit", 0}, {out, how, code})
      r:close()
      w:close()
    end)

  it("PY:test_subprocess.py:test_communicate_returns what was not asked for is "
    .. "nil", function()
      local child <close> = assert(process.spawn {"true"})
      assert.same({n = 4, nil, nil, "exit", 0},
        table.pack(child:communicate(nil, WAIT)))
    end)

  it("PY:test_subprocess.py:test_writes_before_communicate and what was "
    .. "written before goes first", function()
      local child <close> = assert(process.spawn({"cat"},
        {stdin = "pipe", stdout = "pipe"}))
      child.stdin:write "banana "
      assert.equal("banana split", (child:communicate("split", WAIT)))
    end)

  it("PY:test_subprocess.py:test_leaking_fds_on_error a program that is not "
    .. "there leaves nothing, however often", function()
      for _ = 1, 300 do
        t.refused("ENOENT", process.spawn({"/no/such"}, {stdin = "pipe",
          stdout = "pipe", stderr = "pipe"}))
      end
    end)

  it("PY:test_subprocess.py:test_pipe_cloexec two programs do not hold each "
    .. "other's pipes", function()
      local one <close> = assert(process.spawn({"cat"}, {stdin = "pipe",
        stdout = "pipe"}))
      local two <close> = assert(process.spawn({"cat"}, {stdin = "pipe",
        stdout = "pipe"}))
      one.stdin:close()
      assert.equal("", one.stdout:read("a", WAIT))
      assert.same({"exit", 0}, {one:wait(WAIT)})
      two.stdin:close()
      two:wait(WAIT)
    end)
end)
