local t = require "support"
local busted = require "busted"
local ipc = require "unixipc"

local pipe, poll, process = ipc.pipe, ipc.poll, ipc.process
local children = t.children

local SOON = 10 * t.slow

local function read_all(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

-- A child that does nothing until it is killed.
local function sleeper()
  return assert(process.fork(function() process.sleep(1e9) end))
end

local function finish(child)
  child:kill "SIGKILL"
  assert.same({"signal", "SIGKILL"}, {child:wait(SOON)})
end

-- A child that has ended and that nobody has waited for.
local function zombie(code)
  local child = assert(process.fork(function() return code end))
  t.await_exit(child)
  return child
end

local function state_of(pid)
  return read_all("/proc/" .. pid .. "/stat"):match "%) (%a)"
end

describe("Process:wait", function()
  it("gives the exit code", function()
    for _, code in ipairs {0, 1, 127, 255} do
      local child = assert(process.spawn {"sh", "-c", "exit " .. code})
      assert.same({"exit", code}, {child:wait(SOON)})
    end
  end)

  it("gives the name of the signal", function()
    for _, case in ipairs {
      {"KILL", "SIGKILL"}, {"TERM", "SIGTERM"}, {"USR1", "SIGUSR1"},
      {34, "SIGRTMIN"}, {37, "SIGRTMIN+3"}, {64, "SIGRTMAX"},
    } do
      local child =
        assert(process.spawn {"sh", "-c", "kill -" .. case[1] .. " $$"})
      assert.same({"signal", case[2]}, {child:wait(SOON)})
    end
  end)

  it("says the same again", function()
    local child = zombie(5)
    for _ = 1, 3 do
      assert.same({"exit", 5}, {child:wait()})
      assert.same({"exit", 5}, {child:wait(0)})
    end
  end)

  it("leaves no zombie", function()
    local child = zombie(0)
    assert.equal("Z", state_of(child.pid))
    child:wait()
    assert.is_nil(state_of(child.pid))
  end)

  it("with a timeout of 0 only asks", function()
    local child = sleeper()
    t.timed_out(child:wait(0))
    t.timed_out(child:wait(0.0))
    finish(child)
    assert.same({"signal", "SIGKILL"}, {child:wait(0)})
  end)

  it("that has run out of time can be asked again", function()
    local r, w = assert(pipe.open())
    local child = assert(process.spawn({"sh", "-c", "read x; exit 3"},
      {stdin = r}))
    local seconds, value, message, number = t.took(child.wait, child, 0.05)
    t.timed_out(value, message, number)
    assert.is_true(seconds >= 0.05)
    assert.is_true(seconds < 0.05 + SOON)
    w:write "\n"
    assert.same({"exit", 3}, {child:wait(SOON)})
    r:close()
    w:close()
  end)

  it("is woken by the end of the child", function()
    local r, w = assert(pipe.open())
    local child = assert(process.fork(function() r:read(1) end))
    local killer = assert(process.fork(function()
      while state_of(process.parent()) ~= "S" do process.sleep(0.001) end
      w:write "x"
    end))
    local seconds, how, code = t.took(child.wait, child, SOON)
    assert.same({"exit", 0}, {how, code})
    assert.is_true(seconds < SOON / 2)
    killer:wait(SOON)
    r:close()
    w:close()
  end)

  it("does not take the status of another child", function()
    local one, two = zombie(1), zombie(2)
    assert.same({"exit", 2}, {two:wait()})
    assert.same({"exit", 1}, {one:wait()})
  end)

  -- With SIGCHLD ignored, the system takes the statuses itself.
  it("of a child whose status somebody else took is ECHILD", function()
    local result = children.run [[
      local ipc = require "unixipc"
      local process = ipc.process
      ipc.signal.handle("SIGCHLD", "ignore")
      local child = process.fork(function() process.sleep(0.05) end)
      print((select(2, child:wait(5))))
      print(select(3, child:wait()))
      print(select(3, child:communicate()))
      print(child:is_alive())
      print(select(3, child:kill(0)))
    ]]
    assert.equal("wait4: No child processes\n10\n10\nfalse\n3\n", result.out)
  end)

  it("refuses a timeout that makes no sense", function()
    local child = zombie(0)
    for _, timeout in ipairs {-1, 0 / 0, "soon", {}} do
      t.raises("bad argument #1 to 'wait'", function() child:wait(timeout) end)
    end
    child:wait()
  end)
end)

describe("Process:kill", function()
  it("sends SIGTERM when it is not told", function()
    local child = sleeper()
    assert.is_true(child:kill())
    assert.same({"signal", "SIGTERM"}, {child:wait(SOON)})
  end)

  it("takes names with and without SIG, and numbers", function()
    for _, case in ipairs {
      {"SIGINT", "SIGINT"}, {"HUP", "SIGHUP"}, {9, "SIGKILL"},
      {"RTMIN+2", "SIGRTMIN+2"}, {"SIGRTMAX-2", "SIGRTMIN+28"},
      {"POLL", "SIGIO"},
    } do
      -- A program has no handlers, unlike a fork of this process.
      local child = assert(process.spawn {"sleep", "1000"})
      assert.is_true(child:kill(case[1]))
      assert.same({"signal", case[2]}, {child:wait(SOON)})
    end
  end)

  it("with 0 only asks (OPTS:kill/2-1)", function()
    local child = sleeper()
    assert.is_true(child:kill(0))
    t.timed_out(child:wait(0.01))
    finish(child)
  end)

  it("is ESRCH once the status has been taken", function()
    local child = zombie(0)
    child:wait()
    for _, signal in ipairs {0, "KILL", 15} do
      t.refused("ESRCH", child:kill(signal))
    end
  end)

  it("is EINVAL with a number that no signal has", function()
    local child = sleeper()
    t.refused("EINVAL", child:kill(65))
    t.refused("EINVAL", child:kill(1000000))
    finish(child)
  end)

  it("raises at a name that no signal has, and at nonsense", function()
    local child = sleeper()
    for _, name in ipairs {"SIGNOPE", "", "SIG", "kill", "SIGSIGKILL",
      "RTMIN+", "RTMIN+99", "RTMIN-1", "RTMAX+1", "RTMIN+1x"} do
      t.raises(("unknown signal '%s'"):format(name), child.kill, child, name)
    end
    for _, bad in ipairs {-1, 1.5, 1 << 40, {}, true, "TERM\0"} do
      t.raises("bad argument", child.kill, child, bad)
    end
    assert.is_true(child:is_alive())
    finish(child)
  end)

  it("may be ignored: SIGKILL is not", function()
    local child = assert(process.spawn(
      {"sh", "-c", 'trap "" TERM; echo ready; while :; do read x; done'},
      {stdin = "pipe", stdout = "pipe"}))
    assert.equal("ready", child.stdout:read("l", SOON))
    assert.is_true(child:kill())
    t.timed_out(child:wait(0.05))
    assert.is_true(child:is_alive())
    finish(child)
    child.stdin:close()
    child.stdout:close()
  end)
end)

describe("Process:is_alive", function()
  it("tells, and the status can still be had", function()
    local r, w = assert(pipe.open())
    local child = assert(process.fork(function() r:read(1) return 4 end))
    assert.is_true(child:is_alive())
    w:write "x"
    t.await_exit(child)
    assert.is_false(child:is_alive())
    assert.is_false(child:is_alive())
    assert.same({"exit", 4}, {child:wait(0)})
    assert.is_false(child:is_alive())
    r:close()
    w:close()
  end)

  it("is true for one that is stopped", function()
    local child = sleeper()
    child:kill "STOP"
    while state_of(child.pid) ~= "T" do busted.sleep(0.001) end
    assert.is_true(child:is_alive())
    t.timed_out(child:wait(0.01))
    finish(child)
  end)
end)

describe("A Process", function()
  it("has its number, and no stream that was not asked for", function()
    local r, w = assert(pipe.open())
    local child =
      assert(process.spawn({"sh", "-c", "echo $$"}, {stdout = w}))
    assert.equal("integer", math.type(child.pid))
    assert.equal(child.pid, r:read("n", SOON))
    r:close()
    w:close()
    for _, name in ipairs {"stdin", "stdout", "stderr", "nonsense"} do
      assert.is_nil(child[name])
    end
    assert.is_nil(child[1])
    child:wait(SOON)
  end)

  t.natively("has a descriptor that is readable once it has ended", function()
    local r, w = assert(pipe.open())
    local child = assert(process.fork(function() r:read(1) end))
    assert.equal("integer", math.type(child:fileno()))
    assert.equal(child:fileno(), child:pollfd())
    assert.equal(child:fileno(), child:getfd())
    assert.equal("r", child:events())
    t.timed_out(poll.wait({child}, 0.01))
    w:write "x"
    assert.same({{child}, {"r"}}, {poll.wait({child}, SOON)})
    assert.same({{child:fileno()}, {"r"}}, {poll.wait({child:fileno()}, 0)})
    child:wait()
    assert.equal(child, poll.wait({child}, 0)[1])
    r:close()
    w:close()
  end)

  it("says what it is", function()
    local child = assert(process.spawn {"sh", "-c", "exit 3"})
    local words = "process pid=" .. child.pid .. " sh"
    assert.equal(words, tostring(child))
    child:wait(SOON)
    assert.equal(words .. " (exit 3)", tostring(child))
    child:close()
    assert.equal("process (closed)", tostring(child))
    child = sleeper()
    assert.equal("process pid=" .. child.pid, tostring(child))
    finish(child)
    assert.equal("process pid=" .. child.pid .. " (SIGKILL)", tostring(child))
  end)

  it("that is closed refuses everything but its number", function()
    local child = zombie(0)
    local pid = child.pid
    assert.is_true(child:close())
    assert.is_true(child:close())
    assert.equal(pid, child.pid)
    for _, method in ipairs {"wait", "kill", "is_alive", "fileno"} do
      t.raises("attempt to use a closed process", child[method], child)
    end
    t.raises("closed", child.communicate, child)
    t.raises("closed", poll.wait, {child}, 0)
    assert.equal(-1, child:getfd())
  end)

  it("refuses another kind of object", function()
    local r, w = assert(pipe.open())
    local child = zombie(0)
    for _, bad in ipairs {r, {}, io.stdout, 1} do
      t.raises("process expected", child.wait, bad)
    end
    t.raises("process expected", child.wait)
    child:wait()
    r:close()
    w:close()
  end)
end)

-- Children of this process that have ended and not been waited for.
local function zombies()
  local count = 0
  for pid in read_all "/proc/thread-self/children":gmatch "%d+" do
    if state_of(pid) == "Z" then count = count + 1 end
  end
  return count
end

describe("Closing a Process", function()
  for how, let_go in pairs {
    ["with close"] = function(child) child:close() end,
    ["with <close>"] = function(child) local _ <close> = child end,
    ["by collecting it"] = function() end,
  } do
    it(how .. " neither kills nor waits; the zombie goes later", function()
      local r, w = assert(pipe.open())
      local answers, answer = assert(pipe.open())
      local pid
      do
        local child = assert(process.fork(function()
          r:read(1)
          answer:write "alive"
        end))
        pid = child.pid
        let_go(child)
        child = nil -- luacheck: ignore
      end
      collectgarbage()
      assert.truthy(state_of(pid):find "[RS]")
      w:write "x"
      assert.equal("alive", answers:read(5, SOON))
      while state_of(pid) ~= "Z" do busted.sleep(0.001) end
      local other = assert(process.spawn {"true"}) -- takes what is left over
      assert.is_nil(state_of(pid))
      other:wait(SOON)
      for _, s in ipairs {r, w, answers, answer} do s:close() end
    end)
  end

  it("that has ended takes its status", function()
    local child = zombie(0)
    assert.equal(1, zombies())
    child:close()
    assert.equal(0, zombies())
  end)

  it("takes those that were let go before", function()
    local r, w = assert(pipe.open())
    for _ = 1, 50 do
      assert(process.fork(function() w:close() r:read(1) end)):close()
    end
    local last = assert(process.fork(function() w:close() r:read(1) end))
    w:close()
    r:close()
    local start = busted.monotime()
    while zombies() < 51 and busted.monotime() - start < SOON do
      busted.sleep(0.001)
    end
    assert.equal(51, zombies())
    last:close()
    sleeper():kill "KILL"
    collectgarbage()
    while zombies() > 0 and busted.monotime() - start < SOON do
      zombie(0):close()
    end
    assert.equal(0, zombies())
  end)

  it("leaves its streams open", function()
    local child = assert(process.spawn({"cat"},
      {stdin = "pipe", stdout = "pipe"}))
    local stdin, stdout = child.stdin, child.stdout
    child:close()
    stdin:write "still there\n"
    assert.equal("still there", stdout:read("l", SOON))
    stdin:close()
    assert.is_nil(stdout:read("l", SOON))
    stdout:close()
    process.spawn({"true"}):wait(SOON)
  end)
end)

-- What the function returned in a forked child.
local function in_child(fn)
  local r, w = assert(pipe.open())
  local child = assert(process.fork(function()
    local values = table.pack(fn())
    for i = 1, values.n do values[i] = tostring(values[i]) end
    w:write(table.concat(values, " "))
  end))
  w:close()
  local text = r:read("a", SOON)
  r:close()
  assert.same({"exit", 0}, {child:wait(SOON)})
  return text
end

-- A line of /proc/self/status.
local function status(name)
  return read_all "/proc/self/status":match(name .. ":%s*(%d+)")
end

describe("Who we are:", function()
  it("pid and parent", function()
    assert.equal(status "Pid", tostring(process.pid()))
    assert.equal(status "PPid", tostring(process.parent()))
    assert.equal(tostring(process.pid()), in_child(process.parent))
    assert.not_equal(tostring(process.pid()), in_child(process.pid))
  end)

  it("ids", function()
    local ids = process.ids()
    assert.same({
      pid = process.pid(), parent = process.parent(),
      group = process.group(), session = process.session(),
      uid = tonumber(status "Uid"), gid = tonumber(status "Gid"),
      euid = tonumber(status "Uid"), egid = tonumber(status "Gid"),
    }, ids)
  end)

  it("group and session, of others too", function()
    local child = sleeper()
    local stat = read_all "/proc/self/stat"
    local group, session = stat:match "%) %a %d+ (%d+) (%d+)"
    for _, pid in ipairs {0, process.pid(), child.pid} do
      assert.equal(group, tostring(process.group(pid)))
      assert.equal(session, tostring(process.session(pid)))
    end
    assert.equal(group, tostring(process.group()))
    assert.equal(session, tostring(process.session()))
    finish(child)
    t.refused("ESRCH", process.group(child.pid))
    t.refused("ESRCH", process.session(child.pid))
  end)

  it("set_group makes a group, or joins one", function()
    assert.equal("true true", in_child(function()
      return process.set_group(), process.group() == process.pid()
    end))
    local leader, follower = sleeper(), sleeper()
    assert.is_true(process.set_group(leader.pid))
    assert.equal(leader.pid, process.group(leader.pid))
    assert.is_true(process.set_group(follower.pid, leader.pid))
    assert.equal(leader.pid, process.group(follower.pid))
    finish(leader)
    finish(follower)
  end)

  it("set_group is refused", function()
    local program = assert(process.spawn {"sleep", "1000"})
    t.refused("EACCES", process.set_group(program.pid))
    local child = sleeper()
    t.refused("EPERM", process.set_group(child.pid, 999999))
    finish(child)
    t.refused("ESRCH", process.set_group(child.pid))
    finish(program)
  end)

  it("new_session", function()
    assert.equal("true true true", in_child(function()
      local session = process.new_session()
      return session == process.pid(), process.session() == session,
        process.group() == session
    end))
    assert.equal("nil setsid: Operation not permitted 1", in_child(function()
      process.set_group()
      return process.new_session()
    end))
  end)

  it("a number that no process can have raises", function()
    for _, name in ipairs {"group", "session", "set_group"} do
      for _, bad in ipairs {-1, 1.5, 1 << 40, "x", {}} do
        t.raises("bad argument #1", process[name], bad)
      end
    end
    t.raises("bad argument #2", process.set_group, 0, -1)
  end)
end)

describe("process.sleep", function()
  it("is never early", function()
    for _, seconds in ipairs {0, 1e-9, 0.0001, 0.001, 0.02, 0.05} do
      local took, value = t.took(process.sleep, seconds)
      assert.is_true(value)
      assert.is_true(took >= seconds, seconds .. " took " .. took)
      assert.is_true(took < seconds + SOON)
    end
  end)

  it("wants to know how long", function()
    t.raises("number expected", process.sleep)
    t.raises("number expected", process.sleep, nil)
    t.raises("number expected", process.sleep, "long")
    for _, bad in ipairs {-1, -math.huge, 0 / 0} do
      t.raises("seconds >= 0", process.sleep, bad)
    end
  end)
end)

describe("process.now", function()
  it("is the monotonic clock", function()
    local before = busted.monotime()
    local now = process.now()
    local after = busted.monotime()
    assert.is_true(before <= now + 1e-6 and now <= after + 1e-6)
  end)
end)

describe("process.exit", function()
  it("ends a program at once, with what it printed", function()
    local result = children.run [[
      io.stdout:setvbuf "full"
      local closed <close> = setmetatable({}, {__close = function()
        print "closed"
      end})
      collected = setmetatable({}, {__gc = function() print "collected" end})
      io.write "printed"
      require "unixipc.process".exit(3)
    ]]
    assert.equal("printed", result.out)
    assert.equal(3, result.code)
  end)

  it("writes what Streams keep back", function()
    local result = children.run [[
      local ipc = require "unixipc"
      local out = ipc.stream.from(1):setvbuf "full"
      out:write "kept back"
      ipc.process.exit()
    ]]
    assert.equal("kept back", result.out)
    assert.equal(0, result.code)
  end)
end)
