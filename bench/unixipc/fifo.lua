-- FIFOs as a user of unixipc would write them; compare bench/c/fifo.c.
local bench = require "bench"
local fifo = require("unixipc").fifo

-- client n size directory
local function client(n, size, directory)
  local out = assert(fifo.open(directory .. "/ping", "w"))
  local inp = assert(fifo.open(directory .. "/pong", "r"))
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
  local inp = assert(fifo.open(directory .. "/ping", "r"))
  local out = assert(fifo.open(directory .. "/pong", "w"))
  local message = inp:read(size)
  while message do
    out:write(message)
    message = inp:read(size)
  end
end

bench.main{client = client, server = server}
