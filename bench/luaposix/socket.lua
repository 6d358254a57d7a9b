-- Sockets with luaposix; compare bench/c/socket.c.
local bench = require "bench"
local unistd = require "posix.unistd"
local socket = require "posix.sys.socket"
local wait = require("posix.sys.wait").wait

local send, recv = socket.send, socket.recv

local TYPES = {stream = socket.SOCK_STREAM, datagram = socket.SOCK_DGRAM,
  seqpacket = socket.SOCK_SEQPACKET or 5}

local function read_full(fd, size)
  local data = recv(fd, size)
  if #data == size or #data == 0 then return data end
  local parts, have = {data}, #data
  while have < size do
    data = recv(fd, size - have)
    if #data == 0 then return "" end
    parts[#parts + 1] = data
    have = have + #data
  end
  return table.concat(parts)
end

local function start(kind, cpu, peer)
  local ours, theirs = socket.socketpair(socket.AF_UNIX, TYPES[kind], 0)
  local pid = assert(unistd.fork())
  if pid == 0 then
    unistd.close(ours)
    peer(theirs)
    unistd._exit(0)
  end
  unistd.close(theirs)
  bench.pin(pid, cpu)
  return ours, pid
end

-- roundtrip type n size cpu: a message there and back.
local function roundtrip(kind, n, size, cpu)
  local receive = kind == "stream" and read_full or recv
  local ours, pid = start(kind, cpu, function(theirs)
    local message = receive(theirs, size)
    while message ~= "" do
      send(theirs, message)
      message = receive(theirs, size)
    end
  end)
  local message, reply = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      send(ours, message)
      reply = receive(ours, size)
    end
  end)
  assert(reply == message)
  if kind ~= "stream" then send(ours, "") end
  unistd.close(ours)
  assert(select(3, wait(pid)) == 0)
end

-- oneway type n size cpu: the child writes, whole messages are read here.
local function oneway(kind, n, size, cpu)
  local message, got = ("x"):rep(size), nil
  local ours, pid = start(kind, cpu, function(theirs)
    for _ = 1, bench.total(n) do
      local done = send(theirs, message)
      while done < size do
        done = done + send(theirs, message:sub(done + 1))
      end
    end
  end)
  bench.measure(n, function(count)
    for _ = 1, count do got = read_full(ours, size) end
  end)
  assert(got == message)
  unistd.close(ours)
  wait(pid)
end

bench.main {roundtrip = roundtrip, oneway = oneway}
