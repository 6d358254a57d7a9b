-- A child that is stopped and goes on, and what it used.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local process, poll, signal = ipc.process, ipc.poll, ipc.signal

local WAIT = 20 * t.slow

-- A child that ends with 7 when its input does, alone in its group: in one that
-- nobody outside looks after the system takes no notice of SIGTSTP.
local function new_child()
  return assert(process.spawn({"sh", "-c", "read x; exit 7"},
    {stdin = "pipe", pgroup = true}))
end

local function finish(child)
  child.stdin:close()
  assert.same({"exit", 7}, {child:wait(WAIT)})
  child:close()
end

local function stop(child, sig)
  assert(child:kill(sig or "SIGSTOP"))
  assert.same({"stopped", sig or "SIGSTOP"}, {child:wait_change(WAIT)})
end

local function continue(child)
  assert(child:kill "SIGCONT")
  assert.same({"continued", "SIGCONT"}, {child:wait_change(WAIT)})
end

describe("Process:wait_change", function()
  it("LTP:waitid07 LTP:waitid08 GV:wait.cc:WaitidWNOWAIT tells that it is "
    .. "stopped and goes on, each once", function()
      local child = new_child()
      t.timed_out(child:wait_change(0))
      for _, sig in ipairs {"SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"} do
        stop(child, sig)
        t.timed_out(child:wait_change(0))
        assert.is_true(child:is_alive())
        continue(child)
        t.timed_out(child:wait_change(0))
      end
      finish(child)
    end)

  it("LTP:waitid01 LTP:waitid11 LTP:wait401 tells how it ended, as often as it "
    .. "is asked", function()
      local child = new_child()
      child.stdin:close()
      assert.same({"exit", 7}, {child:wait_change(WAIT)})
      assert.same({"exit", 7}, {child:wait_change(0)})
      assert.same({"exit", 7}, {child:wait(0)})
      local other = new_child()
      other:kill "SIGKILL"
      assert.same({"signal", "SIGKILL"}, {other:wait_change(WAIT)})
      assert.same({"signal", "SIGKILL"}, {other:wait_change()})
    end)

  it("LTP:waitid04 waits no longer than it may, and is not early",
    function()
      local child = new_child()
      local seconds, value, message, number =
        t.took(child.wait_change, child, 0.05)
      t.timed_out(value, message, number)
      assert.is_true(seconds >= 0.05)
      assert.is_true(seconds < 0.05 + WAIT)
      finish(child)
    end)

  it("is woken by each change", function()
    local child = new_child()
    for _, sig in ipairs {"SIGSTOP", "SIGCONT", "SIGTSTP", "SIGCONT"} do
      local sender <close> = signals.when_asleep(function() child:kill(sig) end)
      local how, name = child:wait_change(WAIT)
      assert.same({sig == "SIGCONT" and "continued" or "stopped", sig},
        {how, name})
      assert.same({"exit", 0}, {sender:wait(WAIT)})
    end
    finish(child)
  end)

  it("does not tell what was over before it was asked",
    function()
      local child = new_child()
      assert(child:kill "SIGSTOP")
      signals.await_state(child.pid, "T")
      assert(child:kill "SIGCONT")
      assert.same({"continued", "SIGCONT"}, {child:wait_change(WAIT)})
      assert(child:kill "SIGCONT") -- it is not stopped
      t.timed_out(child:wait_change(0))
      assert(child:kill "SIGSTOP")
      signals.await_state(child.pid, "T")
      assert(child:kill "SIGKILL")
      assert.same({"signal", "SIGKILL"}, {child:wait(WAIT)})
      assert.same({"signal", "SIGKILL"}, {child:wait_change(0)})
    end)

  it("runs handlers, which may ask too", function()
    local child = new_child()
    local seen
    local me = process.pid()
    signals.with_handler("SIGUSR1", function()
      child:kill "SIGSTOP"
      seen = table.pack(child:wait_change(WAIT))
      child:kill "SIGCONT"
    end, function()
      local sender <close> = signals.when_asleep(function()
        signal.send(me, "SIGUSR1")
      end)
      assert.same({"continued", "SIGCONT"}, {child:wait_change(WAIT)})
      sender:wait(WAIT)
    end)
    assert.same({n = 2, "stopped", "SIGSTOP"}, seen)
    finish(child)
  end)

  it("does not matter to an ordinary wait, nor to a poller", function()
    local child = new_child()
    assert(child:kill "SIGSTOP")
    signals.await_state(child.pid, "T")
    t.timed_out(child:wait(0))
    t.timed_out(child:wait(0.01))
    if not t.under_valgrind then -- which has no pidfd
      t.timed_out(poll.wait({child}, 0.01))
    end
    assert.is_true(child:is_alive())
    -- it took nothing
    assert.same({"stopped", "SIGSTOP"}, {child:wait_change(0)})
    assert(child:kill "SIGCONT")
    t.timed_out(child:wait(0.01))
    assert.same({"continued", "SIGCONT"}, {child:wait_change(WAIT)})
    finish(child)
  end)

  it("of several tells of the one that is asked", function()
    local one, two = new_child(), new_child()
    stop(one)
    t.timed_out(two:wait_change(0))
    stop(two)
    continue(one)
    t.timed_out(two:wait_change(0.01))
    continue(two)
    finish(one)
    finish(two)
  end)

  it("LTP:waitid03 GV:wait.cc:BadChild is for children alone", function()
    local child = new_child()
    local other <close> = assert(process.fork(function()
      t.refused("ECHILD", child:wait_change(0))
      t.refused("ECHILD", child:wait_change(1))
    end))
    assert.same({"exit", 0}, {other:wait(WAIT)})
    finish(child)
    t.raises("attempt to use a closed process", child.wait_change, child)
  end)

  t.natively("is not for what was opened by its number", function()
    local one <close> = assert(process.open(process.pid()))
    t.refused("ECHILD", one:wait_change(0))
    t.refused("ECHILD", one:wait_change())
    t.refused("ECHILD", one:usage())
  end)

  it("refuses a timeout that makes no sense", function()
    local child = new_child()
    for _, timeout in ipairs {-1, 0 / 0, "soon", {}} do
      t.raises("bad argument #1 to 'wait_change'", function()
        child:wait_change(timeout)
      end)
    end
    finish(child)
  end)
end)

