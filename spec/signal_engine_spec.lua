-- When and where handlers run, and what they may do there.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local fifo, pipe, poll = ipc.fifo, ipc.pipe, ipc.poll
local process, signal, stream = ipc.process, ipc.signal, ipc.stream
local children = t.children

local SOON = 10 * t.slow
local SIG = "SIGUSR1"
local RT = "SIGRTMIN+2"

local function count_up_to(last)
  local list = {}
  for i = 1, last do list[i] = i end
  return list
end

-- ---- in plain Lua ----------------------------------------------------------

-- What a script loops in until `hit` is set by a handler, or time is up:
-- is_over() calls nothing of the library.
local LOOPS = {
  ["a loop that is empty"] = "while not hit do end",
  ["a loop with a counter"] = "for i = 1, math.huge do if hit then break end end",
  ["goto"] = "::again:: if not hit then goto again end",
  ["calls of Lua functions"] = [[
    local function check() return hit end
    repeat until check()
  ]],
  ["tail calls"] = [[
    local function again() if not hit then return again() end end
    again()
  ]],
  ["short calls of C"] = "repeat local x = math.abs(-1) until hit",
  ["metamethods"] = [[
    local object = setmetatable({}, {__index = function() return hit end})
    repeat until object.x
  ]],
  ["a comparison for table.sort"] = [[
    while not hit do
      local list = {}
      for i = 1, 100 do list[i] = (i * 37) % 101 end
      table.sort(list, function(a, b) return a < b end)
    end
  ]],
  ["a replacement for string.gsub"] = [[
    local text = ("x"):rep(1e6)
    while not hit do
      text:gsub("x", function() if hit then error "stop" end end)
    end
  ]],
  ["pcall"] = "repeat pcall(function() end) until hit",
  ["a finalizer"] = [[
    setmetatable({}, {__gc = function() while not hit do end end})
    collectgarbage()
  ]],
  ["a coroutine that is resumed again and again"] = [[
    local co = coroutine.wrap(function()
      while not hit do coroutine.yield() end
    end)
    while not hit do co() end
  ]],
  ["a coroutine that the library was called in"] = [[
    coroutine.wrap(function()
      process.pid()
      process.sleep(0)
      while not hit do end
    end)()
  ]],
  ["a coroutine that is made by one that called the library"] = [[
    coroutine.wrap(function()
      process.sleep(0)
      while not hit do
        coroutine.wrap(function() local x = 1 return x end)()
      end
    end)()
  ]],
}

-- A script that handles SIGUSR1, opens a gate, and goes on to loop.
local LOOP = [[
  local process = require "unixipc.process"
  local signal = require "unixipc.signal"
  hit = false
  signal.handle("SIGUSR1", function() hit = true end)
  assert(io.open(..., "w")):close()
  pcall(function() %s end)
  io.write(tostring(hit), " ", tostring(debug.gethook()), "\n")
]]

describe("A handler runs in plain Lua, in", function()
  for name, loop in pairs(LOOPS) do
    it(name, function()
      local gate = children.gate()
      local child = children.start(LOOP:format(loop), {args = {gate}})
      children.pass_gate(gate)
      process.sleep(0.02)
      child:kill "USR1"
      local result = child:wait()
      assert.is_false(result.timed_out, "the signal did not get through")
      assert.equal("", result.err)
      assert.equal("true nil\n", result.out) -- and no hook stays
    end)
  end
end)

describe("A handler", function()
  it("runs when the module was first required in a coroutine that is gone",
    function()
      for _, where in ipairs {
        "while not hit do end",
        "while not hit do signal.dispatch() end",
        "process.sleep(30)",
        "coroutine.wrap(function() process.sleep(30) end)()",
      } do
        local gate = children.gate()
        local child = children.start([[
          local signal, process
          coroutine.wrap(function()
            signal = require "unixipc.signal"
            process = require "unixipc.process"
            signal.handle("SIGUSR1", function()
              hit = true
              error("out of here", 0)
            end)
          end)()
          for _ = 1, 3 do collectgarbage() end
          assert(io.open(..., "w")):close()
          print(pcall(function() ]] .. where .. [[ end))
        ]], {args = {gate}})
        children.pass_gate(gate)
        process.sleep(0.02)
        child:kill "USR1"
        local result = child:wait()
        assert.equal("", result.err)
        assert.equal("false\tout of here\n", result.out, where)
      end
    end)

  it("stops the script when it raises, with a traceback", function()
    local result = children.run [[
      local signal = require "unixipc.signal"
      local process = require "unixipc.process"
      signal.handle("SIGUSR1", function() error "no more" end)
      os.execute("kill -USR1 " .. process.pid())
      local finish = os.time() + 5
      while os.time() < finish do end
    ]]
    assert.equal(1, result.code)
    assert.truthy(result.err:find("no more\nstack traceback:", 1, true))
  end)

  it("comes once for one signal, wherever it was noted", function()
    local ran = 0
    local handler <close> = signals.handle(SIG, function() ran = ran + 1 end)
    for round = 1, 200 do
      if round % 2 == 0 then signal.raise(SIG) else
        os.execute("kill -USR1 " .. process.pid())
      end
      if round % 3 == 0 then signal.dispatch() end
      assert.equal(round, ran)
    end
    process.sleep(0.001)
    assert.equal(200, ran)
    assert.is_nil((debug.gethook()))
    assert.is_table(handler)
  end)

  it("that does not go off costs no hook", function()
    local handler <close> = signals.handle(SIG, function() end)
    assert.is_nil((debug.gethook()))
    process.sleep(0)
    assert.is_nil((debug.gethook()))
    coroutine.wrap(function()
      process.sleep(0)
      assert.is_nil((debug.gethook()))
    end)()
    assert.is_table(handler)
  end)

  it("has run when dispatch returns", function()
    local ran = 0
    local handler <close> = signals.handle(SIG, function() ran = ran + 1 end)
    local function send() os.execute("kill -USR1 " .. process.pid()) end
    assert.is_true(signal.dispatch())
    assert.equal(0, ran)
    send()
    assert.is_true(signal.dispatch())
    assert.equal(1, ran)
    assert.is_true(signal.dispatch())
    assert.equal(1, ran)
    assert.is_table(handler)
  end)
end)

