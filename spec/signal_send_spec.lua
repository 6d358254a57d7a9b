-- Names and numbers of signals, and the ways to send one: to processes, to
-- groups, to this process, with a value, and who may.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local process, signal = ipc.process, ipc.signal
local children = t.children

local SOON = 10 * t.slow
local SIG = "SIGUSR1"
local RT = "SIGRTMIN+2"
local LUA = os.getenv "LUA" or "lua5.4"
local RTMIN, RTMAX = signal.number "SIGRTMIN", signal.number "SIGRTMAX"

-- Runs fn with a handler, and puts back what was there.
local function with_handler(sig, action, fn)
  local handler <close> = signals.handle(sig, action)
  return fn(handler)
end

-- The number of a process that has ended and been waited for.
local function nobody()
  local child <close> = assert(process.fork(function() end))
  child:wait(SOON)
  return child.pid
end

-- ---- names -----------------------------------------------------------------

describe("A signal's name", function()
  -- Those of every system, and what Linux has besides.
  local KNOWN = {
    SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6,
    SIGFPE = 8, SIGKILL = 9, SIGSEGV = 11, SIGPIPE = 13, SIGALRM = 14,
    SIGTERM = 15,
  }

  it("has a number, with SIG and without", function()
    for name, number in pairs(KNOWN) do
      assert.equal(number, signal.number(name))
      assert.equal(number, signal.number((name:gsub("^SIG", ""))))
      assert.equal(name, signal.name(number))
      assert.equal(name, signal.name(name))
    end
  end)

  it("is the same as bash's", function()
    local pipe <close> = assert(io.popen "bash -c 'kill -l'")
    local count = 0
    for number, name in pipe:read "a":gmatch "(%d+)%) (SIG%S+)" do
      if not name:find "RT" then
        assert.equal(math.tointeger(number), signal.number(name))
        assert.equal(name, signal.name(math.tointeger(number)))
        count = count + 1
      end
    end
    assert.is_true(count > 20)
  end)

  it("of a real-time signal is counted from either end", function()
    for sig = RTMIN, RTMAX do
      local up, down = sig - RTMIN, RTMAX - sig
      assert.equal(sig, signal.number("SIGRTMIN+" .. up))
      assert.equal(sig, signal.number("RTMAX-" .. down))
    end
    assert.equal(RTMIN, signal.number "RTMIN")
    assert.equal(RTMAX, signal.number "SIGRTMAX")
    assert.equal("SIGRTMIN", signal.name(RTMIN))
    assert.equal("SIGRTMIN+3", signal.name(RTMIN + 3))
    assert.equal("SIGRTMAX", signal.name(RTMAX))
  end)

  it("PY:test_signal.py:test_valid_signals is in the list once", function()
    local names = {}
    for name, number in pairs(signal.list()) do
      assert.is_true(number > 0 and number <= RTMAX)
      assert.is_true(number ~= 32 and number ~= 33)
      assert.equal(number, signal.number(name))
      names[signal.name(number)] = (names[signal.name(number)] or 0) + 1
    end
    for name in pairs(KNOWN) do assert.equal(1, names[name], name) end
    for sig = RTMIN, RTMAX do
      local wanted = sig ~= RTMAX - 1 and 1 or nil
      assert.equal(wanted, names[signal.name(sig)], sig)
    end
  end)

  it("that is none raises", function()
    for _, name in ipairs {
      "", "SIG", "sigterm", "TERM ", " TERM", "SIGSIGTERM", "SIGFOO", "TERMS",
      "15", "SIG15", "RTMIN+", "RTMIN-1", "RTMAX+1", "RTMIN+31", "RTMAX-31",
      "RTMIN+1x", "RTMIN+ 1", "RTMIN++1", "RTMIN+99999999999999999999",
      ("X"):rep(100000),
    } do
      for _, call in ipairs {"number", "name", "handler", "raise", "block"} do
        t.raises("unknown signal", signal[call], name)
      end
      t.raises("unknown signal", signal.send, process.pid(), name)
      t.raises("unknown signal", signal.queue, process.pid(), name)
    end
    for _, name in ipairs {"TERM\0", "\0", "TERM\0INT"} do
      t.raises("bad argument #1", signal.number, name)
      t.raises("bad argument #2", signal.send, process.pid(), name)
    end
  end)

  it("of a wrong type raises, and a number that is none does", function()
    for _, value in ipairs {true, {}, print, io.stdout} do
      t.raises("bad argument #1", signal.number, value)
      t.raises("bad argument #1", signal.handle, value, print)
      t.raises("bad argument #2", signal.send, 1, value)
    end
    for _, value in ipairs {-1, 1.5, 1 << 40, 0 / 0, math.huge} do
      t.raises("bad argument #1", signal.number, value)
      t.raises("bad argument #1", signal.raise, value)
    end
    t.raises("bad argument #1", signal.number)
    assert.equal(10, signal.number(10.0))
  end)
end)

