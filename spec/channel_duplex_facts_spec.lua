-- What other people's suites check of connected pairs, beyond the specs of
-- channel. PY is Lib/test/_test_multiprocessing.py, IPCC are the tests of
-- ipc-channel, NNG those of nng, ZMQ of libzmq.
local t = require "support"
local channels = require "support.channels"
local ipc = require "unixipc"

local channel, process, poll, errno =
  ipc.channel, ipc.process, ipc.poll, ipc.errno
local child, finish, gate = channels.child, channels.finish, channels.gate
local fill, drain, WAIT = channels.fill, channels.drain, channels.WAIT

local function ready(object, timeout)
  return poll.wait({object}, timeout) or {}
end

describe("A pair", function()
  -- One end here, the other with a child, whose only use of it is fn.
  local function with_child(fn, options)
    local a, b = assert(channel.duplex(nil, options))
    local other = child(fn, b)
    b:close()
    return a, other
  end

  local function echo(b)
    while true do
      local value, why = b:receive(WAIT)
      if why then return why:find "closed" ~= nil end
      assert(b:send(value, WAIT))
    end
  end

  it("PY:_TestConnection.test_connection ZMQ:test_pair_ipc sends back what it "
    .. "got: tables, nil, long strings", function()
      local a, other = with_child(echo, {capacity = 1 << 22})
      for _, value in ipairs {1, 2.25, "hello world", "", {1, 2.25, {}}, true,
        ("X"):rep(1 << 20)} do
        a:send(value)
        assert.same(value, (a:receive(WAIT)))
      end
      a:send(nil)
      assert.equal(0, select("#", a:receive(WAIT)) - 1)
      t.timed_out(a:receive(0))
      a:close()
      finish(other)
    end)

  it("PY:_TestConnection.test_spawn_close the end that a child is to have may "
    .. "be closed here before the child has begun with it", function()
      local go <close> = gate()
      local a, other = with_child(function(b)
        go:pass()
        return echo(b)
      end)
      assert.is_true(a:send("hello", 0))
      t.timed_out(a:receive(0.01))
      go:open()
      assert.equal("hello", a:receive(WAIT))
      a:close()
      finish(other)
    end)

  it("PY:_TestConnection.test_context an end that was closed is of no use",
    function()
      local kept
      do
        local a <close>, b = assert(channel.duplex())
        a:send(1729)
        assert.equal(1729, (b:receive(0)))
        b:close()
        kept = a
      end
      for _, method in ipairs {"send", "receive", "peek", "stats"} do
        t.raises("closed channel", kept[method], kept, 1)
      end
      assert.is_true(kept:close())
    end)

  it("IPCC:no_receiver_notification IPCC:no_receiver_notification_pending "
    .. "IPCC:no_receiver_notification_delayed who sends all the time is told "
    .. "that nobody is there", function()
      for _, how in ipairs {"close", "exit", "KILL"} do
        local a, other = with_child(function(b)
          b:send "here"
          if how == "KILL" then process.sleep(WAIT) end
          process.sleep(0.003)
          if how == "close" then b:close() end
        end)
        assert.equal("here", a:receive(WAIT))
        if how == "KILL" then other:kill "KILL" end
        local value, why, code
        repeat value, why, code = a:send("1234567", WAIT) until not value
        assert.equal(errno.EPIPE, code, why)
        other:wait(WAIT)
        other:close()
        a:close()
      end
    end)

  it("IPCC:no_senders_notification_try_recv what was sent comes before the end",
    function()
      for _, how in ipairs {"close", "exit", "KILL"} do
        local a, other = with_child(function(b)
          for i = 1, 3 do b:send(i) end
          if how == "KILL" then ipc.signal.raise "KILL" end
          if how == "close" then b:close() end
        end)
        other:wait(WAIT)
        other:close()
        for i = 1, 3 do assert.equal(i, (a:receive(0))) end
        t.refused("EPIPE", a:receive(WAIT))
        t.refused("EPIPE", a:receive(0))
        a:close()
      end
    end)

  it("IPCC:no_senders_notification PY:_TestConnection.test_connection an end "
    .. "that was never used is missed all the same", function()
      for _, how in ipairs {"close", "exit", "KILL"} do
        local a, other = with_child(function(b)
          if how == "KILL" then ipc.signal.raise "KILL" end
          if how == "close" then b:close() end
        end)
        t.refused("EPIPE", a:receive(WAIT))
        t.refused("EPIPE", a:send("x", WAIT))
        other:wait(WAIT)
        other:close()
        a:close()
      end
    end)

  it("IPCC:no_senders_notification a child is told that its parent has ended, "
    .. "though that never used its end", function()
      local told <close> = gate()
      local parent = child(function()
        local a, b = assert(channel.duplex())
        child(function()
          a:close()
          if select(3, b:receive(WAIT)) == errno.EPIPE then told:open() end
        end)
        ipc.signal.raise "KILL"
      end)
      parent:wait(WAIT)
      parent:close()
      told:pass()
    end)

  it("NNG:pair0:back_pressure each way has its own room", function()
    local a <close>, b = assert(channel.duplex(nil, {capacity = 4096}))
    local n = fill(a)
    t.timed_out(a:send(("x"):rep(99), 0))
    assert.equal(n, fill(b))
    assert.equal(n, #drain(a))
    t.timed_out(a:send(("x"):rep(99), 0))
    assert.equal(n, #drain(b))
    assert.is_true(a:send "again")
    b:close()
  end)

  it("NNG:pair0:send_no_peer what is sent before the other opens its end is "
    .. "there for it", function()
      local name = t.names.posix()
      local a <close> = assert(channel.duplex(name,
        {create = true, temporary = true}))
      assert.is_true(a:send("early", 0))
      t.timed_out(a:receive(0))
      finish(child(function()
        local b <close> = assert(channel.duplex(name))
        return b:receive(0) == "early" and b:send "late"
      end))
      assert.equal("late", a:receive(WAIT))
    end)

  it("NNG:pair1:mono_faithful one after the other may have the other end",
    function()
      local name = t.names.posix()
      local a <close> = assert(channel.duplex(name,
        {create = true, temporary = true}))
      for i = 1, 3 do
        finish(child(function()
          local b <close> = assert(channel.duplex(name))
          assert(select(3, channel.duplex(name)) == errno.EUSERS)
          b:send(i)
        end))
        assert.equal(i, (a:receive(WAIT)))
        t.refused("EPIPE", a:receive(0))
      end
    end)

  it("NNG:pair0:poll_readable IPCC:receiver_set_close_after_adding is readable "
    .. "when there is a message, and when the other closes", function()
      local go <close> = gate()
      local a, other = with_child(function(b)
        b:send "x"
        go:pass()
        b:close()
      end)
      ready(a, 0)
      assert.same({a}, ready(a, WAIT))
      assert.equal("x", a:receive(WAIT))
      t.timed_out(a:receive(0))
      assert.same({}, ready(a, 0))
      go:open()
      assert.same({a}, ready(a, WAIT))
      t.refused("EPIPE", a:receive(0))
      finish(other)
      a:close()
    end)

  it("ZMQ:test_pair_ipc:roundtrip a thousand times there and back", function()
    local a, other = with_child(echo)
    for i = 1, 1000 do
      a:send(i)
      assert.equal(i, (a:receive(WAIT)))
    end
    a:close()
    finish(other)
  end)
end)
