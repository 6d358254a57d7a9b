local t = require "support"
local ipc = require "unixipc"

local channel, process = ipc.channel, ipc.process

local SOON = 5 * t.slow

local function in_child(fn, ...)
  return assert(process.fork(fn, ...))
end

local function finish(...)
  for _, child in ipairs {...} do
    assert.same({"exit", 0}, {child:wait(4 * SOON)})
  end
end

describe("channel.service", function()
  local function serve(service, fn)
    return in_child(function()
      while true do
        local request, value = service:accept()
        if not request then return end
        if value == "die" then
          ipc.signal.raise "KILL"
        end
        fn(request, value)
      end
    end)
  end

  local function double(request, value)
    if type(value) ~= "number" then return request:refuse "no number" end
    assert(request:reply(2 * value))
  end

  it("answers who asked", function()
    local service <close> = assert(channel.service())
    local children = {serve(service, double), serve(service, double)}
    local clients = {}
    for c = 1, 3 do
      clients[c] = in_child(function()
        for i = 1, 300 do
          assert(service:call(c * 1000 + i, SOON) == 2 * (c * 1000 + i))
        end
      end)
    end
    finish(table.unpack(clients))
    local value, message, code = service:call("x", SOON)
    assert.same({nil, "no number", ipc.errno.EREMOTEIO},
      {value, message, code})
    service:shutdown()
    finish(table.unpack(children))
  end)

  it("answers nil and false", function()
    local service <close> = assert(channel.service())
    local server = serve(service, function(request, value)
      request:reply(value)
    end)
    local value, message = service:call(nil, SOON)
    assert.is_nil(value)
    assert.is_nil(message)
    assert.is_false((service:call(false, SOON)))
    service:shutdown()
    finish(server)
  end)

  it("times out, and drops the reply that is late", function()
    local service <close> = assert(channel.service())
    t.timed_out(service:call("late", 0.01))
    local request, value = service:accept(SOON)
    assert.equal("late", value)
    local server = in_child(function()
      local mine = service:accept(SOON)
      return mine:reply "second"
    end)
    assert.is_true(request:reply "first")
    assert.equal("second", service:call("x", SOON))
    finish(server)
    t.raises("closed channel request", request.reply, request, "again")
    t.timed_out(service:accept(0))
  end)

  it("gives nobody the reply to one who had the place before", function()
    local service <close> = assert(channel.service())
    local first = in_child(function()
      return select(2, service:call("first", 0)) == "timeout"
    end)
    finish(first)
    assert.is_true(service:accept(SOON):reply "to the first")
    local second = in_child(function() -- in the first one's place
      return service:call("second", SOON) == "to the second"
    end)
    local request, value = service:accept(SOON)
    assert.equal("second", value)
    assert.is_true(request:reply "to the second")
    finish(second)
  end)

  it("keeps nothing of calls that ended by an error", function()
    local service <close> = assert(channel.service())
    local function fail(n)
      for _ = 1, n do t.raises("function", service.call, service, print) end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    local before = fail(1000)
    assert.is_true(fail(30000) - before < 100)
  end)

  it("refuses what is longer than it takes", function()
    local service <close> = assert(channel.service(nil,
      {capacity = 4096, reply_capacity = 4096}))
    local long = {("x"):rep(4096)}
    local client = in_child(function()
      return service:call("short", SOON) == "short too"
    end)
    t.refused("EMSGSIZE", service:call(long, SOON))
    local request = assert(service:accept(SOON))
    t.refused("EMSGSIZE", request:reply(long))
    assert.is_true(request:reply "short too")
    finish(client)
  end)

  it("fails a request whose server died", function()
    local service <close> = assert(channel.service())
    local server = serve(service, double)
    t.refused("ECANCELED", service:call("die", SOON))
    server:wait()
  end)

  it("gives it to another server, if told to", function()
    local service <close> = assert(channel.service(nil, {retry = true}))
    local first = serve(service, double)
    local client = in_child(function()
      return service:call("die", 4 * SOON) == "survived"
    end)
    first:wait()
    local request, value = service:accept(SOON)
    assert.equal("die", value)
    assert.is_true(request:reply "survived")
    finish(client)
  end)

  it("gives back a request that is closed", function()
    local service <close> = assert(channel.service())
    local client = in_child(function()
      return service:call("x", SOON) == "y"
    end)
    do
      local request <close> = assert(service:accept(SOON))
      assert.truthy(tostring(request):find "^channel request")
    end
    local request = assert(service:accept(SOON))
    assert.is_true(request:reply "y")
    finish(client)
  end)

  it("refuses what cannot be decoded, and goes on", function()
    local Bad = {}
    ipc.codec.register(17, Bad, function() return 1 end,
      function() error "cannot be made" end)
    local service <close> = assert(channel.service())
    local client = in_child(function()
      local value, message, code = service:call(setmetatable({}, Bad), SOON)
      assert(value == nil and code == ipc.errno.EREMOTEIO, message)
      return service:call("good", SOON) == "answer"
    end)
    t.raises("cannot be made", service.accept, service, SOON)
    local request, value = service:accept(SOON)
    assert.equal("good", value)
    assert.is_true(request:reply "answer")
    finish(client)
  end)

  it("may be served by a handler of signals, whenever one comes", function()
    local Point = {}
    ipc.codec.register(18, Point, function(point) return point.x end,
      function(x)
        ipc.signal.raise "SIGUSR1"
        return setmetatable({x = x}, Point)
      end)
    local service <close> = assert(channel.service())
    local served = 0
    ipc.signal.handle("SIGUSR1", function()
      local request, value = service:accept(0)
      if not request then return end
      served = served + 1
      assert(request:reply(value))
    end)
    local timer <close> = assert(ipc.signal.timer {after = 0.001,
      every = 0.001, signal = "SIGUSR1"})
    for i = 1, 50 do
      local got = assert(service:call(setmetatable({x = i}, Point), SOON))
      assert.equal(i, got.x)
    end
    timer:close()
    ipc.signal.dispatch()
    ipc.signal.handle("SIGUSR1", "default")
    assert.equal(50, served)
  end)

  it("stands in a poller, for its servers", function()
    local service <close> = assert(channel.service())
    local client = in_child(function()
      return service:call(20, SOON) == 40
    end)
    local request, value
    repeat
      assert(ipc.poll.wait({service}, SOON))
      request, value = service:accept(0)
    until request
    assert(request:reply(2 * value))
    finish(client)
    t.timed_out(service:accept(0))
    assert.same({}, (ipc.poll.wait({service}, 0)) or {})
  end)

  it("is none of the other kinds", function()
    local service <close> = channel.service()
    local queue <close> = channel.queue()
    for _, method in ipairs {"send", "receive", "peek", "receive_many"} do
      t.refused("ENOTSUP", service[method](service, 1, 0))
    end
    t.refused("ENOTSUP", queue:call "x")
    t.refused("ENOTSUP", queue:accept())
    t.refused("ENOTSUP", queue:subscribe())
  end)
end)
