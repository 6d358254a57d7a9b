-- What other people's suites check of queues between processes and threads,
-- beyond the specs of channel. PY is Lib/test/_test_multiprocessing.py, RB
-- test/ruby/test_thread_queue.rb, GO the tests of Go's channels, CB those of
-- crossbeam-channel, IPCC of ipc-channel, BIP of Boost.Interprocess, PERL of
-- Thread::Queue.
local t = require "support"
local signals = require "support.signals"
local channels = require "support.channels"
local ipc = require "unixipc"

local channel, process, errno = ipc.channel, ipc.process, ipc.errno
local child, finish, gate = channels.child, channels.finish, channels.gate
local fill, drain, WAIT = channels.fill, channels.drain, channels.WAIT
local each_kind = channels.each_kind

local SMALL <const> = {capacity = 4096}
-- Two messages of its longest are all that it holds.
local TINY <const> = {capacity = 1024}

local function list_of(n, fn)
  local list = {}
  for i = 1, n do list[i] = fn(i) end
  return list
end

describe("A queue that is full", function()
  it("PY:_TestQueue.test_put CB:array.rs:try_send GO:chan_test.go:TestChan "
    .. "refuses at once, or in time, and takes again what there is room for",
    function()
      each_kind(SMALL, function(q)
        local n = fill(q)
        t.timed_out(q:send("more", 0))
        local seconds = t.took(function() t.timed_out(q:send("x", 0.03)) end)
        assert.is_true(seconds >= 0.03)
        assert.equal(n, #q)
        finish(child(function() return #drain(q) == n end))
        assert.equal(0, #q)
        assert.equal(n, fill(q))
      end)
    end)

  it("CB:array.rs:send CB:array.rs:send_timeout NNG:push:send_late_buffered a "
    .. "sender that waits goes on when there is room, none is lost", function()
      each_kind(TINY, function(q)
        local long = ("x"):rep(q:limit())
        local sender = child(function()
          for i = 1, 20 do assert(q:send(long:sub(1, -3) .. 10 + i, WAIT)) end
        end)
        signals.await_state(sender.pid, "S")
        assert.equal(2, #q)
        for i = 1, 20 do
          assert.equal(tostring(10 + i), q:receive(WAIT):sub(-2))
        end
        finish(sender)
      end)
    end)

  it("RB:test_sized_queue_one_closed_interrupt CB:array.rs:"
    .. "disconnect_wakes_sender its end wakes who waits to send, and what is "
    .. "in it stays", function()
      each_kind(SMALL, function(q)
        local full <close> = gate()
        local sender = child(function()
          fill(q)
          full:open()
          return select(3, q:send(("x"):rep(99), WAIT)) == errno.EPIPE
        end)
        full:pass()
        signals.await_state(sender.pid, "S")
        local n = #q
        q:shutdown()
        finish(sender)
        assert.equal(n, #drain(q))
        t.refused("EPIPE", q:receive(0))
      end)
    end)

  it("RB:test_blocked_pushers RB:test_empty_non_blocking what senders were "
    .. "told was sent is what is received", function()
      local q <close> = assert(channel.queue(nil, TINY))
      local long = ("x"):rep(q:limit() - 1)
      local senders = list_of(6, function(i)
        return child(function()
          return q:send(i .. long, WAIT) and i or 0
        end)
      end)
      local got, sent = {}, {}
      for _ = 1, 2 do got[q:receive(WAIT):byte() - 48] = true end
      channels.await(function() return #q == 2 end)
      q:shutdown()
      for _, message in ipairs(drain(q)) do got[message:byte() - 48] = true end
      for i, sender in ipairs(senders) do
        sent[i] = select(2, sender:wait(WAIT)) == i or nil
        sender:close()
      end
      assert.same(sent, got)
    end)

  it("RB:test_sized_queue_clear two who wait to send both go on when it is "
    .. "emptied at once", function()
      local q <close> = assert(channel.queue(nil, TINY))
      local long = ("x"):rep(q:limit())
      assert.equal(2, q:send_many({long, long}, 0))
      local senders = list_of(2, function()
        return child(function() assert(q:send(long, WAIT)) end)
      end)
      for _, sender in ipairs(senders) do
        signals.await_state(sender.pid, "S")
      end
      assert.equal(2, q:receive_many(10, 0).n)
      finish(table.unpack(senders))
      assert.equal(2, #drain(q))
    end)

  it("RB:test_sized_queue_push_non_block a sender that is killed while it "
    .. "waits has sent nothing, and is in nobody's way", function()
      each_kind(SMALL, function(q)
        local full <close> = gate()
        local sender = child(function()
          fill(q)
          full:open()
          q:send(("x"):rep(99), WAIT)
        end)
        full:pass()
        signals.await_state(sender.pid, "S")
        local n = #q
        channels.kill(sender)
        assert.equal(n, #drain(q))
        assert.is_true(q:send("after", WAIT))
        assert.equal("after", q:receive(0))
      end)
    end)

  it("RB:test_sized_queue_throttle four senders through room for two",
    function()
      local q <close> = assert(channel.queue(nil, TINY))
      local long = ("x"):rep(q:limit())
      local senders = list_of(4, function()
        return child(function()
          for _ = 1, 100 do assert(q:send(long, WAIT)) end
        end)
      end)
      for _ = 1, 400 do assert.equal(#long, #q:receive(WAIT)) end
      finish(table.unpack(senders))
      t.timed_out(q:receive(0))
    end)

  it("BIP:test_buffer_overflow a thousand through room for some", function()
    each_kind(TINY, function(q)
      local receiver = child(function()
        for i = 1, 1000 do assert(q:receive(WAIT) == ("%99d"):format(i)) end
      end)
      for i = 1, 1000 do assert(q:send(("%99d"):format(i), WAIT)) end
      finish(receiver)
    end)
  end)
end)

describe("A queue that is empty", function()
  it("PY:_TestQueue.test_get PY:_TestQueue.test_timeout IPCC:try_recv_timeout "
    .. "makes who receives wait as long as they said, never less", function()
      each_kind(SMALL, function(q)
        t.timed_out(q:receive(0))
        t.timed_out(q:receive_many(5, 0))
        t.timed_out(q:peek(0))
        for _, method in ipairs {"receive", "peek"} do
          local seconds = t.took(function() t.timed_out(q[method](q, 0.03)) end)
          assert.is_true(seconds >= 0.03)
        end
        q:send "there"
        assert.equal("there", q:receive(0.03))
      end)
    end)

  it("CB:list.rs:recv_timeout_nonempty_expired CB:array.rs:try_recv no time is "
    .. "enough for what is there", function()
      each_kind(SMALL, function(q)
        for i = 1, 10 do q:send(i) end
        for i = 1, 5 do assert.equal(i, (q:receive(0))) end
        assert.same({6, 7, 8, 9, 10, n = 5}, (q:receive_many(10, 0)))
        t.timed_out(q:receive(0))
      end)
    end)

  it("GO:chan_test.go:TestChan CB:array.rs:recv who waits gets what comes, and "
    .. "not before", function()
      each_kind(SMALL, function(q)
        local back <close> = assert(channel.queue())
        local receiver = child(function()
          for _ = 1, 3 do back:send {got = (q:receive(WAIT))} end
        end)
        for i = 7, 9 do
          signals.await_state(receiver.pid, "S")
          t.timed_out(back:receive(0))
          q:send(i)
          assert.same({got = i}, (back:receive(WAIT)))
        end
        finish(receiver)
      end)
    end)

  it("RB:test_queue_close_wakeup CB:array.rs:disconnect_wakes_receiver "
    .. "GO:chan_test.go:TestChan its end wakes all who wait, each message was "
    .. "one's", function()
      local q <close> = assert(channel.queue())
      local receivers = list_of(8, function()
        return child(function()
          local n, _, code = q:receive(WAIT)
          return n or code == errno.EPIPE and 100 or 101
        end)
      end)
      for i = 1, 5 do q:send(i) end
      channels.await(function() return #q == 0 end)
      q:shutdown()
      local codes = {}
      for i, receiver in ipairs(receivers) do
        codes[i] = select(2, receiver:wait(WAIT))
        receiver:close()
      end
      table.sort(codes)
      assert.same({1, 2, 3, 4, 5, 100, 100, 100}, codes)
    end)

  it("NNG:push:load_balance_unbuffered as many as are sent go on, though all "
    .. "sleep", function()
      local q <close> = assert(channel.queue())
      local receivers = list_of(3, function()
        return child(function() return q:receive(WAIT) == "x" end)
      end)
      for _, receiver in ipairs(receivers) do
        signals.await_state(receiver.pid, "S")
      end
      assert.equal(3, q:send_many {"x", "x", "x"})
      finish(table.unpack(receivers))
    end)

  it("RB:test_queue_pop_interrupt who is killed while it waits takes nothing "
    .. "along", function()
      each_kind(SMALL, function(q)
        local receiver = child(function() q:receive(WAIT) end)
        signals.await_state(receiver.pid, "S")
        channels.kill(receiver)
        for i = 1, 3 do q:send(i) end
        for i = 1, 3 do assert.equal(i, (q:receive(WAIT))) end
      end)
    end)

  it("RB:test_queue_pop_interrupt the wake-up of one who is killed goes to the "
    .. "next", function()
      local q <close> = assert(channel.queue())
      local first = child(function() q:receive(WAIT) end)
      signals.await_state(first.pid, "S")
      local second = child(function() return q:receive(WAIT) == "x" end)
      signals.await_state(second.pid, "S")
      first:kill "STOP"
      signals.await_state(first.pid, "T")
      q:send "x" -- wakes the first, which does not run
      channels.kill(first)
      finish(second)
    end)

  it("RB:test_queue_thread_raise who is thrown out of its wait takes nothing "
    .. "along", function()
      local q <close> = assert(channel.queue())
      local waiting <close> = gate()
      local thrown <close> = gate()
      local first = child(function()
        ipc.signal.handle("SIGUSR1", function() error "enough" end)
        local ok, message = pcall(q.receive, q, WAIT)
        thrown:open()
        waiting:pass()
        return not ok and message:find "enough" ~= nil
      end)
      signals.await_state(first.pid, "S")
      local second = child(function() return q:receive(WAIT) == "s" end)
      signals.await_state(second.pid, "S")
      first:kill "USR1"
      thrown:pass()
      q:send "s"
      finish(second)
      waiting:open()
      finish(first)
    end)

  it("RB:test_queue_with_trap a handler may send what its own process waits "
    .. "for", function()
      each_kind(SMALL, function(q)
        local handler <close> = signals.handle("SIGUSR1", function()
          q:send "from the handler"
        end)
        local sender = signals.send_when_asleep "SIGUSR1"
        assert.equal("from the handler", q:receive(WAIT))
        finish(sender)
        assert(handler)
      end)
    end)
end)

describe("A queue that has ended", function()
  it("RB:test_close GO:chan_test.go:TestChan CB:array.rs:recv_after_disconnect "
    .. "PERL:09_ended.t gives what is left, then says so each time", function()
      each_kind(SMALL, function(q)
        for i = 1, 3 do q:send(i) end
        q:shutdown()
        for i = 1, 3 do assert.equal(i, (q:receive())) end
        for _ = 1, 3 do
          t.refused("EPIPE", q:receive())
          t.refused("EPIPE", q:receive(0))
          t.refused("EPIPE", q:receive_many(3))
          t.refused("EPIPE", q:peek())
        end
      end)
    end)

  it("CB:array.rs:send_after_disconnect RB:test_sized_queue_closed_push_non_"
    .. "blocking nobody sends, whatever the time", function()
      each_kind(SMALL, function(q)
        fill(q)
        q:shutdown()
        t.refused("EPIPE", q:send "x")
        t.refused("EPIPE", q:send("x", 0))
        t.refused("EPIPE", q:send("x", WAIT))
        assert.equal(0, select(4, q:send_many({"x", "y"}, 0)))
        t.refused("EPIPE", q:reserve(1, 0))
      end)
    end)

  it("RB:test_close_twice may end again", function()
    each_kind(SMALL, function(q)
      assert.is_true(q:shutdown())
      assert.is_true(q:shutdown())
      finish(child(function() return q:shutdown() end))
      t.refused("EPIPE", q:receive(0))
    end)
  end)

  it("RB:test_deny_pushers nobody sends who comes later", function()
    local name = t.names.posix()
    local q <close> = assert(channel.queue(name,
      {create = true, temporary = true}))
    q:shutdown()
    assert.equal(8, t.race(function()
      local mine = assert(channel.queue(name))
      return select(3, mine:send "x") == errno.EPIPE and 7 or 8
    end)[7])
  end)

  it("GO:chan_test.go:TestNonblockRecvRace what was there before its end is "
    .. "got with no time, while it ends", function()
      for _ = 1, 30 do
        local q <close> = assert(channel.queue(nil, SMALL))
        local go <close> = gate()
        q:send(1)
        local receiver = child(function()
          go:open()
          return q:receive(0) == 1
        end)
        go:pass()
        q:shutdown()
        finish(receiver)
      end
    end)

  it("RB:test_queue_close_multi_multi GO:chan_test.go:TestMultiConsumer many "
    .. "to many, and each that was sent was received", function()
      local q <close> = assert(channel.queue(nil, {capacity = 8192}))
      local result <close> = assert(channel.queue())
      local senders = list_of(4, function(s)
        return child(function()
          for i = 1, 1000 do assert(q:send({i, ("%d for %d"):format(i, s)})) end
        end)
      end)
      local receivers = list_of(3, function()
        return child(function()
          local n, sum = 0, 0
          for value in q:receiver() do
            assert(value[2]:find("^" .. value[1] .. " for %d$"))
            n, sum = n + 1, sum + value[1]
          end
          result:send {n, sum}
        end)
      end)
      finish(table.unpack(senders))
      q:shutdown()
      finish(table.unpack(receivers))
      local n, sum = 0, 0
      for _, value in ipairs(drain(result)) do
        n, sum = n + value[1], sum + value[2]
      end
      assert.same({4000, 4 * 500500}, {n, sum})
    end)
end)

describe("What a queue holds", function()
  it("PY:_TestQueue.test_qsize CB:array.rs:len is counted for all, at once",
    function()
      each_kind(SMALL, function(q)
        assert.equal(0, #q)
        for round = 1, 3 do
          for i = 1, 20 do
            q:send(round)
            assert.equal(i, #q)
          end
          finish(child(function() return #q == 20 end))
          for i = 19, 0, -1 do
            q:receive(0)
            assert.equal(i, #q)
          end
        end
      end)
    end)

  it("CB:array.rs:len GO:chan_test.go:TestChan is never less than none nor "
    .. "more than there is room for, while others send and receive", function()
      each_kind(TINY, function(q)
        local most = TINY.capacity // 8
        local sender = child(function()
          for i = 1, 3000 do
            assert(q:send(i, WAIT))
            local n = #q
            assert(n >= 0 and n <= most, n)
          end
        end)
        for i = 1, 3000 do
          assert.equal(i, (q:receive(WAIT)))
          local n = #q
          assert.is_true(n >= 0 and n <= most)
        end
        finish(sender)
        assert.equal(0, #q)
      end)
    end)

  it("PY:TestSimpleQueue.test_empty is seen by a child as by its parent",
    function()
      local q <close> = assert(channel.queue())
      finish(child(function()
        q:send(#q == 0)
        q:send(#q == 0)
      end))
      assert.equal(2, #q)
      assert.is_true((q:receive(0)))
      assert.is_false((q:receive(0)))
      assert.equal(0, #q)
    end)

  it("CB:array.rs:drops goes with it: memory and descriptors", function()
    local function shared() -- pages
      local file <close> = assert(io.open "/proc/self/statm")
      return tonumber(file:read "a":match "^%d+ %d+ (%d+)")
    end
    local function rounds(n)
      for _ = 1, n do
        local q = assert(channel.queue())
        q:send(("x"):rep(q:limit()))
        q:send {("y"):rep(1000)}
        q:close()
      end
      collectgarbage()
      return shared()
    end
    rounds(20)
    local before = rounds(5)
    assert.is_true(rounds(60) - before < 2000) -- of 60 MiB
  end)

  it("IPCC:disconnect_non_empty_channel IPCC:test_so_linger outlives who sent "
    .. "it, however that ended", function()
      each_kind(SMALL, function(q)
        finish(child(function()
          q:send "closed"
          q:close()
        end))
        finish(child(function() q:send "left" end))
        local killed = child(function()
          q:send {"killed"}
          ipc.signal.raise "KILL"
        end)
        assert.same({"signal", "SIGKILL"}, {killed:wait(WAIT)})
        killed:close()
        assert.same({"closed", "left", {"killed"}}, drain(q))
        t.timed_out(q:receive(0))
      end)
    end)

  it("RB:test_thr_kill one that sends and is killed at once, again and again",
    function()
      local q <close> = assert(channel.queue(nil, SMALL))
      for _ = 1, 40 do
        local sender = child(function()
          q:send(nil)
          process.sleep(WAIT)
        end)
        local value, why = q:receive(WAIT)
        assert.same({nil, nil}, {value, why})
        channels.kill(sender)
      end
      t.timed_out(q:receive(0))
    end)

  it("PY:_TestQueue.test_fork GO:test/chan/fifo.go what was sent before a fork "
    .. "comes before what its child sends", function()
      local q <close> = assert(channel.queue())
      for i = 1, 10 do q:send(i) end
      finish(child(function() for i = 11, 20 do q:send(i) end end))
      for i = 1, 20 do assert.equal(i, (q:receive(0))) end
      t.timed_out(q:receive(0))
    end)
end)
