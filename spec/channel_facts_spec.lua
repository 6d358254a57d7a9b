-- What other people's suites check of values, sizes, loops and event loops,
-- beyond the specs of channel. Whose they are is said in
-- channel_queue_facts_spec.lua; NNG are the tests of nng.
local t = require "support"
local channels = require "support.channels"
local ipc = require "unixipc"

local channel, process, poll, errno =
  ipc.channel, ipc.process, ipc.poll, ipc.errno
local child, finish, gate = channels.child, channels.finish, channels.gate
local drain, WAIT = channels.drain, channels.WAIT
local each_kind = channels.each_kind

local function ready(objects, timeout)
  local list, why = poll.wait(objects, timeout)
  if not list then return {}, why end
  return list
end

describe("A message", function()
  it("PY:_TestQueue.test_queue_feeder_donot_stop_onexc that cannot travel "
    .. "takes no place, and those after it come", function()
      each_kind({capacity = 1024}, function(q)
        for _ = 1, 200 do
          t.raises("cannot travel", q.send, q, {("x"):rep(200), print})
        end
        assert.is_true(q:send(true, 0))
        assert.equal(1, #q)
        assert.is_true((q:receive(0)))
        assert.equal(0, q:stats().used)
      end)
    end)

  it("PY:_TestQueue.test_queue_feeder_donot_stop_onexc one of many that cannot "
    .. "travel", function()
      local q <close> = assert(channel.queue())
      t.raises("cannot travel", q.send_many, q, {1, 2, print, 4})
      local left = drain(q)
      assert.is_true(#left <= 2)
      for i, value in ipairs(left) do assert.equal(i, value) end
      assert.equal(3, q:send_many {1, 2, 3})
      assert.same({1, 2, 3}, drain(q))
    end)

  it("PY:_TestPoll.test_dont_merge PY:_TestPoll.test_strings is never part of "
    .. "another, nor nothing when it is empty", function()
      local strings = {"hello", "", "a", "b", "", "bye", "", "", "lop"}
      each_kind({}, function(q)
        local sender = child(function()
          for _, s in ipairs(strings) do q:send(s) end
        end)
        for _, s in ipairs(strings) do assert.equal(s, q:receive(WAIT)) end
        finish(sender)
        t.timed_out(q:receive(0))
      end)
    end)

  it("GO:test/zerosize.go IPCC:empty of no bytes is one too", function()
    each_kind({capacity = 1024}, function(q)
      local n = 0
      while q:send("", 0) do n = n + 1 end
      assert.is_true(n >= 32)
      assert.equal(n, #q)
      for _ = 1, n do assert.equal("", q:receive(0)) end
      t.timed_out(q:receive(0))
    end)
  end)

  it("IPCC:medium_data IPCC:full_packet IPCC:overfull_packet of every length "
    .. "about an edge keeps its bytes, all around the ring", function()
      each_kind({capacity = 16384}, function(q)
        local base = {}
        for i = 1, 10000 do base[i] = string.char(i * 7 % 251) end
        local all = table.concat(base)
        for _, edge in ipairs {8, 16, 64, 128, 256, 4096, q:limit()} do
          for n = edge - 3, math.min(edge + 3, q:limit()) do
            assert(q:send(all:sub(1, n), 0))
            assert(q:send({all:sub(1, n // 2)}, 0))
            assert.is_true(q:receive(0) == all:sub(1, n))
            assert.is_true(q:receive(0)[1] == all:sub(1, n // 2))
          end
        end
        local message = t.refused("EMSGSIZE", q:send(all:sub(1, q:limit() + 1)))
        assert.truthy(message:find(tostring(q:limit()), 1, true))
      end)
    end)

  it("IPCC:big_data IPCC:concurrent_senders PY:_TestConnection.test_connection "
    .. "of a megabyte, of three senders, is whole", function()
      local q <close> = assert(channel.queue(nil, {capacity = 1 << 22}))
      local senders = {}
      for i = 1, 3 do
        senders[i] = child(function()
          for _ = 1, 3 do
            assert(q:send(string.char(i, 0, 255, i):rep(1 << 18), WAIT))
          end
        end)
      end
      local count = {0, 0, 0}
      for _ = 1, 9 do
        local message = q:receive(WAIT)
        local i = message:byte()
        assert.is_true(message == string.char(i, 0, 255, i):rep(1 << 18))
        count[i] = count[i] + 1
      end
      assert.same({3, 3, 3}, count)
      finish(table.unpack(senders))
    end)

  it("PERL:02_refs.t of tables in tables is a copy: to change it changes "
    .. "nobody else's", function()
      local q <close> = assert(channel.queue())
      local value = {id = 1, list = {{"a"}, {"b"}}}
      q:send(value)
      value.list[1][1] = "changed"
      local got = q:receive(0)
      assert.same({id = 1, list = {{"a"}, {"b"}}}, got)
      q:send(got)
      q:send(got)
      assert.are_not.equal(q:receive(0), q:receive(0))
    end)

  it("RB:test_dump is no channel, nor what belongs to one", function()
    local q <close> = assert(channel.queue())
    local loan = assert(q:reserve(1))
    for _, value in ipairs {q, loan, q:sender(), q:receiver()} do
      t.raises("cannot travel", q.send, q, value)
      t.raises("cannot travel", q.send, q, {x = value})
    end
    q:abort(loan)
  end)

  it("IPCC:test_reentrant CB:array.rs:recv_in_send may be made by sending and "
    .. "receiving others", function()
      local Weird, q = {}, nil
      ipc.codec.register(90, Weird,
        function(object)
          q:send "inner"
          return object.value
        end, function(value) return {made = value} end)
      each_kind({}, function(queue)
        q = queue
        q:send(setmetatable({value = "outer"}, Weird))
        assert.same({"inner", {made = "outer"}}, drain(q))
      end)
    end)

  it("CB:array.rs:channel_through_channel a channel goes to another process as "
    .. "a descriptor, one in the wake of the other", function()
      local here, there = assert(ipc.socket.pair())
      local taker = child(function()
        here:close()
        for i = 1, 10 do
          local _, fds = assert(there:receive_fds(1, WAIT))
          local mine <close> = assert(channel.from(fds[1]))
          fds[1]:close()
          assert(mine:receive(WAIT) == i)
          assert(mine:send(-i))
          assert(there:write ".")
        end
      end)
      there:close()
      for i = 1, 10 do
        local q <close> = assert(channel.queue(nil, {capacity = 4096}))
        q:send(i)
        assert(here:send_fds("x", {q:descriptor()}))
        assert.equal(".", here:read(1, WAIT))
        assert.equal(-i, (q:receive(0)))
      end
      here:close()
      finish(taker)
    end)
end)

describe("A loop over what is received", function()
  it("CB:iter.rs:recv_iter_break PY:_TestQueue.test_task_done may be left and "
    .. "begun again, and one in the other", function()
      each_kind({}, function(q)
        for i = 1, 6 do q:send(i) end
        q:shutdown()
        local got = {}
        for value in q:receiver() do
          got[#got + 1] = value
          if value == 2 then break end
        end
        for value in q:receiver() do
          got[#got + 1] = value
          for inner in q:receiver() do got[#got + 1] = inner * 10 end
        end
        assert.same({1, 2, 3, 40, 50, 60}, got)
      end)
    end)

  it("PY:_TestQueue.test_task_done RB:test_queue a nil for each of the workers "
    .. "sends them home", function()
      local jobs <close> = assert(channel.queue())
      local done <close> = assert(channel.queue())
      local workers = {}
      for i = 1, 4 do
        workers[i] = child(function()
          for job in jobs:receiver() do done:send(job * 2) end
        end)
      end
      for i = 1, 200 do jobs:send(i) end
      for _ = 1, 4 do jobs:send(nil) end
      local sum = 0
      for _ = 1, 200 do sum = sum + done:receive(WAIT) end
      assert.equal(200 * 201, sum)
      finish(table.unpack(workers))
      assert.same({0, 0}, {#jobs, #done})
    end)

  it("CB:array.rs:stress_iter asks for one and takes all that there is",
    function()
      local asked <close> = assert(channel.queue(nil, {capacity = 1024}))
      local given <close> = assert(channel.queue(nil, {capacity = 1024}))
      local giver = child(function()
        for _ in asked:receiver() do
          if not given:send(1) then break end
        end
      end)
      local count = 0
      while count < 2000 do
        local list = given:receive_many(64, 0)
        count = count + (list and list.n or 0)
        asked:send(1)
        if #given > 32 then given:receive_many(16, 0) end
      end
      given:shutdown()
      asked:shutdown()
      finish(giver)
    end)

  it("GO:test/chan/sieve1.go of filters, one behind the other", function()
    local made, all = {}, {}
    local function queue()
      local q = assert(channel.queue(nil, {capacity = 1024}))
      made[#made + 1] = q
      return q
    end
    local source = queue()
    all[1] = child(function() for i = 2, 400 do source:send(i, WAIT) end end)
    local primes = {}
    for i = 1, 8 do
      local from, prime = source, source:receive(WAIT)
      primes[i] = prime
      source = queue()
      local to = source
      all[#all + 1] = child(function()
        for n in from:receiver() do
          if n % prime ~= 0 and not to:send(n, WAIT) then return end
        end
      end)
    end
    assert.same({2, 3, 5, 7, 11, 13, 17, 19}, primes)
    for _, q in ipairs(made) do q:shutdown() end
    finish(table.unpack(all))
    for _, q in ipairs(made) do q:close() end
  end)

  it("GO:test/chan/goroutines.go through a chain of processes", function()
    local chain, links = {}, 10
    for i = 0, links do
      chain[i] = assert(channel.queue(nil, {single = true}))
    end
    local all = {}
    for i = 1, links do
      all[i] = child(function()
        for n in chain[i]:receiver() do chain[i - 1]:send(n + 1) end
        chain[i - 1]:shutdown()
      end)
    end
    for n = 1, 20 do chain[links]:send(n * 100) end
    chain[links]:shutdown()
    for n = 1, 20 do
      assert.equal(n * 100 + links, (chain[0]:receive(WAIT)))
    end
    t.refused("EPIPE", chain[0]:receive(WAIT))
    finish(table.unpack(all))
    for i = 0, links do chain[i]:close() end
  end)
end)

describe("Many at once", function()
  it("CB:array.rs:linearizable who has sent receives something, whoever else "
    .. "does", function()
      local q <close> = assert(channel.queue(nil, {capacity = 4096}))
      local all = {}
      for i = 1, 4 do
        all[i] = child(function()
          for n = 1, 1500 do
            assert(q:send(n, WAIT))
            assert(q:receive(0))
          end
        end)
      end
      finish(table.unpack(all))
      assert.equal(0, #q)
    end)

  it("CB:array.rs:mpmc GO:chan_test.go:TestChan each number comes once from "
    .. "each sender", function()
      local q <close> = assert(channel.queue(nil, {capacity = 1024}))
      local back <close> = assert(channel.queue())
      local all, N = {}, 1000
      for i = 1, 3 do
        all[i] = child(function()
          for n = 1, N do assert(q:send(n, WAIT)) end
        end)
        all[3 + i] = child(function()
          local got = {}
          for _ = 1, N do
            local n = q:receive(WAIT)
            got[n] = (got[n] or 0) + 1
          end
          back:send(got)
        end)
      end
      finish(table.unpack(all))
      local sum = {}
      for _, got in ipairs(drain(back)) do
        for n, count in pairs(got) do sum[n] = (sum[n] or 0) + count end
      end
      for n = 1, N do assert.equal(3, sum[n]) end
    end)

  it("BIP:test_multi_sender_receiver senders and receivers as many, an empty "
    .. "message for the end of each", function()
      local q <close> = assert(channel.queue(nil, {capacity = 1024}))
      local senders, receivers = {}, {}
      for i = 1, 4 do
        senders[i] = child(function()
          for _ = 1, 1000 do assert(q:send("x", WAIT)) end
          assert(q:send("", WAIT))
        end)
        receivers[i] = child(function()
          while assert(q:receive(WAIT)) ~= "" do end
        end)
      end
      finish(table.unpack(receivers))
      finish(table.unpack(senders))
      assert.equal(0, #q)
    end)

  it("CB:array.rs:stress_timeout_two_threads with hardly any time nothing is "
    .. "lost and nothing comes twice", function()
      each_kind({capacity = 1024}, function(q)
        local long = ("x"):rep(q:limit() - 3)
        local sender = child(function()
          for i = 1, 200 do
            repeat until q:send(long .. 100 + i, 0.0001)
            if i % 50 == 0 then process.sleep(0.003) end
          end
        end)
        for i = 1, 200 do
          local value
          repeat value = q:receive(0.0001) until value
          assert.equal(tostring(100 + i), value:sub(-3))
          if i % 40 == 0 then process.sleep(0.003) end
        end
        finish(sender)
        t.timed_out(q:receive(0))
      end)
    end)

  it("GO:chan_test.go:TestSelfSelect two that send and receive by the same one",
    function()
      local q <close> = assert(channel.queue(nil, {capacity = 1024}))
      local function work()
        for i = 1, 1000 do
          assert(q:send(i, WAIT))
          assert(q:receive(WAIT))
        end
      end
      local one, two = child(work), child(work)
      finish(one, two)
      assert.equal(0, #q)
    end)

  it("CB:array.rs:stress_oneshot one message, again and again, on new ones",
    function()
      local name, go = {}, assert(channel.queue())
      for i = 1, 100 do name[i] = t.names.posix() end
      local sender = child(function()
        for i = 1, 100 do
          assert(go:receive(WAIT) == i)
          local q <close> = assert(channel.queue(name[i]))
          assert(q:send(i))
        end
      end)
      for i = 1, 100 do
        local q <close> = assert(channel.queue(name[i],
          {create = true, temporary = true, capacity = 1024}))
        go:send(i)
        assert.equal(i, (q:receive(WAIT)))
      end
      finish(sender)
      go:close()
    end)
end)

describe("In an event loop", function()
  it("PY:_TestPoll.test_empty_string NNG:pull:poll_readable is readable as "
    .. "long as there is something, also of no bytes", function()
      each_kind({}, function(q)
        ready({q}, 0)
        t.timed_out(q:receive(0))
        assert.same({}, ready({q}, 0))
        q:send ""
        for _ = 1, 3 do assert.same({q}, ready({q}, WAIT)) end
        assert.equal("", q:receive(0))
        t.timed_out(q:receive(0))
        assert.same({}, ready({q}, 0))
      end)
    end)

  it("PY:_TestPoll.test_boundaries to look takes nothing, in whatever process",
    function()
      local q <close> = assert(channel.queue())
      local looked <close> = gate()
      ready({q}, 0)
      t.timed_out(q:receive(0))
      local other = child(function()
        ready({q}, 0)
        assert(select(3, q:receive(0)) == errno.ETIMEDOUT)
        looked:open()
        return #ready({q}, WAIT) == 1
      end)
      looked:pass()
      q:send "first"
      assert.same({q}, ready({q}, WAIT))
      finish(other)
      assert.equal("first", q:receive(0))
    end)

  it("GO:chan_test.go:TestNonblockSelectRace one of two is always ready",
    function()
      local one <close> = assert(channel.queue(nil, {capacity = 1024}))
      local two <close> = assert(channel.queue(nil, {capacity = 1024}))
      local go <close> = gate()
      local ask <close> = gate()
      ready({one, two}, 0)
      drain(one)
      drain(two)
      local looker = child(function()
        for _ = 1, 200 do
          ask:pass()
          assert(#ready({one, two}, 0) > 0)
          go:open()
        end
      end)
      for _ = 1, 200 do
        one:send(1)
        ask:open()
        two:send(2)
        one:receive(0)
        go:pass()
        two:receive(0)
      end
      finish(looker)
    end)

  it("IPCC:receiver_set_concurrent CB:select.rs:fairness GO:chan_test.go:"
    .. "TestSelectStress many channels, none is left out", function()
      local list, senders, count = {}, {}, {}
      for i = 1, 4 do
        list[i] = assert(channel.queue(nil, {capacity = 1024,
          single = i % 2 == 0}))
        senders[i] = child(function()
          for n = 1, 500 do assert(list[i]:send(n, WAIT)) end
        end)
        count[list[i]] = 0
      end
      local poller <close> = assert(poll.new())
      for _, q in ipairs(list) do poller:add(q) end
      local left = 2000
      while left > 0 do
        for _, q in ipairs(assert(poller:wait(WAIT))) do
          local n = q:receive(0)
          if n then
            count[q], left = count[q] + 1, left - 1
            assert.equal(count[q], n)
          end
        end
      end
      finish(table.unpack(senders))
      for _, q in ipairs(list) do q:close() end
    end)

  it("CB:ready.rs:disconnected IPCC:receiver_set_close_after_adding its end is "
    .. "something to receive", function()
      each_kind({}, function(q)
        ready({q}, 0)
        t.timed_out(q:receive(0))
        local closer = child(function()
          process.sleep(0.005)
          q:shutdown()
        end)
        assert.same({q}, ready({q}, WAIT))
        t.refused("EPIPE", q:receive(0))
        assert.same({q}, ready({q}, 0))
        finish(closer)
      end)
    end)
end)
