-- Functions of classes and finalizers that use the very channel that a call of
-- theirs is about.
local t = require "support"
local ipc = require "unixipc"

local channel, process = ipc.channel, ipc.process

local SMALL <const> = {capacity = 4096, slots = 4}
local ROUNDS <const> = 1500

local Hooked, hook = {}, nil
ipc.codec.register(19, Hooked,
  function(object)
    if hook then hook() end
    return object.n
  end,
  function(n)
    if hook then hook() end
    return setmetatable({n = n}, Hooked)
  end)

local function hooked(n)
  return setmetatable({n = n}, Hooked)
end

local function with_hook(fn, ...)
  hook = fn
  local results = table.pack(pcall(...))
  hook = nil
  return table.unpack(results, 1, results.n)
end

local function is_closed(ok, message)
  assert.is_false(ok)
  assert.truthy(message:find("closed channel", 1, true), message)
end

-- Closed by a finalizer at any moment, a call raises or has done its work.
local function close_any_time(make, use)
  for _ = 1, ROUNDS do
    local ch <close> = assert(make())
    setmetatable({}, {__gc = function() ch:close() end})
    local ok, message = pcall(use, ch)
    assert(ok or tostring(message):find("closed", 1, true), message)
  end
end

describe("A channel that is closed by the value's class", function()
  after_each(function() hook = nil end)

  local function closed_in(ch, ...)
    is_closed(with_hook(function() ch:close() end, ...))
  end

  it("does not send", function()
    local queue = channel.queue()
    closed_in(queue, queue.send, queue, hooked(1), 0)
    queue = channel.queue()
    closed_in(queue, queue:sender(), hooked(1), 0)
    queue = channel.queue()
    closed_in(queue, queue.send_many, queue, {"x", hooked(1), "y"}, 0)
  end)

  it("does not call", function()
    local service = channel.service()
    closed_in(service, service.call, service, hooked(1), 0)
  end)

  it("does not reply", function()
    local service = channel.service()
    local client <close> = assert(process.fork(function()
      service:call("x", 20 * t.slow)
    end))
    local request = assert(service:accept(20 * t.slow))
    closed_in(service, request.reply, request, hooked(1), 0)
    client:wait()
  end)
end)

describe("A channel that is closed by a finalizer", function()
  it("raises in reserve", function()
    close_any_time(function() return channel.queue(nil, SMALL) end,
      function(queue)
        local loan = queue:reserve(10, 0)
        if loan then queue:abort(loan) end
      end)
  end)

  it("raises in send", function()
    close_any_time(function() return channel.queue(nil, SMALL) end,
      function(queue)
        while queue:send({("x"):rep(1500)}, 0) do end
      end)
  end)

  it("raises in receive, and in peek", function()
    close_any_time(
      function() return channel.queue(nil, {capacity = 1 << 15}) end,
      function(queue)
        queue:send(("x"):rep(5000), 0)
        queue:send("y", 0)
        queue:receive(0)
        queue:peek(0)
      end)
  end)

  it("raises in accept, and in call", function()
    close_any_time(function() return channel.service(nil, SMALL) end,
      function(service)
        service:accept(0)
        service:call({}, 0)
      end)
  end)
end)

describe("A long string that is being received", function()
  it("may be taken by a finalizer", function()
    local q <close> = assert(channel.queue())
    local text = ("x"):rep(60000)
    local got, why, finalizes = {}, nil, false
    local function take()
      local message, problem, code = q:receive(0)
      if message then got[#got + 1] = tonumber(message:match "%d+") end
      if not message and code ~= ipc.errno.ETIMEDOUT then why = problem end
    end
    local function finalizer()
      if finalizes then take() end
    end
    for i = 1, ROUNDS do
      q:send(i .. text)
      finalizes = i % 2 == 0
      if finalizes then setmetatable({}, {__gc = finalizer}) end
      take()
      assert.is_nil(why)
    end
    finalizes = false
    while #q > 0 do take() end
    table.sort(got)
    assert.equal(ROUNDS, #got)
    for i = 1, ROUNDS do assert(got[i] == i, got[i]) end
  end)
end)

describe("A subscriber", function()
  after_each(function() hook = nil end)

  it("does not leave while a value is decoded", function()
    local ch <close> = assert(channel.broadcast(nil, {subscribe = "new"}))
    assert(ch:send(hooked(1)))
    assert(ch:send "next")
    local ok, message = with_hook(function() ch:unsubscribe() end,
      ch.receive, ch, 0)
    assert.is_false(ok)
    assert.truthy(message:find "while a value is decoded")
    assert.equal(1, #ch)
    assert.equal("next", ch:receive(0))
  end)

  it("may leave and join in finalizers, whenever they run", function()
    local ch <close> = assert(channel.broadcast(nil, {subscribe = "new"}))
    for i = 1, 5 * ROUNDS do
      assert(ch:send("message " .. i))
      setmetatable({}, {__gc = function()
        ch:unsubscribe()
        ch:subscribe()
      end})
      local got, why = ch:receive(0)
      assert(got == "message " .. i or why == "timeout", why)
      assert(#ch == 0)
    end
  end)
end)

describe("A loan that nobody ended", function()
  local makers = {
    queue = function() return channel.queue() end,
    ["queue of one"] = function()
      return channel.queue(nil, {single = true})
    end,
    broadcast = function()
      return channel.broadcast(nil, {subscribe = "new"})
    end,
    duplex = function() return channel.duplex() end,
  }

  local function close(view) view:close() end
  local function drop() end

  for kind, make in pairs(makers) do
    for how, fn in pairs {closed = close, collected = drop} do
      it("is aborted when it is " .. how .. ": " .. kind, function()
        local ch <close>, other = make()
        fn(assert(ch:reserve(10, 0)))
        collectgarbage()
        collectgarbage()
        assert(ch:send("next", 0))
        assert.equal("next", (other or ch):receive(0))
        if other then other:close() end
      end)

      it("is given back when it is " .. how .. ": " .. kind, function()
        local ch <close>, other = make()
        assert(ch:send("one", 0))
        assert(ch:send("two", 0))
        fn(assert((other or ch):peek(0)))
        collectgarbage()
        collectgarbage()
        assert.equal("one", (other or ch):receive(0))
        assert.equal("two", (other or ch):receive(0))
        if other then other:close() end
      end)
    end
  end
end)
