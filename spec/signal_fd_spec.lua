-- Signals that are read: signal.fd.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local poll, process, signal = ipc.poll, ipc.process, ipc.signal

local SOON = 10 * t.slow
local RT = "SIGRTMIN+2"

-- signal.fd blocks its signals, and leaves them so.
local function with_fd(set, fn)
  local mask <close> = signals.block {}
  local fd <close> = assert(signal.fd(set))
  fn(fd, mask)
end

describe("signal.fd", function()
  it("blocks its signals, which stay so when it is closed", function()
    local mask <close> = signals.block "SIGHUP"
    local fd = assert(signal.fd {"SIGUSR1", RT})
    assert.same({"SIGHUP", "SIGUSR1", RT}, signal.mask())
    assert.is_true(fd:close())
    assert.is_true(fd:close())
    assert.same({"SIGHUP", "SIGUSR1", RT}, signal.mask())
    assert.equal("signalfd (closed)", tostring(fd))
    t.raises("closed", fd.read, fd, 0)
    t.raises("closed", fd.fileno, fd)
    assert.is_table(mask)
  end)

  it("refuses mistakes, and leaves the mask", function()
    local before = signal.mask()
    t.raises("bad argument #1", signal.fd)
    t.raises("unknown signal 'SIGFOO'", signal.fd, {"HUP", "SIGFOO"})
    t.raises("the library's own", signal.fd, {"USR1", "SIGRTMAX-1"})
    assert.same(before, signal.mask())
  end)

  it("without descriptors is EMFILE, and blocks nothing", function()
    local result = t.children.run(nil, {command = {"bash", "-c",
      'ulimit -n 24; exec "$@"', "bash", os.getenv "LUA" or "lua5.4", "-e", [[
        local signal = require "unixipc.signal"
        local all = {}
        for i = 1, 100 do
          local fd, message, code = signal.fd "USR1"
          if not fd then print(message, code) break end
          all[i] = fd
        end
        signal.unblock "all"
        print(#all > 0, signal.fd "USR2")
        print(#signal.mask())]]}})
    assert.equal("", result.err)
    assert.truthy(result.out:find("^signalfd: [^\n]*\t24\ntrue\tnil\tsignalfd: "
      .. "[^\n]*\t24\n0\n$"), result.out)
  end)

  it("is not passed to programs", function()
    with_fd(RT, function(fd)
      local child = assert(process.spawn({"sh", "-c",
        "test ! -e /proc/self/fd/" .. fd:fileno()}))
      signals.finish(child)
    end)
  end)
end)

describe("SignalFd:read", function()
  it("tells the same as a handler is told", function()
    with_fd({"SIGUSR1", "SIGUSR2", "SIGCHLD", RT}, function(fd)
      local own, uid = process.pid(), process.ids().uid
      signals.queue(RT, 1)
      assert.same({RT, {code = "queue", value = 1, pid = own, uid = uid}},
        {fd:read(0)})
      signal.queue(own, RT, -2147483648)
      assert.equal(-2147483648, select(2, fd:read(0)).value)
      signal.send(own, "SIGUSR1")
      assert.same({"SIGUSR1", {code = "user", pid = own, uid = uid}},
        {fd:read(0)})
      signal.raise "SIGUSR2"
      assert.same({"SIGUSR2", {code = "tkill", pid = own, uid = uid}},
        {fd:read(0)})
      local child = process.fork(function() return 5 end)
      assert.same({"SIGCHLD", {code = "exited", status = 5, pid = child.pid,
        uid = uid}}, {fd:read(SOON)})
      assert.same({"exit", 5}, {child:wait(SOON)})
    end)
  end)

  it("tells of timers", function()
    with_fd(RT, function(fd)
      local timer <close> = signal.timer{
        every = 0.002, signal = RT, value = -7}
      process.sleep(0.05)
      local name, info = assert(fd:read(SOON))
      timer:close()
      assert.equal(RT, name)
      assert.equal("timer", info.code)
      assert.equal(-7, info.value)
      assert.is_true(info.overrun >= 3, tostring(info.overrun))
      assert.is_nil(info.pid)
    end)
  end)

  it("runs out of time, never early", function()
    with_fd(RT, function(fd)
      t.timed_out(fd:read(0))
      for _, seconds in ipairs {0.0005, 0.003, 0.02} do
        local start = process.now()
        t.timed_out(fd:read(seconds))
        assert.is_true(process.now() - start >= seconds)
      end
      t.raises("bad argument #1 to 'read'", function() fd:read(-1) end)
    end)
  end)

  it("is woken by what comes while it sleeps", function()
    with_fd(RT, function(fd)
      local child = signals.when_asleep(function(parent)
        signal.queue(parent, RT, 8)
      end)
      assert.equal(8, select(2, assert(fd:read(SOON))).value)
      signals.finish(child)
    end)
  end)

  it("runs handlers of others, and goes on", function()
    local ran = 0
    local handler <close> = signals.handle("SIGUSR1", function()
      ran = ran + 1
      signal.queue(process.pid(), RT, 21)
    end)
    with_fd(RT, function(fd)
      local child = signals.send_when_asleep "SIGUSR1"
      assert.equal(21, select(2, assert(fd:read(SOON))).value)
      assert.equal(1, ran)
      signals.finish(child)
    end)
    assert.is_table(handler)
  end)

  it("is left by a handler that raises, or that closes it", function()
    local action
    local handler <close> = signals.handle("SIGUSR1", function() action() end)
    with_fd(RT, function(fd)
      action = function() error("enough", 0) end
      local child = signals.send_when_asleep "SIGUSR1"
      t.raises("enough", fd.read, fd, SOON)
      signals.finish(child)
      action = function() fd:close() end
      child = signals.send_when_asleep "SIGUSR1"
      t.raises("closed", fd.read, fd, SOON)
      signals.finish(child)
    end)
    assert.is_table(handler)
  end)

  it("in a forked child reads that child's signals", function()
    with_fd(RT, function(fd)
      signals.queue(RT, 1)
      local child = process.fork(function()
        if fd:read(0) then return 2 end
        signal.queue(process.pid(), RT, 50)
        return select(2, fd:read(0)).value
      end)
      assert.same({"exit", 50}, {child:wait(SOON)})
      assert.equal(1, select(2, fd:read(0)).value)
    end)
  end)

  it("and signal.wait take each signal once", function()
    with_fd(RT, function(fd)
      signals.queue(RT, 3)
      assert.equal(1, select(2, fd:read(0)).value)
      assert.equal(2, select(2, signal.wait(RT, 0)).value)
      assert.equal(3, select(2, fd:read(0)).value)
      t.timed_out(signal.wait(RT, 0))
      t.timed_out(fd:read(0))
    end)
  end)
end)

describe("A SignalFd in poll.wait", function()
  it("is ready as long as there is a signal", function()
    with_fd({RT, "SIGUSR1"}, function(fd)
      t.timed_out(poll.wait({fd}, 0))
      signals.queue(RT, 2)
      for value = 1, 2 do
        assert.equal(fd, assert(poll.wait({fd}, SOON))[1])
        assert.equal(value, select(2, fd:read(0)).value)
      end
      t.timed_out(poll.wait({fd}, 0))
    end)
  end)

  it("wakes it, as it does a Poller", function()
    with_fd(RT, function(fd)
      local poller <close> = assert(poll.new())
      assert(poller:add(fd))
      for _, call in ipairs {
        function() return poll.wait({fd}, SOON) end,
        function() return poller:wait(SOON) end,
      } do
        local child = signals.when_asleep(function(parent)
          signal.queue(parent, RT, 1)
        end)
        assert.equal(fd, assert(call())[1])
        assert.equal(RT, (fd:read(0)))
        signals.finish(child)
      end
    end)
  end)
end)
