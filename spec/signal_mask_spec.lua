-- The mask, what is pending, and signals that are taken: wait and fd.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local pipe, process, signal = ipc.pipe, ipc.process, ipc.signal
local children = t.children

local SOON = 10 * t.slow
local RT = "SIGRTMIN+2"
local MANY = 3000 -- more than the library keeps: the kernel has the rest

local function bit_of(sig)
  return 1 << (signal.number(sig) - 1)
end

local function is_held(sig)
  return signals.status "SigBlk" & bit_of(sig) ~= 0
end

local function count_up_to(last)
  local list = {}
  for i = 1, last do list[i] = i end
  return list
end

describe("The mask", function()
  it("OPTS:sigprocmask/7-1 is returned by each change as it was", function()
    local before = signal.mask()
    assert.same(before, signal.set_mask {"SIGUSR1", "SIGTERM"})
    assert.same({"SIGUSR1", "SIGTERM"}, signal.block "SIGHUP")
    assert.same({"SIGHUP", "SIGUSR1", "SIGTERM"}, signal.unblock "SIGUSR1")
    assert.same({"SIGHUP", "SIGTERM"}, signal.set_mask(before))
    assert.same(before, signal.mask())
  end)

  it("OPTS:sigprocmask/8-1 can be asked, which changes nothing", function()
    local mask <close> = signals.block {"SIGHUP", RT}
    local bits = signals.status "SigBlk"
    assert.same({"SIGHUP", RT}, signal.mask())
    assert.same({"SIGHUP", RT}, signal.block {})
    assert.same({"SIGHUP", RT}, signal.unblock {})
    assert.equal(bits, signals.status "SigBlk")
    assert.equal(bit_of "SIGHUP" | bit_of(RT), bits)
    assert.is_table(mask)
  end)

  it("takes names, numbers, lists of both, and a signal twice", function()
    local before = signal.mask()
    for _, set in ipairs {"SIGUSR1", "USR1", 10, {"USR1"}, {10, "SIGUSR1"}} do
      signal.set_mask(set)
      assert.same({"SIGUSR1"}, signal.mask())
    end
    signal.set_mask {}
    assert.same({}, signal.mask())
    signal.set_mask(before)
  end)

  it("of all signals leaves out those that cannot be blocked", function()
    local before = signal.set_mask "all"
    local blocked = {}
    for _, name in ipairs(signal.mask()) do blocked[name] = true end
    signal.set_mask(before)
    for _, name in ipairs {"SIGKILL", "SIGSTOP", "SIGRTMAX-1"} do
      assert.is_nil(blocked[name])
    end
    for name, number in pairs(signal.list()) do
      local shown = signal.name(number)
      local never = name == "SIGKILL" or name == "SIGSTOP"
      assert.equal(not never, blocked[shown] == true, name)
    end
  end)

  it("does not stop timeouts when all signals are blocked", function()
    local path = t.names.path ".fifo"
    assert(ipc.fifo.create(path))
    local mask <close> = signals.block "all"
    t.timed_out(ipc.fifo.open(path, "r", nil, 0.05))
    t.timed_out(signal.wait("SIGUSR1", 0.05))
    assert.is_true(process.sleep(0.01))
    ipc.fifo.unlink(path)
    assert.is_table(mask)
  end)

  it("stays as it was when the arguments are wrong", function()
    local before = signal.mask()
    for _, change in ipairs {"block", "unblock", "set_mask"} do
      t.raises("unknown signal 'SIGFOO'", signal[change], {"HUP", "SIGFOO"})
      t.raises("the library's own", signal[change], {"HUP", 63})
      t.raises("no signal 4000", signal[change], {"HUP", 4000})
      t.raises("bad argument #1", signal[change], {"HUP", 0})
      t.raises("bad argument #1", signal[change], {"HUP", true})
      t.raises("bad argument #1", signal[change])
      assert.same(before, signal.mask())
    end
  end)

  it("names the right argument of what is wrong in a list", function()
    t.raises("bad argument #1", signal.block, {"HUP", "SIGFOO"})
    t.raises("bad argument #1", signal.block, {{}})
    t.raises("bad argument #1", signal.wait, {"HUP", 63}, 0)
    t.raises("bad argument #1", signal.fd, {"HUP", "SIGFOO"})
    t.raises("bad argument #3", signal.handle, "USR1", print,
      {mask = {"HUP", "SIGFOO"}})
  end)

  it("that a handler changes stays changed", function()
    local before = signal.mask()
    do
      local handler <close> = signals.handle("SIGUSR1", function()
        signal.block "SIGHUP"
      end)
      signal.raise "SIGUSR1"
      assert.is_table(handler)
    end
    local during = signal.set_mask(before)
    assert.same({"SIGHUP"}, during)
  end)

  it("is a forked child's and a started program's too", function()
    local mask <close> = signals.block {"SIGHUP", "SIGUSR2"}
    local child = process.fork(function()
      return #signal.mask() == 2 and signal.mask()[2] == "SIGUSR2"
    end)
    signals.finish(child)
    child = assert(process.spawn({"grep", "SigBlk", "/proc/self/status"},
      {stdout = "pipe"}))
    local output = child:communicate(nil, SOON)
    assert.equal(("SigBlk:\t%016x\n"):format(
      bit_of "SIGHUP" | bit_of "SIGUSR2"), output)
    assert.is_table(mask)
  end)
end)