local FIELDS = {
  blocks_read = "integer", blocks_written = "integer",
  involuntary_switches = "integer", major_faults = "integer",
  max_resident = "integer", minor_faults = "integer", system = "float",
  user = "float", voluntary_switches = "integer",
}

local function assert_usage(usage)
  local types = {}
  for name, value in pairs(usage) do
    types[name] = math.type(value)
    assert.is_true(value >= 0, name)
  end
  assert.same(FIELDS, types)
end

-- Works until it has used so many seconds of the processor.
local function work(seconds)
  local function used()
    local usage = process.usage()
    return usage.user + usage.system
  end
  while used() < seconds do end
end

local function consume(bytes)
  return #("x"):rep(bytes)
end

local MB <const> = 1 << 20

describe("Process:usage", function()
  it("GV:wait.cc:Wait4Rusage GV:wait.cc:WaitidRusage the time a "
    .. "child had of the processor", function()
      local busy <close> = assert(process.fork(function() work(0.1) end))
      local idle <close> = assert(process.fork(function() end))
      assert.same({"exit", 0}, {busy:wait(WAIT)})
      assert.same({"exit", 0}, {idle:wait(WAIT)})
      local usage = busy:usage()
      assert_usage(usage)
      assert.is_true(usage.user + usage.system >= 0.1)
      local other = idle:usage()
      assert.is_true(other.user + other.system < usage.user + usage.system)
    end)

  it("its largest memory, in bytes, which begins with its parent's", function()
    local before = process.usage().max_resident
    local child <close> = assert(process.fork(consume, 20 * MB))
    child:wait(WAIT)
    local bytes = child:usage().max_resident
    assert.is_true(bytes >= 20 * MB, tostring(bytes))
    local status <close> = assert(io.open "/proc/self/status")
    local peak = tonumber(status:read "a":match "VmHWM:%s*(%d+) kB") * 1024
    assert.is_true(before <= peak + MB)
    assert.is_true(peak <= 2 * before + 20 * MB) -- bytes, and not kB
    local program <close> = assert(process.spawn {"true"})
    program:wait(WAIT)
    -- resident pages are counted to some dozens
    assert.is_true(program:usage().max_resident >= before // 2)
  end)

  it("needs no wait before it, but the end of the child", function()
    local child = new_child()
    local message = t.refused("EAGAIN", child:usage())
    assert.equal("usage: it is running", message)
    stop(child)
    t.refused("EAGAIN", child:usage())
    continue(child)
    child.stdin:close()
    t.await_exit(child)
    local usage = child:usage()
    assert_usage(usage)
    assert.same({"exit", 7}, {child:wait(0)})
    assert.same(usage, child:usage())
    child:close()
    t.raises("attempt to use a closed process", child.usage, child)
  end)

  it("is for children alone", function()
    local child = new_child()
    local other <close> = assert(process.fork(function()
      t.refused("ECHILD", child:usage())
    end))
    assert.same({"exit", 0}, {other:wait(WAIT)})
    finish(child)
  end)
end)

describe("process.usage", function()
  it("LTP:getrusage01 of this process and its children",
    function()
      assert_usage(process.usage())
      assert_usage(process.usage "self")
      assert_usage(process.usage "children")
      t.raises("bad argument #1", process.usage, "thread")
      t.raises("bad argument #1", process.usage, {})
    end)

  it("LTP:getrusage03 children count when they were waited for, one that was "
    .. "forked begins with none", function()
      local child <close> = assert(process.fork(function()
        if process.usage("children").max_resident ~= 0 then return 1 end
        local worker <close> = assert(process.fork(function()
          consume(30 * MB)
          work(0.05)
        end))
        t.await_exit(worker)
        local zombie = process.usage "children"
        if zombie.max_resident ~= 0 then return 2 end
        worker:wait(WAIT)
        local usage = process.usage "children"
        if usage.max_resident < 30 * MB then return 3 end
        if usage.user + usage.system < 0.05 then return 4 end
      end))
      assert.same({"exit", 0}, {child:wait(WAIT)})
      assert.is_true(process.usage("children").max_resident >= 30 * MB)
      assert.is_true(child:usage().max_resident >= 30 * MB) -- its child's too
    end)

  it("grows with what is done", function()
    local before = process.usage()
    work(before.user + before.system + 0.02)
    process.sleep(0.001)
    local after = process.usage()
    assert.is_true(after.user + after.system
      >= before.user + before.system + 0.02)
    assert.is_true(after.voluntary_switches > before.voluntary_switches)
  end)
end)
