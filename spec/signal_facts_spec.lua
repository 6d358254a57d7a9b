-- What other people's suites check of signals, beyond signal_conformance_spec:
-- suspending, sending, masks, waiting.
local t = require "support"
local signals = require "support.signals"
local nobody = require "support.nobody"
local ipc = require "unixipc"

local signal, process, errno = ipc.signal, ipc.process, ipc.errno

local RT = "SIGRTMIN+6"
local WAIT = 20 * t.slow

local function contains(list, wanted)
  for _, name in ipairs(list) do
    if name == wanted then return true end
  end
  return false
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(WAIT)})
  child:close()
end

-- A list of the signals that came; and what to close.
local function names_of(set)
  local got, closers = {}, {}
  for i, sig in ipairs(set) do
    closers[i] = signals.handle(sig, function(name) got[#got + 1] = name end)
  end
  return got, setmetatable({}, {__close = function()
    for _, c in ipairs(closers) do getmetatable(c).__close() end
  end})
end

describe("signal.suspend", function()
  it("OPTS:sigsuspend/4-1 returns when a handler has run, and the mask is "
    .. "what it was", function()
      local mask <close> = signals.block {"SIGUSR1", "SIGUSR2"}
      local before, during = signal.mask(), nil
      local handler <close> = signals.handle("SIGUSR1", function()
        during = signal.mask()
      end)
      local child = signals.send_when_asleep "SIGUSR1"
      assert.is_true(signal.suspend("SIGUSR2", WAIT))
      assert.same({"SIGUSR2"}, during)
      assert.same(before, signal.mask())
      signals.finish(child)
      assert(mask and handler)
    end)

  it("OPTS:sigsuspend/1-1 the signals of its mask wait, and come after it",
    function()
      local mask <close> = signals.block {"SIGUSR1", "SIGUSR2"}
      local got, closing <close> = names_of {"SIGUSR1", "SIGUSR2"}
      signal.raise "SIGUSR2"
      signal.raise "SIGUSR1"
      assert.is_true(signal.suspend("SIGUSR2", WAIT))
      assert.same({"SIGUSR1"}, got)
      assert.same({"SIGUSR2"}, signal.pending())
      signal.unblock "SIGUSR2"
      assert.same({"SIGUSR1", "SIGUSR2"}, got)
      assert(mask and closing)
    end)

  it("OPTS:sigsuspend/3-1 LTP:sigsuspend01 one that is pending already is let "
    .. "in: none is lost, and it does not sleep", function()
      local mask <close> = signals.block(RT)
      local values, handler <close> = signals.collect(RT)
      for i = 1, 50 do
        signals.queue(RT, 1)
        assert.is_true(signal.suspend({}, WAIT))
        assert.equal(i, #values)
      end
      assert(mask and handler)
    end)

  it("OPTS:sigsuspend/6-1 an error in a handler leaves it; the mask is what it "
    .. "was", function()
      local mask <close> = signals.block {"SIGUSR1", "SIGHUP"}
      local handler <close> = signals.handle("SIGUSR1", function()
        error "stop"
      end)
      local before = signal.mask()
      signal.raise "SIGUSR1"
      t.raises("stop", signal.suspend, {}, WAIT)
      assert.same(before, signal.mask())
      assert(mask and handler)
    end)

  it("GV:pause.cc:OnlyReturnsWhenSignalHandled LTP:pause01 an ignored one does "
    .. "not end it", function()
      local ignored <close> = signals.handle("SIGUSR1", "ignore")
      local values, handler <close> = signals.collect(RT)
      local child = signals.when_asleep(function(parent)
        for _ = 1, 3 do
          signal.send(parent, "SIGUSR1")
          process.sleep(0.005)
        end
        signal.queue(parent, RT, 9)
      end)
      assert.is_true(signal.suspend(nil, WAIT))
      assert.same({9}, values)
      signals.finish(child)
      assert(ignored and handler)
    end)

  it("LTP:pause03 one that is not handled ends the process", function()
    local child <close> = assert(process.fork(function() signal.suspend() end))
    signals.await_state(child.pid, "S")
    child:kill "SIGTERM"
    assert.same({"signal", "SIGTERM"}, {child:wait(WAIT)})
  end)

  it("runs out of time, never early, and raises for bad arguments", function()
    local before = signal.mask()
    for _, set in ipairs {{}, {"SIGUSR1"}, "all"} do
      local seconds = t.took(function()
        t.timed_out(signal.suspend(set, 0.03))
      end)
      assert.is_true(seconds >= 0.03)
      t.timed_out(signal.suspend(set, 0))
    end
    t.raises("timeout", signal.suspend, nil, -1)
    t.raises("SIGFOO", signal.suspend, {"SIGFOO"})
    t.raises("expected", signal.suspend, print)
    assert.same(before, signal.mask())
  end)

  it("works in a coroutine, and is broken by Ctrl-C", function()
    local values, handler <close> = signals.collect(RT)
    local child = signals.when_asleep(function(parent)
      signal.queue(parent, RT, 3)
    end)
    assert.is_true(coroutine.wrap(signal.suspend)(nil, WAIT))
    assert.same({3}, values)
    signals.finish(child)
    assert.is_table(handler)
    local lua = t.children.start [[
      local signal = require "unixipc".signal
      print(pcall(signal.suspend, {}, 20))]]
    signals.await_state(lua.pid, "S")
    process.sleep(0.05) -- timeout(1) runs it: asleep, too, and before
    lua:kill "INT"
    local result = lua:wait()
    if result.out == "" then return end -- it came before the call
    assert.truthy(result.out:find "false.*interrupted", result.out)
  end)
end)

describe("kill", function()
  it("OPTS:kill/1-1 OPTS:kill/1-2 LTP:kill02 reaches the process, or its "
    .. "group", function()
      local child <close> = assert(process.spawn {"sleep", "60"})
      assert.is_true(signal.send(child.pid, 0))
      assert.is_true(signal.send(child.pid, "SIGTERM"))
      assert.same({"signal", "SIGTERM"}, {child:wait(WAIT)})
    end)

  it("OPTS:kill/2-2 LTP:kill03 no such signal: EINVAL, also to nobody",
    function()
      t.refused("EINVAL", signal.send(process.pid(), 2000))
      t.raises("no signal number", signal.send, process.pid(), -1)
      t.refused("EINVAL", signal.send(0, 65))
    end)

  it("LTP:kill03#2 LTP:kill13 no such process: ESRCH", function()
    local child = assert(process.fork(function() end))
    child:wait(WAIT)
    t.refused("ESRCH", signal.send(child.pid, "SIGTERM"))
    t.refused("ESRCH", signal.send(-0x7fffffff, 0))
    local _, _, code = signal.send(0x7fffffff, 0)
    assert.equal(errno.ESRCH, code)
  end)

  it("GV:wait.cc:KillZombie LTP:kill a zombie takes any signal", function()
    local child <close> = assert(process.fork(function() end))
    t.await_exit(child)
    assert.is_true(signal.send(child.pid, "SIGKILL"))
    assert.same({"exit", 0}, {child:wait(WAIT)})
  end)

  it("LTP:kill05 another user's: EPERM, and nothing arrives", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local got, closing <close> = names_of {"SIGUSR1", RT}
    assert.equal("EPERM EPERM EPERM", nobody.run([[
      local pid = tonumber(arg[1])
      print(code(ipc.signal.send(pid, "SIGUSR1")),
        code(ipc.signal.queue(pid, "SIGRTMIN+6", 1)),
        code(ipc.signal.send(pid, 0)))
    ]], tostring(process.pid())))
    assert.same({}, got)
    assert(closing)
  end)

  it("LTP:kill09 LTP:kill07 SIGKILL cannot be blocked or ignored", function()
    local r, w = assert(ipc.pipe.open())
    local child <close> = assert(process.fork(function()
      signal.block "all"
      signal.handle("SIGTERM", "ignore")
      w:write "."
      process.sleep(WAIT)
    end))
    r:read(1, WAIT)
    child:kill "SIGTERM"
    assert.is_true(child:is_alive())
    child:kill "SIGKILL"
    assert.same({"signal", "SIGKILL"}, {child:wait(WAIT)})
    r:close()
    w:close()
  end)

  it("LTP:kill10 many processes, each is sent to and counts", function()
    local mask <close> = signals.block(RT)
    local parent, list = process.pid(), {}
    for i = 1, 10 do
      list[i] = assert(process.fork(function()
        for n = 1, 20 do assert(signal.queue(parent, RT, 100 * i + n)) end
      end))
    end
    local last, count = {}, 0
    while count < 200 do
      local _, info = assert(signal.wait(RT, WAIT))
      local i = info.value // 100
      assert.equal(list[i].pid, info.pid)
      assert.is_true(info.value % 100 == (last[i] or 0) + 1)
      last[i], count = info.value % 100, count + 1
    end
    for _, child in ipairs(list) do ended(child) end
    assert(mask)
  end)

  it("LTP:kill11 how a process ended is told by the signal's name", function()
    for _, name in ipairs {"SIGHUP", "SIGINT", "SIGQUIT", "SIGABRT", "SIGFPE",
      "SIGSEGV", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGUSR1", "SIGXCPU",
      "SIGSYS", "SIGRTMIN", "SIGRTMAX"} do
      local child <close> = assert(process.spawn({"sh", "-c",
        "ulimit -c 0; exec sleep 60"}))
      process.sleep(0)
      child:kill(name)
      assert.same({"signal", name}, {child:wait(WAIT)})
    end
  end)

  it("OPTS:killpg/1-1 OPTS:killpg/2-1 OPTS:killpg/8-1 a group, or none: ESRCH",
    function()
      local child <close> = assert(process.spawn({"sleep", "60"},
        {pgroup = true}))
      assert.is_true(signal.send_group(child.pid, 0))
      assert.is_true(signal.send_group(child.pid, "SIGTERM"))
      assert.same({"signal", "SIGTERM"}, {child:wait(WAIT)})
      t.refused("ESRCH", signal.send_group(child.pid, "SIGTERM"))
      t.refused("EINVAL", signal.send_group(0, 1000))
    end)

  it("OPTS:raise/1-1 OPTS:raise/2-1 OPTS:raise/4-1 the handler has run when it "
    .. "returns", function()
      for _, sig in ipairs {"SIGABRT", "SIGFPE", "SIGHUP", "SIGUSR1", RT} do
        local got, closing <close> = names_of {sig}
        assert.is_true(signal.raise(sig))
        assert.same({sig}, got)
        assert(closing)
      end
    end)

  it("GV:sigstop.cc:Correctness GV:sigstop.cc:SIGCONTAbortsSIGSTOP a stopped "
    .. "process does nothing until it is continued", function()
      local r, w = assert(ipc.pipe.open())
      local child <close> = assert(process.spawn({"cat"},
        {stdin = "pipe", stdout = w}))
      w:close()
      child:kill "SIGSTOP"
      signals.await_state(child.pid, "T")
      child.stdin:write "x"
      t.timed_out(r:read(1, 0.02))
      assert.is_true(child:is_alive())
      child:kill "SIGCONT"
      assert.equal("x", r:read(1, WAIT))
      child:kill "SIGSTOP"
      signals.await_state(child.pid, "T")
      child:kill "SIGKILL" -- also while it is stopped
      assert.same({"signal", "SIGKILL"}, {child:wait(WAIT)})
      r:close()
    end)
end)

describe("sigqueue", function()
  it("OPTS:sigqueue/3-1 OPTS:sigqueue/12-1 signal 0 asks; nobody: ESRCH",
    function()
      assert.is_true(signal.queue(process.pid(), 0))
      local child = assert(process.fork(function() end))
      child:wait(WAIT)
      t.refused("ESRCH", signal.queue(child.pid, 0))
      t.refused("ESRCH", signal.queue(child.pid, RT, 1))
    end)

  it("OPTS:sigqueue/4-1 OPTS:sigqueue/8-1 each comes, in order, one handler "
    .. "after the other", function()
      local mask <close> = signals.block(RT)
      local values, handler <close> = signals.collect(RT)
      signals.queue(RT, 100)
      assert.equal(0, #values)
      signal.unblock(RT)
      assert.equal(100, #values)
      for i = 1, 100 do assert.equal(i, values[i]) end
      assert(mask and handler)
    end)

  it("GV:rtsignal.cc:ValueDelivered GV:rtsignal.cc:SignoMatch by every "
    .. "real-time signal", function()
      for name, number in pairs(signal.list()) do
        if name:find "^SIGRT" then
          local mask <close> = signals.block(number)
          assert.is_true(signal.queue(process.pid(), number, number * 7))
          local got, info = assert(signal.wait(number, WAIT))
          assert.same({name, number * 7, "queue", process.pid()},
            {got, info.value, info.code, info.pid})
          assert(mask)
        end
      end
    end)
end)

describe("sigprocmask", function()
  it("OPTS:sigprocmask/17-1 another word is no way to change it: the mask "
    .. "stays", function()
      local mask <close> = signals.block {"SIGUSR1", RT}
      local before = signal.mask()
      assert.is_nil(signal.change_mask) -- a function for each of the three
      for _, call in ipairs {"block", "unblock", "set_mask"} do
        t.raises("SIGNONE", signal[call], {"SIGUSR2", "SIGNONE"})
        t.raises("bad argument", signal[call], {1000})
        t.raises("bad argument", signal[call])
        assert.same(before, signal.mask())
      end
      assert(mask)
    end)

  it("OPTS:sigprocmask/5-1 OPTS:sigprocmask/6-1 sets and takes away", function()
    local mask <close> = signals.block {"SIGUSR1", "SIGUSR2"}
    signal.set_mask {"SIGHUP", RT}
    assert.same({"SIGHUP", RT}, signal.mask())
    signal.unblock {"SIGHUP", "SIGUSR1"}
    assert.same({RT}, signal.mask())
    assert(mask)
  end)

  it("OPTS:sigprocmask/9-1 OPTS:sigprocmask/15-1 what was pending has come "
    .. "when it returns", function()
      for _, call in ipairs {"unblock", "set_mask"} do
        local mask <close> = signals.block "SIGUSR1"
        local got, closing <close> = names_of {"SIGUSR1"}
        signal.raise "SIGUSR1"
        assert.same({}, got)
        signal[call](call == "unblock" and "SIGUSR1" or {})
        assert.same({"SIGUSR1"}, got)
        assert(mask and closing)
      end
    end)

  it("OPTS:sigprocmask/12-1 OPTS:sigpending/1-1 OPTS:sigpending/1-2 pending "
    .. "ones are told, once each", function()
      local mask <close> = signals.block {"SIGABRT", "SIGALRM", "SIGUSR1"}
      for _ = 1, 3 do
        signal.raise "SIGABRT"
        signal.raise "SIGUSR1"
      end
      local pending_now = signal.pending()
      table.sort(pending_now)
      assert.same({"SIGABRT", "SIGUSR1"}, pending_now)
      assert.equal("SIGABRT", (signal.wait("SIGABRT", 0)))
      assert.equal("SIGUSR1", (signal.wait("all", 0)))
      assert.same({}, signal.pending())
      assert(mask)
    end)

  it("OPTS:sigpending/1-3 pending while its handler waits, and gone when it "
    .. "has run", function()
      local mask <close> = signals.block "SIGUSR1"
      local inside
      local handler <close> = signals.handle("SIGUSR1", function()
        inside = signal.pending()
      end)
      signal.raise "SIGUSR1"
      assert.is_true(contains(signal.pending(), "SIGUSR1"))
      signal.unblock "SIGUSR1"
      assert.same({}, inside)
      assert(mask and handler)
    end)

  it("GV:exec.cc:SignalMask GV:exec.cc:IgnorePreserved GV:exec.cc:HandlerReset "
    .. "what a program is started with", function()
      local mask <close> = signals.block "SIGUSR1"
      local ignored <close> = signals.handle("SIGUSR2", "ignore")
      local handled <close> = signals.handle("SIGHUP", function() end)
      local child <close> = assert(process.spawn(
        {"grep", "-E", "SigBlk|SigIgn|SigCgt", "/proc/self/status"},
        {stdout = "pipe"}))
      local out = child.stdout:read "a"
      child:wait(WAIT)
      local function bits(name)
        return tonumber(out:match(name .. ":%s*(%x+)"), 16)
      end
      local function bit(name) return 1 << (signal.number(name) - 1) end
      assert.equal(bit "SIGUSR1", bits "SigBlk" & bit "SIGUSR1")
      assert.equal(bit "SIGUSR2", bits "SigIgn" & bit "SIGUSR2")
      assert.equal(0, bits "SigCgt" & bit "SIGHUP")
      assert.equal(0, bits "SigIgn" & bit "SIGHUP")
      assert(mask and ignored and handled)
    end)
end)

describe("sigaction", function()
  it("OPTS:sigaction/1-1 OPTS:sigaction/2-1 any signal but two can be handled, "
    .. "and set back", function()
      for _, number in pairs(signal.list()) do
        local name = signal.name(number)
        if name ~= "SIGKILL" and name ~= "SIGSTOP"
          and signal.handler(number) == "default" then
          local got, closing <close> = names_of {number}
          signal.raise(number)
          assert.same({name}, got)
          assert(closing)
        end
      end
    end)

  it("OPTS:sigaction/17-1 LTP:sigaction01#1 PERL:lib/sigtrap once: then the "
    .. "default is back", function()
      local child <close> = assert(process.fork(function()
        local ran = 0
        signal.handle("SIGUSR1", function() ran = ran + 1 end, {once = true})
        signal.raise "SIGUSR1"
        if ran ~= 1 or signal.handler "SIGUSR1" ~= "default" then return 9 end
        signal.raise "SIGUSR1"
        return 8
      end))
      assert.same({"signal", "SIGUSR1"}, {child:wait(WAIT)})
    end)

  it("OPTS:sigaction/21-1 GV:wait.cc nowait: children leave nothing to wait "
    .. "for", function()
      local handler <close> = signals.handle("SIGCHLD", function() end,
        {nowait = true})
      local child = assert(process.fork(function() return 5 end))
      local _, _, code = child:wait(WAIT)
      assert.equal(errno.ECHILD, code)
      child:close()
      assert(handler)
    end)

  it("OPTS:sigaction/19-1 GV:wait.cc:SignalExit SIGCHLD tells how a child "
    .. "ended", function()
      local mask <close> = signals.block "SIGCHLD"
      for _, case in ipairs {
        {function() return 42 end, "exited", 42},
        {function() signal.raise "SIGKILL" end, "killed", "SIGKILL"},
      } do
        local child <close> = assert(process.fork(case[1]))
        local _, info = assert(signal.wait("SIGCHLD", WAIT))
        assert.same({case[2], case[3], child.pid, process.ids().uid},
          {info.code, info.status, info.pid, info.uid})
        child:wait(WAIT)
      end
      assert(mask)
    end)

  it("OPTS:sigaction/29-1 GV:sigaction.cc:GetGreaterThanMaxFails no such "
    .. "signal", function()
      for _, number in ipairs {0, -1, 65, 1000} do
        assert.is_false((pcall(function()
          return assert(signal.handle(number, "ignore"))
        end)))
        assert.is_false((pcall(function()
          return assert(signal.handler(number))
        end)))
      end
    end)
end)

describe("sigwait", function()
  it("OPTS:sigwait/1-1 OPTS:sigwaitinfo/1-1 GV:sigtimedwait.cc:"
    .. "AlarmReturnsAlarm sleeps until one comes", function()
      local mask <close> = signals.block "SIGALRM"
      signal.alarm(0.02)
      local name, info = assert(signal.wait("SIGALRM", WAIT))
      assert.same({"SIGALRM", "kernel"}, {name, info.code})
      assert(mask)
    end)

  it("OPTS:sigwait/6-1 OPTS:sigwaitinfo/2-1 is taken: no longer pending, no "
    .. "handler runs", function()
      local mask <close> = signals.block "SIGUSR1"
      local got, closing <close> = names_of {"SIGUSR1"}
      signal.raise "SIGUSR1"
      assert.equal("SIGUSR1", (signal.wait({"SIGUSR1", "SIGUSR2"}, 0)))
      assert.same({}, signal.pending())
      signal.unblock "SIGUSR1"
      assert.same({}, got)
      assert(mask and closing)
    end)

  it("OPTS:sigwait/8-1 OPTS:sigwaitinfo/3-1 the lowest of several, and the "
    .. "others stay", function()
      local mask <close> = signals.block {"SIGRTMIN+3", "SIGRTMIN+5", RT}
      for _, sig in ipairs {RT, "SIGRTMIN+3", "SIGRTMIN+5"} do
        signal.queue(process.pid(), sig, 0)
      end
      local got = {}
      for i = 1, 3 do got[i] = (signal.wait("all", WAIT)) end
      assert.same({"SIGRTMIN+3", "SIGRTMIN+5", RT}, got)
      assert(mask)
    end)

  it("GV:sigtimedwait.cc:KillGeneratedSIGCHLD GV:sigtimedwait.cc:"
    .. "ChildExitGeneratedSIGCHLD SIGCHLD is waited for, whoever sends it",
    function()
      local mask <close> = signals.block "SIGCHLD"
      signal.send(process.pid(), "SIGCHLD")
      assert.equal("user", select(2, assert(signal.wait("SIGCHLD", 0))).code)
      local child = assert(process.fork(function() end))
      assert.equal(child.pid,
        select(2, assert(signal.wait("SIGCHLD", WAIT))).pid)
      ended(child)
      assert(mask)
    end)

  it("GV:sigtimedwait.cc:SIGKILLUncaught SIGKILL is not waited for", function()
    local child <close> = assert(process.fork(function()
      signal.wait({"SIGKILL", "SIGSTOP"}, WAIT)
    end))
    signals.await_state(child.pid, "S")
    child:kill "SIGKILL"
    assert.same({"signal", "SIGKILL"}, {child:wait(WAIT)})
  end)
end)

describe("signalfd", function()
  it("GV:signalfd.cc:Basic GV:signalfd.cc:MaskWorks LTP:signalfd01 each reads "
    .. "its own signals", function()
      local mask <close> = signals.block {"SIGUSR1", "SIGUSR2"}
      local one <close> = assert(signal.fd "SIGUSR1")
      local two <close> = assert(signal.fd "SIGUSR2")
      signal.raise "SIGUSR2"
      t.timed_out(one:read(0))
      assert.equal("SIGUSR2", (two:read(0)))
      t.timed_out(two:read(0))
      assert(mask)
    end)

  it("GV:signalfd.cc:Poll is ready while something is pending", function()
    local mask <close> = signals.block "SIGUSR1"
    local fd <close> = assert(signal.fd "SIGUSR1")
    t.timed_out(ipc.poll.wait({fd}, 0))
    signal.raise "SIGUSR1"
    assert.same({{fd}, {"r"}}, {ipc.poll.wait({fd}, WAIT)})
    fd:read(0)
    t.timed_out(ipc.poll.wait({fd}, 0))
    assert(mask)
  end)

  it("GV:signalfd.cc:KillStillKills SIGKILL cannot be read", function()
    local child <close> = assert(process.fork(function()
      local fd = assert(signal.fd {"SIGKILL", "SIGTERM"})
      fd:read(WAIT)
      return 3
    end))
    process.sleep(0.01)
    child:kill "SIGKILL"
    assert.same({"signal", "SIGKILL"}, {child:wait(WAIT)})
  end)
end)
