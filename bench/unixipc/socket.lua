-- Sockets as a user of unixipc would write them; compare bench/c/socket.c.
local bench = require "bench"
local ipc = require "unixipc"

local function start(kind, cpu, peer)
  local ours, theirs = assert(ipc.socket.pair(kind))
  local child = assert(ipc.process.fork(function()
    ours:close()
    peer(theirs)
  end))
  theirs:close()
  bench.pin(child.pid, cpu)
  return ours, child
end

local function echo_stream(size)
  return function(theirs)
    local message = theirs:read(size)
    while message do
      theirs:write(message)
      message = theirs:read(size)
    end
  end
end

-- A message of no bytes ends it.
local function echo_packets(theirs)
  local message = theirs:receive()
  while message and message ~= "" do
    theirs:send(message)
    message = theirs:receive()
  end
end

-- roundtrip type n size cpu: a message there and back.
local function roundtrip(kind, n, size, cpu)
  local is_stream = kind == "stream"
  local ours, child = start(kind, cpu,
    is_stream and echo_stream(size) or echo_packets)
  local message, reply = ("x"):rep(size), nil
  bench.measure(n, is_stream and function(count)
    for _ = 1, count do
      ours:write(message)
      reply = ours:read(size)
    end
  end or function(count)
    for _ = 1, count do
      ours:send(message)
      reply = ours:receive()
    end
  end)
  assert(reply == message)
  if not is_stream then ours:send "" end
  ours:close()
  assert(child:wait() == "exit")
end

-- oneway type n size cpu: the child writes, whole messages are read here.
local function oneway(kind, n, size, cpu)
  local message, got = ("x"):rep(size), nil
  local ours, child = start(kind, cpu, function(theirs)
    for _ = 1, bench.total(n) do theirs:write(message) end
  end)
  bench.measure(n, function(count)
    for _ = 1, count do got = ours:read(size) end
  end)
  assert(got == message)
  ours:close()
  assert(child:wait() == "exit")
end

-- framed n size cpu: messages with a length, sent in batches.
local function framed(n, size, cpu)
  local message, got = ("x"):rep(size), nil
  local ours, child = start("stream", cpu, function(theirs)
    theirs:setvbuf "full"
    for _ = 1, bench.total(n) do theirs:send(message) end
    theirs:close()
  end)
  bench.measure(n, function(count)
    for _ = 1, count do got = ours:receive() end
  end)
  assert(got == message)
  ours:close()
  assert(child:wait() == "exit")
end

-- server path: an echo server until all clients have left.
local function server(path)
  local listener = assert(ipc.socket.listen(path))
  local poller = assert(ipc.poll.new())
  poller:add(listener)
  local is_started = false
  while not is_started or #poller > 1 do
    local ready = poller:wait()
    for i = 1, #ready do
      local object = ready[i]
      if object == listener then
        poller:add(listener:accept(0))
        is_started = true
      else
        local bytes = object:read_some(nil, 0)
        if bytes then
          object:write(bytes)
        else
          poller:remove(object)
          object:close()
        end
      end
    end
  end
  listener:close()
end

bench.main {roundtrip = roundtrip, oneway = oneway, framed = framed,
  server = server}