-- ---- a debug hook of the user's --------------------------------------------

-- A script with a user's hook of some mask and count, which a signal comes
-- into. It prints whether the hook is the same, and whether it still works.
local HOOK = [[
  local process = require "unixipc.process"
  local signal = require "unixipc.signal"
  local mask, count, where = %q, %d, %q
  local calls, hit = 0, 0
  local function hook() calls = calls + 1 end
  signal.handle("SIGUSR1", function() hit = hit + 1 end)
  local function check()
    debug.sethook(hook, mask, count)
    for round = 1, 5 do
      os.execute("kill -USR1 " .. process.pid())
      while hit < round do end
    end
    process.sleep(0.001)
    local fn, mask_now, count_now = debug.gethook()
    local before = calls
    for i = 1, 1000 do
      local x = tostring(i)
    end
    local after = calls
    debug.sethook()
    print(hit, fn == hook, mask_now == mask, count_now == count,
      after > before, debug.gethook())
  end
  if where == "main" then check() else coroutine.wrap(check)() end
]]

describe("A debug hook", function()
  for _, hook in ipairs {
    {"c", 0}, {"r", 0}, {"l", 0}, {"", 7}, {"crl", 0}, {"crl", 3}, {"l", 100},
  } do
    local mask, count = table.unpack(hook)
    it(("with the mask %q and the count %d survives"):format(mask, count),
      function()
        for _, where in ipairs {"main", "coroutine"} do
          local result = children.run(HOOK:format(mask, count, where))
          assert.equal("", result.err)
          assert.equal("5\ttrue\ttrue\ttrue\ttrue\tnil\n", result.out, where)
        end
      end)
  end

  it("that a handler sets, or takes away, stays so", function()
    local result = children.run [[
      local process = require "unixipc.process"
      local signal = require "unixipc.signal"
      local function hook() end
      local hit
      local function send()
        hit = false
        os.execute("kill -USR1 " .. process.pid())
        while not hit do end
      end
      signal.handle("SIGUSR1", function() debug.sethook(hook, "l") hit = 1 end)
      send()
      print(debug.gethook() == hook)
      signal.handle("SIGUSR1", function() debug.sethook() hit = 1 end)
      send()
      print(debug.gethook())
    ]]
    assert.equal("", result.err)
    assert.equal("true\nnil\n", result.out)
  end)

  it("survives signals in a blocked call, also when the handler raises",
    function()
      local result = children.run [[
        local process = require "unixipc.process"
        local signal = require "unixipc.signal"
        local function hook() end
        for _, mask in ipairs {"l", "c", ""} do
          local timer <close> = signal.timer{
            after = 0.01, every = 0.01, signal = "SIGUSR1"}
          debug.sethook(hook, mask, mask == "" and 5 or 0)
          local ran = 0
          signal.handle("SIGUSR1", function()
            ran = ran + 1
            if ran == 3 then error("three", 0) end
          end)
          print(pcall(process.sleep, 10))
          timer:close()
          print(debug.gethook() == hook, select(2, debug.gethook()) == mask)
          debug.sethook()
        end
      ]]
      assert.equal("", result.err)
      assert.equal(("false\tthree\ntrue\ttrue\n"):rep(3), result.out)
    end)

  it("may call the library, and signals come meanwhile", function()
    local result = children.run [[
      local process = require "unixipc.process"
      local signal = require "unixipc.signal"
      local hit = 0
      signal.handle("SIGUSR1", function() hit = hit + 1 end)
      debug.sethook(function()
        debug.sethook()
        os.execute("kill -USR1 " .. process.pid())
        process.sleep(0.01)
        signal.dispatch()
      end, "l")
      local x = 1
      x = x + 1
      while hit < 1 do end
      print(hit)
    ]]
    assert.equal("", result.err)
    assert.equal("1\n", result.out)
  end)
end)
