-- What other people's suites say of signals and timers, row by row.
local t = require "support"
local ipc = require "unixipc"

local signal, process = ipc.signal, ipc.process
local children = t.children

local RT = "SIGRTMIN+4"
local SOON = 10 * t.slow

local function self_queue(sig, value)
  return assert(signal.queue(process.pid(), sig, value))
end

-- Runs fn with the signals blocked, and puts the mask back.
local function with_blocked(set, fn)
  local before = signal.block(set)
  local ok, why = pcall(fn)
  signal.set_mask(before)
  assert(ok, why)
end

-- Runs fn with a handler, and puts back what was there.
local function with_handler(sig, action, options, fn)
  assert(signal.handle(sig, action, options))
  local ok, why = pcall(fn)
  signal.handle(sig, "original")
  assert(ok, why)
end

local function contains(list, wanted)
  for _, name in ipairs(list) do
    if name == wanted then return true end
  end
  return false
end

describe("signal.queue", function()
  it("OPTS:sigqueue/1-1 tells value, code, pid and uid", function()
    local got
    with_handler(RT, function(_, info) got = info end, nil, function()
      self_queue(RT, 4711)
    end)
    assert.equal(4711, got.value)
    assert.equal("queue", got.code)
    assert.equal(process.pid(), got.pid)
    assert.equal(process.ids().uid, got.uid)
  end)

  it("OPTS:sigqueue/7-1 lets the lowest number in first", function()
    local order = {}
    local names = {"SIGRTMIN+7", "SIGRTMIN+5", "SIGRTMIN+9"}
    for _, name in ipairs(names) do
      signal.handle(name, function(sig) order[#order + 1] = sig end)
    end
    with_blocked(names, function()
      for i, name in ipairs(names) do self_queue(name, i) end
    end)
    for _, name in ipairs(names) do signal.handle(name, "original") end
    assert.same({"SIGRTMIN+5", "SIGRTMIN+7", "SIGRTMIN+9"}, order)
  end)

  it("OPTS:sigqueue/10-1 of a number that is none is EINVAL", function()
    t.refused("EINVAL", signal.queue(process.pid(), 4000))
  end)

  it("OPTS:sigqueue/9-1 over RLIMIT_SIGPENDING is EAGAIN", function()
    local result = children.run(nil, {command = {"bash", "-c",
      'ulimit -i 5; exec "$@"', "bash", os.getenv "LUA" or "lua5.4", "-e", [[
        local signal = require "unixipc.signal"
        local pid = require "unixipc.process".pid()
        signal.block "SIGRTMIN"
        for i = 1, 100 do
          local ok, message, code = signal.queue(pid, "SIGRTMIN", i)
          if not ok then print(message, code) break end
        end]]}})
    assert.equal("", result.err)
    assert.truthy(result.out:find("sigqueue: .*\t11\n"), result.out)
  end)
end)

describe("signal.wait", function()
  it("OPTS:sigwait/2-1 + 3-1 takes a queued one each time, a plain one once",
    function()
      with_blocked({RT, "SIGUSR1"}, function()
        self_queue(RT, 1)
        self_queue(RT, 2)
        for _ = 1, 4 do assert(signal.raise "SIGUSR1") end
        assert.equal("SIGUSR1", (signal.wait({RT, "SIGUSR1"}, 0)))
        assert.equal(1, select(2, signal.wait(RT, 0)).value)
        assert.equal(2, select(2, signal.wait(RT, 0)).value)
        t.timed_out(signal.wait({RT, "SIGUSR1"}, 0))
      end)
    end)

  it("OPTS:sigtimedwait/1-1 runs out of time, not early", function()
    with_blocked(RT, function()
      local start = process.now()
      t.timed_out(signal.wait(RT, 0.2))
      local seconds = process.now() - start
      assert.is_true(seconds >= 0.2 and seconds < SOON, tostring(seconds))
    end)
  end)

  it("OPTS:sigtimedwait/2-1 with 0 only tries", function()
    with_blocked(RT, function()
      local seconds = t.took(function() t.timed_out(signal.wait(RT, 0)) end)
      assert.is_true(seconds < SOON)
    end)
  end)

  it("GV:sigtimedwait.cc:InvalidTimeout raises", function()
    for _, timeout in ipairs {-1, 0 / 0} do
      t.raises("timeout", signal.wait, RT, timeout)
    end
  end)

  it("GV:sigtimedwait.cc:NullTimeoutReturnsEINTR: the handler runs and it "
    .. "goes on", function()
      local ran = 0
      with_handler("SIGUSR2", function() ran = ran + 1 end, nil, function()
        with_blocked(RT, function()
          local child = process.fork(function()
            signal.send(process.parent(), "SIGUSR2")
            process.sleep(0.05)
            signal.queue(process.parent(), RT, 9)
          end)
          assert.equal(9, select(2, signal.wait(RT, SOON)).value)
          child:wait()
        end)
      end)
      assert.equal(1, ran)
    end)

  it("GV:sigtimedwait.cc:IgnoredMaskedSignal gets an ignored one", function()
    with_handler("SIGUSR1", "ignore", nil, function()
      with_blocked("SIGUSR1", function()
        signal.raise "SIGUSR1"
        assert.equal("SIGUSR1", (signal.wait("SIGUSR1", 0)))
      end)
    end)
  end)

  it("OPTS:sigwaitinfo/6-1 tells who sent it with kill", function()
    with_blocked("SIGUSR1", function()
      local child = process.fork(function()
        signal.send(process.parent(), "SIGUSR1")
      end)
      local _, info = assert(signal.wait("SIGUSR1", SOON))
      assert.equal("user", info.code)
      assert.equal(child.pid, info.pid)
      child:wait()
    end)
  end)

  it("OPTS:sigwaitinfo/7-1 gives the value that was queued", function()
    with_blocked(RT, function()
      for _, value in ipairs {0, -1, 2147483647, -2147483648} do
        self_queue(RT, value)
        assert.equal(value, select(2, signal.wait(RT, 0)).value)
      end
      t.raises("out of range", signal.queue, process.pid(), RT, 1 << 31)
    end)
  end)

  it("LTP:libs/sigwait of no signal runs out of time; one that is ignored "
    .. "does not end it", function()
      t.timed_out(signal.wait({}, 0.02))
      with_handler("SIGUSR1", "ignore", nil, function()
        local child = process.fork(function()
          signal.send(process.parent(), "SIGUSR1")
        end)
        local start = process.now()
        t.timed_out(signal.wait(RT, 0.1))
        assert.is_true(process.now() - start >= 0.1)
        child:wait()
      end)
    end)
end)

describe("The mask", function()
  it("OPTS:sigprocmask/4-1 is a union; 7-1 what was there is returned; 8-1 "
    .. "can be asked", function()
      local before = signal.mask()
      assert.same(before, signal.block "SIGABRT")
      local with_abrt = signal.mask()
      assert.same(with_abrt, signal.block "SIGALRM")
      assert.is_true(contains(signal.mask(), "SIGABRT"))
      assert.is_true(contains(signal.mask(), "SIGALRM"))
      signal.set_mask(before)
      assert.same(before, signal.mask())
    end)

  it("OPTS:sigprocmask/10-1 never has SIGKILL and SIGSTOP", function()
    with_blocked({"SIGKILL", "SIGSTOP"}, function()
      assert.is_false(contains(signal.mask(), "SIGKILL"))
      assert.is_false(contains(signal.mask(), "SIGSTOP"))
    end)
  end)

  it("PY:test_signal.py:PendingSignalsTests: the handler has run when "
    .. "unblock returns", function()
      local ran = false
      with_handler("SIGUSR1", function() ran = true end, nil, function()
        local before = signal.block "SIGUSR1"
        signal.raise "SIGUSR1"
        assert.same({"SIGUSR1"}, signal.pending())
        assert.is_false(ran)
        local during = signal.unblock "SIGUSR1"
        assert.is_true(ran)
        assert.is_true(contains(during, "SIGUSR1"))
        assert.same({}, signal.pending())
        signal.set_mask(before)
      end)
    end)
end)

describe("Sending", function()
  it("OPTS:kill/2-1 of signal 0 delivers nothing", function()
    assert.is_true(signal.send(process.pid(), 0))
  end)

  it("OPTS:kill/3-1 to another user's process is EPERM", function()
    if process.ids().uid ~= 0 then return pending "needs root" end
    local result = children.run(nil, {command = {"setpriv", "--reuid", "65534",
      "--clear-groups", os.getenv "LUA" or "lua5.4", "-e",
      'print(require "unixipc.signal".send(1, 0))'}})
    assert.equal("nil\tkill: pid 1: Operation not permitted\t1\n", result.out)
  end)

  it("OPTS:kill/2-1 of signal 0 calls no handler", function()
    local list = {}
    for name, number in pairs(signal.list()) do
      if signal.handler(number) == "default" and name:find "^SIGRT" then
        signal.handle(number, function() list.ran = name end)
        table.insert(list, number)
      end
    end
    assert.is_true(#list >= 20)
    assert.is_true(signal.send(process.pid(), 0))
    assert.is_true(signal.send_group(0, 0))
    process.sleep(0.01)
    for _, number in ipairs(list) do signal.handle(number, "original") end
    assert.is_nil(list.ran)
  end)

  it("GV:kill.cc:CanSIGCONTSameSession is allowed, other signals are not",
    function()
      if process.ids().uid ~= 0 then return pending "needs root" end
      local got
      with_handler("SIGCONT", function(_, info) got = info end, nil, function()
        local result = children.run(nil, {command = {"setpriv", "--reuid",
          "65534", "--clear-groups", os.getenv "LUA" or "lua5.4", "-e", ([[
            local signal = require "unixipc.signal"
            print(signal.send(%d, "SIGCONT"))
            print((select(3, signal.send(%d, "SIGUSR1"))))
          ]]):format(process.pid(), process.pid())}})
        process.sleep(0.001)
        assert.equal("", result.err)
        assert.equal("true\n1\n", result.out)
      end)
      assert.equal(65534, got.uid)
      assert.equal("user", got.code)
    end)

  it("LTP:kill06 reaches every member of a group", function()
    local r, w = ipc.pipe.open()
    local leader = process.spawn({"sh", "-c", "sleep 60 & sleep 60 & wait"},
      {pgroup = true, stdout = w})
    w:close()
    process.sleep(0.05)
    assert.is_true(signal.send(-leader.pid, "SIGKILL"))
    assert.equal("signal", (leader:wait(SOON)))
    assert.is_nil((r:read("l", SOON))) -- all that had the other end are gone
    r:close()
  end)

  it("OPTS:killpg/6-1 of a number that is none is EINVAL", function()
    t.refused("EINVAL", signal.send_group(0, 4000))
  end)

  it("OPTS:raise/7-1 of a number that is none is EINVAL", function()
    t.refused("EINVAL", signal.raise(4000))
  end)
end)

describe("signal.handle", function()
  it("OPTS:sigaction/3-1 can be asked and changes nothing", function()
    local fn = function() end
    with_handler("SIGUSR1", fn, nil, function()
      assert.equal(fn, signal.handler "SIGUSR1")
      assert.equal(fn, signal.handler "SIGUSR1")
    end)
  end)

  it("OPTS:sigaction/8-1 holds what is in the mask while it runs", function()
    local order = {}
    signal.handle("SIGUSR2", function() order[#order + 1] = "B" end)
    with_handler("SIGUSR1", function()
      order[#order + 1] = "A begins"
      signal.raise "SIGUSR2"
      order[#order + 1] = "A ends"
    end, {mask = {"SIGUSR2", "SIGKILL", "SIGSTOP"}}, function()
      signal.raise "SIGUSR1"
    end)
    signal.handle("SIGUSR2", "original")
    assert.same({"A begins", "A ends", "B"}, order)
  end)

  it("OPTS:sigaction/4-1 takes SIGKILL and SIGSTOP in its mask; they stay "
    .. "as they are", function()
      local blocked, how, name
      with_handler("SIGUSR1", function()
        blocked = signal.mask()
        local child = process.fork(function() signal.raise "SIGKILL" end)
        how, name = child:wait(SOON)
      end, {mask = {"SIGKILL", "SIGSTOP"}}, function()
        signal.raise "SIGUSR1"
      end)
      assert.same(signal.mask(), blocked)
      assert.same({"signal", "SIGKILL"}, {how, name})
    end)

  it("OPTS:sigaction/22-1 with nodefer runs inside itself, else after",
    function()
      local depth, deepest, ran = 0, 0, 0
      local function handler()
        depth, ran = depth + 1, ran + 1
        deepest = math.max(deepest, depth)
        if ran == 1 then signal.raise "SIGUSR1" end
        depth = depth - 1
      end
      with_handler("SIGUSR1", handler, {nodefer = true}, function()
        signal.raise "SIGUSR1"
      end)
      assert.equal(2, deepest)
      depth, deepest, ran = 0, 0, 0
      with_handler("SIGUSR1", handler, nil, function()
        signal.raise "SIGUSR1"
      end)
      assert.equal(2, ran)
      assert.equal(1, deepest)
    end)

  -- Stops and continues a child; returns the codes that SIGCHLD told.
  local function child_codes(options)
    local codes = {}
    local function handler(_, info) codes[#codes + 1] = info.code end
    with_handler("SIGCHLD", handler, options, function()
      local child = process.fork(function() process.sleep(60) end)
      local function state()
        local file <close> = io.open("/proc/" .. child.pid .. "/stat")
        return file:read "a":match "%) (%a)"
      end
      local function send(sig, wanted)
        child:kill(sig)
        local finish = process.now() + SOON
        while (state() == "T") ~= wanted and process.now() < finish do
          process.sleep(0.001)
        end
        process.sleep(0.02) -- SIGCHLDs that are pending together are one
      end
      send("SIGSTOP", true)
      send("SIGCONT", false)
      child:kill "SIGKILL"
      child:wait(SOON)
      process.sleep(0.01)
    end)
    return codes
  end

  it("OPTS:sigaction/9-1 with nostop is not told of stops", function()
    assert.same({"killed"}, child_codes {nostop = true})
  end)

  it("OPTS:sigaction/10-1 + 11-1 is told of a stop and of going on",
    function()
      assert.same({"stopped", "continued", "killed"}, child_codes())
    end)

  it("LTP:signal01 of SIGKILL is EINVAL", function()
    for _, sig in ipairs {"SIGKILL", "SIGSTOP"} do
      t.refused("EINVAL", signal.handle(sig, "ignore"))
      t.refused("EINVAL", signal.handle(sig, print))
    end
  end)

  it("PY:test_signal.py:test_valid_signals lists what can be used", function()
    local list = signal.list()
    local numbers = {}
    for name, number in pairs(list) do
      numbers[number] = name
      assert.equal(number, signal.number(name))
    end
    assert.is_nil(numbers[32])
    assert.is_nil(numbers[33])
    assert.is_number(list.SIGRTMIN)
    assert.equal(64, list.SIGRTMAX)
    assert.is_nil(numbers[63]) -- the library's own
  end)
end)

describe("signal.fd", function()
  it("GV:signalfd.cc:RtQueueDeliversPayload reads each, in order", function()
    local before = signal.mask()
    local fd <close> = assert(signal.fd(RT))
    for i = 1, 100 do self_queue(RT, i) end
    for i = 1, 100 do
      local name, info = assert(fd:read(0))
      assert.equal(RT, name)
      assert.equal(i, info.value)
      assert.equal("queue", info.code)
      assert.equal(process.pid(), info.pid)
    end
    t.timed_out(fd:read(0))
    signal.set_mask(before)
  end)
end)

describe("Timers", function()
  it("LTP:alarm02 alarm returns the seconds that were left", function()
    assert.equal(0.0, signal.alarm(50))
    local left = signal.alarm(0)
    assert.is_true(left > 40 and left <= 50, tostring(left))
    assert.equal(0.0, signal.alarm(0))
  end)

  it("OPTS:timer_create/8-1 a child has no timer", function()
    local timer <close> = assert(signal.timer{after = 60, signal = "SIGUSR1"})
    local child = process.fork(function()
      return not pcall(timer.remaining, timer)
    end)
    assert.same({"exit", 0}, {child:wait(SOON)})
    assert.is_true((timer:remaining()) > 0)
  end)

  it("OPTS:timer_create/9-1 a timer ends with exec", function()
    local result = children.run [[
      local signal = require "unixipc.signal"
      local process = require "unixipc.process"
      signal.handle("SIGUSR1", "default")
      local timer <close> = signal.timer{after = 0.05, signal = "SIGUSR1"}
      local child = process.spawn({"sleep", "0.2"})
      signal.handle("SIGUSR1", "ignore")
      print(child:wait(5))
    ]]
    assert.equal("exit\t0\n", result.out)
  end)

  -- How often a timer went off in so many seconds.
  local function count(options, seconds)
    local ran = 0
    with_handler("SIGUSR1", function() ran = ran + 1 end, nil, function()
      options.signal = "SIGUSR1"
      local timer <close> = assert(signal.timer(options))
      process.sleep(seconds)
      assert.is_true((timer:remaining()) >= 0)
    end)
    return ran
  end

  it("OPTS:timer_settime/3-1 with 0 never goes off", function()
    assert.equal(0, count({after = 0, every = 0.01}, 0.05))
    assert.equal(0, count({}, 0.02))
  end)

  it("OPTS:timer_settime/6-1 goes off again and again", function()
    local ran = count({every = 0.01}, 0.3)
    assert.is_true(ran >= 5 and ran <= 30, tostring(ran))
  end)

  it("once without `every`, and a tiny time is not never", function()
    assert.equal(1, count({after = 0.01}, 0.1))
    assert.equal(1, count({after = 1e-12}, 0.1))
  end)

  it("OPTS:timer_settime/8-3 + 8-4 and timer_gettime/1-4 tell what was set",
    function()
      local timer <close> = assert(signal.timer{
        after = 50, every = 7, signal = "SIGUSR1"})
      local left, every = timer:remaining()
      assert.is_true(left > 40 and left <= 50)
      assert.equal(7.0, every)
      left, every = timer:set{after = 0}
      assert.is_true(left > 40 and left <= 50)
      assert.equal(7.0, every)
      assert.same({0.0, 0.0}, {timer:remaining()})
    end)

  it("OPTS:timer_getoverrun/1-1 is one signal for many times", function()
    with_blocked("SIGUSR1", function()
      local timer <close> = assert(signal.timer{
        every = 0.005, signal = "SIGUSR1", value = 77})
      process.sleep(0.1)
      local name, info = assert(signal.wait("SIGUSR1", 0))
      timer:set{after = 0}
      assert.equal("SIGUSR1", name)
      assert.equal("timer", info.code)
      assert.equal(77, info.value)
      assert.is_true(info.overrun >= 5, tostring(info.overrun))
      t.timed_out(signal.wait("SIGUSR1", 0))
    end)
  end)

  it("LTP:timer_delete02 a closed one raises; OPTS:timer_delete/1-1 it does "
    .. "not go off", function()
      local ran = 0
      with_handler("SIGUSR1", function() ran = ran + 1 end, nil, function()
        local timer = signal.timer{after = 0.02, signal = "SIGUSR1"}
        assert.is_true(timer:close())
        assert.is_true(timer:close())
        t.raises("closed", timer.remaining, timer)
        process.sleep(0.05)
      end)
      assert.equal(0, ran)
    end)

  it("LTP:setitimer02 an interval that makes no sense raises", function()
    t.raises("invalid option", signal.interval, "reel", {after = 1})
    for _, bad in ipairs {-1, 0 / 0, 1e300, "1"} do
      t.raises("option 'after'", signal.interval, "real", {after = bad})
      t.raises("option 'every'", signal.timer, {every = bad})
    end
  end)
end)
