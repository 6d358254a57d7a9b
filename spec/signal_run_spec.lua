-- Where handlers run: in every kind of Lua code, on every coroutine, beside
-- every debug hook.
local t = require "support"
local signals = require "support.signals"
local scripts = require "support.signal_scripts"
local ipc = require "unixipc"

local process, signal = ipc.process, ipc.signal
local check, children = scripts.check, t.children
local with_handler, signal_soon = signals.with_handler, signals.soon

local SOON = 10 * t.slow -- seconds of processor time, in loops
local SIG = "SIGUSR1"

-- ---- plain code ------------------------------------------------------------

-- Each loops until is_over() is true.
local LOOPS = {
  ["while"] = function(is_over) while not is_over() do end end,

  ["repeat with tables"] = function(is_over)
    local list = {}
    repeat list = {list} list[1] = nil until is_over()
  end,

  ["goto"] = function(is_over)
    ::again::
    if not is_over() then goto again end
  end,

  ["numeric for"] = function(is_over)
    while not is_over() do
      local sum = 0
      for i = 1, 100000 do sum = sum + i end
    end
  end,

  ["generic for"] = function(is_over)
    for over in function() return is_over() end do
      if over then break end
    end
  end,

  ["recursion"] = function(is_over)
    local function deep(n) return n == 0 and 0 or 1 + deep(n - 1) end
    while not is_over() do deep(100) end
  end,

  ["tail calls"] = function(is_over)
    local function call() return is_over() or call() end
    call()
  end,

  ["pcall"] = function(is_over)
    while not is_over() do pcall(error, "x") end
  end,

  ["strings that grow"] = function(is_over)
    local text = ""
    while not is_over() do text = #text < 1000 and text .. "x" or "" end
  end,

  ["long calls of C"] = function(is_over)
    local text = ("a"):rep(100000)
    while not is_over() do text:find("b", 1, true) end
  end,

  ["functions that C calls back"] = function(is_over)
    local text = ("x"):rep(1000)
    while not is_over() do
      text:gsub("x", function() return "y" end)
      table.sort({3, 1, 2}, function(a, b) return a < b end)
    end
  end,

  ["metamethods"] = function(is_over)
    local object = setmetatable({}, {__index = function() return is_over() end})
    while not object.over do end
  end,

  ["coroutines made anew"] = function(is_over)
    while not is_over() do coroutine.wrap(function() return 1 end)() end
  end,

  ["a generator"] = function(is_over)
    local next_one = coroutine.wrap(function()
      while true do coroutine.yield(is_over()) end
    end)
    while not next_one() do end
  end,
}

-- The signal comes while the loop runs; a finish for loops that are not hit.
local function hit_loop(loop)
  local hits, clock = 0, os.clock
  with_handler(SIG, function() hits = hits + 1 end, function()
    local finish = clock() + SOON
    local timer <close> = signal_soon(SIG)
    loop(function() return hits > 0 or clock() > finish end)
    assert.equal(1, hits)
    assert.is_nil(debug.gethook())
    assert.is_true(timer:close())
  end)
end

describe("A handler runs in Lua code:", function()
  for name, loop in pairs(LOOPS) do
    it(name, function() hit_loop(loop) end)

    it(name .. ", in a coroutine that called the library", function()
      local co = coroutine.create(hit_loop)
      assert.same({true}, {coroutine.resume(co, loop)})
      assert.is_nil(debug.gethook(co))
    end)
  end
end)

