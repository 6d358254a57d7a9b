-- What other people's suites check of loans and of messages that are looked at
-- in place, beyond the specs of channel. ICE are the tests of iceoryx2, PERL
-- those of Thread::Queue, AGR of Agrona, DIS of the LMAX Disruptor.
local t = require "support"
local channels = require "support.channels"
local ipc = require "unixipc"

local channel = ipc.channel
local child, finish, gate = channels.child, channels.finish, channels.gate
local drain, WAIT = channels.drain, channels.WAIT

-- Who sends and who receives: of a queue, and a broadcast with a subscriber.
local function each_that_lends_many(capacity, fn)
  local options = {capacity = capacity}
  local q <close> = assert(channel.queue(nil, options))
  fn(q, q)
  local b <close> = assert(channel.broadcast(nil, options))
  local s <close> = assert(channel.from(b:descriptor())):subscribe()
  fn(b, s)
end

-- And of those without locks.
local function each_kind(capacity, fn)
  each_that_lends_many(capacity, fn)
  local single <close> = assert(channel.queue(nil,
    {capacity = capacity, single = true}))
  fn(single, single)
  local one <close>, other = assert(channel.duplex(nil, {capacity = capacity}))
  fn(one, other)
  other:close()
end

local function write(loan, text)
  loan:write(0, text)
  return loan
end

