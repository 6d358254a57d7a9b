-- FIFOs with luaposix; compare bench/c/fifo.c.
local bench = require "bench"
local unistd = require "posix.unistd"
local fcntl = require "posix.fcntl"

local read, write = unistd.read, unistd.write

-- client n size directory; up to PIPE_BUF bytes arrive in one read
local function client(n, size, directory)
  local out = assert(fcntl.open(directory .. "/ping", fcntl.O_WRONLY))
  local inp = assert(fcntl.open(directory .. "/pong", fcntl.O_RDONLY))
  local message, reply = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      write(out, message)
      reply = read(inp, size)
    end
  end)
  assert(reply == message)
end

-- server size directory
local function server(size, directory)
  local inp = assert(fcntl.open(directory .. "/ping", fcntl.O_RDONLY))
  local out = assert(fcntl.open(directory .. "/pong", fcntl.O_WRONLY))
  local message = read(inp, size)
  while message ~= "" do
    write(out, message)
    message = read(inp, size)
  end
end

bench.main{client = client, server = server}