describe("Signals that wait", function()
  it("are pending, lowest number first, until they are let in", function()
    local ran = {}
    local function handler(name) table.insert(ran, name) end
    local a <close> = signals.handle("SIGUSR1", handler)
    local b <close> = signals.handle(RT, handler)
    local before = signal.block {"SIGUSR1", RT}
    signal.raise(RT)
    signal.raise "SIGUSR1"
    assert.same({"SIGUSR1", RT}, signal.pending())
    signal.dispatch()
    process.sleep(0.01)
    assert.same({}, ran)
    signal.unblock "SIGUSR1"
    assert.same({"SIGUSR1"}, ran)
    assert.same({RT}, signal.pending())
    signal.set_mask(before)
    assert.same({"SIGUSR1", RT}, ran)
    assert.same({}, signal.pending())
    assert.is_true(a ~= b)
  end)

  it("are dropped when they are ignored meanwhile", function()
    local mask <close> = signals.block "SIGUSR1"
    signal.raise "SIGUSR1"
    assert.same({"SIGUSR1"}, signal.pending())
    local handler <close> = signals.handle("SIGUSR1", "ignore")
    assert.same({}, signal.pending())
    assert.is_true(mask ~= handler)
  end)

  it("are not a forked child's", function()
    local values, handler <close> = signals.collect(RT)
    local mask <close> = signals.block(RT)
    signals.queue(RT, 5)
    local child = process.fork(function()
      if #signal.pending() > 0 then return 2 end
      signal.unblock(RT)
      return #values == 0
    end)
    signals.finish(child)
    signal.unblock(RT)
    assert.same({1, 2, 3, 4, 5}, values)
    assert.is_true(mask ~= handler)
  end)

  it("whose handler raises are let in all the same", function()
    local handler <close> = signals.handle("SIGUSR1", function()
      error("enough", 0)
    end)
    local before = signal.block "SIGUSR1"
    signal.raise "SIGUSR1"
    local ok, why = pcall(signal.unblock, "SIGUSR1")
    assert.same({false, "enough"}, {ok, why})
    assert.same(before, signal.mask())
    assert.is_table(handler)
  end)

  it("end the process when nothing handles them any more", function()
    local result = children.run [[
      local signal = require "unixipc.signal"
      signal.handle("SIGUSR1", print)
      signal.block "SIGUSR1"
      signal.raise "SIGUSR1"
      signal.handle("SIGUSR1", "default")
      io.write "before\n" io.flush()
      signal.unblock "SIGUSR1"
      print "after"
    ]]
    assert.equal("before\n", result.out)
    assert.equal(10, result.signal)
  end)
end)

-- ---- signals that the library itself holds back ----------------------------

-- Lets in more signals than fit. In the first handler, when some are held
-- back, `look` is called. Returns the values in the order in which they came.
local function hold_back(look)
  local values = {}
  local handler <close> = signals.handle(RT, function(_, info)
    table.insert(values, info.value)
    if #values > 1 then return end
    assert(is_held(RT), "nothing is held back: the test tests nothing")
    look()
  end)
  local before = signal.block(RT)
  signals.queue(RT, MANY)
  local ok, why = pcall(signal.unblock, RT)
  process.sleep(0.01)
  if ok then return values, before, handler end
  signal.set_mask(before)
  error(why, 0)
end

