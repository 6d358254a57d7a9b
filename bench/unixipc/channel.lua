-- Channels as a user of unixipc would write them; compare bench/c/ring.c.
local bench = require "bench"
local ipc = require "unixipc"
local channel, process = ipc.channel, ipc.process

local function drain(ch, n, child)
  local receive, got = ch:receiver(), nil
  bench.measure(n, function(count)
    for _ = 1, count do got = receive() end
  end)
  assert(child:wait() == "exit")
  return got
end

local function one_way(ch, n, value, cpu)
  local child = assert(process.fork(function()
    local send = ch:sender()
    for _ = 1, bench.total(n) do send(value) end
  end))
  bench.pin(child.pid, cpu)
  return drain(ch, n, child)
end

-- single n size cpu: one sender, one receiver.
local function single(n, size, cpu)
  local got = one_way(assert(channel.queue(nil, {single = true})), n,
    ("x"):rep(size), cpu)
  assert(#got == size)
end

-- queue n size cpu: the same through a queue for many.
local function queue(n, size, cpu)
  assert(#one_way(assert(channel.queue()), n, ("x"):rep(size), cpu) == size)
end

-- tables n cpu: tables of four fields.
local function tables(n, cpu)
  local value = {id = 1, name = "some name", price = 1.5, ok = true}
  local got = one_way(assert(channel.queue()), n, value, cpu)
  assert(got.price == 1.5)
end

-- roundtrip n size cpu: through a duplex.
local function roundtrip(n, size, cpu)
  local here, there = assert(channel.duplex())
  local child = assert(process.fork(function()
    local send, receive = there:sender(), there:receiver()
    for _ = 1, bench.total(n) do send(receive()) end
  end))
  there:close()
  bench.pin(child.pid, cpu)
  local send, receive, message = here:sender(), here:receiver(), ("x"):rep(size)
  bench.measure(n, function(count)
    for _ = 1, count do
      send(message)
      receive()
    end
  end)
  assert(child:wait() == "exit")
end

bench.main{single = single, queue = queue, tables = tables,
  roundtrip = roundtrip}
