-- Where the errors of handlers go.
local t = require "support"
local signals = require "support.signals"
local scripts = require "support.signal_scripts"
local ipc = require "unixipc"

local process, signal = ipc.process, ipc.signal
local check, children = scripts.check, t.children
local with_handler, signal_soon = signals.with_handler, signals.soon

local SOON = 10 * t.slow -- seconds of processor time, in loops
local SIG = "SIGUSR1"

describe("An error in a handler", function()
  it("comes up as it was raised, whatever it is", function()
    local value
    local object = setmetatable({}, {__tostring = function() return "x" end})
    with_handler(SIG, function() error(value, 0) end, function()
      for _, raised in ipairs {"text", 12, object, false} do
        value = raised
        local ok, got = pcall(signal.raise, SIG)
        assert.is_false(ok)
        assert.equal(raised, got)
        local child = signals.send_when_asleep(SIG)
        ok, got = pcall(process.sleep, SOON)
        assert.is_false(ok)
        assert.equal(raised, got)
        signals.finish(child)
      end
      value = nil
      assert.same({false}, {pcall(signal.raise, SIG)})
    end)
  end)

  it("leaves a loop once, closing what was to be closed", function()
    local hits, closed = 0, 0
    with_handler(SIG, function()
      hits = hits + 1
      error("enough", 0)
    end, function()
      for i = 1, 3 do
        local ok, why = pcall(function()
          local object <close> = setmetatable({}, {
            __close = function() closed = closed + 1 end,
          })
          local timer <close> = signal_soon(SIG)
          local finish = os.clock() + SOON
          while os.clock() < finish and object do end
          timer:close()
        end)
        assert.same({false, "enough"}, {ok, why})
        for _ = 1, 10000 do end
        assert.equal(i, hits)
        assert.equal(i, closed)
      end
    end)
  end)

  it("ends the coroutine that it came in, not the others", function()
    with_handler(SIG, function() error("enough", 0) end, function()
      for _, work in ipairs {
        function() process.sleep(SOON) end,
        function()
          local finish = os.clock() + SOON
          while os.clock() < finish do end
        end,
      } do
        local co = coroutine.create(function()
          local timer <close> = signal_soon(SIG)
          work(timer:remaining())
        end)
        local ok, why = coroutine.resume(co)
        assert.same({false, "enough"}, {ok, why})
        assert.equal("dead", coroutine.status(co))
        coroutine.close(co) -- with it, the timer
      end
      assert.is_true(process.sleep(0))
    end)
  end)

  for _, where in ipairs {"main", "a coroutine"} do
    it("leaves the signals after it to the loops of " .. where, function()
      check([[
        local values, is_raising = {}, true
        signal.handle("SIGRTMIN", function(_, info)
          values[#values + 1] = info.pid
          if is_raising then
            is_raising = false
            error("enough", 0)
          end
        end)
        local function work()
          enter()
          print(pcall(function()
            kill("RTMIN", "RTMIN", "RTMIN", "RTMIN", "RTMIN", "RTMIN")
            loop(function() return false end)
          end))
          loop(function() return #values == 6 end)
          print(#values)
        end
        if ]] .. tostring(where == "main") .. [[ then
          work()
        else
          coroutine.wrap(work)()
        end
      ]], "false\tenough\n6\n")
    end)
  end

  it("ends a script as any other does", function()
    local result = children.run(scripts.PRELUDE .. [[
      signal.handle("SIGUSR1", function() error "in the handler" end)
      kill "USR1"
      while true do end
    ]])
    assert.equal(1, result.code)
    assert.truthy(
      result.err:find "script.lua:%d+: in the handler\nstack traceback:",
      result.err)
  end)

  it("leaves its signal and its mask as they were", function()
    local order = {}
    with_handler("SIGUSR2", function() order[#order + 1] = "second" end,
      function()
        local masked <close> = signals.handle(SIG, function()
          order[#order + 1] = "first"
          signal.raise "SIGUSR2"
          error("enough", 0)
        end, {mask = "SIGUSR2"})
        for _ = 1, 2 do
          local ok, why = pcall(signal.raise, SIG)
          assert.same({false, "enough"}, {ok, why})
          for _ = 1, 10 do end
        end
        assert.is_table(masked)
      end)
    assert.same({"first", "second", "first", "second"}, order)
  end)

  it("of one inside another comes up through both", function()
    local order = {}
    with_handler("SIGUSR2", function() error("inner", 0) end, function()
      with_handler(SIG, function()
        local _, why = pcall(signal.raise, "SIGUSR2")
        order[#order + 1] = why
        signal.raise "SIGUSR2"
        order[#order + 1] = "not reached"
      end, function()
        local ok, why = pcall(signal.raise, SIG)
        assert.same({false, "inner"}, {ok, why})
      end)
    end)
    assert.same({"inner"}, order)
  end)

  -- Inside a hook there are no other hooks: only blocking calls run handlers.
  for what, call in pairs {
    sleep = "process.sleep(0.001)", dispatch = "signal.dispatch()",
    read = "r:read(1, 0.001)", wait = "signal.wait('SIGUSR2', 0.001)",
  } do
    it("in each of thousands loses none and holds none back: " .. what,
      function()
        check([[
          local values, raised, MANY = {}, 0, 3000
          local r, w = ipc.pipe.open()
          signal.handle("SIGRTMIN", function(_, info)
            values[#values + 1] = info.value
            error("raised", 0)
          end)
          local function try(fn)
            if not pcall(fn) then raised = raised + 1 end
          end
          local function main()
            debug.sethook()
            signal.block "SIGRTMIN"
            for i = 1, MANY do signal.queue(process.pid(), "SIGRTMIN", i) end
            try(function() signal.unblock "SIGRTMIN" end)
            local finish = process.now() + 5
            while #values < MANY and process.now() < finish do
              try(function() ]] .. call .. [[ end)
            end
            local in_order = true
            for i, value in ipairs(values) do
              in_order = in_order and i == value
            end
            print(#values, raised, in_order, #signal.mask())
            for line in io.lines "/proc/self/status" do
              if line:find "SigBlk" then print(line:match "%x+$") end
            end
          end
          debug.sethook(main, "c")
          print()
        ]], "3000\t3000\ttrue\t0\n0000000000000000\n\n")
      end)
  end
end)
