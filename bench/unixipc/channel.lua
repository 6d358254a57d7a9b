-- Channels as a user of unixipc would write them; compare bench/c/ring.c.
local bench = require "bench"
local values = require "values"
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

local BATCH <const> = 64

-- batched n size cpu: as single, 64 at a time.
local function batched(n, size, cpu)
  local ch = assert(channel.queue(nil, {single = true}))
  local list, last = {}, nil
  for i = 1, BATCH do list[i] = ("x"):rep(size) end
  local child = assert(process.fork(function()
    for _ = 1, bench.total(n) // BATCH + 2 do ch:send_many(list) end
  end))
  bench.pin(child.pid, cpu)
  bench.measure(n, function(count)
    while count > 0 do
      local got = ch:receive_many(BATCH)
      for i = 1, got.n do last = got[i] end
      count = count - got.n
    end
  end)
  ch:close()
  child:kill()
  assert(#last == size)
end

-- queue n size cpu: the same through a queue for many.
local function queue(n, size, cpu)
  assert(#one_way(assert(channel.queue()), n, ("x"):rep(size), cpu) == size)
end

-- tables n cpu: tables of four fields.
local function tables(n, cpu)
  local got = one_way(assert(channel.queue()), n, values.small, cpu)
  assert(got.price == 1.5)
end

-- inplace n size cpu: as single, but read where it stands.
local function inplace(n, size, cpu)
  local ch = assert(channel.queue(nil, {single = true}))
  local message, got = ("x"):rep(size), nil
  local child = assert(process.fork(function()
    local send = ch:sender()
    for _ = 1, bench.total(n) do send(message) end
  end))
  bench.pin(child.pid, cpu)
  bench.measure(n, function(count)
    for _ = 1, count do
      local view = ch:peek()
      got = view:read(size - 8, 8)
      ch:release(view)
    end
  end)
  assert(child:wait() == "exit" and got == "xxxxxxxx")
end

-- roundtrip n size cpu: through a duplex; on one core if that is ours.
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

-- A program that only counts, on the core, until this one ends.
local function make_busy(cpu)
  local parent = process.pid()
  local child = assert(process.fork(function()
    repeat
      for _ = 1, 1000000 do end -- luacheck: ignore
    until process.parent() ~= parent
  end))
  bench.pin(child.pid, cpu)
end

-- busy n size own cpu: round trips with a busy program on each core.
local function busy(n, size, own, cpu)
  make_busy(own)
  make_busy(cpu)
  roundtrip(n, size, cpu)
end

bench.main{single = single, batched = batched, queue = queue, tables = tables,
  inplace = inplace, roundtrip = roundtrip, busy = busy}
