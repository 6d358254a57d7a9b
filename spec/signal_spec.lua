local t = require "support"
local blocking = require "support.blocking"
local ipc = require "unixipc"

local signal, process, pipe = ipc.signal, ipc.process, ipc.pipe
local children = t.children

local SOON = 10 * t.slow
local SIG = "SIGUSR1"

-- Runs fn with a handler, and puts back what was there.
local function with_handler(sig, action, options, fn)
  assert(signal.handle(sig, action, options))
  local ok, why = pcall(fn)
  signal.handle(sig, "original")
  assert(ok, why)
end

-- A child that sends this process a signal when it sleeps in a call, then
-- calls `after`.
local function signal_when_asleep(sig, after)
  local parent = process.pid()
  return assert(process.fork(function()
    local finish = process.now() + SOON
    local function state()
      local file <close> = assert(io.open("/proc/" .. parent .. "/stat"))
      return file:read "a":match "%) (%a)"
    end
    process.sleep(0.02)
    while state() ~= "S" and process.now() < finish do process.sleep(0.001) end
    signal.send(parent, sig)
    if after then after() end
  end))
end

describe("signal.handle", function()
  it("returns what was there, and puts it back", function()
    local function one() end
    local function two() end
    assert.equal("default", signal.handle(SIG, one))
    assert.equal(one, signal.handle("USR1", two))
    assert.equal(two, signal.handle(signal.number(SIG), "ignore"))
    assert.equal("ignore", signal.handle(SIG, "default"))
    assert.equal("default", signal.handle(SIG, one))
    assert.equal(one, signal.handle(SIG, "original"))
    assert.equal("default", signal.handler(SIG))
  end)

  it("calls a handler that is not its own \"original\", and restores it",
    function()
      local result = children.run [[
        local signal = require "unixipc.signal"
        print(signal.handler "SIGINT") -- lua.c's
        print(signal.handle("SIGINT", "ignore"))
        print(signal.handler "SIGINT")
        print(signal.handle("SIGINT", "original"))
        print(signal.handler "SIGINT")
      ]]
      assert.equal("original\noriginal\nignore\nignore\noriginal\n",
        result.out)
    end)

  it("refuses mistakes by name", function()
    t.raises("unknown signal 'SIGFOO'", signal.handle, "SIGFOO", print)
    t.raises("unknown signal", signal.handle, "SIGRTMIN+99", print)
    t.raises("embedded zero", signal.handle, "INT\0", print)
    t.raises("the library's own", signal.handle, "SIGRTMAX-1", print)
    t.raises("the library's own", signal.block, {"TERM", "SIGRTMAX-1"})
    t.raises("invalid option 'never'", signal.handle, SIG, "never")
    for _, bad in ipairs {12, {}, true, false} do
      t.raises("(function, \"default\", "
        .. "\"ignore\" or \"original\" expected, got " .. type(bad),
        signal.handle, SIG, bad)
    end
    t.raises("\"original\" expected, got no value", signal.handle, SIG)
    t.raises("unknown option 'twice'", signal.handle, SIG, print,
      {twice = true})
    t.raises("unknown signal 'X'", signal.handle, SIG, print, {mask = {"X"}})
  end)

  it("says which signal cannot be handled", function()
    for _, name in ipairs {"SIGKILL", "SIGSTOP"} do
      for _, action in ipairs {print, "ignore", "default"} do
        assert.equal("sigaction: " .. name .. ": Invalid argument",
          (t.refused("EINVAL", signal.handle(name, action))))
      end
    end
    for _, number in ipairs {32, 4000} do
      local expected = "sigaction: signal " .. number .. ": Invalid argument"
      assert.equal(expected,
        (t.refused("EINVAL", signal.handle(number, print))))
      assert.equal(expected, (t.refused("EINVAL", signal.handler(number))))
    end
  end)

  it("takes no table of names for a set", function()
    for _, fn in ipairs {signal.block, signal.wait, signal.suspend} do
      t.raises("bad argument #1 to '", fn, {SIGUSR1 = true}, 0)
      t.raises("list expected, got a table without [1]", fn,
        {[2] = "SIGUSR1"}, 0)
    end
    t.raises("(list expected", signal.handle, SIG,
      print, {mask = {SIGUSR2 = true}})
    assert.same(signal.mask(), signal.block {})
  end)

  it("with once calls it once, then the default is back", function()
    local ran = 0
    with_handler(SIG, function() ran = ran + 1 end, {once = true}, function()
      signal.raise(SIG)
      assert.equal(1, ran)
      assert.equal("default", signal.handler(SIG))
    end)
  end)

  it("ignores what is to be ignored", function()
    with_handler(SIG, "ignore", nil, function()
      assert.is_true(signal.raise(SIG))
    end)
  end)

  it("with restart = false lets other libraries' calls end", function()
    for restart, wanted in pairs {[true] = "x", [false] = "nil"} do
      local result = children.run(([[
        local signal = require "unixipc.signal"
        local process = require "unixipc.process"
        local pipe = require "unixipc.pipe"
        local r, w = pipe.open()
        local file = r:to_file()
        signal.handle("SIGUSR1", function() end, {restart = %s})
        local child = process.fork(function()
          process.sleep(0.1)
          signal.send(process.parent(), "SIGUSR1")
          process.sleep(0.1)
          w:write "x"
        end)
        print((file:read(1)))
        child:wait()
      ]]):format(restart))
      assert.equal(wanted .. "\n", result.out)
    end
  end)
end)