describe("A handler in Lua code", function()
  -- On the one that loops no debug hook would work while it runs.
  it("runs on a thread of its own, in coroutines too", function()
    local thread
    with_handler(SIG, function() thread = coroutine.running() end, function()
      local function nest(depth, timer)
        timer:remaining()
        if depth > 0 then return coroutine.wrap(nest)(depth - 1, timer) end
        local finish = os.clock() + SOON
        while not thread and os.clock() < finish do end
        return coroutine.running()
      end
      for depth = 0, 20, 10 do
        thread = nil
        local timer <close> = signal_soon(SIG)
        local innermost = nest(depth, timer)
        assert.equal("thread", type(thread))
        assert.is_true(thread ~= innermost)
        assert.equal("dead", coroutine.status(thread))
      end
    end)
  end)

  it("runs when control is back in a coroutine that called the library",
    function()
      check([[
        local hit
        signal.handle("SIGUSR1", function() hit = true end)
        local stranger = coroutine.create(function()
          kill "USR1"
          for _ = 1, 1000 do end
          coroutine.yield(hit)
        end)
        print(coroutine.resume(stranger))
        loop(function() return hit end)
        print(hit)
      ]], "true\tnil\ntrue\n")
    end)

  for _, call in ipairs {
    "signal.handle('SIGUSR2', print)", "signal.raise(0)", "signal.block {}",
    "signal.dispatch()", "process.sleep(0.001)", "stream:available()",
    "stream:read(1, 0)", "signal.wait('SIGUSR2', 0.001)",
  } do
    it("runs in a coroutine that called " .. call, function()
      check([[
        local hit
        signal.handle("SIGUSR1", function() hit = true end)
        coroutine.wrap(function()
          ]] .. call .. [[

          kill "USR1"
          loop(function() return hit end)
          print(hit)
        end)()
      ]], "true\n")
    end)
  end

  it("runs in a coroutine also when it last ran outside of it", function()
    check([[
      local hits = 0
      signal.handle("SIGUSR1", function() hits = hits + 1 end)
      local worker = coroutine.wrap(function()
        enter()
        while true do
          coroutine.yield(hits)
          local before = hits
          kill "USR1"
          loop(function() return hits > before end)
        end
      end)
      worker()
      kill "USR1"
      loop(function() return hits > 0 end)
      print(hits, worker(), worker())
    ]], "1\t2\t3\n")
  end)

  it("runs in a coroutine also when finalizers ran on another", function()
    check([[
      local hits = 0
      signal.handle("SIGUSR1", function() hits = hits + 1 end)
      local function litter() for _ = 1, 10 do ipc.pipe.open() end end
      coroutine.wrap(function()
        litter()
        enter()
        coroutine.wrap(function()
          collectgarbage()
          collectgarbage()
        end)()
        kill "USR1"
        loop(function() return hits > 0 end)
        print(hits)
      end)()
    ]], "1\n")
  end)

  it("does not care for coroutines that have ended, or are collected",
    function()
      local hits, stream = 0, assert(ipc.pipe.open())
      with_handler(SIG, function() hits = hits + 1 end, function()
        for i = 1, 50 do
          local co = coroutine.create(function() stream:available() end)
          coroutine.resume(co)
          if i % 2 == 0 then coroutine.close(co) end
          co = nil -- luacheck: ignore
          collectgarbage()
          collectgarbage()
          local timer <close> = assert(signal.timer{after = 1e-5, signal = SIG})
          local finish = os.clock() + SOON
          while hits < i and os.clock() < finish do end
          assert.equal(i, hits)
          assert.is_true(timer:close())
        end
      end)
      stream:close()
    end)

  it("runs while finalizers are called", function()
    local hits, collected = 0, 0
    with_handler(SIG, function() hits = hits + 1 end, function()
      local timer <close> = signal_soon(SIG)
      local mt = {__gc = function() collected = collected + 1 end}
      local finish = os.clock() + SOON
      repeat
        for _ = 1, 100 do setmetatable({}, mt) end
      until hits > 0 or os.clock() > finish
      assert.equal(1, hits)
      assert.is_true(timer:close())
    end)
    collectgarbage()
    assert.is_true(collected > 0)
  end)

  it("runs inside a handler that loops", function()
    check([[
      local is_over
      signal.handle("SIGUSR2", function() is_over = true end)
      signal.handle("SIGUSR1", function()
        kill "USR2"
        loop(function() return is_over end)
        print(is_over)
      end)
      kill "USR1"
      for _ = 1, 1000 do end
    ]], "true\n")
  end)

  it("that is slow is run as often as signals came, one by one", function()
    local depth, deepest, values = 0, 0, {}
    with_handler("SIGRTMIN+5", function(_, info)
      depth = depth + 1
      deepest = math.max(deepest, depth)
      values[#values + 1] = info.value
      for _ = 1, 10000 do end
      depth = depth - 1
    end, function()
      local child = assert(process.fork(function(parent)
        for i = 1, 500 do signal.queue(parent, "SIGRTMIN+5", i) end
      end, process.pid()))
      local finish = os.clock() + SOON
      while #values < 500 and os.clock() < finish do end
      signals.finish(child)
    end)
    assert.equal(500, #values)
    for i, value in ipairs(values) do assert.equal(i, value) end
    assert.equal(1, deepest)
  end)
end)

-- ---- debug hooks -----------------------------------------------------------

-- Arguments of debug.sethook, and what they are called here.
local HOOKS = {
  ["of calls"] = {"c", 0}, ["of returns"] = {"r", 0},
  ["of lines"] = {"l", 0}, ["of counts"] = {"", 1000},
  ["of all"] = {"clr", 7},
}

-- same(thread) tells whether the thread has the hook that set(thread) gave it.
local HOOK_PRELUDE = scripts.PRELUDE .. [[
  local mask, count = table.unpack(HOOK)
  local main = coroutine.running()
  local hit, hooks, events = nil, {}, 0
  local function set(thread)
    hooks[thread] = function() events = events + 1 end
    debug.sethook(thread, hooks[thread], mask, count)
  end
  local function same(thread)
    local fn, m, c = debug.gethook(thread)
    local has = {}
    for letter in (m or ""):gmatch "." do has[letter] = true end
    for letter in mask:gmatch "." do
      if not has[letter] then return false end
    end
    return fn == hooks[thread] and #m == #mask and c == count
  end
  local function is_hit() return hit end
  local function act(n)
    local before = events
    local function noop() for _ = 1, 10 do end end
    for _ = 1, n do noop() end
    return events > before
  end
  signal.handle("SIGUSR1", function() hit = true end)
]]

local function check_hook(hook, script, expected)
  local set = ("HOOK = {%q, %d}\n"):format(table.unpack(hook))
  local result = children.run(set .. HOOK_PRELUDE .. script)
  assert.equal("", result.err)
  assert.equal(expected, result.out)
end

describe("A debug hook", function()
  for what, hook in pairs(HOOKS) do
    it(what .. " stays, and goes on, when a handler runs", function()
      check_hook(hook, [[
        set(main)
        kill "USR1"
        loop(is_hit)
        print(hit, same(main), act(10000))
        hit = nil
        signal.raise "SIGUSR1"
        print(hit, same(main), act(10000))
        hit = nil
        local timer <close> = signal.timer{after = 0.01, signal = "SIGUSR1"}
        process.sleep(0.05)
        print(hit, same(main), act(10000))
      ]], ("true\ttrue\ttrue\n"):rep(3))
    end)

    it(what .. " stays on a coroutine, and on main", function()
      check_hook(hook, [[
        local thread
        thread = coroutine.create(function()
          enter()
          kill "USR1"
          loop(is_hit)
          print(hit, same(thread))
          hit = nil
          local timer <close> = signal.timer{after = 0.01, signal = "SIGUSR1"}
          process.sleep(0.05)
          print(hit, same(thread))
        end)
        set(main)
        set(thread)
        print(coroutine.resume(thread))
        print(same(thread), same(main), act(10000))
      ]], "true\ttrue\ntrue\ttrue\ntrue\ntrue\ttrue\ttrue\n")
    end)

    it(what .. " that a handler sets or takes off is as it says", function()
      check_hook(hook, [[
        signal.handle("SIGUSR1", function()
          set(main)
          hit = true
        end)
        kill "USR1"
        loop(is_hit)
        print(same(main), act(10000))
        signal.handle("SIGUSR2", function()
          debug.sethook(main)
          hit = nil
        end)
        kill "USR2"
        loop(function() return not hit end)
        print(debug.gethook())
      ]], "true\ttrue\nnil\n")
    end)

    it(what .. " stays when handlers raise", function()
      check_hook(hook, [[
        signal.handle("SIGUSR1", function()
          hit = true
          error("enough", 0)
        end)
        set(main)
        print(pcall(function() kill "USR1" loop(is_hit) end))
        print(same(main), act(10000))
      ]], "false\tenough\ntrue\ttrue\n")
    end)
  end

  it("is not there when nothing has come", function()
    check([[
      local hit
      local main = coroutine.running()
      signal.handle("SIGUSR1", function() hit = debug.gethook() == nil end)
      print(debug.gethook())
      kill "USR1"
      loop(function() return hit end)
      print(hit, debug.gethook())
      local co = coroutine.create(function()
        enter()
        hit = nil
        kill "USR1"
        loop(function() return hit end)
        print(hit, debug.gethook())
      end)
      print(debug.gethook(co))
      coroutine.resume(co)
      for _ = 1, 10 do end
      print(debug.gethook(co), debug.gethook(main))
    ]], "nil\ntrue\tnil\nnil\ntrue\tnil\nnil\tnil\n")
  end)

  it("of ours does not stay on coroutines made while signals come", function()
    local hits, left = 0, 0
    with_handler(SIG, function() hits = hits + 1 end, function()
      local timer <close> = assert(signal.timer{every = 5e-5, signal = SIG})
      for _ = 1, 20000 do
        local co = coroutine.create(function() return 1 end)
        coroutine.resume(co)
        -- Half of a hook, without events, is one that came in its making.
        local _, mask = debug.gethook(co)
        if mask ~= nil and mask ~= "" then left = left + 1 end
      end
      timer:close()
    end)
    assert.is_true(hits > 0)
    assert.equal(0, left)
    assert.is_nil(debug.gethook())
  end)

  it("that is set when a signal comes may delay it to the next call",
    function()
    local hits, function_hook = 0, function() end
    local sethook = debug.sethook
    with_handler(SIG, function() hits = hits + 1 end, function()
      for i = 1, 200 do
        local timer <close> = assert(signal.timer{signal = SIG,
          after = 1e-5 + math.random() * 1e-4})
        for _ = 1, 3000 do
          sethook(function_hook, "", 1000000000)
          if hits == i then break end
        end
        sethook()
        signal.dispatch()
        assert.equal(i, hits)
        assert.is_true(timer:close())
      end
      sethook()
    end)
  end)
end)

-- ---- Ctrl-C, which has lua.c's handler -------------------------------------

describe("Ctrl-C", function()
  for what, names in pairs {
    before = [["INT", "USR1"]], after = [["USR1", "INT"]],
  } do
    it(what .. " a signal breaks a loop, and it is handled", function()
      check([[
        local hit
        signal.handle("SIGUSR1", function() hit = true end)
        print(pcall(function()
          kill(]] .. names .. [[)
          loop(function() return false end)
        end) == false)
        process.sleep(0.001) -- at the latest here
        print(hit, debug.gethook())
      ]], "true\ntrue\tnil\n")
    end)
  end

  it("is the program's when it sets a handler, lua.c's after that", function()
    check([[
      local hits = 0
      assert(signal.handle("SIGINT", function() hits = hits + 1 end))
      kill("INT", "INT")
      loop(function() return hits > 0 end)
      kill "INT"
      local before = hits
      loop(function() return hits > before - 1 end)
      print(hits >= 2)
      signal.handle("SIGINT", "original")
      local ok, why = pcall(function()
        kill "INT"
        loop(function() return false end)
      end)
      print(ok, (why:gsub("^.*: ", "")))
    ]], "true\nfalse\tinterrupted!\n")
  end)
end)