describe("SIGRTMAX-1, the library's own signal,", function()
  it("is refused, by whatever name", function()
    for _, sig in ipairs {
      RTMAX - 1, "SIGRTMAX-1", "RTMAX-1", "RTMIN+" .. RTMAX - RTMIN - 1,
    } do
      for call, arguments in pairs {
        handle = {sig, print}, raise = {sig}, block = {sig}, unblock = {sig},
        set_mask = {{sig}}, wait = {sig, 0}, fd = {sig},
        timer = {{after = 1, signal = sig}},
      } do
        t.raises("the library's own", signal[call], table.unpack(arguments))
      end
    end
  end)

  it("harms nobody when it comes all the same", function()
    with_handler(SIG, function() end, function()
      for _ = 1, 10 do os.execute("kill -" .. RTMAX - 1 .. " $PPID") end
      assert.is_true(process.sleep(0.01))
      local child = assert(process.fork(function(parent)
        for _ = 1, 100 do signal.send(parent, RTMAX - 1) end
      end, process.pid()))
      local start = process.now()
      assert.is_true(process.sleep(0.05))
      assert.is_true(process.now() - start >= 0.05)
      signals.finish(child)
    end)
  end)
end)

-- ---- send ------------------------------------------------------------------

describe("signal.send", function()
  it("runs this process's handler before it returns", function()
    local hits = 0
    with_handler(SIG, function() hits = hits + 1 end, function()
      for i = 1, 100 do
        assert.is_true(signal.send(process.pid(), SIG))
        assert.equal(i, hits)
      end
    end)
  end)

  it("says ESRCH of a process that is not there", function()
    local pid = nobody()
    for _, sig in ipairs {0, "TERM"} do
      t.refused("ESRCH", signal.send(pid, sig))
      t.refused("ESRCH", signal.send(-pid, sig))
      t.refused("ESRCH", signal.send_group(pid, sig))
      t.refused("ESRCH", signal.queue(pid, sig))
    end
    local why = ": No such process"
    assert.equal("kill: pid " .. pid .. why, (select(2, signal.send(pid, 0))))
    assert.equal("kill: group " .. pid .. why,
      (select(2, signal.send(-pid, 0))))
    assert.equal("killpg: group " .. pid .. why,
      (select(2, signal.send_group(pid, 0))))
  end)

  it("says EINVAL of a signal that is not there", function()
    for _, sig in ipairs {65, 1000} do
      t.refused("EINVAL", signal.send(process.pid(), sig))
      t.refused("EINVAL", signal.send_group(0, sig))
      t.refused("EINVAL", signal.queue(process.pid(), sig))
      t.refused("EINVAL", signal.raise(sig))
      t.refused("EINVAL", signal.handle(sig, print))
      t.refused("EINVAL", signal.handler(sig))
    end
    t.refused("EINVAL", signal.handle(0, print))
    t.refused("EINVAL", signal.handle(32, print)) -- the C library's
  end)

  it("refuses what is no process", function()
    for _, pid in ipairs {1.5, 1 << 31, -(1 << 31) - 1, 1 << 40, "x", {}} do
      t.raises("bad argument #1", signal.send, pid, 0)
      t.raises("bad argument #1", signal.queue, pid, 0)
      t.raises("bad argument #1", signal.send_group, pid, 0)
    end
    t.raises("bad argument #1", signal.send)
    t.raises("bad argument #2", signal.send, process.pid())
    t.raises("no process group", signal.send_group, -5, 0)
  end)

  it("tells the handler who sent it, and how", function()
    local got
    with_handler(SIG, function(_, info) got = info end, function()
      local uid = process.ids().uid
      signal.send(process.pid(), SIG)
      assert.same({code = "user", pid = process.pid(), uid = uid}, got)
      signal.raise(SIG)
      assert.same({code = "tkill", pid = process.pid(), uid = uid}, got)
      signal.queue(process.pid(), SIG)
      assert.same({code = "queue", pid = process.pid(), uid = uid, value = 0},
        got)
      local child = assert(process.fork(function(parent)
        signal.send(parent, SIG)
      end, process.pid()))
      signals.finish(child)
      signal.dispatch()
      assert.same({code = "user", pid = child.pid, uid = uid}, got)
    end)
  end)

  it("reaches programs that know nothing of this library", function()
    local child = assert(process.spawn({"sh", "-c",
      "trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.01; "
      .. "done"}, {stdout = "pipe"}))
    assert.equal("ready", child.stdout:read("l", SOON))
    assert.is_true(signal.send(child.pid, SIG))
    assert.equal("got it", child.stdout:read("l", SOON))
    assert.same({"exit", 3}, {child:wait(SOON)})
    child.stdout:close()
  end)

  it("gets through to a handler of SIGSEGV, SIGBUS, SIGFPE and SIGILL",
    function()
      local got = {}
      for _, sig in ipairs {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL"} do
        with_handler(sig, function(name) got[#got + 1] = name end, function()
          signal.send(process.pid(), sig)
        end)
      end
      assert.same({"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL"}, got)
    end)

  it("GV:kill.cc:CanSIGCONTSameSession: of another user's processes in the "
    .. "session only SIGCONT", function()
      if process.ids().uid ~= 0 then return pending "needs root" end
      local result = children.run(nil, {command = {"setpriv", "--reuid",
        "65534", "--clear-groups", LUA, "-e", ([[
          local signal = require "unixipc.signal"
          print(signal.send(%d, "SIGCONT"))
          print(signal.send(%d, "SIGTERM"))
          print(signal.queue(%d, "SIGUSR1", 1))
        ]]):format(process.pid(), process.pid(), process.pid())}})
      assert.equal("", result.err)
      local why = ": pid " .. process.pid() .. ": Operation not permitted\t1\n"
      assert.equal("true\nnil\tkill" .. why .. "nil\tsigqueue" .. why,
        result.out)
    end)
end)

-- ---- groups ----------------------------------------------------------------

describe("A process group", function()
  -- A child that leads a group of its own, with members that it started.
  local function start_group(members)
    return assert(process.spawn({"sh", "-c",
      ("for i in %s; do (trap 'echo $i; exit' USR1; echo up; "
      .. "while :; do sleep 0.01; done) & done; trap : USR1; wait; wait; wait")
      :format(members)}, {pgroup = true, stdout = "pipe"}))
  end

  for call, send in pairs {
    ["send to minus its number"] = function(group)
      return signal.send(-group, SIG)
    end,
    send_group = function(group) return signal.send_group(group, SIG) end,
  } do
    it("gets what " .. call .. " sends, each of it (LTP:kill06)", function()
      local leader = start_group "1 2 3"
      for _ = 1, 3 do
        assert.equal("up", leader.stdout:read("l", SOON))
      end
      assert.is_true(send(leader.pid))
      local heard = {}
      for i = 1, 3 do heard[i] = leader.stdout:read("l", SOON) end
      table.sort(heard)
      assert.same({"1", "2", "3"}, heard)
      leader:wait(SOON)
      leader.stdout:close()
    end)
  end

  it("of this process is 0", function()
    local result = children.run [[
      local ipc = require "unixipc"
      local process, signal = ipc.process, ipc.signal
      assert(process.set_group())
      local hits = 0
      signal.handle("SIGUSR1", function() hits = hits + 1 end)
      local r, w = ipc.pipe.open()
      local child = process.fork(function()
        local mine = 0
        signal.handle("SIGUSR1", function() mine = mine + 1 end)
        w:write "ready\n"
        while mine < 2 do process.sleep(0.001) end
        return mine
      end)
      r:read "l"
      print(signal.send(0, "SIGUSR1"), hits)
      while signal.pending()[1] do process.sleep(0.001) end
      process.sleep(0.05)
      print(signal.send_group(0, "SIGUSR1"), hits)
      print(child:wait(5))
    ]]
    assert.equal("", result.err)
    assert.equal("true\t1\ntrue\t2\nexit\t2\n", result.out)
  end)
end)

-- ---- queue -----------------------------------------------------------------

describe("signal.queue", function()
  it("gives each value to this process's handler before it returns", function()
    local values, handler <close> = signals.collect(RT)
    for _, value in ipairs {0, 1, -1, 2147483647, -2147483648} do
      assert.is_true(signal.queue(process.pid(), RT, value))
      assert.equal(value, values[#values])
    end
    assert.is_true(signal.queue(process.pid(), RT))
    assert.equal(0, values[#values])
    assert.equal(6, #values)
    assert.is_table(handler)
  end)

  it("refuses values that are no C int", function()
    for _, value in ipairs {1 << 31, -(1 << 31) - 1, 1.5, "x", {}, true} do
      t.raises("bad argument #3", signal.queue, process.pid(), RT, value)
    end
    t.raises("out of range", signal.queue, process.pid(), RT, 1 << 31)
  end)

  it("has a value for signals of which one at most is kept, too", function()
    local values, handler <close> = signals.collect(SIG)
    local before = signal.block(SIG)
    for i = 1, 5 do signal.queue(process.pid(), SIG, i) end
    signal.set_mask(before)
    assert.same({1}, values)
    assert.is_table(handler)
  end)

  -- Several senders at once, each with values that say whose they are.
  it("keeps the order of each of several senders", function()
    local SENDERS <const>, EACH <const> = 4, 2000
    local last, disorder, count = {}, 0, 0
    with_handler(RT, function(_, info)
      local sender, i = info.value // EACH, info.value % EACH
      if i ~= (last[sender] or -1) + 1 then disorder = disorder + 1 end
      last[sender] = i
      count = count + 1
    end, function()
      local senders = {}
      for sender = 1, SENDERS do
        senders[sender] = assert(process.fork(function(parent)
          for i = 0, EACH - 1 do
            while not signal.queue(parent, RT, sender * EACH + i) do
              process.sleep(0.001)
            end
          end
        end, process.pid()))
      end
      local finish = process.now() + SOON
      while count < SENDERS * EACH and process.now() < finish do
        process.sleep(0.001)
      end
      signals.finish(table.unpack(senders))
    end)
    assert.equal(SENDERS * EACH, count)
    assert.equal(0, disorder)
    assert.equal(0, signals.status "SigBlk")
  end)

  it("and kill(1) of procps understand one another", function()
    local kill = "/usr/bin/kill"
    if not os.execute(kill .. " --help 2>&1 | grep -q -- --queue") then
      return pending "there is no kill with --queue"
    end
    local got
    with_handler(RT, function(_, info) got = info end, function()
      assert(os.execute(("%s --queue 4711 -s %s %d"):format(kill,
        RTMIN + 2, process.pid())))
      signal.dispatch()
      assert.equal(4711, got.value)
      assert.equal("queue", got.code)
    end)
  end)

  it("and Python's sigwaitinfo understand one another", function()
    if not os.execute "command -v python3 >/dev/null" then
      return pending "python3 is not installed"
    end
    local child = assert(process.spawn({"python3", "-c", [[
import signal
wanted = {signal.SIGRTMIN, signal.SIGRTMIN + 1, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("ready", flush=True)
for i in range(5):
    info = signal.sigwaitinfo(wanted)
    print(info.si_signo - signal.SIGRTMIN, info.si_code, info.si_pid)
]]}, {stdout = "pipe"}))
    assert.equal("ready", child.stdout:read("l", SOON))
    child:kill "SIGSTOP" -- so that all are pending together
    signals.await_state(child.pid, "T")
    for _, name in ipairs {"SIGRTMIN+1", "SIGRTMIN", "SIGRTMIN", "USR1"} do
      assert(signal.queue(child.pid, name, 1))
    end
    assert(signal.send(child.pid, "SIGRTMIN"))
    child:kill "SIGCONT"
    local SI_QUEUE, SI_USER <const> = -1, 0
    local pid = process.pid()
    local usr1 = signal.number "USR1" - RTMIN
    for _, wanted in ipairs {
      {usr1, SI_QUEUE}, {0, SI_QUEUE}, {0, SI_QUEUE}, {0, SI_USER},
      {1, SI_QUEUE},
    } do
      assert.equal(("%d %d %d"):format(wanted[1], wanted[2], pid),
        child.stdout:read("l", SOON))
    end
    assert.same({"exit", 0}, {child:wait(SOON)})
    child.stdout:close()
  end)

  it("LTP:rt_sigqueueinfo02 has no way to forge what the kernel says",
    function()
      local got
      with_handler("SIGCHLD", function(_, info) got = info end, function()
        signal.queue(process.pid(), "SIGCHLD", 3)
        assert.equal("queue", got.code)
        assert.is_nil(got.status)
        assert.equal(3, got.value)
      end)
    end)
end)

-- ---- SIGPIPE ---------------------------------------------------------------

describe("SIGPIPE", function()
  it("does not come of the library's own writes", function()
    local hits = 0
    with_handler("SIGPIPE", function() hits = hits + 1 end, function()
      local r, w = assert(ipc.pipe.open())
      r:close()
      t.refused("EPIPE", w:write "x")
      w:close()
      local child = assert(process.spawn({"true"}, {stdin = "pipe"}))
      child:wait(SOON)
      t.refused("EPIPE", child.stdin:write "x")
      child.stdin:close()
      process.sleep(0.001)
      assert.equal(0, hits)
      signal.raise "SIGPIPE"
      assert.equal(1, hits)
    end)
  end)

  it("comes of Lua's own files, and has its handler", function()
    local hits = 0
    with_handler("SIGPIPE", function() hits = hits + 1 end, function()
      local r, w = assert(ipc.pipe.open())
      local file <close> = assert(w:to_file "w")
      r:close()
      w:close()
      file:setvbuf "no"
      assert.is_nil((file:write "x"))
      process.sleep(0.001)
      assert.equal(1, hits)
      assert.is_true(file:setvbuf "full")
    end)
  end)
end)
