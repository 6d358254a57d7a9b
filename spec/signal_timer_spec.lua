-- Timers: alarm, interval, timer and timerfd.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local pipe, poll, process, signal = ipc.pipe, ipc.poll, ipc.process, ipc.signal

local SOON = 10 * t.slow
local RT = "SIGRTMIN+2"

-- How many timers the kernel keeps for this process.
local function count_timers()
  local file <close> = io.open "/proc/self/timers"
  if not file then return pending "no /proc/self/timers" end
  return select(2, file:read "a":gsub("notify:", ""))
end

-- Sleeps until there are that many in the list.
local function await(list, count)
  local finish = process.now() + SOON
  while #list < count and process.now() < finish do process.sleep(0.002) end
  assert.is_true(#list >= count, #list .. " of " .. count)
end

describe("signal.alarm", function()
  it("LTP:alarm02 tells what was left of the one before", function()
    assert.equal(0.0, signal.alarm(100))
    local left = signal.alarm(1000.5)
    assert.is_true(left > 50 and left <= 100, tostring(left))
    left = signal.alarm(0)
    assert.is_true(left > 900 and left <= 1000.5, tostring(left))
    assert.equal(0.0, signal.alarm(0))
  end)

  it("comes once, and not before its time", function()
    local times, start = {}, nil
    local handler <close> = signals.handle("SIGALRM", function()
      table.insert(times, process.now() - start)
    end)
    start = process.now()
    signal.alarm(0.03)
    await(times, 1)
    assert.is_true(times[1] >= 0.03, tostring(times[1]))
    process.sleep(0.05)
    assert.equal(1, #times)
    assert.is_table(handler)
  end)

  it("that is taken back does not come", function()
    local ran = 0
    local handler <close> = signals.handle("SIGALRM", function()
      ran = ran + 1
    end)
    signal.alarm(0.02)
    signal.alarm(0)
    process.sleep(0.05)
    assert.equal(0, ran)
    assert.is_table(handler)
  end)

  it("of however little is not none", function()
    local ran = {}
    local handler <close> = signals.handle("SIGALRM", function(name)
      table.insert(ran, name)
    end)
    for count, seconds in ipairs {1e-6, 1e-7, 1e-9, 1e-300, 5e-324} do
      signal.alarm(seconds)
      await(ran, count)
    end
    assert.equal("SIGALRM", ran[1])
    assert.is_table(handler)
  end)

  it("can break a blocked call", function()
    local r, w = pipe.open()
    local handler <close> = signals.handle("SIGALRM", function()
      error("too late", 0)
    end)
    signal.alarm(0.03)
    local ok, why = pcall(r.read, r, 1)
    assert.same({false, "too late"}, {ok, why})
    r:close()
    w:close()
    assert.is_table(handler)
  end)

  it("is the kernel's: a process without a handler ends", function()
    local result = t.children.run [[
      require "unixipc.signal".alarm(0.02)
      require "unixipc.process".sleep(5)
      print "not reached"
    ]]
    assert.equal(14, result.signal)
    assert.equal("", result.out)
  end)

  it("refuses what is no time", function()
    for _, bad in ipairs {-1, -1e-9, 0 / 0, math.huge, 1e10, "soon", {}} do
      t.raises("bad argument #1", signal.alarm, bad)
    end
    t.raises("bad argument #1", signal.alarm)
  end)
end)

describe("signal.interval", function()
  it("real is the timer of alarm", function()
    signal.alarm(100)
    local left, every = signal.interval("real", {after = 50, every = 7})
    assert.is_true(left > 50 and left <= 100)
    assert.equal(0.0, every)
    left, every = signal.interval("real", {})
    assert.is_true(left > 40 and left <= 50)
    assert.equal(7.0, every)
    assert.equal(0.0, signal.alarm(0))
  end)

  it("counts the process's own time", function()
    for which, name in pairs {virtual = "SIGVTALRM", prof = "SIGPROF"} do
      local ran = 0
      local handler <close> = signals.handle(name, function(got)
        if got == name then ran = ran + 1 end
      end)
      assert.same({0.0, 0.0}, {signal.interval(which, {every = 0.01})})
      local finish = os.clock() + SOON
      while ran < 3 and os.clock() < finish do end
      local _, every = signal.interval(which, {})
      assert.is_true(math.abs(every - 0.01) < 0.005) -- of whole ticks
      assert.is_true(ran >= 3, which)
      assert.is_table(handler)
    end
  end)

  it("without `after` begins with `every`", function()
    local ran = {}
    local handler <close> = signals.handle("SIGALRM", function(name)
      table.insert(ran, name)
    end)
    signal.interval("real", {every = 0.005})
    await(ran, 3)
    signal.interval("real", {})
    assert.is_table(handler)
  end)

  it("refuses mistakes", function()
    t.raises("bad argument #1", signal.interval, "wall", {})
    t.raises("bad argument #2", signal.interval, "real")
    t.raises("bad argument #2", signal.interval, "real", 5)
    t.raises("unknown option 'before'", signal.interval, "real", {before = 1})
    t.raises("unknown option 'signal'", signal.interval, "real",
      {signal = "USR1"})
    assert.equal(0.0, signal.alarm(0))
  end)
end)

describe("signal.timer", function()
  it("sends SIGALRM when it is not told", function()
    local infos = {}
    local handler <close> = signals.handle("SIGALRM", function(_, info)
      table.insert(infos, info)
    end)
    local timer <close> = assert(signal.timer{after = 0.01})
    await(infos, 1)
    assert.same({code = "timer", value = 0, overrun = 0}, infos[1])
    assert.equal("timer", tostring(timer))
    assert.is_table(handler)
  end)

  it("gives its value to the handler", function()
    for _, value in ipairs {-2147483648, -1, 1, 2147483647} do
      local values, handler <close> = signals.collect(RT)
      local timer <close> = signal.timer{
        after = 0.001, signal = RT, value = value}
      await(values, 1)
      assert.same({value}, values)
      assert.is_true(timer ~= handler)
    end
  end)

  it("OPTS:timer_settime/6-1 goes off on and on, never early", function()
    local times = {}
    local handler <close> = signals.handle(RT, function()
      table.insert(times, process.now())
    end)
    local start = process.now()
    local timer <close> = signal.timer{
      after = 0.02, every = 0.01, signal = RT}
    await(times, 5)
    timer:close()
    for i, time in ipairs(times) do
      assert.is_true(time - start >= 0.02 + (i - 1) * 0.01)
    end
    assert.is_table(handler)
  end)

  it("many at once go off once each, with their values", function()
    local values, handler <close> = signals.collect(RT)
    local timers = {}
    for value = 50, 1, -1 do
      timers[value] = signal.timer{
        after = 0.05 + value * 0.001, signal = RT, value = value}
    end
    await(values, 50)
    for _, timer in ipairs(timers) do timer:close() end
    process.sleep(0.02)
    table.sort(values) -- two processors may change places
    for i = 1, 50 do assert.equal(i, values[i]) end
    assert.equal(50, #values)
    assert.is_table(handler)
  end)

  it("of however little is not none", function()
    for _, seconds in ipairs {1e-9, 1e-10, 1e-300, 5e-324} do
      local values, handler <close> = signals.collect(RT)
      local one <close> = signal.timer{after = seconds, signal = RT, value = 1}
      await(values, 1)
      local _, every = one:set{after = 100, every = seconds}
      assert.equal(0.0, every)
      _, every = one:remaining()
      assert.is_true(every > 0)
      assert.is_table(handler)
    end
  end)

  it("OPTS:timer_gettime/1-4 and OPTS:timer_settime/8-3 + 8-4 tell the rest "
    .. "and the interval", function()
      local timer <close> = signal.timer{after = 100, every = 0.25}
      local left, every = timer:remaining()
      assert.is_true(left > 50 and left <= 100)
      assert.equal(0.25, every)
      process.sleep(0.01)
      assert.is_true(timer:remaining() <= left - 0.01)
      left, every = timer:set{after = 200}
      assert.is_true(left > 50 and left < 100)
      assert.equal(0.25, every)
      left, every = timer:set{}
      assert.is_true(left > 100 and left <= 200)
      assert.equal(0.0, every)
      assert.same({0.0, 0.0}, {timer:remaining()})
    end)

  it("OPTS:timer_settime/3-1 with 0 does not go off, nor later", function()
    local values, handler <close> = signals.collect(RT)
    local timer <close> = signal.timer{after = 0, signal = RT, value = 1}
    process.sleep(0.02)
    assert.same({0.0, 0.0}, {timer:remaining()})
    timer:set{after = 0.005}
    await(values, 1)
    process.sleep(0.02)
    assert.same({1}, values)
    assert.is_table(handler)
  end)

  it("OPTS:timer_getoverrun/1-1 is one signal for many times", function()
    local infos = {}
    local handler <close> = signals.handle(RT, function(_, info)
      table.insert(infos, info)
    end)
    local before = signal.block(RT)
    local timer <close> = signal.timer{every = 0.002, signal = RT}
    process.sleep(0.05)
    signal.set_mask(before)
    timer:set{}
    process.sleep(0.01)
    assert.is_true(infos[1].overrun >= 5, tostring(infos[1].overrun))
    assert.is_true(#infos <= 5, tostring(#infos))
    assert.is_true(timer:overrun() >= 0)
    assert.is_table(handler)
  end)

  it("overrun is that of the last signal", function()
    local mask <close> = signals.block(RT)
    local timer <close> = signal.timer{every = 0.002, signal = RT}
    process.sleep(0.04)
    local _, info = assert(signal.wait(RT, SOON))
    assert.equal(info.overrun, timer:overrun())
    assert.is_true(timer:overrun() >= 3)
    assert.is_table(mask)
  end)

  it("OPTS:timer_delete/1-1 that is closed does not go off", function()
    local values, handler <close> = signals.collect(RT)
    local before = count_timers()
    local timer = signal.timer{after = 0.02, every = 0.01, signal = RT}
    assert.equal(before + 1, count_timers())
    assert.is_true(timer:close())
    assert.is_true(timer:close())
    assert.equal(before, count_timers())
    process.sleep(0.05)
    assert.same({}, values)
    assert.equal("timer (closed)", tostring(timer))
    assert.is_table(handler)
  end)

  it("LTP:timer_delete02 once closed is refused by every method", function()
    local timer = signal.timer{}
    timer:close()
    t.raises("closed", timer.set, timer, {after = 1})
    t.raises("closed", timer.remaining, timer)
    t.raises("closed", timer.overrun, timer)
  end)

  it("is deleted at the end of its block, and by the collector", function()
    local before = count_timers()
    do
      local timer <close> = signal.timer{after = 100}
      assert.equal(before + 1, count_timers())
      assert.is_userdata(timer)
    end
    assert.equal(before, count_timers())
    for _ = 1, 20 do signal.timer{after = 100} end
    collectgarbage()
    collectgarbage()
    assert.equal(before, count_timers())
  end)

  it("can be closed and set by its handler", function()
    local ran, timer = {}, nil
    local handler <close> = signals.handle(RT, function()
      table.insert(ran, true)
      if #ran == 1 then timer:set{after = 0.001} else timer:close() end
    end)
    timer = signal.timer{after = 0.005, every = 0.005, signal = RT}
    await(ran, 2)
    process.sleep(0.03)
    assert.equal(2, #ran)
    assert.equal("timer (closed)", tostring(timer))
    assert.is_table(handler)
  end)

  -- In a fresh process, so that the child's timers get the same numbers.
  it("OPTS:timer_create/8-1 is not a forked child's, nor can it harm its own",
    function()
      local result = t.children.run [[
        local process = require "unixipc.process"
        local signal = require "unixipc.signal"
        local timer = signal.timer{after = 100}
        local child = process.fork(function()
          print(select(2, pcall(timer.remaining, timer)))
          local own = {}
          for i = 1, 20 do own[i] = signal.timer{after = 50} end
          timer:close()
          for i = 1, 20 do assert(own[i]:remaining() > 20) end
          print "all there"
        end)
        print(child:wait())
        print(timer:remaining() > 50)
      ]]
      assert.equal("", result.err)
      local message, rest = result.out:match "^([^\n]*)\n(.*)"
      assert.truthy(message:find("another process", 1, true), message)
      assert.equal("all there\nexit\t0\ntrue\n", rest)
    end)

  it("OPTS:timer_create/8-1 does not go off in a forked child", function()
    local values, handler <close> = signals.collect(RT)
    local timer <close> = signal.timer{
      after = 0.03, signal = RT, value = 1}
    local child = process.fork(function()
      process.sleep(0.1)
      return #values
    end)
    signals.finish(child)
    await(values, 1)
    assert.is_true(timer ~= handler)
  end)

  it("refuses mistakes, and makes no timer", function()
    local before = count_timers()
    t.raises("bad argument #1", signal.timer)
    t.raises("bad argument #1", signal.timer, 5)
    t.raises("unknown option 'in'", signal.timer, {["in"] = 5})
    t.raises("unknown signal 'SIGFOO'", signal.timer, {signal = "SIGFOO"})
    t.raises("the library's own", signal.timer, {signal = "SIGRTMAX-1"})
    t.raises("option 'value'", signal.timer, {value = 1 << 31})
    t.raises("option 'value'", signal.timer, {value = "x"})
    t.refused("EINVAL", signal.timer{signal = 4000, after = 1})
    for _, bad in ipairs {-1, 0 / 0, math.huge, 1e10, "1", {}} do
      t.raises("option 'after'", signal.timer, {after = bad})
      t.raises("option 'every'", signal.timer, {every = bad})
    end
    assert.equal(before, count_timers())
  end)

  it("names the argument of what is wrong in its options", function()
    t.raises("bad argument #1", signal.timer, {after = -1})
    t.raises("bad argument #1", signal.timer, {signal = "SIGFOO"})
    t.raises("bad argument #1", signal.timer, {signal = 63})
    local timer <close> = signal.timer{}
    t.raises("bad argument #1", function() timer:set{every = -1} end)
    t.raises("bad argument #1", function() timer:set() end)
    t.raises("unknown option 'value'", function() timer:set{value = 1} end)
  end)
end)

describe("signal.timerfd", function()
  it("counts how often it went off", function()
    local timer <close> = assert(signal.timerfd{every = 0.002})
    process.sleep(0.03)
    assert.is_true(timer:read(0) >= 5)
    assert.is_true(timer:read(SOON) >= 1)
    timer:set{after = 0.001}
    assert.equal(1, timer:read(SOON))
    t.timed_out(timer:read(0))
  end)

  it("does not wake early", function()
    for _, seconds in ipairs {0.0005, 0.004, 0.02} do
      local start = process.now()
      local timer <close> = signal.timerfd{after = seconds}
      assert.equal(1, timer:read(SOON))
      assert.is_true(process.now() - start >= seconds)
    end
  end)

  it("read runs out of time, never early", function()
    local timer <close> = signal.timerfd{after = 100}
    t.timed_out(timer:read(0))
    local start = process.now()
    t.timed_out(timer:read(0.02))
    assert.is_true(process.now() - start >= 0.02)
  end)

  it("of however little is not none", function()
    for _, seconds in ipairs {1e-9, 1e-10, 5e-324} do
      local timer <close> = signal.timerfd{after = seconds}
      assert.equal(1, timer:read(SOON))
      local every = select(2, timer:set{every = seconds})
      assert.equal(0.0, every)
      assert.is_true(timer:read(SOON) >= 1)
      assert.is_true(timer:read(SOON) >= 1)
    end
  end)

  it("with 0 does not go off; set tells the rest", function()
    local timer <close> = signal.timerfd{}
    t.timed_out(timer:read(0.01))
    assert.same({0.0, 0.0}, {timer:remaining()})
    assert.same({0.0, 0.0}, {timer:set{after = 100, every = 4}})
    local left, every = timer:set{after = 10}
    assert.is_true(left > 50 and left <= 100)
    assert.equal(4.0, every)
  end)

  it("wakes poll.wait and a Poller", function()
    local timer <close> = signal.timerfd{}
    local poller <close> = assert(poll.new())
    assert(poller:add(timer))
    for _, call in ipairs {
      function() return poll.wait({timer}, SOON) end,
      function() return poller:wait(SOON) end,
    } do
      t.timed_out(poll.wait({timer}, 0))
      timer:set{after = 0.01}
      assert.equal(timer, assert(call())[1])
      assert.equal(1, timer:read(0))
    end
  end)

  it("read runs handlers, and goes on", function()
    local timer <close> = signal.timerfd{}
    local handler <close> = signals.handle("SIGUSR1", function()
      timer:set{after = 0.01}
    end)
    local child = signals.send_when_asleep "SIGUSR1"
    assert.equal(1, timer:read(SOON))
    signals.finish(child)
    assert.is_table(handler)
  end)

  it("read is left by a handler that raises, or that closes it", function()
    local timer <close> = signal.timerfd{}
    local action = function() error("enough", 0) end
    local handler <close> = signals.handle("SIGUSR1", function() action() end)
    local child = signals.send_when_asleep "SIGUSR1"
    t.raises("enough", timer.read, timer, SOON)
    signals.finish(child)
    action = function() timer:close() end
    child = signals.send_when_asleep "SIGUSR1"
    t.raises("closed", timer.read, timer, SOON)
    signals.finish(child)
    assert.is_table(handler)
  end)

  it("is a forked child's too, but not a program's", function()
    local timer <close> = signal.timerfd{after = 0.02}
    signals.finish(process.fork(function()
      return timer:read(SOON) == 1
    end))
    local child = assert(process.spawn({"sh", "-c",
      "test ! -e /proc/self/fd/" .. timer:fileno()}))
    signals.finish(child)
  end)

  it("once closed is refused by every method", function()
    local timer = signal.timerfd{after = 100}
    assert.is_true(timer:close())
    assert.is_true(timer:close())
    t.raises("closed", timer.read, timer, 0)
    t.raises("closed", timer.set, timer, {})
    t.raises("closed", timer.remaining, timer)
    t.raises("closed", timer.fileno, timer)
    assert.equal("timerfd (closed)", tostring(timer))
  end)

  it("refuses mistakes", function()
    t.raises("bad argument #1", signal.timerfd)
    t.raises("unknown option 'signal'", signal.timerfd, {signal = "USR1"})
    for _, bad in ipairs {-1, 0 / 0, math.huge, "1"} do
      t.raises("option 'after'", signal.timerfd, {after = bad})
      t.raises("option 'every'", signal.timerfd, {every = bad})
    end
  end)
end)
