-- What a channel does while another process has its senders' lock, and is
-- stopped with it (in C, without time: spec/c/ring_lock_test.c).
local t = require "support"
local ipc = require "unixipc"

local channel, process = ipc.channel, ipc.process

local SOON <const> = 20 * t.slow

local function broadcast(options)
  local name = t.names.posix()
  options.create, options.temporary, options.capacity = true, true, 4096
  return name, assert(channel.broadcast(name, options))
end

-- A process that has the lock.
local function hold(name)
  local holder = assert(process.spawn({t.program "lock_holder", name:sub(2)},
    {stdin = "pipe", stdout = "pipe"}))
  assert.equal("held", holder.stdout:read("l", SOON))
  return holder
end

local function let_go(holder)
  holder:kill "CONT"
  holder.stdin:write "go\n"
  assert.same({"exit", 0}, {holder:wait(SOON)})
end

local function fill(b)
  while b:send(("x"):rep(100), 0) do end
end

-- A broadcast that is full, its subscriber, and the process that has its lock.
local function full(evict_after)
  local name, b = broadcast {policy = "evict", evict_after = evict_after}
  local s = assert(channel.from(b:descriptor()))
  assert(s:subscribe())
  fill(b)
  return b, s, hold(name)
end

describe("A broadcast whose lock is held", function()
  it("is subscribed to when the lock is let go", function()
    local name, b = broadcast {}
    local _ <close> = b
    b:send "there"
    local holder <close> = hold(name)
    holder.stdin:write "wait\ngo\n"
    assert.equal(b, b:subscribe "oldest")
    assert.same({"exit", 0}, {holder:wait(SOON)})
    assert.equal("there", b:receive(0))
  end)

  it("is subscribed to when who held it is killed", function()
    local name, b = broadcast {}
    local _ <close> = b
    local holder <close> = hold(name)
    holder:kill "STOP"
    holder:kill "KILL"
    assert.equal(b, b:subscribe())
    assert.is_true(b:send("x", SOON))
    assert.equal("x", b:receive(0))
    holder:wait(SOON)
  end)

  it("is sent to within the time there is, and the slow stay", function()
    local b, s, holder = full(0.01)
    local _ <close> = t.closer(b, s, holder)
    holder:kill "STOP"
    for _, timeout in ipairs {0, 0.005, 0.1} do
      local took, _, message, code = t.took(b.send, b, "late", timeout)
      assert.same({"timeout", ipc.errno.ETIMEDOUT}, {message, code})
      assert.is_true(took >= timeout and took < timeout + SOON)
    end
    assert.equal(("x"):rep(100), s:receive(0))
    let_go(holder)
    fill(b)
    assert.is_true(b:send("late", SOON))
    t.refused("ENOTCONN", s:receive(0))
  end)

  it("is not waited for once more when time runs out", function()
    local b, s, holder = full(1)
    local _ <close> = t.closer(b, s, holder)
    local took = t.took(b.send, b, "late", 1.1)
    assert.is_true(took >= 1.1 and took < 2, took)
    let_go(holder)
  end)

  it("throws out the slow when the lock is let go", function()
    local b, s, holder = full(0.01)
    local _ <close> = t.closer(b, s, holder)
    holder.stdin:write "wait\ngo\n"
    assert.is_true(b:send "late")
    t.refused("ENOTCONN", s:receive(0))
    assert.same({"exit", 0}, {holder:wait(SOON)})
  end)
end)
