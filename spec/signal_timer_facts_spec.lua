-- What other people's suites check of timers, beyond signal_timer_spec: clocks,
-- moments, timers that send nothing.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local signal, process = ipc.signal, ipc.process

local RT = "SIGRTMIN+7"
local WAIT = 20 * t.slow

describe("signal.timer", function()
  it("OPTS:timer_settime/5-1 GV:timerfd.cc:SetAbsoluteTime at a moment it goes "
    .. "off then, not before", function()
      local mask <close> = signals.block(RT)
      local at = process.now() + 0.05
      local timer <close> = assert(signal.timer {at = at, signal = RT,
        value = 5})
      local left = timer:remaining()
      assert.is_true(left > 0 and left <= 0.05)
      local _, info = assert(signal.wait(RT, WAIT))
      assert.is_true(process.now() >= at)
      assert.same({"timer", 5}, {info.code, info.value})
      assert.same({0.0, 0.0}, {timer:remaining()})
      assert(mask)
    end)

  it("OPTS:timer_settime/5-2 OPTS:timer_settime/5-3 a moment that has passed "
    .. "is now", function()
      local mask <close> = signals.block(RT)
      for _, at in ipairs {0, 1e-9, 1, process.now() - 1e-3} do
        local timer <close> = assert(signal.timer {at = at, signal = RT})
        assert(signal.wait(RT, WAIT))
        assert.equal(0.0, (timer:remaining()))
      end
      assert(mask)
    end)

  it("OPTS:timer_settime/6-1 a moment, and then again and again; what was "
    .. "missed are overruns", function()
      local mask <close> = signals.block(RT)
      local timer <close> = assert(signal.timer {at = process.now() - 0.1,
        every = 0.01, signal = RT})
      local _, info = assert(signal.wait(RT, WAIT))
      assert.is_true(info.overrun >= 9, tostring(info.overrun))
      assert(signal.wait(RT, WAIT))
      timer:set {}
      assert(mask)
    end)

  it("OPTS:timer_settime/8-1 LTP:timer_settime01 set anew it forgets what it "
    .. "was set to, moment or span", function()
      local mask <close> = signals.block(RT)
      local timer <close> = assert(signal.timer {after = 100, signal = RT})
      assert.is_true((timer:set {at = process.now() + 200}) <= 100)
      local left = timer:set {after = 0.01}
      assert.is_true(left > 190 and left <= 200)
      assert(signal.wait(RT, WAIT))
      t.timed_out(signal.wait(RT, 0.03))
      assert(mask)
    end)

  it("OPTS:timer_create/11-1 LTP:timer_create01 by every clock there is",
    function()
      local mask <close> = signals.block(RT)
      for _, clock in ipairs {"monotonic", "realtime", "boottime"} do
        local timer <close> = assert(signal.timer {after = 0.01, signal = RT,
          clock = clock})
        assert(signal.wait(RT, WAIT))
        local now = clock == "realtime" and os.time() or process.now()
        timer:set {at = now + 100}
        local left = timer:remaining()
        assert.is_true(left > 90 and left <= 101, tostring(left))
      end
      assert(mask)
    end)

  it("OPTS:timer_create/10-1 by the processor time of the process", function()
    local mask <close> = signals.block(RT)
    local timer <close> = assert(signal.timer {after = 0.02, signal = RT,
      clock = "process"})
    t.timed_out(signal.wait(RT, 0.05)) -- asleep: no time passes
    local finish = process.now() + WAIT
    repeat
      for _ = 1, 1e5 do end
    until #signal.pending() > 0 or process.now() > finish
    assert.equal(RT, (signal.wait(RT, 0)))
    assert(timer and mask)
  end)

  it("GV:timers.cc:SingleShotSilent without a signal it is only asked",
    function()
      local timer <close> = assert(signal.timer {after = 0.02, signal = false})
      local left = timer:remaining()
      assert.is_true(left > 0 and left <= 0.02)
      process.sleep(0.04)
      assert.same({0.0, 0.0}, {timer:remaining()})
      assert.same({}, signal.pending())
    end)

  it("GV:timers.cc:PeriodicSilent goes round and sends nothing", function()
    local timer <close> = assert(signal.timer {every = 0.02, signal = false})
    for _ = 1, 3 do
      local left, every = timer:remaining()
      assert.is_true(left > 0 and left <= 0.02)
      assert.equal(0.02, every)
      process.sleep(0.015)
    end
  end)

  it("GV:timers.cc:IsInitiallyStopped OPTS:timer_gettime/2-1 one that is not "
    .. "set has nothing left", function()
      local timer <close> = assert(signal.timer {})
      assert.same({0.0, 0.0}, {timer:remaining()})
      timer:set {after = 60, every = 3}
      timer:set {after = 0, every = 3}
      assert.equal(0.0, (timer:remaining()))
    end)

  it("OPTS:timer_gettime/1-1 OPTS:timer_gettime/1-2 OPTS:timer_gettime/1-3 "
    .. "what is left becomes less", function()
      local timer <close> = assert(signal.timer {after = 60, every = 30})
      local last = 60
      for _ = 1, 5 do
        local left, every = timer:remaining()
        assert.is_true(left <= last and left > 0)
        assert.equal(30.0, every)
        last = left
        process.sleep(0.001)
      end
    end)

  it("GV:timers.cc:MultipleTimers OPTS:timer_create/3-1 many, each sends its "
    .. "own", function()
      local mask <close> = signals.block {RT, "SIGUSR1"}
      local one <close> = assert(signal.timer {after = 0.01, signal = RT,
        value = 1})
      local two <close> = assert(signal.timer {after = 0.02, signal = RT,
        value = 2})
      local other <close> = assert(signal.timer {after = 0.01,
        signal = "SIGUSR1", value = 3})
      local values = {}
      for i = 1, 2 do
        values[i] = select(2, assert(signal.wait(RT, WAIT))).value
      end
      table.sort(values)
      assert.same({1, 2}, values)
      assert.equal(3, select(2, assert(signal.wait("SIGUSR1", WAIT))).value)
      assert(one and two and other and mask)
    end)

  it("GV:timers.cc:RealTimeSignalsAreNotDuplicated OPTS:timer_getoverrun/2-2 "
    .. "one signal pending at most, the rest are counted", function()
      local mask <close> = signals.block(RT)
      local timer <close> = assert(signal.timer {every = 0.005, signal = RT})
      process.sleep(0.06)
      local _, info = assert(signal.wait(RT, 0))
      assert.equal(info.overrun, timer:overrun())
      timer:set {}
      assert.is_true(info.overrun >= 5)
      signal.wait(RT, 0.02) -- one more may have come in between
      t.timed_out(signal.wait(RT, 0))
      assert(mask)
    end)

  it("GV:timers.cc:AlreadyPendingSignal one that others sent does not keep "
    .. "the timer's back, nor is it lost", function()
      local mask <close> = signals.block(RT)
      signal.queue(process.pid(), RT, 77)
      local timer <close> = assert(signal.timer {after = 0.01, signal = RT,
        value = 78})
      process.sleep(0.03)
      local got = {}
      for i = 1, 2 do
        got[i] = select(2, assert(signal.wait(RT, WAIT))).value
      end
      assert.same({77, 78}, got)
      assert(timer and mask)
    end)

  it("GV:timers.cc:NegativeInterval OPTS:timer_create/16-1 "
    .. "OPTS:timer_settime/13-1 raises for what is no time, no clock, both "
    .. "times", function()
      t.raises("option 'after'", signal.timer, {after = -1})
      t.raises("option 'at'", signal.timer, {at = -1})
      t.raises("option 'at'", signal.timer, {at = 0 / 0})
      t.raises("option 'at'", signal.timer, {at = math.huge})
      t.raises("exclude", signal.timer, {at = 1, after = 1})
      t.raises("sundial", signal.timer, {after = 1, clock = "sundial"})
      t.raises("got boolean", signal.timer, {after = 1, signal = true})
      t.raises("unknown option 'at'", signal.interval, "real", {at = 1})
      local timer <close> = assert(signal.timer {})
      t.raises("unknown option 'clock'", timer.set, timer,
        {after = 1, clock = "realtime"})
    end)
end)

