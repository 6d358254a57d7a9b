local t = require "support"
local channels = require "support.channels"
local ipc = require "unixipc"

local channel, poll, process = ipc.channel, ipc.poll, ipc.process

local in_child = channels.child

local SOON = 5 * t.slow

describe("channel.duplex", function()
  it("connects two ends", function()
    local a <close>, b = assert(channel.duplex())
    local child = in_child(function()
      while true do
        local value, message = b:receive(SOON)
        if message then break end
        b:send {value, "seen"}
      end
    end)
    b:close()
    for i = 1, 100 do
      a:send(i)
      assert.same({i, "seen"}, (a:receive(SOON)))
    end
    a:close()
    assert.same({"exit", 0}, {child:wait(4 * SOON)})
  end)

  it("reports the end of the other, killed or not", function()
    for _, signal in ipairs {"KILL", "TERM"} do
      local a <close>, b = assert(channel.duplex())
      local child = in_child(function()
        b:send "last words"
        process.sleep(60)
      end)
      b:close()
      assert.equal("last words", a:receive(SOON))
      child:kill(signal)
      child:wait()
      t.refused("EPIPE", a:receive(SOON))
      t.refused("EPIPE", a:send "x")
    end
  end)

  it("tells that the other end was never used, and cannot be any more",
    function()
      for _, signal in ipairs {"KILL", false} do
        local a <close>, b = assert(channel.duplex())
        local r <close>, w = assert(ipc.pipe.open())
        local child = in_child(function()
          w:close()
          r:read(1)
          if signal then ipc.signal.raise(signal) end
        end)
        t.timed_out(a:receive(0.02)) -- here, and in the child
        b:close()
        t.timed_out(a:receive(0.02)) -- in the child
        w:close()
        child:wait(SOON)
        t.refused("EPIPE", a:receive(SOON))
        t.refused("EPIPE", a:send "x")
      end
      local a <close>, b = assert(channel.duplex())
      a:send "before"
      a:close()
      assert.equal("before", b:receive(SOON))
      t.refused("EPIPE", b:receive(SOON))
      b:close()
    end)

  it("tells a poller that the other end was killed, used or not", function()
    for _, is_used in ipairs {true, false} do
      local a <close>, b = assert(channel.duplex())
      local r <close>, w = assert(ipc.pipe.open())
      local child = in_child(function()
        w:close()
        if is_used then b:send "hello" end
        r:read(1)
        ipc.signal.raise "KILL"
      end)
      b:close()
      if is_used then assert.equal("hello", a:receive(SOON)) end
      assert.same({a}, (poll.wait({a}, SOON))) -- the first time
      t.timed_out(a:receive(0))
      t.timed_out(poll.wait({a}, 0.02))
      w:close()
      assert.same({a}, (poll.wait({a}, SOON)))
      child:wait(SOON)
      t.refused("EPIPE", a:receive(0))
    end
  end)

  it("that was handed over does not keep a poller awake", function()
    local a <close>, b = assert(channel.duplex())
    local other <close> = assert(channel.from(b:descriptor())) -- not a's
    other:send "x"
    b:close()
    assert.same({a}, (poll.wait({a}, SOON)))
    assert.equal("x", a:receive(0))
    t.timed_out(a:receive(0))
    t.timed_out(poll.wait({a}, 0.02))
    other:send "y"
    assert.same({a}, (poll.wait({a}, SOON)))
    assert.equal("y", a:receive(0))
  end)

  it("has a bell of its own in a forked child", function()
    local a <close>, b = assert(channel.duplex())
    local _ <close> = b
    assert.same({b}, (poll.wait({b}, SOON)))
    local child = in_child(function()
      a:close()
      assert(b:receive(SOON) == "go")
      assert(poll.wait({b}, SOON))
      t.timed_out(b:receive(0))
      assert(b:send "armed")
      assert(poll.wait({b}, SOON))
      assert(b:receive(0) == "ring")
    end)
    b:close()
    assert(a:send "go")
    assert.equal("armed", a:receive(SOON))
    assert(a:send "ring")
    assert.same({"exit", 0}, {child:wait(SOON)})
  end)

  it("awaits one to whom it was handed over", function()
    local a <close>, b = assert(channel.duplex())
    local ours <close>, theirs = assert(ipc.socket.pair())
    assert(ours:send_fds("x", {b:descriptor()}))
    b:close()
    t.timed_out(a:receive(0.1))
    local child = in_child(function()
      a:close()
      ours:close()
      local _, fds = assert(theirs:receive_fds(1, SOON))
      local other = assert(channel.from(fds[1]))
      assert(other:receive(SOON) == "to you")
      assert(other:send "to me")
    end)
    theirs:close()
    assert.is_true(a:send "to you")
    assert.equal("to me", a:receive(SOON))
    child:wait(SOON)
    t.refused("EPIPE", a:receive(SOON))
  end)

  it("has two ends by a name, and no third", function()
    local name = t.names.posix()
    local a <close> = assert(channel.duplex(name,
      {create = true, temporary = true}))
    local b <close> = assert(channel.duplex(name))
    t.refused("EUSERS", channel.duplex(name))
    local _, message = channel.duplex(name)
    assert.equal("channel: both ends are taken", message)
    a:send "x"
    assert.equal("x", b:receive(SOON))
    b:send "y"
    assert.equal("y", a:receive(SOON))
  end)
end)
