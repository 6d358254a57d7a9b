local t = require "support"
local channels = require "support.channels"
local ipc = require "unixipc"

local channel, codec, poll, process =
  ipc.channel, ipc.codec, ipc.poll, ipc.process

local in_child, finish = channels.child, channels.finish

local SOON = 5 * t.slow

-- Numbers from 1 to n, each once, of each of the senders, in order of each.
local function check_order(list, senders, n)
  local last = {}
  for _, message in ipairs(list) do
    local sender, number = message:match "^(%d+) (%d+)$"
    number = tonumber(number)
    assert.is_true(number > (last[sender] or 0), message)
    last[sender] = number
  end
  assert.equal(senders * n, #list)
end

describe("A channel", function()
  it("carries any value, told from there being none", function()
    local q <close> = assert(channel.queue())
    local values = {n = 12, "text", "", "a\0b\255", 0, -1, math.mininteger,
      1.5, -0.0, true, false, nil, ("x"):rep(100000)}
    for i = 1, values.n do assert.is_true(q:send(values[i])) end
    assert.equal(values.n, #q)
    for i = 1, values.n do
      local value, message = q:receive(SOON)
      assert.is_nil(message)
      assert.equal(values[i], value)
      assert.equal(math.type(values[i]), math.type(value))
    end
    t.timed_out(q:receive(0))
    t.timed_out(q:receive(0.01))
  end)

  it("carries tables", function()
    local q <close> = assert(channel.queue())
    local value = {id = 7, name = "x", list = {1, 2, {3}}, ok = false}
    assert.is_true(q:send(value))
    assert.same(value, (q:receive(SOON)))
  end)

  it("raises for what cannot travel, and goes on", function()
    local q <close> = assert(channel.queue())
    t.raises("function", q.send, q, print)
    t.raises("function", q.send, q, {1, {print}})
    t.raises("value expected", q.send, q)
    t.raises("timeout", q.send, q, "x", -1)
    t.raises("timeout", q.send, q, "x", 0 / 0)
    t.raises("timeout", q.receive, q, -1)
    t.raises("unknown option", channel.queue, nil, {size = 1})
    t.raises("unknown option", channel.queue, nil, {policy = "drop"})
    assert.is_true(q:send "still")
    assert.equal("still", q:receive(SOON))
  end)

  it("refuses what is longer than it takes", function()
    local q <close> = assert(channel.queue(nil, {capacity = 4096}))
    local limit = q:limit()
    t.refused("EMSGSIZE", q:send(("x"):rep(limit + 1)))
    t.refused("EMSGSIZE", q:send {("x"):rep(limit)})
    t.refused("EMSGSIZE", q:send_many {{("x"):rep(limit)}})
    assert.is_true(q:send(("x"):rep(limit)))
    assert.equal(limit, #q:receive(SOON))
  end)

  it("carries many at once", function()
    local q <close> = assert(channel.queue())
    local values = {}
    for i = 1, 500 do values[i] = i % 3 == 0 and i or "s" .. i end
    assert.equal(500, q:send_many(values))
    local got = {}
    repeat
      local list = q:receive_many(70, SOON)
      assert.is_true(list.n <= 70)
      table.move(list, 1, list.n, #got + 1, got)
    until #got == 500
    assert.same(values, got)
    t.timed_out(q:receive_many(1, 0))
    q:send_many {"a", nil, "b"}
    assert.equal(0, q:send_many {})
    t.raises("list expected", q.send_many, q, {first = "a"})
  end)

  it("says how many of many it sent", function()
    local q <close> = assert(channel.queue(nil, {capacity = 4096}))
    local values = {}
    for i = 1, 100 do values[i] = ("%99d"):format(i) end
    local sent = t.timed_out(q:send_many(values, 0))
    assert.is_true(sent > 0 and sent < 100)
    assert.equal(sent, #q)
    for i = 1, sent do assert.equal(values[i], q:receive(0)) end
  end)

  it("has bound functions", function()
    local q <close> = assert(channel.queue())
    local send, receive = q:sender(), q:receiver()
    assert.is_true(send "x")
    assert.is_true(send(nil, 1))
    assert.equal("x", receive())
    assert.is_nil(receive(1))
    t.timed_out(receive(0))
    q:close()
    t.raises("closed channel", send, "x")
    t.raises("closed channel", receive)
  end)

  it("is received in a loop, which raises what is no end", function()
    local Thing = {}
    local q <close> = assert(channel.queue())
    local child = in_child(function()
      codec.register(19, Thing, function() return 1 end,
        function() return nil end)
      q:send(setmetatable({}, Thing))
      q:send "next"
    end)
    finish(child)
    t.raises("no value", function() for _ in q:receiver() do end end)
    local got = {}
    q:send(nil)
    for value in q:receiver() do got[#got + 1] = value end
    q:send "last"
    q:shutdown()
    for value in q:receiver() do got[#got + 1] = value end
    assert.same({"next", "last"}, got)
  end)

  it("tells about itself", function()
    local name = t.names.posix()
    local q <close> = assert(channel.queue(name,
      {create = true, temporary = true, capacity = 4096}))
    assert.equal(("channel queue %s 4096 bytes"):format(name), tostring(q))
    q:send "four"
    q:send "five"
    q:receive()
    local stats = q:stats()
    assert.equal(2, stats.sent)
    assert.equal(1, stats.received)
    assert.equal(8, stats.bytes)
    assert.equal(4096, stats.capacity)
    local who = q:participants()
    assert.equal(1, #who)
    assert.same({pid = process.pid(), alive = true, sends = true,
      receives = true}, who[1])
    q:close()
    assert.equal("channel (closed)", tostring(q))
    t.raises("closed channel", q.send, q, "x")
  end)

  it("is closed for all by shutdown", function()
    local q <close> = assert(channel.queue())
    q:send "left"
    assert.is_true(q:shutdown())
    t.refused("EPIPE", q:send "x")
    assert.equal("left", q:receive())
    t.refused("EPIPE", q:receive())
  end)

  it("wakes those who wait when it is shut down", function()
    local q <close> = assert(channel.queue())
    local child = in_child(function()
      local _, _, code = q:receive(SOON)
      return code == ipc.errno.EPIPE
    end)
    process.sleep(0.02)
    q:shutdown()
    finish(child)
  end)

  it("stands in a poller", function()
    local q <close> = assert(channel.queue())
    assert.same({q}, (poll.wait({q}, 0))) -- the first time: have a look
    t.timed_out(q:receive(0))
    t.timed_out(poll.wait({q}, 0))
    local child = in_child(function() return q:send "x" end)
    assert.same({q}, (poll.wait({q}, SOON)))
    finish(child)
    assert.equal("x", q:receive(0))
    t.timed_out(q:receive(0))
    t.timed_out(poll.wait({q}, 0))
    q:send "y"
    assert.same({q}, (poll.wait({q}, SOON)))
  end)

  it("is known by its descriptor", function()
    local q <close> = assert(channel.queue())
    local same <close> = assert(channel.from(q:descriptor()))
    assert.is_true(same:send "x")
    assert.equal("x", q:receive(SOON))
    local r, w = ipc.pipe.open()
    assert.is_nil(channel.from(r))
    assert.is_nil(channel.from(w))
    r:close()
    w:close()
    local empty <close> = assert(ipc.posix_shm.memfd("x", {size = 8192}))
    t.refused("EBADMSG", channel.from(empty))
  end)
end)

describe("channel.queue", function()
  -- Long strings and tables among the short.
  local function mixed(label, i)
    if i % 5 == 0 then return label .. (" "):rep(3000 + i) end
    if i % 7 == 0 then return {label, (" "):rep(5 * i)} end
    return label
  end

  for what, options in pairs {
    plain = {}, small = {capacity = 4096}, mixed = {capacity = 65536},
  } do
    it("gives each message to one receiver, in order: " .. what, function()
      local q <close> = assert(channel.queue(nil, options))
      local back <close> = assert(channel.queue())
      local children = {}
      for sender = 1, 3 do
        children[sender] = in_child(function()
          for i = 1, 2000 do
            local label = sender .. " " .. i
            assert(q:send(what == "mixed" and mixed(label, i) or label, SOON))
          end
        end)
      end
      for receiver = 1, 2 do
        children[3 + receiver] = in_child(function()
          local list = {}
          for message in q:receiver() do
            if type(message) == "table" then message = message[1] end
            list[#list + 1] = message:match "%d+ %d+"
          end
          back:send(table.concat(list, "\n"))
        end)
      end
      for i = 1, 3 do finish(children[i]) end
      q:shutdown()
      local all = {}
      for _ = 1, 2 do
        local last = {}
        for message in assert(back:receive(SOON)):gmatch "[^\n]+" do
          local sender, number = message:match "(%d+) (%d+)"
          assert.is_true(tonumber(number) > (last[sender] or 0))
          last[sender] = tonumber(number)
          all[message] = (all[message] or 0) + 1
        end
      end
      finish(children[4], children[5])
      for sender = 1, 3 do
        for i = 1, 2000 do assert.equal(1, all[sender .. " " .. i]) end
      end
    end)
  end

  it("gives each message once, if finalizers receive too", function()
    for _, options in ipairs {{}, {single = true}} do
      local q <close> = assert(channel.queue(nil, options))
      local got = {}
      local function take()
        local message = q:receive(0)
        if message then got[#got + 1] = tonumber(message:match "%d+") end
      end
      for i = 1, 500 do
        q:send(i .. (" "):rep(10000))
        q:send(("%d"):format(500 + i))
        setmetatable({}, {__gc = take})
        take()
      end
      repeat
        local before = #got
        take()
      until #got == before
      collectgarbage()
      table.sort(got)
      assert.equal(1000, #got)
      for i = 1, 1000 do assert.equal(i, got[i]) end
    end
  end)

  local function fill(q)
    local n = 0
    repeat
      local before = q:stats().sent
      q:send(("%99d"):format(n + 1), 0)
      n = n + 1
    until q:stats().sent == before or n > 100
    return n
  end

  it("fails at once when it is full, if told to", function()
    local q <close> = assert(channel.queue(nil,
      {capacity = 4096, overflow = "fail"}))
    fill(q)
    local message = t.refused("EAGAIN", q:send(("x"):rep(100)))
    assert.equal("send: full", message)
  end)

  it("drops the newest, if told to", function()
    local q <close> = assert(channel.queue(nil,
      {capacity = 4096, overflow = "drop_new"}))
    for i = 1, 100 do assert.is_true(q:send(("%99d"):format(i))) end
    local dropped = q:stats().dropped
    assert.is_true(dropped > 0)
    for i = 1, 100 - dropped do
      assert.equal(("%99d"):format(i), q:receive(0))
    end
    t.timed_out(q:receive(0))
  end)

  it("drops the oldest, if told to", function()
    local q <close> = assert(channel.queue(nil,
      {capacity = 4096, overflow = "drop_oldest"}))
    for i = 1, 100 do assert.is_true(q:send(("%99d"):format(i))) end
    local dropped = q:stats().dropped
    assert.is_true(dropped > 0)
    for i = dropped + 1, 100 do
      assert.equal(("%99d"):format(i), q:receive(0))
    end
    t.timed_out(q:receive(0))
  end)

  it("may be for one sender and one receiver", function()
    local q <close> = assert(channel.queue(nil, {single = true}))
    local child = in_child(function()
      for i = 1, 20000 do assert(q:send("1 " .. i, SOON)) end
    end)
    local list = {}
    for i = 1, 20000 do list[i] = q:receive(SOON) end
    check_order(list, 1, 20000)
    finish(child)
  end)

  it("has no second sender then, as long as the first lives", function()
    local q <close> = assert(channel.queue(nil, {single = true}))
    local gate <close> = assert(channel.queue())
    local child = in_child(function()
      q:send "x"
      gate:send "ready"
      process.sleep(60)
    end)
    gate:receive(SOON)
    t.refused("EBUSY", q:send("y", 0))
    child:kill "KILL"
    child:wait()
    assert.is_true(q:send("y", SOON))
    assert.equal("x", q:receive(SOON))
    assert.equal("y", q:receive(SOON))
  end)

  it("outlives who is killed while sending and receiving", function()
    local q <close> = assert(channel.queue(nil, {capacity = 8192}))
    for _ = 1, 30 do
      local children = {}
      for i = 1, 2 do
        children[i] = in_child(function()
          while true do q:send(("x"):rep(50)) end
        end)
        children[2 + i] = in_child(function() while true do q:receive() end end)
      end
      process.sleep(0.002 + math.random() * 0.004)
      for _, child in ipairs(children) do child:kill "KILL" end
      for _, child in ipairs(children) do child:wait() end
      repeat until not q:receive(0)
      assert.is_true(q:send("alive", SOON))
      assert.equal("alive", q:receive(SOON))
    end
  end)
end)

describe("A loan", function()
  it("is written where it is read", function()
    local q <close> = assert(channel.queue())
    local loan = assert(q:reserve(11))
    loan:write(0, "hello world")
    t.timed_out(q:receive(0)) -- not yet there
    assert.is_true(q:commit(loan))
    t.raises("closed region", loan.write, loan, 0, "x")
    local view, what = assert(q:peek(SOON))
    assert.equal("bytes", what)
    assert.equal("hello world", view:read(0))
    t.raises("read-only", view.write, view, 0, "x")
    assert.is_true(q:release(view))
    t.raises("closed region", view.read, view, 0)
    t.timed_out(q:receive(0))
  end)

  it("may be shorter, or given back", function()
    local q <close> = assert(channel.queue())
    local loan = assert(q:reserve(100))
    loan:write(0, "short")
    t.raises("more than was reserved", q.commit, q, loan, 101)
    assert.is_true(q:commit(loan, 5))
    local other = assert(q:reserve(100))
    assert.is_true(q:abort(other))
    assert.equal("short", q:receive(SOON))
    t.timed_out(q:receive(0))
  end)

  it("goes to the next receiver when it is given back", function()
    local q <close> = assert(channel.queue())
    q:send "x"
    local view = assert(q:peek(0))
    t.timed_out(q:receive(0))
    assert.is_true(q:give_back(view))
    assert.equal("x", q:receive(0))
  end)

  it("of one who died holds nobody back", function()
    local q <close> = assert(channel.queue())
    local child = in_child(function()
      assert(q:reserve(10))
      ipc.signal.raise "KILL"
    end)
    child:wait(SOON)
    assert.is_true(q:send "after")
    assert.equal("after", q:receive(SOON))
    q:send "taken"
    local reader = in_child(function()
      assert(q:peek(SOON))
      ipc.signal.raise "KILL"
    end)
    reader:wait(SOON)
    assert.equal("taken", q:receive(SOON))
  end)

  -- `out` sends, `back` receives; handles of single queues and of a duplex.
  local function alone_in(out, back)
    local loan = assert(out:reserve(3))
    t.refused("EDEADLK", out:reserve(3, 0))
    t.refused("EDEADLK", out:send("sss", 0))
    t.refused("EDEADLK", out:send_many({"sss"}, 0))
    loan:write(0, "abc")
    assert.is_true(out:commit(loan))
    assert.is_true(out:send "def")
    local view = assert(back:peek(SOON))
    t.refused("EDEADLK", back:peek(0))
    t.refused("EDEADLK", back:receive(0))
    t.refused("EDEADLK", back:receive_many(2, 0))
    assert.equal("abc", view:read(0, 3))
    assert.is_true(back:release(view))
    assert.equal("def", back:receive(0))
    assert.is_true(out:abort(assert(out:reserve(3))))
    assert.is_true(out:send(("x"):rep(10000))) -- a long one
    assert.equal(10000, #back:receive(0))
    out:reserve(3):close()
    assert.is_true(out:send "last")
    back:peek(0):close()
    assert.equal("last", back:receive(0))
  end

  it("is the only one where there are no locks", function()
    local q <close> = assert(channel.queue(nil, {single = true}))
    alone_in(q, q)
    local a <close>, b = assert(channel.duplex())
    local _ <close> = b
    alone_in(a, b)
    alone_in(b, a)
  end)

  it("is of its own channel", function()
    local q <close> = channel.queue()
    local p <close> = channel.queue()
    local loan = assert(q:reserve(10))
    t.raises("no loan of this channel", p.commit, p, loan)
    t.raises("no loan of this channel", q.release, q, loan)
    t.raises("no loan of this channel", q.commit, q, loan:view(0, 5))
    t.raises("region expected", q.commit, q, "x")
    q:close()
    t.raises("closed region", loan.write, loan, 0, "x")
    collectgarbage()
  end)
end)

describe("channel.broadcast", function()
  local function subscriber(b, start)
    local s = assert(channel.from(b:descriptor()))
    assert.equal(s, s:subscribe(start))
    return s
  end

  it("gives every message to every subscriber", function()
    local b <close> = assert(channel.broadcast())
    t.refused("ENOTCONN", b:receive(0))
    local one <close> = subscriber(b)
    local two <close> = subscriber(b)
    for i = 1, 100 do assert.is_true(b:send(i)) end
    for _, s in ipairs {one, two} do
      assert.equal(100, #s)
      for i = 1, 100 do assert.equal(i, (s:receive(SOON))) end
      t.timed_out(s:receive(0))
    end
    assert.equal(2, b:stats().subscribers)
    one:unsubscribe()
    t.refused("ENOTCONN", one:receive(0))
  end)

  it("is joined at the oldest, the last or what comes", function()
    local b <close> = assert(channel.broadcast())
    for i = 1, 10 do b:send(i) end
    local oldest <close> = subscriber(b, "oldest")
    local last <close> = subscriber(b, 3)
    local new <close> = subscriber(b, "new")
    b:send(11)
    assert.equal(1, (oldest:receive(SOON)))
    assert.equal(8 + 1, (last:receive(SOON)) + 1)
    assert.equal(11, (new:receive(SOON)))
    local starts = '"new", "oldest" or a count >= 0 expected'
    for _, start in ipairs {"some", -1, 1.5, true} do
      t.raises("bad argument #1 to 'subscribe' (" .. starts,
        function() b:subscribe(start) end)
      t.raises("#2 to", channel.broadcast, nil, {subscribe = start})
      t.raises("option 'subscribe': " .. starts, channel.broadcast, nil,
        {subscribe = start})
    end
    for _, seconds in ipairs {"x", -1, 0 / 0} do
      t.raises("option 'evict_after': a number of seconds", channel.broadcast,
        nil, {evict_after = seconds})
    end
  end)

  it("waits for the slow", function()
    local b <close> = assert(channel.broadcast(nil, {capacity = 4096}))
    local s <close> = subscriber(b)
    local n = 0
    while b:send(("x"):rep(100), 0) do n = n + 1 end
    assert.is_true(n > 0)
    t.timed_out(b:send(("x"):rep(100), 0.01))
    for _ = 1, n do assert.truthy(s:receive(0)) end
    assert.is_true(b:send(("x"):rep(100), SOON))
  end)

  it("drops for the slow, and says how many", function()
    local b <close> = assert(channel.broadcast(nil,
      {capacity = 4096, policy = "drop"}))
    local s <close> = subscriber(b)
    for i = 1, 200 do assert.is_true(b:send(("%99d"):format(i))) end
    local first = tonumber((s:receive(SOON)))
    assert.is_true(first > 1)
    assert.equal(first - 1, s:lost())
    assert.equal(0, s:lost())
    for i = first + 1, 200 do
      assert.equal(i, tonumber((s:receive(SOON))))
    end
    t.timed_out(s:receive(0))
    t.refused("ENOTSUP", s:peek(0))
  end)

  it("throws the slow out", function()
    local b <close> = assert(channel.broadcast(nil,
      {capacity = 4096, policy = "evict", evict_after = 0.01}))
    local s <close> = subscriber(b)
    for _ = 1, 200 do assert.is_true(b:send(("x"):rep(100), SOON)) end
    local code
    repeat
      local _
      _, _, code = s:receive(0)
    until code
    assert.equal(ipc.errno.ENOTCONN, code)
  end)

  it("does not wait for the dead", function()
    local b <close> = assert(channel.broadcast(nil, {capacity = 4096}))
    local gate <close> = assert(channel.queue())
    local child = in_child(function()
      b:subscribe()
      gate:send "ready"
      process.sleep(60)
    end)
    gate:receive(SOON)
    while b:send(("x"):rep(100), 0) do end
    child:kill "KILL"
    child:wait()
    assert.is_true(b:send(("x"):rep(100), SOON))
  end)
end)

describe("What comes through a channel", function()
  it("is dropped when it is no value", function()
    local q <close> = assert(channel.queue())
    q:send {1}
    local loan, what = assert(q:peek(0))
    assert.equal("value", what)
    local bytes = loan:read(0)
    assert.same({1}, (codec.decode(bytes)))
    q:release(loan)
    assert.is_true(#bytes > 0)
  end)
end)
