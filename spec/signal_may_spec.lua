-- What a handler may do: anything but yield.
local t = require "support"
local blocking = require "support.blocking"
local signals = require "support.signals"
local ipc = require "unixipc"

local fifo, pipe, poll = ipc.fifo, ipc.pipe, ipc.poll
local process, signal, stream = ipc.process, ipc.signal, ipc.stream
local children = t.children

local SOON = 10 * t.slow
local SIG = "SIGUSR1"

-- Runs fn with a handler, and puts back what was there.
local function with_handler(sig, action, fn)
  local handler <close> = signals.handle(sig, action)
  return fn(handler)
end

-- ---- in each blocked call --------------------------------------------------

-- Things that a handler does; the call it came into goes on after each.
local DEEDS = {}

DEEDS["collects garbage"] = function()
  for _ = 1, 100 do setmetatable({}, {__gc = function() end}) end
  collectgarbage()
  collectgarbage()
end

DEEDS["sets handlers"] = function()
  for _, name in ipairs {SIG, "SIGUSR2", "SIGRTMIN+9"} do
    local was = signal.handle(name, function() end)
    assert(signal.handle(name, "ignore"))
    assert(signal.handle(name, was))
  end
end

DEEDS["changes the mask"] = function()
  local before = signal.block "all"
  signal.unblock "SIGUSR2"
  signal.set_mask(before)
end

DEEDS["forks and waits"] = function()
  local child <close> = assert(process.fork(function() return 5 end))
  assert(select(2, child:wait(SOON)) == 5)
end

DEEDS["spawns and communicates"] = function()
  local child <close> = assert(process.spawn({"cat"},
    {stdin = "pipe", stdout = "pipe"}))
  assert(child:communicate("text", SOON) == "text")
end

DEEDS["makes, uses and closes streams"] = function()
  local r <close>, w = assert(pipe.open())
  local other <close> = w
  other:write "line\n"
  assert(r:read("l", SOON) == "line")
end

DEEDS["lets time run out in calls of its own"] = function()
  local r <close>, w = assert(pipe.open())
  assert(select(2, r:read(1, 0.001)) == "timeout")
  assert(select(2, poll.wait({r}, 0.001)) == "timeout")
  assert(select(2, signal.wait("SIGUSR2", 0.001)) == "timeout")
  local path = t.names.path ".fifo"
  assert(fifo.create(path))
  assert(select(2, fifo.open(path, "r", nil, 0.001)) == "timeout")
  fifo.unlink(path)
  w:close()
end

DEEDS["raises in itself and catches that"] = function()
  assert(not pcall(error, "x"))
  assert(not pcall(signal.handle, "SIGFOO", print))
end

DEEDS["sends other signals"] = function()
  local hits = 0
  local was = signal.handle("SIGUSR2", function() hits = hits + 1 end)
  signal.raise "SIGUSR2"
  signal.queue(process.pid(), "SIGUSR2", 1)
  signal.handle("SIGUSR2", was)
  assert(hits == 2)
end

DEEDS["sends its own signal, which comes after it"] = function()
  signal.raise(SIG)
end

DEEDS["runs coroutines"] = function()
  local sum = 0
  for i in coroutine.wrap(function()
    for i = 1, 10 do
      process.sleep(0.0001)
      coroutine.yield(i)
    end
  end) do sum = sum + i end
  assert(sum == 55)
end

DEEDS["uses a lot of stack"] = function()
  local function deep(n) return n == 0 and 0 or 1 + deep(n - 1) end
  assert(deep(10000) == 10000)
  assert(select("#", table.unpack({}, 1, 10000)) == 10000)
end