describe("Loans", function()
  it("ICE:publisher_can_borrow_multiple_sample_at_once DIS:claim-and-publish "
    .. "many at a time come in the order in which they were lent", function()
      each_that_lends_many(4096, function(from, to)
        local loans = {}
        for i = 1, 5 do loans[i] = write(assert(from:reserve(2)), i .. "!") end
        assert.is_true(from:send "last")
        for _, i in ipairs {3, 5, 2} do
          assert.is_true(from:commit(loans[i]))
          t.timed_out(to:receive(0))
        end
        from:commit(loans[1])
        assert.same({"1!", "2!", "3!"}, drain(to))
        from:commit(loans[4])
        assert.same({"4!", "5!", "last"}, drain(to))
      end)
    end)

  it("ICE:publisher_dropping_sample_reduces_loan_counter that are given back "
    .. "are never seen, and make room again", function()
      each_that_lends_many(1024, function(from, to)
        for _ = 1, 100 do
          local first = assert(from:reserve(100, 0))
          local second = assert(from:reserve(100, 0))
          local third = assert(from:reserve(100, 0))
          from:abort(second)
          write(first, "first")
          from:commit(first, 5)
          third:close()
          assert.same({"first"}, drain(to))
        end
      end)
    end)

  it("ICE:publisher_dropping_sample_reduces_loan_counter that are given back "
    .. "are not counted as messages", function()
      each_kind(4096, function(from, to)
        for _ = 1, 3 do from:abort(assert(from:reserve(10))) end
        from:send "one"
        from:commit(write(assert(from:reserve(3)), "two"))
        -- A subscriber has yet to pass them.
        if from == to then assert.equal(2, #to) end
        assert.same({"one", "two"}, drain(to))
        assert.equal(0, #to)
        assert.same({2, 3}, {from:stats().sent, from:stats().aborted})
      end)
    end)

  it("ICE:publisher_max_loaned_samples_works no more than there is room for",
    function()
      each_that_lends_many(1024, function(from, to)
        local loans = {}
        repeat
          local loan, _, code = from:reserve(100, 0)
          loans[#loans + 1] = loan
        until code
        t.timed_out(from:reserve(100, 0.001))
        t.timed_out(from:send(("x"):rep(100), 0))
        assert.is_true(#loans >= 5)
        for _, loan in ipairs(loans) do from:abort(loan) end
        t.timed_out(to:receive(0))
        assert.is_true(from:send(("x"):rep(100), WAIT))
        assert.equal(100, #to:receive(0))
      end)
    end)

  it("ICE:publisher_loan_slice_up_to_max_elements_works "
    .. "ICE:publisher_loan_slice_more_than_max_elements_fails of every length "
    .. "up to the longest", function()
      each_kind(4096, function(from, to)
        local limit = from:limit()
        t.refused("EMSGSIZE", from:reserve(limit + 1, 0))
        for _, n in ipairs {0, 1, 7, 8, 9, limit - 1, limit} do
          local loan = assert(from:reserve(n, 0))
          assert.equal(n, #loan)
          loan:fill(0, n, "z")
          t.raises("out of bounds", loan.write, loan, n, "x")
          assert.is_true(from:commit(loan))
          assert.is_true(to:receive(0) == ("z"):rep(n))
        end
      end)
    end)

  it("ICE:send_and_receives_increasing_samples_works may be sent shorter than "
    .. "they were, down to nothing", function()
      each_kind(4096, function(from, to)
        for n = 0, 300, 7 do
          local loan = write(assert(from:reserve(300, 0)), ("s"):rep(300))
          assert.is_true(from:commit(loan, n))
          assert.equal(("s"):rep(n), to:receive(0))
        end
      end)
    end)

  it("ICE:publisher_sending_sample_reduces_loan_counter are nobody's to write "
    .. "to once they are sent", function()
      each_kind(4096, function(from, to)
        local loan = write(assert(from:reserve(3)), "abc")
        local view = loan:view(0, 2)
        from:commit(loan)
        t.raises("closed region", loan.write, loan, 0, "x")
        t.raises("closed region", view.write, view, 0, "x")
        t.raises("closed region", from.commit, from, loan)
        t.raises("closed region", from.abort, from, loan)
        assert.same({"abc"}, drain(to))
      end)
    end)

  it("DIS:gating-sequence of a process that was killed hold up nobody, those "
    .. "of one that lives do", function()
      each_that_lends_many(4096, function(from, to)
        local lent <close> = gate()
        local go <close> = gate()
        local owner = child(function()
          write(assert(from:reserve(6)), "half")
          lent:open()
          go:pass()
        end)
        lent:pass()
        from:send "behind"
        t.timed_out(to:receive(0.01))
        channels.kill(owner)
        assert.equal("behind", to:receive(WAIT))
        t.timed_out(to:receive(0))
      end)
    end)
end)

describe("Messages that are looked at", function()
  it("PERL:03_peek.t are left where they are when they are given back, in "
    .. "their order", function()
      local q <close> = assert(channel.queue())
      for i = 1, 4 do q:send("m" .. i) end
      local views = {}
      for i = 1, 3 do
        views[i] = assert(q:peek(0))
        assert.equal("m" .. i, views[i]:read())
      end
      q:give_back(views[2])
      q:give_back(views[1])
      q:release(views[3])
      assert.same({"m1", "m2", "m4"}, drain(q))
      assert.equal(0, q:stats().used)
    end)

  it("PERL:03_peek.t say what they are: bytes, or a value", function()
    each_kind(4096, function(from, to)
      for _, value in ipairs {"text", "", 17, {1, {2}}, false} do
        from:send(value)
        local view, kind = assert(to:peek(0))
        local got = view:read()
        if type(value) == "string" then
          assert.equal("bytes", kind)
        else
          assert.equal("value", kind)
          got = ipc.codec.decode(got)
        end
        assert.same(value, got)
        to:release(view)
      end
    end)
  end)

  it("ICE:sample_received_from_dropped_publisher_does_not_block_new_publishers "
    .. "are one receiver's; others get what is behind", function()
      local q <close> = assert(channel.queue())
      q:send "first"
      q:send "second"
      local view = assert(q:peek(0))
      finish(child(function()
        return q:receive(WAIT) == "second" and select(2, q:receive(0)) ==
          "timeout"
      end))
      assert.equal("first", view:read())
      assert.is_true(q:release(view))
      t.timed_out(q:receive(0))
    end)

  it("ICE:sample_from_dropped_subscriber_does_not_block_new_subscribers come "
    .. "again when who looked is killed, or closes", function()
      local q <close> = assert(channel.queue())
      q:send "again"
      for _, how in ipairs {"KILL", "close", "exit"} do
        local other = child(function()
          local view = assert(q:peek(WAIT))
          if how == "KILL" then ipc.signal.raise "KILL" end
          if how == "close" then q:close() end
          return tostring(view) ~= nil
        end)
        other:wait(WAIT)
        other:close()
      end
      assert.equal("again", q:receive(WAIT))
      assert.equal(3, q:stats().redelivered)
    end)

  it("ICE:when_everything_is_dropped_the_sample_can_still_be_consumed stay "
    .. "when the channel ends, to the last", function()
      each_kind(4096, function(from, to)
        from:send "one"
        from:send "two"
        local view = assert(to:peek(0))
        from:shutdown()
        assert.equal("one", view:read())
        assert.is_true(to:release(view))
        view = assert(to:peek(0))
        assert.equal("two", view:read())
        to:release(view)
        t.refused("EPIPE", to:peek(0))
      end)
    end)

  it("AGR:shouldReceiveFirstMessageFromBuffer cannot be written to", function()
    each_kind(4096, function(from, to)
      from:send "read only"
      local view = assert(to:peek(0))
      t.raises("read-only", view.write, view, 0, "x")
      t.raises("read-only", view.fill, view, 0, 1, "x")
      local part = view:view(0, 4)
      t.raises("read-only", part.write, part, 0, "x")
      assert.equal("read", part:read())
      to:release(view)
      t.raises("closed region", part.read, part)
    end)
  end)
end)
