-- FIFOs with Lua's own io library; compare bench/c/fifo.c.
local bench = require "bench"

-- Without a buffer each write is one system call, as in the others.
local function open_out(path)
  local out = assert(io.open(path, "wb"))
  out:setvbuf("no")
  return out
end

-- client n size directory
local function client(n, size, directory)
  local out = open_out(directory .. "/ping")
  local inp = assert(io.open(directory .. "/pong", "rb"))
  local message, reply = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      out:write(message)
      reply = inp:read(size)
    end
  end)
  assert(reply == message)
end

-- server size directory
local function server(size, directory)
  local inp = assert(io.open(directory .. "/ping", "rb"))
  local out = open_out(directory .. "/pong")
  local message = inp:read(size)
  while message do
    out:write(message)
    message = inp:read(size)
  end
end

bench.main{client = client, server = server}