describe("signal.timerfd", function()
  it("GV:timerfd.cc:IsInitiallyStopped GV:timerfd.cc:NonblockingRead nothing "
    .. "to read", function()
      local fd <close> = assert(signal.timerfd {})
      assert.same({0.0, 0.0}, {fd:remaining()})
      t.timed_out(fd:read(0))
      t.timed_out(fd:read(0.01))
    end)

  it("GV:timerfd.cc:SingleShot GV:timerfd.cc:BlockingRead goes off once",
    function()
      local fd <close> = assert(signal.timerfd {after = 0.02})
      local start = process.now()
      assert.equal(1, fd:read(WAIT))
      assert.is_true(process.now() - start >= 0.015)
      t.timed_out(fd:read(0.03))
      assert.equal(0.0, (fd:remaining()))
    end)

  it("GV:timerfd.cc:Periodic "
    .. "GV:timerfd.cc:BlockingPoll_SetTimeResetsExpirations counts; to set it "
    .. "begins anew", function()
      local fd <close> = assert(signal.timerfd {every = 0.005})
      process.sleep(0.03)
      assert.is_true(fd:read(0) >= 5)
      process.sleep(0.02)
      fd:set {after = 60}
      t.timed_out(ipc.poll.wait({fd}, 0))
      t.timed_out(fd:read(0))
    end)

  it("GV:timerfd.cc:SetAbsoluteTime GV:timerfd.cc:ClockAbsoluteRealtime at a "
    .. "moment, by each clock", function()
      local at = process.now() + 0.03
      local fd <close> = assert(signal.timerfd {at = at})
      assert.equal(1, fd:read(WAIT))
      assert.is_true(process.now() >= at)
      for _, clock in ipairs {"realtime", "boottime"} do
        local other <close> = assert(signal.timerfd {after = 0.01,
          clock = clock})
        assert.equal(1, other:read(WAIT))
      end
      local wall <close> = assert(signal.timerfd {at = os.time() + 2,
        clock = "realtime"})
      local left = wall:remaining()
      assert.is_true(left > 0.9 and left <= 2, tostring(left))
    end)

  it("GV:timerfd.cc:SetToPastExpiresEventually LTP:timerfd_settime01 a moment "
    .. "long ago is now; the processor's clock is none: EINVAL", function()
      local fd <close> = assert(signal.timerfd {at = os.time() - 60,
        clock = "realtime", every = 10})
      assert.equal(7, fd:read(WAIT))
      fd:set {at = 0, every = 10}
      assert.is_true(fd:read(WAIT) > 1e6)
      t.refused("EINVAL", signal.timerfd {after = 1, clock = "process"})
    end)

  it("LTP:timerfd02 is no program's", function()
    local fd <close> = assert(signal.timerfd {after = 1})
    local child <close> = assert(process.spawn({"sh", "-c",
      "test -e /proc/self/fd/" .. fd:fileno()}))
    assert.same({"exit", 1}, {child:wait(WAIT)})
  end)
end)