DEEDS["writes to and reads from Lua's own files"] = function()
  local file <close> = assert(io.tmpfile())
  file:write(("x"):rep(100000))
  assert(file:seek("set") == 0 and #file:read "a" == 100000)
  local command <close> = assert(io.popen "echo words")
  assert(command:read "l" == "words")
  assert(os.execute "true")
end

describe("A handler in a blocked call", function()
  for deed, act in pairs(DEEDS) do
    it(deed, function()
      for _, name in ipairs {
        "Stream:read", "fifo.open r", "Process:communicate",
      } do
        local case <close> = blocking.new(name)
        local hits, problem = 0, nil
        case.enter()
        with_handler(SIG, function()
          hits = hits + 1
          if hits > 1 then return end
          local ok, why = pcall(act)
          problem = not ok and why or problem
        end, function()
          local r <close>, w = assert(pipe.open())
          local child = signals.when_asleep(function(parent)
            signal.send(parent, SIG)
            r:read("l", SOON) -- the handler has run
            case.release()
          end)
          with_handler("SIGALRM", function()
            if hits > 0 then w:write "done\n" end
          end, function()
            signal.interval("real", {every = 0.01})
            local value, message = case.call(SOON)
            signal.alarm(0)
            assert.is_not_nil(value, message)
            assert.is_nil(problem, problem)
            assert.is_true(hits >= 1)
          end)
          signals.finish(child)
          w:close()
        end)
      end
    end)
  end
end)

describe("A handler in a blocked read", function()
  it("may read the same stream: each line is read once", function()
    local r <close>, w = assert(pipe.open())
    local inner
    with_handler(SIG, function() inner = r:read("l", SOON) end, function()
      local child = signals.when_asleep(function(parent)
        signal.send(parent, SIG)
        process.sleep(0.05)
        w:write "one\ntwo\n"
      end)
      local outer = r:read("l", SOON)
      assert.equal("one", inner)
      assert.equal("two", outer)
      signals.finish(child)
    end)
    w:close()
  end)

  it("may write to it, and let it go on", function()
    local r <close>, w = assert(pipe.open())
    with_handler(SIG, function() w:write "from the handler\n" end, function()
      local child = signals.send_when_asleep(SIG)
      assert.equal("from the handler", r:read("l", SOON))
      signals.finish(child)
    end)
    w:close()
  end)

  it("keeps what was read before it raised", function()
    local r <close>, w = assert(pipe.open())
    with_handler(SIG, function() error("enough", 0) end, function()
      w:write "first half, "
      local child = signals.send_when_asleep(SIG)
      assert.same({false, "enough"}, {pcall(r.read, r, "l", SOON)})
      signals.finish(child)
    end)
    w:write "second half\n"
    assert.equal("first half, second half", r:read("l", SOON))
    w:close()
  end)

  it("may have nobody else who holds the stream", function()
    local w
    local child
    with_handler(SIG, function()
      collectgarbage()
      collectgarbage()
      w:write "still there\n"
    end, function()
      local function read()
        local r
        r, w = assert(pipe.open())
        child = signals.send_when_asleep(SIG)
        return r:read("l", SOON)
      end
      assert.equal("still there", read())
      signals.finish(child)
    end)
    w:close()
  end)
end)

-- ---- closing what is waited on ---------------------------------------------

-- Makers of a call and of what closes its object; `done` closes the rest.
local CLOSINGS = {}

CLOSINGS["Process:wait"] = function()
  local child = assert(process.spawn({"sleep", "60"}))
  local pid = child.pid
  return function() return child:wait(SOON) end,
    function() child:close() end,
    function() signal.send(pid, "SIGKILL") end
end

CLOSINGS["SignalFd:read"] = function()
  local before = signal.mask()
  local fd = assert(signal.fd "SIGUSR2")
  return function() return fd:read(SOON) end,
    function() fd:close() end,
    function() signal.set_mask(before) end
end

CLOSINGS["TimerFd:read"] = function()
  local timer = assert(signal.timerfd{after = 1000})
  return function() return timer:read(SOON) end,
    function() timer:close() end
end

CLOSINGS["Poller:wait"] = function()
  local r, w = assert(pipe.open())
  local poller = assert(poll.new())
  poller:add(r)
  return function() return poller:wait(SOON) end,
    function() poller:close() end,
    function()
      r:close()
      w:close()
    end
end

CLOSINGS["Stream:flush"] = function()
  local r, w = assert(pipe.open())
  repeat until not w:write_some(("x"):rep(4096), 0)
  w:setvbuf "full"
  w:write "x"
  w:set_timeout(0)
  return function() return w:flush(SOON) end,
    function() w:close() end,
    function() r:close() end
end

describe("A handler that closes the object of a blocked", function()
  for name, make in pairs(CLOSINGS) do
    it(name .. " makes that raise", function()
      local call, close, done = make()
      with_handler(SIG, close, function()
        local child = signals.send_when_asleep(SIG)
        local seconds = t.took(t.raises, "closed", call)
        assert.is_true(seconds < SOON)
        signals.finish(child)
      end)
      if done then done() end
    end)
  end

  it("poll.wait: the descriptor is looked at no more", function()
    local r, w = assert(pipe.open())
    with_handler(SIG, function() r:close() end, function()
      local child = signals.send_when_asleep(SIG)
      local seconds, ok = t.took(pcall, poll.wait, {r}, 0.3)
      assert.is_boolean(ok)
      assert.is_true(seconds < SOON)
      signals.finish(child)
    end)
    w:close()
  end)

  it("Process:communicate: streams are closed, it ends", function()
    local cat = assert(process.spawn({"cat"},
      {stdin = "pipe", stdout = "pipe"}))
    with_handler(SIG, function()
      cat.stdout:close()
      cat.stdin:close()
    end, function()
      local child = signals.send_when_asleep(SIG)
      local file <close> = assert(stream.from(cat.stdin)) -- keeps it open
      local seconds, ok = t.took(pcall, cat.communicate, cat, nil, 0.3)
      assert.is_boolean(ok)
      assert.is_true(seconds < SOON)
      signals.finish(child)
      assert.is_true(file:close())
    end)
    cat:wait(SOON)
  end)
end)

-- ---- leaving ---------------------------------------------------------------

local PLACES = {
  ["a loop"] = "while true do end",
  ["a coroutine"] =
    "coroutine.wrap(function() process.sleep(0.001) while true do end end)()",
  ["a blocked call"] = "process.sleep(60)",
  ["a blocked call in a coroutine"] =
    "coroutine.wrap(function() process.sleep(60) end)()",
  ["opening a FIFO"] = "ipc.fifo.open(path, 'r')",
}

describe("A handler that ends the program", function()
  for place, code in pairs(PLACES) do
    for _, close in ipairs {"false", "true"} do
      it(("from %s with os.exit(3, %s) does"):format(place, close), function()
        local path = t.names.path ".fifo"
        assert(fifo.create(path))
        local result = children.run(([[
          local path = ...
          local ipc = require "unixipc"
          local signal, process = ipc.signal, ipc.process
          local last <close> = setmetatable({}, {__close = function()
            io.write "closed"
          end})
          signal.handle("SIGUSR1", function() os.exit(3, %s) end)
          local timer = signal.timer{after = 0.05, signal = "SIGUSR1"}
          %s
        ]]):format(close, code), {args = {path}})
        assert.equal("", result.err)
        assert.equal(3, result.code)
        if close == "true" then assert.equal("closed", result.out) end
        fifo.unlink(path)
      end)
    end

    it(("from %s with process.exit does"):format(place), function()
      local path = t.names.path ".fifo"
      assert(fifo.create(path))
      local result = children.run(([[
        local path = ...
        local ipc = require "unixipc"
        local signal, process = ipc.signal, ipc.process
        io.write "written"
        signal.handle("SIGUSR1", function() process.exit(4) end)
        local timer = signal.timer{after = 0.05, signal = "SIGUSR1"}
        %s
      ]]):format(code), {args = {path}})
      assert.equal("", result.err)
      assert.equal(4, result.code)
      assert.equal("written", result.out)
      fifo.unlink(path)
    end)
  end
end)

-- ---- yielding --------------------------------------------------------------

describe("A handler that yields", function()
  local function yield() coroutine.yield "out" end

  it("raises an error in a blocked call, and all goes on", function()
    with_handler(SIG, yield, function()
      local co = coroutine.create(function()
        local ok, why = pcall(process.sleep, SOON)
        assert(coroutine.yield("mine") == "back")
        return ok, why
      end)
      local child = signals.send_when_asleep(SIG)
      assert.same({true, "mine"}, {coroutine.resume(co)})
      local alive, ok, why = coroutine.resume(co, "back")
      assert.is_true(alive, ok)
      assert.is_false(ok)
      assert.truthy(why:find "attempt to yield")
      signals.finish(child)
    end)
  end)

  it("raises an error in a loop, and all goes on", function()
    with_handler(SIG, yield, function()
      local co = coroutine.create(function()
        local ok, why = pcall(function()
          local timer <close> = assert(signal.timer{
            after = 0.003, signal = SIG})
          timer:remaining()
          local finish = os.clock() + SOON
          while os.clock() < finish do end
          timer:close()
        end)
        coroutine.yield "mine"
        return ok, why
      end)
      assert.same({true, "mine"}, {coroutine.resume(co)})
      local _, ok, why = coroutine.resume(co)
      assert.is_false(ok)
      assert.truthy(why:find "attempt to yield")
    end)
  end)

  it("raises an error in raise", function()
    with_handler(SIG, yield, function()
      t.raises("attempt to yield", signal.raise, SIG)
      local ok, why = coroutine.resume(coroutine.create(signal.raise), SIG)
      assert.is_false(ok)
      assert.truthy(why:find "attempt to yield")
    end)
  end)
end)

-- ---- itself ----------------------------------------------------------------

describe("A handler", function()
  it("may replace itself, ignore itself, or give itself up", function()
    local order = {}
    local function second() order[#order + 1] = "second" end
    with_handler(SIG, function()
      order[#order + 1] = "first"
      assert.equal("function", type(signal.handle(SIG, second)))
    end, function()
      signal.raise(SIG)
      signal.raise(SIG)
      assert.equal(second, signal.handle(SIG, function()
        signal.handle(SIG, "ignore")
      end))
      signal.raise(SIG)
      assert.equal("ignore", signal.handler(SIG))
      signal.raise(SIG)
    end)
    assert.same({"first", "second"}, order)
  end)

  it("is kept from the collector while it is set, and let go then", function()
    local weak = setmetatable({}, {__mode = "v"})
    local hits = 0
    do
      local object = {}
      weak[1] = object
      signal.handle(SIG, function() hits = hits + #object + 1 end)
    end
    collectgarbage()
    collectgarbage()
    signal.raise(SIG)
    assert.equal(1, hits)
    signal.handle(SIG, "original")
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("that is once may set itself again", function()
    local hits = 0
    local function handler()
      hits = hits + 1
      signal.handle(SIG, handler, {once = true})
    end
    signal.handle(SIG, handler, {once = true})
    for i = 1, 3 do
      signal.raise(SIG)
      assert.equal(i, hits)
    end
    assert.equal(handler, signal.handle(SIG, "original"))
  end)

  it("that is once and raises is gone too", function()
    signal.handle(SIG, function() error("enough", 0) end, {once = true})
    assert.same({false, "enough"}, {pcall(signal.raise, SIG)})
    assert.equal("default", signal.handle(SIG, "original"))
  end)

  it("that is once drops what came with it", function()
    local RT, values = "SIGRTMIN+2", {}
    local before = signal.block(RT)
    signal.handle(RT, function(_, info) values[#values + 1] = info.value end,
      {once = true})
    signals.queue(RT, 3)
    -- Those noted before it ran have nobody to go to.
    signal.set_mask(before)
    process.sleep(0.001)
    assert.equal("default", signal.handle(RT, "original"))
    assert.same({1}, values)
  end)

  it("survives the end of its stack", function()
    local hits = 0
    with_handler(SIG, function() hits = hits + 1 end, function()
      local function deep(n) return 1 + deep(n + 1) end
      -- A hook on a deep stack costs Lua a look at all of it.
      local timer <close> = assert(signal.timer{every = 0.01, signal = SIG})
      for _ = 1, 20 do
        local ok, why = pcall(deep, 1)
        assert.is_false(ok)
        assert.truthy(tostring(why):find "overflow", why)
      end
      timer:close()
      assert.is_true(hits > 0)
      hits = 0
      signal.raise(SIG)
      assert.equal(1, hits)
    end)
  end)
end)
