-- What other people's suites check of publishers and subscribers, beyond the
-- specs of channel. AGR are the tests of Agrona's broadcast, ICE those of
-- iceoryx2, NNG of nng, ZMQ of libzmq.
local t = require "support"
local signals = require "support.signals"
local channels = require "support.channels"
local ipc = require "unixipc"

local channel, process, errno = ipc.channel, ipc.process, ipc.errno
local child, finish, gate = channels.child, channels.finish, channels.gate
local fill, drain, WAIT = channels.fill, channels.drain, channels.WAIT

local POLICIES <const> = {"block", "drop", "evict"}

local function new(policy, capacity)
  return assert(channel.broadcast(nil, {capacity = capacity or 4096,
    policy = policy}))
end

-- Another subscriber of this process.
local function subscriber(b, start)
  return assert(assert(channel.from(b:descriptor())):subscribe(start))
end

-- A child that subscribes, then calls fn.
local function with_subscriber(b, fn, start)
  local there <close> = gate()
  local other = child(function()
    assert(b:subscribe(start))
    there:open()
    return fn(b)
  end)
  there:pass()
  return other
end

local function number(message)
  return tonumber(message)
end

local function is_row(list, first, last)
  assert.equal(last - first + 1, #list)
  for i, value in ipairs(list) do assert.equal(first + i - 1, number(value)) end
end

describe("A publisher", function()
  it("NNG:pub:send_no_pipes never waits for nobody", function()
      for _, policy in ipairs(POLICIES) do
        local b <close> = new(policy, 1024)
        for i = 1, 300 do assert.is_true(b:send(("%99d"):format(i), 0)) end
        assert.equal(0, b:stats().subscribers)
        assert.equal(300, b:stats().sent)
      end
    end)

  it("NNG:pub:cannot_recv receives nothing until it subscribes", function()
    local b <close> = new()
    b:send "x"
    t.refused("ENOTCONN", b:receive(0))
    t.refused("ENOTCONN", b:receive_many(1, 0))
    t.refused("ENOTCONN", b:peek(0))
    b:subscribe "oldest"
    assert.equal("x", b:receive(0))
    -- Its child is another one.
    finish(child(function()
      return select(3, b:receive(0)) == errno.ENOTCONN
    end))
  end)

  it("AGR:shouldThrowExceptionWhenMaxMessageLengthExceeded "
    .. "AGR:shouldCalculateCapacityForBuffer has a longest message", function()
      for _, policy in ipairs(POLICIES) do
        local b <close> = new(policy, 777)
        assert.equal(1024, b:stats().capacity)
        local s <close> = subscriber(b)
        t.refused("EMSGSIZE", b:send(("x"):rep(b:limit() + 1), 0))
        assert.is_true(b:send(("x"):rep(b:limit()), 0))
        assert.equal(b:limit(), #s:receive(0))
      end
    end)

  it("ICE:publish_does_not_overflow_when_deactivated NNG:sub:drop_new that "
    .. "waits keeps what is there, and tells what it could not send", function()
      local b <close> = new "block"
      local s <close> = subscriber(b)
      local n = fill(b)
      t.timed_out(b:send(("%99d"):format(0), 0.001))
      is_row(drain(s), 1, n)
      assert.equal(0, s:lost())
    end)

  it("ICE:publish_safely_overflows_when_enabled NNG:sub:drop_old that drops "
    .. "keeps the newest, and the slow is told of the rest", function()
      local b <close> = new "drop"
      local s <close> = subscriber(b)
      for i = 1, 300 do assert.is_true(b:send(("%99d"):format(i), 0)) end
      local list = drain(s)
      is_row(list, 301 - #list, 300)
      assert.equal(300 - #list, s:lost())
    end)

  it("ICE:publisher_reclaims_all_samples_after_disconnect goes on when the "
    .. "slow leave, unsubscribe, end or are killed", function()
      local ways = {
        function(b) b:close() end,
        function(b) b:unsubscribe() end,
        function() process.exit(0) end,
        function() ipc.signal.raise "KILL" end,
      }
      for _, leave in ipairs(ways) do
        local b <close> = new "block"
        local go <close> = gate()
        local stay <close> = gate()
        local slow = with_subscriber(b, function()
          go:pass()
          leave(b)
          stay:pass()
        end)
        fill(b)
        local sender = child(function()
          assert(b:send(("x"):rep(99), WAIT))
        end)
        signals.await_state(sender.pid, "S")
        go:open()
        finish(sender)
        stay:open()
        slow:wait(WAIT)
        slow:close()
        assert.equal(0, b:stats().subscribers)
      end
    end)

  it("ICE:publisher_updates_connections_after_reconnect many come and go, and "
    .. "all who are there get it", function()
      local b <close> = new("block", 1024)
      for n = 0, 8 do
        for round = 1, 4 do
          local list = {}
          for i = 1, n do list[i] = subscriber(b) end
          assert.equal(n, b:stats().subscribers)
          for i = 1, 3 do assert.is_true(b:send(round * i, 0)) end
          for _, s in ipairs(list) do
            for i = 1, 3 do assert.equal(round * i, (s:receive(0))) end
            s:close()
          end
        end
      end
    end)

  it("ICE:subscriber_can_still_receive_sample_when_publisher_was_disconnected "
    .. "that has gone is heard to its last message", function()
      for _, how in ipairs {"close", "exit", "KILL"} do
        local b <close> = new()
        local s <close> = subscriber(b)
        local publisher = child(function()
          for i = 1, 5 do b:send(i) end
          if how == "close" then b:close() end
          if how == "KILL" then ipc.signal.raise "KILL" end
        end)
        publisher:wait(WAIT)
        publisher:close()
        assert.same({1, 2, 3, 4, 5}, drain(s))
        t.timed_out(s:receive(0))
      end
    end)
end)

describe("A subscriber", function()
  it("AGR:shouldNotBeLappedBeforeReception AGR:shouldNotReceiveFromEmptyBuffer "
    .. "AGR:shouldReceiveTwoMessagesFromBuffer begins with nothing lost",
    function()
      for _, policy in ipairs(POLICIES) do
        local b <close> = new(policy)
        local s <close> = subscriber(b)
        assert.equal(0, s:lost())
        t.timed_out(s:receive(0))
        assert.equal(0, #s)
        b:send "one"
        b:send "two"
        assert.equal(2, #s)
        assert.same({"one", "two"}, drain(s))
        assert.same({0, 0}, {#s, s:lost()})
      end
    end)

  it("ICE:simple_communication_works_publisher_created_first "
    .. "NNG:sub:recv_late that waits is woken by the first message", function()
      for _, policy in ipairs(POLICIES) do
        local b <close> = new(policy)
        local slow = with_subscriber(b, function()
          return b:receive(WAIT) == "abc"
        end)
        signals.await_state(slow.pid, "S")
        b:send "abc"
        finish(slow)
      end
    end)

  it("ICE:publish_history_is_delivered_on_subscription "
    .. "AGR:shouldLateJoinTransmission that comes late has of the past what it "
    .. "asked for, or what is left", function()
      for _, policy in ipairs(POLICIES) do
        local b <close> = new(policy)
        for i = 1, 200 do b:send(("%99d"):format(i)) end
        local oldest <close> = subscriber(b, "oldest")
        local all = drain(oldest)
        assert.is_true(#all >= 16)
        is_row(all, 201 - #all, 200)
        for _, n in ipairs {0, 1, 3, #all - 1, #all, #all + 1, 100000} do
          local late <close> = subscriber(b, n)
          is_row(drain(late), 201 - math.min(n, #all), 200)
          assert.equal(0, late:lost())
        end
      end
    end)

  it("ZMQ:test_conflate that wants only the last has it, whenever it asks",
    function()
      local b <close> = new "drop"
      local s <close> = subscriber(b)
      for i = 1, 100 do
        b:send(i)
        if i % 10 == 0 then
          s:subscribe(1)
          assert.equal(i, (s:receive(0)))
          t.timed_out(s:receive(0))
        end
      end
    end)

  it("NNG:sub:unsubscribe_option hears nothing in between", function()
    for _, policy in ipairs(POLICIES) do
      local b <close> = new(policy)
      local s <close> = subscriber(b)
      b:send "one"
      s:unsubscribe()
      t.refused("ENOTCONN", s:receive(0))
      b:send "two"
      s:subscribe()
      b:send "three"
      assert.same({"three"}, drain(s))
    end
  end)

  it("NNG:sub:multi_context ICE:has_samples_tracks_receivable_samples_in_"
    .. "subscriber goes at its own pace", function()
      local b <close> = new()
      local fast <close> = subscriber(b)
      local slow <close> = subscriber(b)
      for i = 1, 20 do
        b:send(i)
        assert.equal(i, (fast:receive(0)))
      end
      assert.same({0, 20}, {#fast, #slow})
      assert.equal(20, slow:receive_many(30, 0).n)
    end)

  it("ICE:communication_with_max_subscribers_and_publishers three publish, "
    .. "four hear all of it, each one's in order", function()
      local b <close> = new("block", 1024)
      local listeners, publishers = {}, {}
      for i = 1, 4 do
        listeners[i] = with_subscriber(b, function()
          local last = {0, 0, 0}
          for _ = 1, 900 do
            local value = b:receive(WAIT)
            local who, n = value // 1000, value % 1000
            assert(n == last[who] + 1)
            last[who] = n
          end
          return b:lost() == 0
        end)
      end
      for i = 1, 3 do
        publishers[i] = child(function()
          for n = 1, 300 do assert(b:send(i * 1000 + n, WAIT)) end
        end)
      end
      finish(table.unpack(publishers))
      finish(table.unpack(listeners))
    end)

  it("AGR:shouldCopeWithPaddingRecordAndWrapOfBufferForNextRecord of messages "
    .. "of all lengths, round and round", function()
      for _, policy in ipairs(POLICIES) do
        local b <close> = new(policy, 1024)
        local s <close> = subscriber(b)
        for round = 1, 3 do
          for n = 0, b:limit(), round * 3 do
            local bytes = string.char(n % 256):rep(n)
            assert.is_true(b:send(bytes, 0))
            assert.is_true(s:receive(0) == bytes)
          end
        end
        assert.equal(0, s:lost())
      end
    end)

  it("AGR:shouldDealWithRecordBecomingInvalidDueToOverwrite that is overtaken "
    .. "never sees half a message, and knows how many it missed", function()
      local b <close> = new("drop", 1024)
      local s <close> = subscriber(b)
      local N = 30000
      local publisher = child(function()
        for i = 1, N do
          b:send(("%d "):format(i) .. string.char(65 + i % 26):rep(i % 90))
        end
        b:shutdown()
      end)
      local got, lost, last = 0, 0, 0
      for message in s:receiver() do
        local text, rest = message:match "^(%d+) (.*)$"
        local i = tonumber(text)
        local missed = s:lost()
        assert.equal(string.char(65 + i % 26):rep(i % 90), rest)
        assert.equal(last + missed + 1, i)
        got, lost, last = got + 1, lost + missed, i
      end
      finish(publisher)
      assert.equal(N, got + lost)
    end)

  it("ICE:sample_is_still_acessible_when_publisher_was_disconnected that looks "
    .. "at a message holds its place, though its publisher was killed",
    function()
      local b <close> = new "block"
      local s <close> = subscriber(b)
      local publisher = child(function()
        b:send(("first"):rep(20))
        ipc.signal.raise "KILL"
      end)
      publisher:wait(WAIT)
      publisher:close()
      local view = assert(s:peek(0))
      local n = fill(b)
      t.timed_out(b:send(("%99d"):format(0), 0))
      assert.equal(("first"):rep(20), view:read())
      s:release(view)
      is_row(drain(s), 1, n)
      assert.is_true(b:send(("%99d"):format(n + 1), 0))
    end)

  it("ICE:dropping_service_keeps_established_communication "
    .. "ICE:recreate_after_drop_works hears on when the name has gone, and "
    .. "nothing of a new one", function()
      local name = t.names.posix()
      local options = {create = true, temporary = true, capacity = 1024}
      local b <close> = assert(channel.broadcast(name, options))
      local s <close> = assert(channel.broadcast(name)):subscribe()
      assert(channel.unlink(name))
      local other <close> = assert(channel.broadcast(name, options))
      other:subscribe()
      b:send "old"
      other:send "new"
      assert.same({{"old"}, {"new"}}, {drain(s), drain(other)})
    end)

  it("ICE:listing_all_publishers_works ICE:listing_all_subscribers_works who "
    .. "publishes and who listens is told", function()
      local b <close> = new()
      local heard <close> = gate()
      local go <close> = gate()
      local listener = with_subscriber(b, function()
        assert(b:receive(WAIT) == "x")
        heard:open()
        go:pass()
      end)
      b:send "x"
      heard:pass()
      local found = {}
      for _, who in ipairs(b:participants()) do found[who.pid] = who end
      assert.same({pid = process.pid(), alive = true, sends = true,
        receives = false}, found[process.pid()])
      assert.same({pid = listener.pid, alive = true, sends = false,
        receives = true}, found[listener.pid])
      go:open()
      finish(listener)
    end)

  it("ICE:concurrent_communication_with_subscriber_reconnects_does_not_"
    .. "deadlock comes and goes while others publish", function()
      for _, policy in ipairs {"block", "drop"} do
        local b <close> = new(policy, 1024)
        local go <close> = gate()
        local publisher = child(function()
          local i = 0
          go:open()
          repeat i = i + 1 until not b:send(i, WAIT)
        end)
        go:pass()
        local function come_and_go()
          local last = 0
          for _ = 1, 40 do
            b:subscribe()
            local n = b:receive(WAIT)
            assert(n > last)
            last = n
            b:unsubscribe()
          end
        end
        local one, two = child(come_and_go), child(come_and_go)
        finish(one, two)
        b:shutdown()
        finish(publisher)
      end
    end)

  it("ICE:concurrent_communication_with_publisher_reconnects_does_not_deadlock "
    .. "hears one publisher after the other", function()
      local name = t.names.posix()
      local b <close> = assert(channel.broadcast(name, {create = true,
        temporary = true, capacity = 1024, subscribe = "new"}))
      local function publish()
        for _ = 1, 30 do
          local mine <close> = assert(channel.broadcast(name))
          for i = 1, 3 do assert(mine:send(i, WAIT)) end
        end
      end
      local one, two = child(publish), child(publish)
      for _ = 1, 180 do assert.truthy(b:receive(WAIT)) end
      finish(one, two)
      t.timed_out(b:receive(0))
    end)

  it("NNG:sub:close_context_recv GO:chan_test.go:TestChan hears of the end, "
    .. "after what was said before", function()
      for _, policy in ipairs(POLICIES) do
        local b <close> = new(policy)
        local waiting = with_subscriber(b, function()
          assert(b:receive(WAIT) == "last")
          return select(3, b:receive(WAIT)) == errno.EPIPE
        end)
        b:send "last"
        b:shutdown()
        finish(waiting)
        t.refused("EPIPE", b:send "x")
      end
    end)

  it("ICE:dead_node_is_removed_from_pub_sub_service that was killed is counted "
    .. "no more", function()
      local b <close> = new "block"
      local dead = with_subscriber(b, function() process.sleep(WAIT) end)
      local s <close> = subscriber(b)
      assert.equal(2, b:stats().subscribers)
      channels.kill(dead)
      fill(b)
      drain(s)
      assert.is_true(b:send(("x"):rep(99), WAIT))
      local alive = 0
      for _, who in ipairs(b:participants()) do
        if who.alive then alive = alive + 1 end
      end
      assert.equal(2, alive)
      fill(b)
      drain(s)
      assert.equal(1, b:stats().subscribers)
    end)

  it("ICE:creating_max_supported_amount_of_ports_work no more than there are "
    .. "slots for, until one leaves", function()
      local b <close> = assert(channel.broadcast(nil,
        {capacity = 1024, slots = 3}))
      b:send "x"
      local one <close> = subscriber(b)
      local two = subscriber(b)
      t.refused("EUSERS", channel.from(b:descriptor()))
      two:close()
      local three <close> = subscriber(b)
      b:send "y"
      assert.same({{"y"}, {"y"}}, {drain(one), drain(three)})
    end)

  it("ZMQ:test_hwm_pubsub that was thrown out may come back, and the others "
    .. "have lost nothing", function()
      local b <close> = assert(channel.broadcast(nil, {capacity = 1024,
        policy = "evict", evict_after = 0.001}))
      local heard <close> = gate()
      local slow <close> = subscriber(b)
      local listener = with_subscriber(b, function()
        for i = 1, 100 do
          assert(number(b:receive(WAIT)) == i)
          heard:open()
        end
        return b:lost() == 0
      end)
      for i = 1, 100 do
        assert.is_true(b:send(("%99d"):format(i), WAIT))
        heard:pass()
      end
      finish(listener)
      t.refused("ENOTCONN", slow:receive(0))
      slow:subscribe(1)
      assert.equal(100, number(slow:receive(0)))
      b:send "again"
      assert.equal("again", slow:receive(0))
    end)
end)
