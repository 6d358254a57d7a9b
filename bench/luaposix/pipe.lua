-- Pipes with luaposix; compare bench/c/pipe.c.
local bench = require "bench"
local unistd = require "posix.unistd"
local wait = require("posix.sys.wait").wait

local read, write, close = unistd.read, unistd.write, unistd.close

-- A read of luaposix is one system call, so a long message comes in parts.
local function read_full(fd, size)
  local data = read(fd, size)
  if #data == size or #data == 0 then return data end
  local parts, have = {data}, #data
  while have < size do
    data = read(fd, size - have)
    if #data == 0 then return "" end
    parts[#parts + 1] = data
    have = have + #data
  end
  return table.concat(parts)
end

local function start(child_main, cpu, ...)
  local pid = assert(unistd.fork())
  if pid == 0 then
    child_main()
    unistd._exit(0)
  end
  for _, fd in ipairs{...} do close(fd) end
  bench.pin(pid, cpu)
  return pid
end

local function echo(r, w, size)
  local message = read_full(r, size)
  while message ~= "" do
    write(w, message)
    message = read_full(r, size)
  end
end

-- roundtrip n size cpu: a message there and back.
local function roundtrip(n, size, cpu)
  local child_in, down = unistd.pipe()
  local up, child_out = unistd.pipe()
  local pid = start(function()
    close(down)
    close(up)
    echo(child_in, child_out, size)
  end, cpu, child_in, child_out)
  local message, reply = ("x"):rep(size), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      write(down, message)
      reply = read_full(up, size)
    end
  end)
  assert(reply == message)
  close(down)
  assert(select(3, wait(pid)) == 0)
end

-- oneway n size cpu: the child writes, whole messages are read here.
local function oneway(n, size, cpu)
  local r, w = unistd.pipe()
  local message, got = ("x"):rep(size), nil
  local pid = start(function()
    close(r)
    for _ = 1, bench.total(n) do write(w, message) end
  end, cpu, w)
  bench.measure(n, function(count)
    for _ = 1, count do got = read_full(r, size) end
  end)
  assert(got == message and read(r, 1) == "")
  assert(select(3, wait(pid)) == 0)
end

-- self n: one byte through a pipe within one process, nobody sleeps.
local function self(n)
  local r, w = unistd.pipe()
  local got
  bench.measure(n, function(count)
    for _ = 1, count do
      write(w, "x")
      got = read(r, 1)
    end
  end)
  assert(got == "x")
end

bench.main{roundtrip = roundtrip, oneway = oneway, self = self}