describe("While signals are held back", function()
  it("the mask does not show them, nor are they pending", function()
    local mask, pending, old
    local values, before = hold_back(function()
      mask, pending = signal.mask(), signal.pending()
      old = signal.block {}
    end)
    assert.same(before, mask)
    assert.same(before, old)
    assert.same({}, pending)
    assert.same(count_up_to(MANY), values)
    assert.is_false(is_held(RT))
  end)

  it("changes of the mask lose and reorder none", function()
    for _, change in ipairs {
      function() signal.unblock(RT) end,
      function() signal.set_mask {} end,
      function() signal.set_mask(signal.block "all") end,
      function() signal.set_mask(signal.block(RT)) end,
    } do
      local values = hold_back(change)
      assert.same(count_up_to(MANY), values)
      assert.is_false(is_held(RT))
      assert.same({}, signal.mask())
    end
  end)

  it("the user can block them: what the kernel has stays there", function()
    local values = {}
    local handler <close> = signals.handle(RT, function(_, info)
      table.insert(values, info.value)
      if #values > 1 then return end
      assert.is_true(is_held(RT))
      signal.block(RT)
    end)
    local before = signal.block(RT)
    signals.queue(RT, MANY)
    signal.unblock(RT)
    process.sleep(0.01)
    local during, pending, count = signal.mask(), signal.pending(), #values
    signal.set_mask(before)
    process.sleep(0.01)
    assert.same({RT}, during)
    assert.same({RT}, pending)
    assert.is_true(count < MANY)
    assert.same(count_up_to(MANY), values)
    assert.is_table(handler)
  end)

  -- Inside the handler its own signal waits, also in the child.
  it("a forked child has none of them, and an empty mask", function()
    local how, code
    local values = hold_back(function()
      local ran = 0
      signal.handle("SIGUSR2", function() ran = ran + 1 end)
      local child = process.fork(function()
        signal.handle(RT, function() ran = ran + 10 end)
        process.sleep(0.01)
        if is_held(RT) or #signal.mask() > 0 then return 2 end
        signal.raise "SIGUSR2"
        return 100 + ran
      end)
      how, code = child:wait(SOON)
      signal.handle("SIGUSR2", "original")
    end)
    assert.same({"exit", 101}, {how, code})
    assert.same(count_up_to(MANY), values)
  end)

  it("programs have an empty mask and the default dispositions", function()
    local output
    local values = hold_back(function()
      output = process.spawn({"cat", "/proc/self/status"},
        {stdout = "pipe"}):communicate(nil, SOON)
    end)
    assert.equal(0, tonumber(output:match "SigBlk:\t(%x+)", 16))
    assert.equal(0, tonumber(output:match "SigCgt:\t(%x+)", 16))
    assert.equal(signals.status "SigIgn",
      tonumber(output:match "SigIgn:\t(%x+)", 16))
    assert.same(count_up_to(MANY), values)
  end)

  it("so has a program that is opened with popen", function()
    local line
    hold_back(function()
      local output, child =
        assert(pipe.popen({"grep", "SigBlk", "/proc/self/status"}, "r"))
      line = output:read("l", SOON)
      output:close()
      if child then child:wait(SOON) end
    end)
    assert.equal("SigBlk:\t" .. ("0"):rep(16), line)
  end)

  it("a handler that raises leaves the rest to come", function()
    local ok, why = pcall(hold_back, function() error("first", 0) end)
    assert.same({false, "first"}, {ok, why})
    local values = {}
    local handler <close> = signals.handle(RT, function(_, info)
      table.insert(values, info.value)
      if #values == 1 then error("first", 0) end
    end)
    local before = signal.block(RT)
    signals.queue(RT, MANY)
    ok, why = pcall(signal.set_mask, before)
    process.sleep(0.01)
    assert.same({false, "first"}, {ok, why})
    assert.same(count_up_to(MANY), values)
    assert.is_false(is_held(RT))
    assert.is_table(handler)
  end)

  it("other signals come through", function()
    local ran = 0
    local handler <close> = signals.handle("SIGUSR1", function()
      ran = ran + 1
    end)
    local at_once
    local values = hold_back(function()
      signal.raise "SIGUSR1"
      at_once = ran
    end)
    assert.equal(1, at_once)
    assert.equal(1, ran)
    assert.same(count_up_to(MANY), values)
    assert.is_table(handler)
  end)
end)

-- ---- taking them -----------------------------------------------------------

