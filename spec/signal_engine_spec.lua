-- From the kernel to the handler: long calls in C, very many signals at once,
-- calls whose object a handler closes.
local t = require "support"
local blocking = require "support.blocking"
local signals = require "support.signals"
local ipc = require "unixipc"

local process, signal = ipc.process, ipc.signal
local children = t.children

local SOON = 10 * t.slow
local SIG = "SIGUSR1"
local RT = "SIGRTMIN+2"

local function count_up_to(last)
  local list = {}
  for i = 1, last do list[i] = i end
  return list
end

-- All real-time signals but the library's own, lowest first.
local function realtime_names()
  local names = {}
  for sig = signal.number "SIGRTMIN", signal.number "SIGRTMAX" do
    local name = signal.name(sig)
    if sig ~= signal.number "SIGRTMAX-1" then table.insert(names, name) end
  end
  return names
end

-- ---- one long call in C ----------------------------------------------------

-- In Lua, the rest of a script that sends to its parent's parent: os.execute
-- has a shell between the two. While it runs, this process is in system(3).
local SENDER = [[
  local process = require "unixipc.process"
  local signal = require "unixipc.signal"
  local target = tonumber((...))
  local function queue(sig, value)
    while true do
      local ok, _, code = signal.queue(target, sig, value)
      if ok then return end
      assert(code == 11, code) -- EAGAIN: so many cannot be queued at once
      process.sleep(0.001)
    end
  end
]]

-- Runs a script that sends, inside one call of C of this process.
local function send_in_one_call(script)
  local path = t.names.file(SENDER .. script)
  assert(os.execute(("LUA_PATH_5_4='%s' LUA_CPATH_5_4='%s' %s '%s' %d"):format(
    package.path, package.cpath, os.getenv "LUA" or "lua5.4", path,
    process.pid())))
end

