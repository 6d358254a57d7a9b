-- How long calls block: deadlines, and signals that are nobody's business.
local t = require "support"
local blocking = require "support.blocking"
local busted = require "busted"
local ipc = require "unixipc"

local fifo, pipe, process, poll = ipc.fifo, ipc.pipe, ipc.process, ipc.poll

local SOON = 1 * t.slow -- how late a call may be on a busy machine
local FOR_EVER = 10 * t.slow -- what is not over by then hangs

local function read_all(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

local function state_of(pid)
  return read_all("/proc/" .. pid .. "/stat"):match "%) (%a)"
end

local function await_state(pid, wanted)
  local start = busted.monotime()
  while state_of(pid) ~= wanted do
    assert(busted.monotime() - start < FOR_EVER,
      ("process %s is not in state %s"):format(pid, wanted))
    busted.sleep(0.0005)
  end
end

-- A child that blocks in the call of a case. What the call returned comes, as
-- text, from the second result, after the seconds that it took.
local function start_blocked(case, timeout)
  local ready, go = assert(pipe.open())
  local result, report = assert(pipe.open())
  local child = assert(process.fork(function()
    case.enter()
    go:write "."
    local start = process.now()
    local values = table.pack(pcall(case.call, timeout))
    local seconds = process.now() - start
    for i = 1, values.n do values[i] = tostring(values[i]) end
    report:send(seconds .. " " .. table.concat(values, " "))
  end))
  report:close()
  assert.equal(".", ready:read(1, FOR_EVER))
  ready:close()
  go:close()
  return child, result
end

local function outcome(child, result)
  local text = assert(result:receive(FOR_EVER))
  result:close()
  assert.equal("exit", (child:wait(FOR_EVER)))
  local seconds, values = text:match "^(%S+) (.*)$"
  return tonumber(seconds), values
end

-- What calls return when they are let go, and when time is up.
local function assert_released(values)
  assert.truthy(values:find "^true ", values)
  assert.falsy(values:find "^true nil", values)
end

local function assert_timed_out(case, values)
  if case.is_endless then return assert.equal("true true", values) end
  assert.truthy(values:find "^true nil timeout 110", values)
end

describe("A signal without a handler", function()
  for _, name in ipairs(blocking.names) do
    it("does not end " .. name, function()
      local case <close> = blocking.new(name)
      local child, result = start_blocked(case)
      for _ = 1, 3 do
        await_state(child.pid, "S")
        child:kill "SIGWINCH"
        child:kill "SIGSTOP"
        await_state(child.pid, "T")
        child:kill "SIGCONT"
      end
      await_state(child.pid, "S")
      t.timed_out(poll.wait({result}, 0))
      if case.is_endless then
        child:kill "SIGKILL"
        assert.is_nil(result:receive(FOR_EVER))
        return result:close(), child:wait(FOR_EVER)
      end
      local other = case.release()
      local _, values = outcome(child, result)
      assert_released(values)
      if type(other) == "userdata" then other:close() end
    end)

    it("does not shorten " .. name, function()
      local case <close> = blocking.new(name)
      local child, result = start_blocked(case, 0.05)
      repeat
        child:kill "SIGWINCH"
        child:kill "SIGCONT"
      until poll.wait({result}, 0.0002)
      local seconds, values = outcome(child, result)
      assert_timed_out(case, values)
      assert.is_true(seconds >= 0.05, "early: " .. seconds)
      assert.is_true(seconds < 0.05 + SOON, "late: " .. seconds)
    end)

    it("that stops the process does not shorten " .. name, function()
      local case <close> = blocking.new(name)
      local child, result = start_blocked(case, 0.06)
      for _ = 1, 3 do
        child:kill "SIGSTOP"
        await_state(child.pid, "T")
        child:kill "SIGCONT"
      end
      local seconds, values = outcome(child, result)
      assert_timed_out(case, values)
      assert.is_true(seconds >= 0.06, "early: " .. seconds)
    end)
  end
end)

describe("A timeout", function()
  for _, name in ipairs(blocking.names) do
    it("is never early, never much too late: " .. name, function()
      local case <close> = blocking.new(name)
      case.enter()
      for _, timeout in ipairs {0.05, 0.01, 0.001, 0.0001, 1e-9, 1e-300, 0} do
        local seconds, value, message, number = t.took(case.call, timeout)
        if not case.is_endless then t.timed_out(value, message, number) end
        assert.is_true(seconds >= timeout, "early: " .. seconds)
        assert.is_true(seconds < timeout + SOON, "late: " .. seconds)
      end
    end)

    it("that is infinite is for ever: " .. name, function()
      for _, timeout in ipairs {math.huge, 1e300, math.maxinteger} do
        local case <close> = blocking.new(name)
        local child, result = start_blocked(case, timeout)
        await_state(child.pid, "S")
        t.timed_out(poll.wait({result}, 0.001))
        if case.is_endless then
          child:kill "SIGKILL"
        else
          local other = case.release()
          assert_released(assert(result:receive(FOR_EVER)):match " (.*)$")
          if type(other) == "userdata" then other:close() end
        end
        child:wait(FOR_EVER)
        result:close()
      end
    end)

    it("that makes no sense raises: " .. name, function()
      local case <close> = blocking.new(name)
      case.enter()
      for _, timeout in ipairs {-1, -1e-9, -math.huge, 0 / 0} do
        t.raises("timeout must be a number of seconds >= 0", case.call,
          timeout)
      end
      if name:find "%Wread$" then return end -- that takes them for formats
      for _, timeout in ipairs {"soon", true, {}} do
        t.raises("number expected", case.call, timeout)
      end
    end)
  end

  it("is never early, a thousand times", function()
    local r, w = assert(pipe.open())
    for i = 1, 1000 do
      local timeout = i * 1e-6
      local seconds = t.took(r.read, r, 1, timeout)
      assert.is_true(seconds >= timeout, timeout .. " took " .. seconds)
    end
    w:write "x"
    assert.equal("x", r:read(1, 0))
  end)

  it("of 0 is enough for what is there", function()
    local r, w = assert(pipe.open())
    w:write "x"
    assert.same({{r}, {"r"}}, {poll.wait({r}, 0)})
    assert.equal("x", r:read(1, 0))
  end)

  it("of opening a FIFO holds in a forked child, whose timer is its own "
    .. "(OPTS:timer_create/8-1)", function()
    local path = t.names.path ".fifo"
    assert(fifo.create(path))
    t.timed_out(fifo.open(path, "r", nil, 0.001)) -- makes this process's
    local child = assert(process.fork(function()
      for _, timeout in ipairs {0.02, 0.001} do
        local seconds = t.took(function()
          t.timed_out(fifo.open(path, "r", nil, timeout))
        end)
        if seconds < timeout then return 2 end
      end
      return 0
    end))
    assert.same({"exit", 0}, {child:wait(FOR_EVER)})
    assert.is_true((t.took(fifo.open, path, "r", nil, 0.02)) >= 0.02)
  end)
end)

describe("A call that sleeps", function()
  local function switches(pid)
    local status = read_all("/proc/" .. pid .. "/status")
    return tonumber(status:match "\nvoluntary_ctxt_switches:%s*(%d+)")
  end

  for _, name in ipairs(blocking.names) do
    for what, timeout in pairs {["without"] = false, ["with"] = 100} do
      it(("is not woken %s a deadline: %s"):format(what, name), function()
        local case <close> = blocking.new(name)
        local child, result = start_blocked(case, timeout or nil)
        await_state(child.pid, "S")
        local allowed = case.slices and 1 or 0
        local woken
        local tries = 0
        repeat -- at first it may be on its way into the sleep
          local before = switches(child.pid)
          busted.sleep(0.03)
          woken, tries = switches(child.pid) - before, tries + 1
        until woken <= allowed or tries == 3
        assert.is_true(woken <= allowed)
        child:kill "SIGKILL"
        child:wait(FOR_EVER)
        result:close()
      end)
    end
  end

  -- The clock that ends the opening has to stop when that is over.
  it("is not woken by an opening of a FIFO that came before", function()
    local opening <close> = blocking.new "fifo.open r"
    local case <close> = blocking.new "Stream:read"
    function case.enter()
      assert(not opening.call(0.001))
      assert(not opening.call(0))
    end
    local child, result = start_blocked(case)
    await_state(child.pid, "S")
    local before = switches(child.pid)
    busted.sleep(0.03)
    assert.equal(before, switches(child.pid))
    child:kill "SIGKILL"
    child:wait(FOR_EVER)
    result:close()
  end)
end)
