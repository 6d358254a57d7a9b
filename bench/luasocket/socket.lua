-- Sockets with LuaSocket; compare bench/c/socket.c. It has no socketpair and no
-- fork: the processes are unixipc's, the sockets its own.
local bench = require "bench"
local process = require "unixipc".process
local unix = require "socket.unix"

local MAKERS = {stream = unix.stream or unix, datagram = unix.dgram}


local function connect(kind, ours, theirs)
  local s = assert(MAKERS[kind]())
  if kind == "datagram" then assert(s:bind(ours)) end
  repeat until kind == "stream" or io.open(theirs .. ".ready")
  assert(s:connect(theirs))
  return s
end

local function serve(kind, at, other)
  local s = assert(MAKERS[kind]())
  assert(s:bind(at))
  if kind == "stream" then
    assert(s:listen())
    return s, function() return assert(s:accept()) end
  end
  return s, function()
    io.open(at .. ".ready", "w"):close()
    repeat until os.execute("test -S " .. other)
    assert(s:connect(other))
    return s
  end
end

-- roundtrip type n size cpu dir: a message there and back.
local function roundtrip(kind, n, size, cpu, dir)
  local one, other = dir .. "/one", dir .. "/other"
  local _, accept = serve(kind, other, one)
  local child = assert(process.fork(function()
    local s = accept()
    local message = s:receive(size)
    while message and message ~= "" do
      s:send(message)
      message = s:receive(size)
    end
  end))
  local s = connect(kind, one, other)
  bench.pin(child.pid, cpu)
  local message, reply = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      s:send(message)
      reply = s:receive(size)
    end
  end)
  assert(reply == message)
  if kind == "datagram" then s:send "" end
  s:close()
  child:wait()
end

bench.main {roundtrip = roundtrip}