describe("alarm and intervals", function()
  it("LTP:alarm03 LTP:alarm07 GV:fork.cc:Alarm a child has none", function()
    signal.alarm(50)
    local child = assert(process.fork(function()
      return signal.alarm(0) == 0
    end))
    assert.same({"exit", 0}, {child:wait(WAIT)})
    assert.is_true(signal.alarm(0) > 40)
    child:close()
  end)

  it("LTP:alarm05 LTP:alarm06 a new one takes the place of the old, 0 ends it",
    function()
      local got = 0
      local handler <close> = signals.handle("SIGALRM", function()
        got = got + 1
      end)
      signal.alarm(0.01)
      local left = signal.alarm(100)
      assert.is_true(left > 0 and left <= 0.01)
      process.sleep(0.03)
      assert.equal(0, got)
      assert.is_true(signal.alarm(0.01) > 90)
      signal.alarm(0)
      process.sleep(0.03)
      assert.equal(0, got)
      assert(handler)
    end)

  it("LTP:setitimer01 LTP:getitimer01 GV:itimer.cc:"
    .. "ItimervalUpdatedBeforeExpiration each of the three tells what is left",
    function()
      for _, which in ipairs {"real", "virtual", "prof"} do
        signal.interval(which, {after = 100, every = 7})
        local left, every = signal.interval(which, {})
        assert.is_true(left > 90 and left <= 101, which)
        assert.equal(7.0, every)
        assert.same({0.0, 0.0}, {signal.interval(which, {})})
      end
    end)

  it("GV:exec.cc:ItimerPreserved an alarm goes on in the program that takes "
    .. "the place of this one; a child's program has none", function()
      local child <close> = assert(process.spawn {"sleep", "0.05"})
      signal.alarm(100)
      local other <close> = assert(process.spawn {"true"})
      assert.same({"exit", 0}, {other:wait(WAIT)})
      assert.same({"exit", 0}, {child:wait(WAIT)})
      assert.is_true(signal.alarm(0) > 80)
    end)
end)
