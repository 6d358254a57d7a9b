-- What channels do when there is no room, and whose room is given free.
local t = require "support"
local ipc = require "unixipc"

local channel = ipc.channel

local SOON = 5 * t.slow
local SMALL <const> = 1024
local TEXT <const> = ("x"):rep(100)

local function small(kind, options)
  options = options or {}
  options.capacity = SMALL
  return assert(channel[kind](nil, options))
end

local function subscriber(b, start)
  local s = assert(channel.from(b:descriptor()))
  assert.equal(s, s:subscribe(start))
  return s
end

describe("A full queue", function()
  for _, single in ipairs {false, true} do
    local what = single and "single" or "many"

    it("has the length of what is there: " .. what, function()
      for _, overflow in ipairs {"drop_new", "drop_oldest"} do
        if not (single and overflow == "drop_oldest") then
          local q <close> = small("queue",
            {overflow = overflow, single = single})
          for _ = 1, 20 do assert.is_true(q:send(TEXT)) end
          local length = #q
          assert.equal(length, q:receive_many(100, 0).n)
          assert.is_true(length > 0)
          assert.equal(0, #q)
        end
      end
    end)

    it("drops no loans: " .. what, function()
      local q <close> = small("queue",
        {overflow = "drop_new", single = single})
      repeat q:send(TEXT) until q:stats().dropped > 0
      t.timed_out(q:reserve(100, 0))
      t.timed_out(q:reserve(100, 0.01))
      assert.equal(1, q:stats().dropped)
    end)
  end

  it("says when it cannot drop the oldest", function()
    local name <const> = t.names.posix()
    t.raises("single", channel.queue, nil,
      {single = true, overflow = "drop_oldest"})
    t.raises("overflow", channel.duplex, nil, {overflow = "drop_oldest"})
    t.raises("overflow", channel.service, nil, {overflow = "drop_new"})
    local _ <close> = assert(channel.queue(name,
      {single = true, create = true, temporary = true}))
    t.refused("EINVAL", channel.queue(name, {overflow = "drop_oldest"}))
  end)
end)

describe("A message that was peeked at", function()
  it("stays with who has it, whoever takes many around it", function()
    for _, back in ipairs {"first", "second"} do
      for count = 2, 4 do
        local q <close> = assert(channel.queue())
        for i = 1, count do q:send("message " .. i) end
        local views = {first = q:peek(0), second = q:peek(0)}
        local kept = back == "first" and "second" or "first"
        assert.is_true(q:give_back(views[back]))
        local n = 0
        repeat
          local list = q:receive_many(10, 0)
          n = n + (list and list.n or 0)
        until not list
        assert.equal(count - 1, n)
        q:send(("x"):rep(100))
        assert.equal("message " .. (kept == "first" and 1 or 2),
          views[kept]:read(0))
        assert.is_true(q:release(views[kept]))
        assert.equal(1, #q)
      end
    end
  end)
end)

describe("A broadcast", function()
  it("takes many at once without waiting for anybody", function()
    local values = {}
    for i = 1, 200 do values[i] = i .. TEXT end
    local policies = {"block", "drop", "evict"}
    for _, policy in ipairs(policies) do
      local b <close> = small("broadcast", {policy = policy})
      assert.equal(200, b:send_many(values, 0))
    end
    local b <close> = small("broadcast", {policy = "drop"})
    local s <close> = subscriber(b)
    assert.equal(200, b:send_many(values, 0))
    assert.equal(200, s:receive_many(100, 0).n + s:lost())
  end)

  it("drops of many what there is no room for, if told to", function()
    local values = {}
    for i = 1, 50 do values[i] = TEXT end
    for _, kind in ipairs {"queue", "broadcast"} do
      local ch <close> = small(kind, {overflow = "drop_new"})
      if kind == "broadcast" then ch:subscribe() end
      assert.equal(50, ch:send_many(values, 0))
      local dropped = ch:stats().dropped
      assert.equal(50 - dropped, ch:receive_many(100, 0).n)
      assert.is_true(dropped > 0)
    end
  end)

  it("counts what was lost, one by one or many at once", function()
    local b <close> = small("broadcast", {policy = "drop"})
    local one <close> = subscriber(b)
    local many <close> = subscriber(b)
    for _ = 1, 50 do b:send(TEXT) end
    local n = 0
    while one:receive(0) do n = n + 1 end
    assert.equal(50, n + one:lost())
    assert.equal(50, many:receive_many(100, 0).n + many:lost())
    assert.equal(0, many:lost())
  end)

  it("does not lose what nobody sent", function()
    local b <close> = small("broadcast", {policy = "drop"})
    local s <close> = subscriber(b)
    b:abort(assert(b:reserve(10)))
    b:send "x"
    assert.equal("x", s:receive(0))
    assert.equal(0, s:lost())
    for _ = 1, 3 do b:abort(assert(b:reserve(100))) end
    t.timed_out(s:receive(0))
    assert.equal(0, #s)
  end)

  it("is joined wherever its oldest message stands", function()
    local b <close> = small("broadcast")
    for i = 1, 200 do
      b:commit(assert(b:reserve(100, SOON)), 1)
      for _ = 1, i % 7 do b:send(("y"):rep(i % 30), SOON) end
      local s <close> = subscriber(b, "oldest")
      assert(s:receive(0))
      s:subscribe(2)
      assert.equal(2, s:receive_many(10, 0).n)
    end
  end)

  it("throws the slow out, whatever way is sent", function()
    local values = {}
    for i = 1, 200 do values[i] = TEXT end
    local b <close> = small("broadcast",
      {policy = "evict", evict_after = 0.01})
    local s <close> = subscriber(b)
    assert.equal(200, b:send_many(values, SOON))
    t.refused("ENOTCONN", s:receive(0))
    s:subscribe()
    for _ = 1, 20 do b:commit(assert(b:reserve(100, SOON))) end
    t.refused("ENOTCONN", s:receive(0))
    s:subscribe()
    t.timed_out(b:send_many(values, 0.001))
    assert(s:receive(0))
  end)

  it("that evicts at once waits for a loan", function()
    local b <close> = small("broadcast",
      {policy = "evict", evict_after = 0})
    local loan = assert(b:reserve(10))
    ipc.signal.handle("SIGALRM", function() b:abort(loan) end)
    ipc.signal.alarm(0.05)
    for _ = 1, 20 do assert.is_true(b:send(TEXT)) end
    ipc.signal.handle("SIGALRM", "default")
    assert.equal(1, b:stats().aborted)
  end)
end)
