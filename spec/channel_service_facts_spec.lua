-- What other people's suites check of requests and replies, beyond the spec of
-- services. NNG are the tests of nng's req and rep, ICE those of iceoryx2's
-- request-response, ZMQ those of libzmq.
local t = require "support"
local signals = require "support.signals"
local channels = require "support.channels"
local ipc = require "unixipc"

local channel, process, errno = ipc.channel, ipc.process, ipc.errno
local child, finish, gate = channels.child, channels.finish, channels.gate
local WAIT = channels.WAIT

local function new(options)
  return assert(channel.service(nil, options))
end

-- A child that serves until the service is shut down.
local function server(service, answer)
  return child(function()
    while true do
      local request, value = service:accept(WAIT)
      if not request then return end
      answer(request, value)
    end
  end)
end

local function echo(request, value)
  request:reply(value)
end

-- Children that each call once: the reply must be the request.
local function clients(service, n)
  local list = {}
  for i = 1, n do
    list[i] = child(function() return service:call(i, WAIT) == i end)
  end
  return list
end

describe("A client", function()
  it("NNG:req:rep_exchange gets the reply to each of its requests", function()
    local service <close> = new()
    local other = server(service, echo)
    for _, value in ipairs {"ping", "", 1, {1, {2}}, ("x"):rep(10000), false} do
      assert.same(value, (service:call(value, WAIT)))
    end
    service:shutdown()
    finish(other)
  end)

  it("ICE:responses_are_delivered_only_to_the_client_with_the_request "
    .. "ICE:server_can_receive_max_amount_of_requests_from_max_clients gets "
    .. "its own reply, in whatever order they come", function()
      local service <close> = new()
      local list = clients(service, 8)
      local requests = {}
      for i = 1, 8 do
        local request, value = service:accept(WAIT)
        requests[i] = {request, value}
      end
      t.timed_out(service:accept(0))
      for _, i in ipairs {8, 1, 5, 2, 7, 3, 6, 4} do
        assert.is_true(requests[i][1]:reply(requests[i][2]))
      end
      finish(table.unpack(list))
    end)

  it("NNG:req:cancel ZMQ:test_req_correlate ICE:responses_from_previous_"
    .. "requests_are_filtered_out is not given the late replies to calls that "
    .. "it gave up", function()
      local service <close> = new()
      for i = 1, 5 do t.timed_out(service:call(i, 0)) end
      for i = 1, 5 do
        local request, value = service:accept(WAIT)
        assert.equal(i, value)
        assert.is_true(request:reply("late " .. i))
      end
      local other = server(service, echo)
      assert.equal("sixth", service:call("sixth", WAIT))
      service:call("in time or not", 0)
      assert.equal("last", service:call("last", WAIT))
      service:shutdown()
      finish(other)
    end)

  it("NNG:req:cancel_post_recv whose reply comes when it has given up calls "
    .. "again a thousand times", function()
      local service <close> = new()
      local other = server(service, echo)
      local late = 0
      for i = 1, 1000 do
        local value, why = service:call(i, i % 3 == 0 and 0 or WAIT)
        if why then late = late + 1 end
        assert.is_true(value == i or why == "timeout")
      end
      assert.is_true(late <= 334)
      service:shutdown()
      finish(other)
    end)

  it("NNG:req:ctx_recv_nonblock waits as long as it said, not less", function()
    local service <close> = new()
    local seconds = t.took(function()
      t.timed_out(service:call("x", 0.03))
    end)
    assert.is_true(seconds >= 0.03)
    local held = child(function()
      local request = service:accept(WAIT)
      return select(2, service:accept(WAIT)) == "y" and request ~= nil
    end)
    signals.await_state(held.pid, "S")
    t.timed_out(service:call("y", 0.03))
    finish(held)
  end)

  -- A server that takes a request and leaves with it, one way or another.
  local function leave(service, how)
    local bad = child(function()
      local request = assert(service:accept(WAIT))
      if how == "KILL" then ipc.signal.raise "KILL" end
      if how == "close" then service:close() end
      process.exit(request and 0 or 1)
    end)
    bad:wait(WAIT)
    bad:close()
  end

  it("NNG:req:disconnect_no_retry NNG:req:disconnect_abort is told that its "
    .. "server left, and no other server gets it", function()
      for _, how in ipairs {"close", "exit", "KILL"} do
        local service <close> = new()
        local client = child(function()
          return select(3, service:call(1, WAIT)) == errno.ECANCELED
        end)
        leave(service, how)
        finish(client)
        t.timed_out(service:accept(0))
      end
    end)

  it("NNG:req:resend_disconnect NNG:req:resend_reconnect of a service that "
    .. "retries is served by the next, now or later", function()
      for _, how in ipairs {"close", "exit", "KILL"} do
        local service <close> = new {retry = true}
        local client = clients(service, 1)[1]
        leave(service, how)
        local request, value = service:accept(WAIT)
        assert.equal(1, value)
        request:reply(value)
        finish(client)
      end
    end)

  it("ICE:sent_responses_from_disconnected_servers_can_be_received gets the "
    .. "reply of a server that is killed right after it", function()
      for round = 1, 10 do
        local service <close> = new()
        local other = child(function()
          service:accept(WAIT):reply(round)
          ipc.signal.raise "KILL"
        end)
        assert.equal(round, (service:call("x", WAIT)))
        other:wait(WAIT)
        other:close()
      end
    end)

  it("ZMQ:test_block_on_send_no_peers may call before there is a server",
    function()
      local service <close> = new()
      local list = clients(service, 3)
      for _, client in ipairs(list) do signals.await_state(client.pid, "S") end
      assert.equal(3, #service)
      local other = server(service, echo)
      finish(table.unpack(list))
      service:shutdown()
      finish(other)
    end)

  it("ZMQ:test_fork that forks calls in both processes, and each gets its own "
    .. "replies", function()
      local service <close> = new()
      local other = server(service, echo)
      assert.equal("before", service:call("before", WAIT))
      local second = child(function()
        for i = 1, 100 do assert(service:call(-i, WAIT) == -i) end
      end)
      for i = 1, 100 do assert.equal(i, (service:call(i, WAIT))) end
      finish(second)
      service:shutdown()
      finish(other)
    end)

  it("ICE:backpressure_strategy_block_blocks_when_server_buffer_is_full waits "
    .. "for room, as long as it said", function()
      local service <close> = new {capacity = 1024}
      local n = 0
      repeat
        local _, why = service:call(("x"):rep(200), 0)
        n = n + 1
        assert.equal("timeout", why)
      until #service < n or n > 100
      assert.is_true(n <= 10)
      t.timed_out(service:call("more", 0.01))
      local other = server(service, echo)
      assert.equal("again", service:call("again", WAIT))
      service:shutdown()
      finish(other)
    end)
end)

describe("A server", function()
  it("ICE:receiving_requests_works_with_server_created_first "
    .. "NNG:rep:poll_readable that waits is woken by a request", function()
      local service <close> = new()
      local other = server(service, echo)
      signals.await_state(other.pid, "S")
      assert.equal("x", service:call("x", WAIT))
      service:shutdown()
      finish(other)
    end)

  it("ICE:sent_requests_from_disconnected_clients_can_be_received "
    .. "NNG:rep:close_pipe_before_send serves on when a client has gone, "
    .. "before or after it was accepted", function()
      local service <close> = new()
      local dead = clients(service, 1)[1]
      signals.await_state(dead.pid, "S")
      channels.kill(dead)
      local request, value = service:accept(0)
      if request then
        assert.equal(1, value)
        local ok, _, code = request:reply "nobody"
        assert.is_true(ok or code == errno.ECONNRESET)
      end
      dead = clients(service, 1)[1]
      request = assert(service:accept(WAIT))
      channels.kill(dead)
      local ok, _, code = request:reply "nobody"
      assert.is_true(ok or code == errno.ECONNRESET)
      t.timed_out(service:accept(0))
    end)

  it("ICE:reconnecting_clients_do_not_exhaust_server_connection_storage many "
    .. "clients die with replies on their way, others are served", function()
      local service <close> = new {slots = 4, reply_capacity = 4096}
      for _ = 1, 20 do
        local dead = clients(service, 1)[1]
        local request = assert(service:accept(WAIT))
        channels.kill(dead)
        request:reply(("x"):rep(1000), 0)
      end
      collectgarbage()
      local client = child(function()
        return service:call("alive", WAIT) ~= nil
      end)
      local request, value
      repeat
        request, value = assert(service:accept(WAIT))
        request:reply(value)
      until value == "alive"
      finish(client)
    end)

  it("NNG:rep:huge_send may say a lot, and goes on with others", function()
    local service <close> = new {reply_capacity = 1 << 21}
    local big = ("0123456789abcdef"):rep(1 << 15)
    local other = server(service, function(request, value)
      request:reply(value == "R" and big or value)
    end)
    for _ = 1, 5 do
      assert.is_true(service:call("R", WAIT) == big)
      assert.equal("E", service:call("E", WAIT))
    end
    service:shutdown()
    finish(other)
  end)

  it("NNG:rep:huge_send whose reply is too long is told, and may send a "
    .. "shorter one", function()
      local service <close> = new {reply_capacity = 1024}
      local client = child(function()
        return service:call("x", WAIT) == "shorter"
      end)
      local request = assert(service:accept(WAIT))
      t.refused("EMSGSIZE", request:reply(("x"):rep(2000)))
      t.raises("cannot travel", request.reply, request, {print})
      assert.is_true(request:reply "shorter")
      finish(client)
    end)

  it("NNG:rep:send_bad_state replies once, and no more after it refused",
    function()
      local service <close> = new()
      local list = {child(function()
        return select(3, service:call("x", WAIT)) == errno.EREMOTEIO
      end)}
      local request = assert(service:accept(WAIT))
      assert.is_true(request:refuse "no")
      t.raises("closed channel request", request.reply, request, 1)
      t.raises("closed channel request", request.refuse, request, "no")
      assert.is_true(request:close())
      finish(table.unpack(list))
    end)

  it("ICE:drop_closes_connection_to_pending_response gives a request back that "
    .. "it closes, or loses", function()
      local service <close> = new()
      local client = clients(service, 1)[1]
      for _ = 1, 3 do
        local request <close>, value = assert(service:accept(WAIT))
        assert.equal(1, value)
        assert(request)
      end
      assert(service:accept(WAIT))
      collectgarbage()
      collectgarbage()
      local request, value = service:accept(WAIT)
      assert.is_true(request:reply(value))
      finish(client)
    end)

  it("ICE:communication_with_max_clients_and_servers_works of four clients "
    .. "with two others", function()
      local service <close> = new {capacity = 1024, reply_capacity = 1024}
      local servers = {}
      for i = 1, 3 do servers[i] = server(service, echo) end
      local list = {}
      for c = 1, 4 do
        list[c] = child(function()
          for i = 1, 200 do
            local n = c * 1000 + i
            assert(service:call(n, WAIT) == n)
          end
        end)
      end
      finish(table.unpack(list))
      service:shutdown()
      finish(table.unpack(servers))
      local stats = service:stats()
      assert.same({800, 800, 0}, {stats.sent, stats.received,
        stats.redelivered})
    end)

  it("ZMQ:test_round_robin_out one that is stopped holds up nobody but the one "
    .. "whom it serves", function()
      local service <close> = new()
      local taken <close> = gate()
      local stopped = server(service, function(request, value)
        taken:open()
        process.sleep(0.02)
        request:reply(value)
      end)
      local client = clients(service, 1)[1]
      taken:pass()
      stopped:kill "STOP"
      signals.await_state(stopped.pid, "T")
      local other = server(service, echo)
      for i = 2, 20 do assert.equal(i, (service:call(i, WAIT))) end
      stopped:kill "CONT"
      finish(client)
      service:shutdown()
      finish(stopped, other)
    end)

  it("ERL:gen_server calls another service before it answers", function()
    local front <close> = new()
    local back <close> = new()
    local doubling = server(back, function(request, value)
      request:reply(2 * value)
    end)
    local asking = server(front, function(request, value)
      request:reply(back:call(value, WAIT) + 1)
    end)
    for i = 1, 100 do assert.equal(2 * i + 1, (front:call(i, WAIT))) end
    front:shutdown()
    back:shutdown()
    finish(doubling, asking)
  end)

  it("ERL:gen_server of two may call its own service", function()
    local service <close> = new()
    local function factorial(request, n)
      request:reply(n < 2 and 1 or n * service:call(n - 1, WAIT))
    end
    local list = {}
    for i = 1, 5 do list[i] = server(service, factorial) end
    assert.equal(120, (service:call(5, WAIT)))
    service:shutdown()
    finish(table.unpack(list))
  end)

  it("ERL:gen_server answers later, and others first", function()
    local service <close> = new()
    local other = child(function()
      local first = service:accept(WAIT)
      for _ = 1, 3 do
        local request, value = service:accept(WAIT)
        request:reply(value)
      end
      first:reply(0)
    end)
    local early = child(function() return service:call("wait", WAIT) == 0 end)
    signals.await_state(early.pid, "S")
    channels.await(function() return service:stats().sent == 1 end)
    for i = 1, 3 do assert.equal(i, (service:call(i, WAIT))) end
    finish(early, other)
  end)
end)

describe("A service that ends", function()
  it("NNG:req:ctx_recv_close_socket NNG:rep:ctx_recv_aio_stopped tells who "
    .. "calls and who waits for calls", function()
      local service <close> = new()
      local waiting = child(function()
        return select(3, service:accept(WAIT)) == errno.EPIPE
      end)
      signals.await_state(waiting.pid, "S")
      service:shutdown()
      finish(waiting)
      t.refused("EPIPE", service:call("x", WAIT))
      t.refused("EPIPE", service:accept(WAIT))
    end)

  it("NNG:req:ctx_send_close nobody waits for a reply any more", function()
    local service <close> = new()
    local list = {}
    for i = 1, 2 do
      list[i] = child(function()
        return select(3, service:call(i, WAIT)) == errno.EPIPE
      end)
      signals.await_state(list[i].pid, "S")
    end
    local request = assert(service:accept(WAIT))
    service:shutdown()
    finish(table.unpack(list))
    t.refused("EPIPE", request:reply "late")
  end)
end)