describe("In one long call of C", function()
  it("ten thousand queued values all come, once each and in order", function()
    local values, handler <close> = signals.collect(RT)
    local before = #values
    send_in_one_call("for i = 1, 10000 do queue('" .. RT .. "', i) end")
    process.sleep(0.01)
    assert.equal(0, before)
    assert.same(count_up_to(10000), values)
    assert.same({}, signal.mask())
    assert.equal(0, signals.status "SigBlk")
    assert.is_table(handler)
  end)

  it("those of several signals keep the order of each", function()
    local names = realtime_names()
    local values, handlers = {}, {}
    for _, name in ipairs(names) do
      values[name], handlers[name] = signals.collect(name)
    end
    send_in_one_call(([[
      local names = {%s}
      for i = 1, 200 do
        for n = 1, #names do queue(names[1 + n * 7 %% #names], i) end
      end
    ]]):format("'" .. table.concat(names, "','") .. "'"))
    process.sleep(0.01)
    for _, name in ipairs(names) do getmetatable(handlers[name]).__close() end
    for _, name in ipairs(names) do
      assert.same(count_up_to(200), values[name], name)
    end
    assert.equal(0, signals.status "SigBlk")
  end)

  it("no Lua runs: handlers come after it, before the next line", function()
    local ran = 0
    local handler <close> = signals.handle(SIG, function() ran = ran + 1 end)
    for round = 1, 20 do
      os.execute("kill -USR1 " .. process.pid())
      assert.equal(round, ran)
    end
    assert.is_table(handler)
  end)

  it("a long search is one: a child's values wait for its end", function()
    local values, handler <close> = signals.collect(RT)
    local text = ("x"):rep(30000)
    local child = process.fork(function(parent)
      for i = 1, 500 do
        while not signal.queue(parent, RT, i) do process.sleep(0.001) end
      end
    end, process.pid())
    repeat
      local before = #values
      local found = text:find ".-y" -- quadratic
      assert.is_nil(found)
      assert.is_true(#values >= before)
    until not child:is_alive()
    signals.finish(child)
    process.sleep(0.001)
    assert.same(count_up_to(500), values)
    assert.is_table(handler)
  end)
end)

-- ---- order and number ------------------------------------------------------

describe("Signals", function()
  it("OPTS:sigqueue/7-1 of all real-time numbers come lowest first", function()
    local names, order, handlers = realtime_names(), {}, {}
    assert.equal(30, #names)
    for _, name in ipairs(names) do
      table.insert(handlers, signals.handle(name, function(sig, info)
        table.insert(order, sig .. " " .. info.value)
      end))
    end
    local before = signal.block(names)
    local wanted = {}
    for i = #names, 1, -1 do signals.queue(names[i], 3) end
    signal.set_mask(before)
    for _, handler in ipairs(handlers) do getmetatable(handler).__close() end
    for _, name in ipairs(names) do
      for value = 1, 3 do table.insert(wanted, name .. " " .. value) end
    end
    assert.same(wanted, order)
  end)

  it("below the real-time ones come once for all that are pending", function()
    local ran = 0
    local handler <close> = signals.handle(SIG, function() ran = ran + 1 end)
    local before = signal.block(SIG)
    for _ = 1, 10 do signal.raise(SIG) end
    signal.set_mask(before)
    assert.equal(1, ran)
    for _ = 1, 10 do signal.raise(SIG) end
    assert.equal(11, ran)
    assert.is_table(handler)
  end)

  it("queued by a handler for itself come after it, not inside it", function()
    local depth, values = 0, {}
    local handler <close> = signals.handle(RT, function(_, info)
      assert(depth == 0, "inside itself")
      depth = depth + 1
      table.insert(values, info.value)
      if info.value < 2000 then
        signal.queue(process.pid(), RT, info.value + 1)
      end
      depth = depth - 1
    end)
    signal.queue(process.pid(), RT, 1)
    local finish = process.now() + SOON
    while #values < 2000 and process.now() < finish do
      process.sleep(0.001)
    end
    assert.same(count_up_to(2000), values)
    assert.is_table(handler)
  end)

  it("whose handler is changed meanwhile go to the new one", function()
    local values = {}
    local handler <close> = signals.handle(RT, function(_, info)
      table.insert(values, -info.value)
      signal.handle(RT, function(_, new)
        table.insert(values, new.value)
      end)
    end)
    local before = signal.block(RT)
    signals.queue(RT, 4)
    signal.set_mask(before)
    process.sleep(0.001)
    assert.same({-1, 2, 3, 4}, values)
    assert.is_table(handler)
  end)
end)

describe("dispatch", function()
  it("has run what has come when it returns", function()
    local ran = 0
    local handler <close> = signals.handle(SIG, function() ran = ran + 1 end)
    assert.is_true(signal.dispatch())
    assert.equal(0, ran)
    for round = 1, 3 do
      os.execute("kill -USR1 " .. process.pid())
      assert.is_true(signal.dispatch())
      assert.equal(round, ran)
    end
    assert.is_true(signal.dispatch())
    assert.equal(3, ran)
    assert.is_nil((debug.gethook()))
    assert.is_table(handler)
  end)

  it("raises what a handler raises, and works in a script without any",
    function()
      local handler <close> = signals.handle(SIG, function()
        error("enough", 0)
      end)
      local ok, why = pcall(function()
        os.execute("kill -USR1 " .. process.pid())
        signal.dispatch()
      end)
      assert.same({false, "enough"}, {ok, why})
      assert.is_true(signal.dispatch())
      assert.is_table(handler)
      local result = children.run [[
        print(require "unixipc.signal".dispatch())
      ]]
      assert.equal("true\n", result.out)
    end)
end)

-- ---- where the module was required -----------------------------------------

describe("A module that was first required in a coroutine", function()
  for what, code in pairs {
    ["a loop"] = "while not hit do end",
    ["a loop in another coroutine"] =
      "coroutine.wrap(function() process.sleep(0.001) "
      .. "while not hit do end end)()",
    ["a blocked call"] = "process.sleep(30)",
    ["a blocked call in another coroutine"] =
      "coroutine.wrap(function() process.sleep(30) end)()",
  } do
    it("has its handlers run in " .. what, function()
      local gate = children.gate()
      local child = children.start([[
        local signal, process
        coroutine.wrap(function()
          signal = require "unixipc.signal"
          process = require "unixipc.process"
          signal.handle("SIGUSR1", function()
            hit = true
            error({"out of here"})
          end)
        end)()
        for _ = 1, 3 do collectgarbage() end
        assert(io.open(..., "w")):close()
        local ok, why = pcall(function() ]] .. code .. [[ end)
        print(ok, hit, type(why) == "table" and why[1] or why)
        hit = false
        pcall(signal.raise, "SIGUSR1")
        print(hit)
      ]], {args = {gate}})
      children.pass_gate(gate)
      process.sleep(0.05)
      child:kill "USR1"
      local result = child:wait()
      assert.equal("", result.err)
      assert.equal("false\ttrue\tout of here\ntrue\n", result.out)
    end)
  end
end)

-- ---- blocked calls ---------------------------------------------------------

-- What a handler may close under each call: the object it waits on. Those that
-- wait on a descriptor say that it is closed.
local CLOSABLE = {
  "Stream:read", "Stream:read_some", "Stream:receive", "Stream:lines",
  "Stream:write", "Stream:write_some", "Stream:send",
}

describe("A handler that closes what is waited on", function()
  for _, name in ipairs(CLOSABLE) do
    it("makes " .. name .. " raise", function()
      local case <close> = blocking.new(name)
      case.enter()
      local handler <close> = signals.handle(SIG, function()
        for _, object in ipairs(case.objects) do object:close() end
      end)
      local child = signals.send_when_asleep(SIG)
      t.raises("closed", case.call, SOON)
      signals.finish(child)
      assert.is_table(handler)
    end)
  end

  it("and opens another in its place does not mix them up", function()
    local r, w = ipc.pipe.open()
    local others
    local handler <close> = signals.handle(SIG, function()
      r:close()
      others = {ipc.pipe.open()}
      others[2]:write "not for you\n"
    end)
    local child = signals.send_when_asleep(SIG)
    t.raises("closed", r.read, r, "l", SOON)
    signals.finish(child)
    assert.equal("not for you", others[1]:read("l", SOON))
    for _, stream in ipairs {w, others[1], others[2]} do stream:close() end
    assert.is_table(handler)
  end)
end)

describe("A handler that blocks in a call itself", function()
  it("lets other handlers run there, and the first call goes on", function()
    local order = {}
    local outer_r, outer_w = ipc.pipe.open()
    local inner_r, inner_w = ipc.pipe.open()
    local first <close> = signals.handle(SIG, function()
      table.insert(order, "first begins")
      table.insert(order, inner_r:read("l", SOON))
      table.insert(order, "first ends")
    end)
    local second <close> = signals.handle("SIGUSR2", function()
      table.insert(order, "second")
      inner_w:write "inner\n"
    end)
    local child = signals.when_asleep(function(parent)
      signal.send(parent, SIG)
      process.sleep(0.02)
      signals.await_state(parent, "S")
      signal.send(parent, "SIGUSR2")
      process.sleep(0.02)
      outer_w:write "outer\n"
    end)
    assert.equal("outer", outer_r:read("l", SOON))
    assert.same({"first begins", "second", "inner", "first ends"}, order)
    signals.finish(child)
    for _, stream in ipairs {outer_r, outer_w, inner_r, inner_w} do
      stream:close()
    end
    assert.is_true(first ~= second)
  end)

  it("longer than the call's time lets that run out", function()
    local r, w = ipc.pipe.open()
    local handler <close> = signals.handle(SIG, function()
      process.sleep(0.1)
    end)
    local child = signals.send_when_asleep(SIG)
    local start = process.now()
    t.timed_out(r:read(1, 0.06))
    local seconds = process.now() - start
    signals.finish(child)
    assert.is_true(seconds >= 0.06 and seconds < SOON, tostring(seconds))
    r:close()
    w:close()
    assert.is_table(handler)
  end)
end)

describe("Process:communicate", function()
  it("and a handler of SIGCHLD both get what is theirs", function()
    local told = {}
    local handler <close> = signals.handle("SIGCHLD", function(_, info)
      told[info.pid] = info.status
    end)
    local input = ("0123456789"):rep(30000)
    for code = 0, 5 do
      local child = assert(process.spawn(
        {"sh", "-c", "cat; exit " .. code}, {stdin = "pipe", stdout = "pipe"}))
      local output, _, how, status = child:communicate(input, SOON)
      assert.is_true(output == input)
      assert.same({"exit", code}, {how, status})
      process.sleep(0.001)
      assert.equal(code, told[child.pid])
    end
    assert.is_table(handler)
  end)
end)
