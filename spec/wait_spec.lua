local t = require "support"
local blocking = require "support.blocking"
local busted = require "busted"

local children, names = t.children, t.names

local SOON = 1 * t.slow -- seconds within which a signal must have worked

local function read_all(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

-- "S" while it sleeps in a system call, "T" when stopped.
local function state_of(pid)
  return read_all("/proc/" .. pid .. "/stat"):match "%) (%a)"
end

local function await_state(pid, wanted)
  local start = busted.monotime()
  while state_of(pid) ~= wanted do
    assert(busted.monotime() - start < 10 * t.slow,
      ("process %s is not in state %s"):format(pid, wanted))
    busted.sleep(0.0005)
  end
end

-- ---- Ctrl-C in a script --------------------------------------------------

-- A Lua script that blocks in the call of a case. Its arguments: the case, a
-- gate that it opens right before, and others.
local SCRIPT = [[
  local name, gate = ...
  local case <close> = require "support.blocking".new(name)
  case.enter()
  local function block()
    assert(io.open(gate, "w")):close()
    return case.call()
  end
]]

-- Starts the script and waits until it sleeps in the call.
local function start_blocked(script, name, ...)
  local gate = children.gate()
  local child = children.start(SCRIPT .. script, {args = {name, gate, ...}})
  children.pass_gate(gate)
  await_state(child.pid, "S")
  return child
end

-- Runs the script up to the call, sends it SIGINT, and tells how it ended.
local function interrupt(script, name, ...)
  local child = start_blocked(script, name, ...)
  child:kill "INT"
  local seconds, result = t.took(child.wait, child)
  assert.is_false(result.timed_out, "SIGINT did not get through")
  assert.is_true(seconds < SOON, "it took " .. seconds .. " s")
  return result
end

local PLACES = {
  ["in pcall on the main thread"] = [[
    print(pcall(block))
    print "on"
  ]],
  ["in a coroutine"] = [[
    print(coroutine.resume(coroutine.create(block)))
    for i = 1, 100 do tostring(i) end
    print "on"
  ]],
  ["in pcall in a coroutine in a coroutine"] = [[
    local resume, create = coroutine.resume, coroutine.create
    resume(create(function()
      resume(create(function()
        print(pcall(block))
        for i = 1, 100 do tostring(i) end
        print "on"
      end))
    end))
  ]],
}

-- Rows of the conformance table that a case is.
local ROWS = {
  ["fifo.open r"] = " (GV:fifo.cc:OpenBlockedAndInterrupted)",
}

describe("Ctrl-C in a script breaks", function()
  for _, name in ipairs(blocking.names) do
    it(name .. " on the main thread" .. (ROWS[name] or ""), function()
      local result = interrupt("block()", name)
      assert.equal(1, result.code)
      assert.truthy(result.err:find "^[^\n]*interrupted!\n", result.err)
    end)

    for place, script in pairs(PLACES) do
      it(name .. " " .. place, function()
        local result = interrupt(script, name)
        local message, rest = result.out:match "^false\t([^\n]*)\n(.*)$"
        assert.truthy(message, result.out .. result.err)
        assert.truthy(message:find "interrupted!$", message)
        assert.equal("on\n", rest) -- once, not a second time after it
        assert.equal(0, result.code)
      end)
    end
  end

  it("a wait for nothing at all", function()
    local result = interrupt([[
      local poll = require "unixipc.poll"
      assert(io.open(gate, "w")):close()
      print(pcall(poll.wait, {}))
    ]], "process.sleep")
    assert.truthy(result.out:find "^false\t[^\n]*interrupted!\n", result.out)
  end)
end)

describe("After Ctrl-C", function()
  it("what a read had got is still there", function()
    local result = interrupt([[
      local pipe = require "unixipc.pipe"
      local r, w = pipe.open()
      w:write "ab"
      assert(io.open(gate, "w")):close()
      print(pcall(r.read, r, 5))
      w:write "cde"
      print(r:read(5))
    ]], "process.sleep")
    assert.truthy(result.out:find "interrupted!\nabcde\n$", result.out)
  end)

  for _, name in ipairs {"Stream:read", "fifo.open r"} do
    it("the next one ends the process, as lua.c has it: " .. name, function()
      local second = children.gate()
      local child = start_blocked([[
        print(pcall(block))
        io.stdout:flush()
        gate = select(3, ...)
        block()
      ]], name, second)
      child:kill "INT"
      children.pass_gate(second)
      await_state(child.pid, "S")
      child:kill "INT"
      local result = child:wait()
      assert.truthy(result.out:find "interrupted!", result.out)
      assert.equal(2, result.signal)
    end)

    it("a script that never blocks is broken too, after " .. name, function()
      local gate = children.gate()
      local child = children.start(SCRIPT .. [[
        print((select(2, case.call(0.01))))
        print(pcall(function()
          assert(io.open(gate, "w")):close()
          while true do end
        end))
      ]], {args = {name, gate}})
      children.pass_gate(gate)
      await_state(child.pid, "R")
      child:kill "INT"
      local out = child:wait().out
      assert.truthy(out:find "^timeout\nfalse\t[^\n]*interrupted!\n", out)
    end)
  end
end)

-- ---- Ctrl-C at the prompt ------------------------------------------------

-- lua5.4 -i with a FIFO for its input. say(line) gives it a line.
local function start_repl(command)
  local path = names.path ".input"
  assert(os.execute("mkfifo " .. path))
  local repl = children.start(nil, {
    command = {"sh", "-c", command .. " <" .. path},
    timeout = 60 * t.slow,
  })
  local input = assert(io.open(path, "w"))
  input:setvbuf "line"
  local function say(line) input:write(line, "\n") end
  local function finish()
    input:close()
    return repl:wait()
  end
  return say, finish, repl
end

local LUA = os.getenv "LUA" or "lua5.4"

-- The bytes that a process writes into a FIFO.
local function hear(gate)
  local cat <close> = assert(io.popen("timeout 10 cat " .. gate))
  return cat:read "a"
end

describe("Ctrl-C at the prompt", function()
  it("breaks every call, and the next line is read", function()
    local say, finish, repl = start_repl("exec " .. LUA .. " -i")
    local gate = children.gate()
    say "blocking = require 'support.blocking'"
    for _, name in ipairs(blocking.names) do
      say(("case = blocking.new(%q) case.enter()"):format(name))
      say(("io.open(%q, 'w'):close() case.call()"):format(gate))
      children.pass_gate(gate)
      await_state(repl.pid, "S")
      repl:kill "INT"
      say "case.close()"
    end
    say "print('still', 'here')"
    local result = finish()
    assert.truthy(result.out:find "still\there", result.out)
    local _, breaks = result.err:gsub("interrupted!", "")
    assert.equal(#blocking.names, breaks, result.err)
    assert.equal(0, result.code)
  end)

  it("typed on a terminal breaks a call", function()
    if not os.execute "command -v script >/dev/null" then
      return pending "script(1) is not installed"
    end
    local gate = children.gate()
    -- exec: a shell that stays gets SIGINT too, and ends by it in the end.
    local say, finish = start_repl(
      ("exec script -qec 'exec %s -i' /dev/null"):format(LUA))
    say "ipc = require 'unixipc'; r, w = ipc.pipe.open()"
    for _, call in ipairs {"r:read(1)", "ipc.process.sleep(1e9)"} do
      say(("g = io.open(%q, 'w') g:write(ipc.process.pid()) g:close() %s")
        :format(gate, call))
      await_state(hear(gate), "S")
      say "\3"
    end
    say "print('still', 'here')"
    say "os.exit(7)"
    local result = finish()
    local _, breaks = result.out:gsub("interrupted!", "")
    assert.equal(2, breaks, result.out)
    assert.truthy(result.out:find "still%s+here", result.out)
    assert.equal(7, result.code)
  end)
end)

-- ---- a hook of the user's own --------------------------------------------

-- Arguments of debug.sethook, and what they are called here.
local HOOKS = {
  ["of calls"] = {"c", 0}, ["of returns"] = {"r", 0},
  ["of lines"] = {"l", 0}, ["of counts"] = {"", 1000},
  ["of all"] = {"clr", 7},
}

-- Arguments of the script: case, gate, mask, count. same(thread) tells whether
-- the thread has the hook that set(thread) gave it.
local HOOK_SCRIPT = [[
  local mask, count = select(3, ...)
  local main = coroutine.running()
  local hooks = {}
  function set(thread)
    hooks[thread] = function() end
    debug.sethook(thread, hooks[thread], mask, tonumber(count))
  end
  function same(thread)
    local fn, m, c = debug.gethook(thread)
    local has = {}
    for letter in (m or ""):gmatch "." do has[letter] = true end
    for letter in mask:gmatch "." do
      if not has[letter] then return false end
    end
    return fn == hooks[thread] and #m == #mask and c == tonumber(count)
  end
]]

describe("A debug hook", function()
  for what, hook in pairs(HOOKS) do
    for _, name in ipairs {"Stream:read", "fifo.open r", "process.sleep"} do
      it(("%s survives Ctrl-C in %s"):format(what, name), function()
        local result = interrupt(HOOK_SCRIPT .. [[
          set(main)
          print(pcall(block))
          print(same(main))
        ]], name, table.unpack(hook))
        assert.truthy(result.out:find "interrupted!\ntrue\n$", result.out)
      end)

      it(("%s survives timeouts of %s"):format(what, name), function()
        local result = children.run(SCRIPT .. HOOK_SCRIPT .. [[
          local thread = coroutine.create(function()
            case.call(0.001)
            case.call(0.001)
          end)
          set(main)
          set(thread)
          case.call(0.001)
          case.call(0)
          print(coroutine.resume(thread))
          print(same(main), same(thread))
        ]], {args = {name, "", table.unpack(hook)}})
        assert.equal("true\ntrue\ttrue\n", result.out, result.err)
      end)
    end

    it(what .. " on a coroutine survives Ctrl-C there", function()
      local result = interrupt(HOOK_SCRIPT .. [[
        local thread
        thread = coroutine.create(function()
          print(pcall(block))
          print(same(thread), debug.gethook(main))
        end)
        set(thread)
        print(coroutine.resume(thread))
      ]], "Stream:read", table.unpack(hook))
      assert.truthy(result.out:find "interrupted!\ntrue\tnil\ntrue\n$",
        result.out)
    end)

    it(what .. " on both threads survives Ctrl-C in a coroutine", function()
      local result = interrupt(HOOK_SCRIPT .. [[
        local thread = coroutine.create(block)
        set(thread)
        set(main)
        print(coroutine.resume(thread))
        print(same(thread), same(main))
      ]], "Stream:read", table.unpack(hook))
      assert.truthy(result.out:find "interrupted!\ntrue\ttrue\n$",
        result.out)
    end)

    it(what .. ", taken off again, does not come back", function()
      local result = interrupt(HOOK_SCRIPT .. [[
        set(main)
        case.call(0.001)
        debug.sethook()
        print(pcall(block))
        print(debug.gethook())
      ]], "Stream:read", table.unpack(hook))
      assert.truthy(result.out:find "interrupted!\nnil\n$", result.out)
    end)
  end

  it("sees of a call that sleeps what it sees of one that does not", function()
    local result = children.run([[
      local pipe = require "unixipc.pipe"
      local r = pipe.open()
      local function events_of(timeout)
        local seen = {}
        debug.sethook(function(event) seen[#seen + 1] = event end, "cr")
        r:read(1, timeout)
        debug.sethook()
        return table.concat(seen, " ")
      end
      events_of(0.001) -- the first one may be taken for lua.c's
      local sleeping, trying = events_of(0.001), events_of(0)
      print(sleeping == trying, sleeping)
    ]])
    assert.truthy(result.out:find "^true\t.*call.*return", result.out)
  end)
end)

-- ---- what the library leaves alone ---------------------------------------

describe("Using the library", function()
  it("changes no disposition, mask or umask of the process", function()
    local result = children.run([[
      local function status()
        local file <close> = assert(io.open "/proc/self/status")
        local text = file:read "a"
        local list = {}
        for _, name in ipairs {"SigBlk", "SigIgn", "SigCgt", "Umask"} do
          list[#list + 1] = tonumber(text:match(name .. ":\t(%x+)"), 16)
        end
        list[3] = list[3] & ~(1 << 62) -- its own, SIGRTMAX-1
        return table.concat(list, " ")
      end
      local before = status()
      local blocking = require "support.blocking"
      print(before == status())
      for _, name in ipairs(blocking.names) do
        local case <close> = blocking.new(name)
        case.enter()
        case.call(0.001)
        if before ~= status() then print(name, before, status()) end
      end
    ]])
    assert.equal("true\n", result.out, result.err)
  end)

  it("of the signals takes one at most, when it opens a FIFO", function()
    local result = children.run([[
      local function caught()
        local file <close> = assert(io.open "/proc/self/status")
        return tonumber(file:read "a":match "SigCgt:\t(%x+)", 16)
      end
      local before = caught()
      local case = require "support.blocking".new "fifo.open r"
      case.call(0.001)
      local new, count = caught() ~ before, 0
      while new ~= 0 do new, count = new & (new - 1), count + 1 end
      print(count)
    ]])
    assert.truthy(result.out:find "^[01]\n$", result.out .. result.err)
  end)
end)