describe("A handler", function()
  it("is told the name and who sent it", function()
    local name, info
    with_handler(SIG, function(...) name, info = ... end, nil, function()
      local child = process.fork(function()
        signal.send(process.parent(), SIG)
      end)
      assert(child:wait(SOON))
      signal.dispatch()
      assert.equal(SIG, name)
      assert.equal(child.pid, info.pid)
      assert.equal("user", info.code)
      assert.equal(process.ids().uid, info.uid)
    end)
  end)

  for _, name in ipairs(blocking.names) do
    it("runs inside " .. name .. ", which then goes on", function()
      local case <close> = blocking.new(name)
      local ran, thread = 0, nil
      local r, w = pipe.open()
      case.enter()
      with_handler(SIG, function()
        ran, thread = ran + 1, coroutine.running()
        w:write "x"
      end, nil, function()
        local child = signal_when_asleep(SIG, function()
          r:read(1) -- the handler has run
          process.sleep(0.03)
          if not case.is_endless then case.release() end
        end)
        local start = process.now()
        local co = coroutine.create(case.call)
        local ok, result, message =
          coroutine.resume(co, case.is_endless and 0.3 or SOON)
        assert.is_true(ok, result)
        assert.is_not_nil(result, message)
        assert.is_true(process.now() - start >= 0.03)
        assert.equal(1, ran)
        assert.equal(co, thread) -- on the calling coroutine
        child:wait(SOON)
      end)
      r:close()
      w:close()
    end)

    it("that raises leaves " .. name, function()
      local case <close> = blocking.new(name)
      case.enter()
      with_handler(SIG, function() error("enough", 0) end, nil, function()
        local child = signal_when_asleep(SIG)
        local ok, why = pcall(case.call, SOON)
        assert.is_false(ok)
        assert.equal("enough", why)
        child:wait(SOON)
        if case.child and case.child.kill then
          case.release()
          case.child:wait(SOON)
        end
      end)
    end)

    it("does not lengthen or shorten " .. name, function()
      local case <close> = blocking.new(name)
      case.enter()
      local ran = 0
      with_handler(SIG, function() ran = ran + 1 end, nil, function()
        local timer <close> = signal.timer{every = 0.01, signal = SIG}
        local seconds = t.took(case.call, 0.15)
        assert.is_true(seconds >= 0.15, tostring(seconds))
        assert.is_true(seconds < SOON)
        timer:set{after = 0}
        assert.is_true(ran >= 3)
      end)
      if case.child then
        case.release()
        local child = case.child.process or case.child
        child:wait(SOON)
      end
    end)
  end

  it("runs in a plain loop", function()
    local hit = false
    with_handler(SIG, function() hit = true end, nil, function()
      local child = process.fork(function()
        process.sleep(0.02)
        signal.send(process.parent(), SIG)
      end)
      local finish = os.time() + 10 * t.slow
      while not hit and os.time() < finish do end
      assert.is_true(hit)
      child:wait()
    end)
  end)

  it("runs in a plain loop of a coroutine that called the library last",
    function()
      local hit = false
      with_handler(SIG, function() hit = true end, nil, function()
        local child = process.fork(function()
          process.sleep(0.02)
          signal.send(process.parent(), SIG)
        end)
        coroutine.wrap(function()
          child:is_alive()
          local finish = os.time() + 10 * t.slow
          while not hit and os.time() < finish do end
        end)()
        assert.is_true(hit)
        child:wait()
      end)
    end)

  it("runs when the module was first required in a coroutine", function()
    local result = children.run [[
      coroutine.wrap(function()
        local signal = require "unixipc.signal"
        signal.handle("SIGUSR1", function() hit = true end)
      end)()
      collectgarbage() collectgarbage()
      local process = require "unixipc.process"
      os.execute("kill -USR1 " .. process.pid())
      local finish = os.time() + 5
      while not hit and os.time() < finish do end
      print(hit)
    ]]
    assert.equal("true\n", result.out)
  end)

  it("leaves a user's debug hook as it was", function()
    local result = children.run [[
      local signal = require "unixipc.signal"
      local process = require "unixipc.process"
      local function hook() lines = (lines or 0) + 1 end
      local hit
      signal.handle("SIGUSR1", function() hit = true end)
      debug.sethook(hook, "l")
      os.execute("kill -USR1 " .. process.pid())
      while not hit do end
      local fn, mask, count = debug.gethook()
      print(fn == hook, mask, count)
      local before = lines
      hit = nil
      hit = 1
      print(lines > before)
      local co = coroutine.create(function()
        hit = nil
        debug.sethook(hook, "c")
        process.pid()
        signal.raise "SIGUSR1"
        local fn, mask = debug.gethook()
        print(hit, fn == hook, mask)
      end)
      print(coroutine.resume(co))
    ]]
    assert.equal("true\tl\t0\ntrue\ntrue\ttrue\tc\ntrue\n", result.out)
  end)

  it("whose error comes up once; the next signal is handled", function()
    local ran = 0
    with_handler(SIG, function()
      ran = ran + 1
      if ran == 1 then error "first" end
    end, nil, function()
      local ok, why = pcall(signal.raise, SIG)
      assert.is_false(ok)
      assert.truthy(why:find "first")
      assert.equal(1, ran)
      assert.is_true(signal.raise(SIG))
      assert.equal(2, ran)
      assert.is_true(process.sleep(0.01))
      assert.equal(2, ran)
    end)
  end)

  it("that raises leaves the signals after it to be handled", function()
    local got = {}
    local RT = "SIGRTMIN+3"
    with_handler(RT, function(_, info)
      got[#got + 1] = info.value
      if info.value == 2 then error("two", 0) end
    end, nil, function()
      local before = signal.block(RT)
      for i = 1, 4 do signal.queue(process.pid(), RT, i) end
      local ok, why = pcall(signal.unblock, RT)
      assert.is_false(ok)
      assert.equal("two", why)
      process.sleep(0.01)
      assert.same({1, 2, 3, 4}, got)
      signal.set_mask(before)
    end)
  end)

  it("may set handlers, collect garbage and fork", function()
    local codes = {}
    with_handler(SIG, function()
      signal.handle("SIGUSR2", function() codes[#codes + 1] = "second" end)
      collectgarbage()
      local child = process.fork(function() return 3 end)
      codes[#codes + 1] = select(2, child:wait(SOON))
    end, nil, function()
      signal.raise(SIG)
      signal.raise "SIGUSR2"
      signal.handle("SIGUSR2", "original")
      assert.same({3, "second"}, codes)
    end)
  end)

  it("may close what is waited on: the call raises", function()
    local r, w = pipe.open()
    local poller = ipc.poll.new()
    poller:add(r)
    for object, call in pairs {
      [r] = function() return r:read() end,
      [poller] = function() return poller:wait() end,
    } do
      with_handler(SIG, function() object:close() end, nil, function()
        local child = signal_when_asleep(SIG)
        t.raises("closed", call)
        child:wait(SOON)
      end)
    end
    w:close()
  end)

  it("of a signal that came before a fork runs in the parent only", function()
    local ran = 0
    local before = signal.block(SIG)
    with_handler(SIG, function() ran = ran + 1 end, nil, function()
      signal.raise(SIG)
      local child = process.fork(function()
        signal.unblock(SIG)
        process.sleep(0.01)
        return ran
      end)
      assert.same({"exit", 0}, {child:wait(SOON)})
      signal.unblock(SIG)
      assert.equal(1, ran)
    end)
    signal.set_mask(before)
  end)

  it("is a child's too", function()
    with_handler(SIG, function() os.exit(process.pid() % 100) end, nil,
      function()
        local child = process.fork(function() process.sleep(SOON) end)
        process.sleep(0.02)
        child:kill(SIG)
        assert.same({"exit", child.pid % 100}, {child:wait(SOON)})
      end)
  end)
end)

describe("Queued signals", function()
  local RT = "SIGRTMIN+2"

  it("come once each, in order, also ten thousand in one call of C",
    function()
      local got = {}
      with_handler(RT, function(_, info) got[#got + 1] = info.value end, nil,
        function()
          local child = process.fork(function()
            for i = 1, 10000 do
              while not signal.queue(process.parent(), RT, i) do
                process.sleep(0.001)
              end
            end
          end)
          local text = ("x"):rep(2000000)
          while child:is_alive() do text:find("y", 1, true) end
          process.sleep(0.01)
          assert.same({"exit", 0}, {child:wait(SOON)})
          assert.equal(10000, #got)
          for i, value in ipairs(got) do assert.equal(i, value) end
          assert.same({}, signal.mask())
        end)
    end)

  it("leave no mask to a program that is started meanwhile", function()
    local output
    local before = signal.block(RT)
    for i = 1, 3000 do signal.queue(process.pid(), RT, i) end
    local ran = 0
    with_handler(RT, function()
      ran = ran + 1
      if ran > 1 then return end
      local child = process.spawn({"grep", "SigBlk", "/proc/self/status"},
        {stdout = "pipe"})
      output = child:communicate(nil, SOON)
    end, nil, function()
      signal.unblock(RT)
      process.sleep(0.01)
      assert.equal(3000, ran)
    end)
    assert.equal("SigBlk:\t0000000000000000\n", output)
    signal.set_mask(before)
  end)

  it("of all real-time numbers come lowest first", function()
    local order, wanted = {}, {}
    local names = {}
    for sig = signal.number "SIGRTMIN", signal.number "SIGRTMAX" do
      if sig ~= signal.number "SIGRTMAX" - 1 then
        table.insert(names, 1, signal.name(sig))
        table.insert(wanted, signal.name(sig))
      end
    end
    for _, name in ipairs(names) do
      signal.handle(name, function(sig) order[#order + 1] = sig end)
    end
    local before = signal.block(names)
    for _, name in ipairs(names) do signal.queue(process.pid(), name, 1) end
    signal.set_mask(before)
    for _, name in ipairs(names) do signal.handle(name, "original") end
    assert.equal(30, #wanted)
    assert.same(wanted, order)
  end)
end)

describe("SIGCHLD", function()
  it("and Process:wait do not steal from one another", function()
    local told = {}
    with_handler("SIGCHLD", function(_, info)
      told[info.pid] = {info.code, info.status}
    end, nil, function()
      local child = process.spawn {"sh", "-c", "exit 7"}
      assert.same({"exit", 7}, {child:wait(SOON)})
      process.sleep(0.01)
      assert.same({"exited", 7}, told[child.pid])
      child = process.spawn({"cat"}, {stdin = "pipe", stdout = "pipe"})
      assert.same({"hello", nil, "exit", 0}, {child:communicate("hello", SOON)})
      process.sleep(0.01)
      assert.same({"exited", 0}, told[child.pid])
      child = process.fork(function() process.sleep(SOON) end)
      child:kill "SIGKILL"
      child:wait(SOON)
      process.sleep(0.01)
      assert.same({"killed", "SIGKILL"}, told[child.pid])
    end)
  end)

  it("with nowait leaves no zombie", function()
    with_handler("SIGCHLD", function() end, {nowait = true}, function()
      local child = process.fork(function() end)
      t.refused("ECHILD", child:wait(SOON))
    end)
  end)
end)

describe("Objects of timers and signals", function()
  it("stand in a poller", function()
    local before = signal.mask()
    local fd <close> = assert(signal.fd {"SIGRTMIN+6", SIG})
    local timer <close> = assert(signal.timerfd{every = 0.01})
    local poller <close> = ipc.poll.new()
    poller:add(fd)
    poller:add(timer)
    signal.queue(process.pid(), "SIGRTMIN+6", 5)
    local seen = {}
    while not (seen[fd] and seen[timer]) do
      for _, object in ipairs(assert(poller:wait(SOON))) do
        seen[object] = {object:read(0)}
      end
    end
    assert.equal("SIGRTMIN+6", seen[fd][1])
    assert.equal(5, seen[fd][2].value)
    assert.is_true(seen[timer][1] >= 1)
    assert.truthy(tostring(fd):find "^signalfd fd=%d+$")
    assert.truthy(tostring(timer):find "^timerfd fd=%d+$")
    signal.set_mask(before)
  end)

  it("timerfd counts, can be set, asked and closed", function()
    local timer <close> = assert(signal.timerfd{after = 30, every = 5})
    local left, every = timer:remaining()
    assert.is_true(left > 20 and left <= 30)
    assert.equal(5.0, every)
    t.timed_out(timer:read(0.01))
    timer:set{after = 1e-15}
    assert.equal(1, timer:read(SOON))
    t.timed_out(timer:read(0.01))
    timer:close()
    t.raises("closed", timer.read, timer)
    assert.equal("timerfd (closed)", tostring(timer))
    t.raises("option 'after'", signal.timerfd, {after = "1"})
  end)

  it("alarm and interval send SIGALRM", function()
    local ran = 0
    with_handler("SIGALRM", function() ran = ran + 1 end, nil, function()
      signal.alarm(1e-9)
      process.sleep(0.05)
      assert.equal(1, ran)
      assert.same({0.0, 0.0},
        {signal.interval("real", {after = 0.005, every = 0.005})})
      process.sleep(0.1)
      signal.interval("real", {})
      assert.is_true(ran >= 4)
    end)
    with_handler("SIGPROF", function() ran = -1 end, nil, function()
      signal.interval("prof", {after = 0.001})
      local finish = os.clock() + 10 * t.slow
      while ran ~= -1 and os.clock() < finish do end
      assert.equal(-1, ran)
    end)
  end)
end)