describe("signal.wait", function()
  it("takes the lowest of a set, and leaves others pending", function()
    local mask <close> = signals.block {"SIGHUP", "SIGUSR1", RT}
    signal.raise(RT)
    signal.raise "SIGHUP"
    signal.raise "SIGUSR1"
    assert.equal("SIGUSR1", (signal.wait({RT, "SIGUSR1"}, 0)))
    assert.same({"SIGHUP", RT}, signal.pending())
    assert.equal("SIGHUP", (signal.wait("all", 0)))
    assert.equal(RT, (signal.wait("all", 0)))
    t.timed_out(signal.wait("all", 0))
    assert.is_table(mask)
  end)

  it("calls no handler for what it takes", function()
    local values, handler <close> = signals.collect(RT)
    local mask <close> = signals.block(RT)
    signals.queue(RT, 1)
    assert.equal(1, select(2, signal.wait(RT, 0)).value)
    signal.unblock(RT)
    assert.same({}, values)
    assert.is_true(mask ~= handler)
  end)

  it("never runs out of time early", function()
    local mask <close> = signals.block(RT)
    for _, seconds in ipairs {0.0001, 0.0007, 0.0015, 0.004, 0.011, 0.03} do
      for _ = 1, 5 do
        local start = process.now()
        t.timed_out(signal.wait(RT, seconds))
        assert.is_true(process.now() - start >= seconds)
      end
    end
    assert.is_table(mask)
  end)

  it("is woken by what comes while it sleeps", function()
    local mask <close> = signals.block(RT)
    for _, timeout in ipairs {SOON, math.huge} do
      local child = signals.when_asleep(function(parent)
        signal.queue(parent, RT, 12)
      end)
      local name, info = assert(signal.wait(RT, timeout))
      assert.equal(RT, name)
      assert.same({code = "queue", value = 12, pid = child.pid,
        uid = process.ids().uid}, info)
      signals.finish(child)
    end
    assert.is_table(mask)
  end)

  it("runs handlers of others on its coroutine, and goes on", function()
    local thread
    local handler <close> = signals.handle("SIGUSR1", function()
      thread = coroutine.running()
    end)
    local mask <close> = signals.block(RT)
    local child = signals.when_asleep(function(parent)
      signal.send(parent, "SIGUSR1")
      process.sleep(0.03)
      signal.queue(parent, RT, 3)
    end)
    local co = coroutine.create(signal.wait)
    local ok, name, info = coroutine.resume(co, RT, SOON)
    assert.same({true, RT}, {ok, name})
    assert.equal(3, info.value)
    assert.equal(co, thread)
    signals.finish(child)
    assert.is_true(mask ~= handler)
  end)

  it("is left by a handler that raises, and can be called again", function()
    local handler <close> = signals.handle("SIGUSR1", function()
      error("enough", 0)
    end)
    local mask <close> = signals.block(RT)
    local child = signals.send_when_asleep "SIGUSR1"
    local ok, why = pcall(signal.wait, RT, SOON)
    assert.same({false, "enough"}, {ok, why})
    signals.finish(child)
    signals.queue(RT, 1)
    assert.equal(RT, (signal.wait(RT, SOON)))
    assert.is_true(mask ~= handler)
  end)

  it("keeps its deadline while handlers run again and again", function()
    local ran = 0
    local handler <close> = signals.handle("SIGUSR1", function()
      ran = ran + 1
    end)
    local mask <close> = signals.block(RT)
    local timer <close> = signal.timer{every = 0.005, signal = "SIGUSR1"}
    local start = process.now()
    t.timed_out(signal.wait(RT, 0.1))
    local seconds = process.now() - start
    timer:close()
    assert.is_true(seconds >= 0.1 and seconds < SOON, tostring(seconds))
    assert.is_true(ran >= 2, tostring(ran))
    assert.is_true(mask ~= handler)
  end)

  it("of SIGCHLD tells of the child, whose status stays to be taken",
    function()
      local mask <close> = signals.block "SIGCHLD"
      local child = process.fork(function() return 9 end)
      local name, info = assert(signal.wait("SIGCHLD", SOON))
      assert.equal("SIGCHLD", name)
      assert.same({code = "exited", status = 9, pid = child.pid,
        uid = process.ids().uid}, info)
      assert.same({"exit", 9}, {child:wait(SOON)})
      assert.is_table(mask)
    end)

  it("refuses mistakes", function()
    t.raises("bad argument #1", signal.wait)
    t.raises("bad argument #2", signal.wait, RT, "soon")
    t.raises("bad argument #2", signal.wait, RT, {})
    t.raises("unknown signal", signal.wait, {"SIGFOO"}, 0)
    t.raises("the library's own", signal.wait, "SIGRTMAX-1", 0)
  end)
end)
