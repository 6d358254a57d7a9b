-- Memory that runs out, at each single allocation: channels and the codec. What
-- was sent is received once, and in order, however often memory ran out in the
-- middle. See spec/oom_spec.lua.
local t = require "support"

local PRELUDE = [[
  local _ = ("x"):rep(10000)
  local ipc = require "unixipc"
  local channel, codec, errno = ipc.channel, ipc.codec, ipc.errno
  local DEEP = {1, {2, {3, {4, {name = "deep", list = {5, 6, 7}}}}}}
  local values = {
    "a", ("short"):rep(20), ("long"):rep(2500), DEEP, ("long too"):rep(1000),
    {id = 1, name = "n", price = 1.5, ok = true}, false, ("z"):rep(5000), 42,
    {("in a table"):rep(1000)}, "end",
  }
  local function same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then return a == b end
    for k, v in pairs(a) do if not same(v, b[k]) then return false end end
    for k in pairs(b) do if a[k] == nil then return false end end
    return true
  end
  -- It goes on where memory ran out; that may be between what is received and
  -- what is then done with it.
  local sent, got = 0, 0
  local is_taken, taken, message
  local function run(ch, take)
    while sent < #values do
      assert(ch:send(values[sent + 1], 0))
      sent = sent + 1
    end
    while got < #values do got = got + take(ch) end
    local value, _, code = ch:receive(0)
    assert(value == nil and code == errno.ETIMEDOUT)
    assert(#ch == 0)
    sent, got = 0, 0
  end
  local function take_one(ch)
    if not is_taken then taken, message = ch:receive(0) is_taken = true end
    assert(message == nil, message)
    assert(same(taken, values[got + 1]), got)
    is_taken = false
    return 1
  end
]]

local function survives(least, script)
  t.out_of_memory.survives(least, PRELUDE .. script)
end

describe("Out of memory", function()
  for what, maker in pairs {
    ["a queue"] = "channel.queue()",
    ["a queue of one to one"] = "channel.queue(nil, {single = true})",
    ["a broadcast"] = "channel.broadcast(nil, {subscribe = 'new'})",
    ["a broadcast that drops"] =
      "channel.broadcast(nil, {subscribe = 'new', policy = 'drop'})",
  } do
    it("loses nothing of " .. what, function()
      survives(10, ([[
        local ch = assert(%s)
        return function() run(ch, take_one) end
      ]]):format(maker))
    end)
  end

  it("loses nothing of many that are received at once", function()
    survives(10, [[
      local ch = assert(channel.queue())
      return function()
        run(ch, function()
          if not is_taken then
            taken, message = ch:receive_many(4, 0)
            is_taken = true
          end
          assert(message == nil, message)
          for i = 1, taken.n do assert(same(taken[i], values[got + i])) end
          is_taken = false
          return taken.n
        end)
      end
    ]])
  end)

  it("sends many in their order", function()
    survives(5, [[
      local ch = assert(channel.queue())
      return function()
        while ch:receive(0) ~= nil do end -- of a time before
        assert(ch:send_many(values, 0) == #values)
        for i = 1, #values do assert(same(ch:receive(0), values[i])) end
      end
    ]])
  end)

  it("loses no loan", function()
    survives(5, [[
      local ch = assert(channel.queue())
      return function()
        while true do -- of a time before
          local view = ch:peek(0)
          if not view then break end
          assert(ch:release(view))
        end
        local loan = assert(ch:reserve(5, 0))
        loan:write(0, "12345")
        assert(ch:commit(loan))
        local view = assert(ch:peek(0))
        assert(view:read() == "12345")
        assert(ch:give_back(view))
        view = assert(ch:peek(0))
        assert(ch:release(view))
        assert(#ch == 0)
      end
    ]])
  end)

  it("loses no request of a service", function()
    survives(10, [[
      local service = assert(channel.service())
      -- The server is a handler of signals, that come while the client waits.
      local function serve()
        local request <close>, value = service:accept(0)
        if request then assert(request:reply(value, 0)) end
      end
      assert(ipc.signal.handle("SIGUSR1", serve))
      return function()
        for i = 1, #values do
          local timer <close> = assert(ipc.signal.timer {after = 0.001,
            every = 0.001, signal = "SIGUSR1"})
          local value, message = service:call(values[i], 5)
          assert(message == nil, message)
          assert(same(value, values[i]))
        end
      end
    ]])
  end)

  it("opening channels of every kind", function()
    survives(20, [[
      return function()
        for _, kind in ipairs {"queue", "broadcast", "service"} do
          local made <close> = assert(channel[kind]())
          assert(tostring(made):find(kind) and #made:participants() >= 0)
          assert(made:stats().sent == 0)
        end
        local here, there = assert(channel.duplex())
        here:send {1, 2, 3}
        assert(there:receive(0)[3] == 3)
        here:close()
        assert(select(3, there:receive(0)) == errno.EPIPE)
        there:close()
      end
    ]])
  end)

  it("making named ones, and listing them", function()
    survives(20, [[
      return function()
        local name = "/oom" .. math.tointeger(ipc.process.pid())
        local made <close> = assert(channel.queue(name,
          {create = true, temporary = true}))
        local same <close> = assert(channel.queue(name))
        same:send "x"
        assert(made:receive(0) == "x")
        local found = false
        for _, entry in ipairs(assert(channel.list())) do
          found = found or entry.name == name
        end
        assert(found)
      end
    ]])
  end)

  it("encoding and decoding", function()
    survives(20, [[
      local Point = {}
      return function()
        codec.register(1, Point, function(p) return {p.x, p.y} end,
          function(list) return setmetatable({x = list[1], y = list[2]}, Point)
          end)
        local bytes = codec.encode {values, setmetatable({x = 1, y = 2}, Point)}
        local copy = codec.decode(bytes)
        assert(same(copy[1], values) and copy[2].y == 2)
        assert(getmetatable(copy[2]) == Point)
      end
    ]])
  end)
end)
