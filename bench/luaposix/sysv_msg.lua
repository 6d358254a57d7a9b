-- System V message queues with luaposix; compare bench/c/sysv_msg.c.
local bench = require "bench"
local msg = require "posix.sys.msg"
local unistd = require "posix.unistd"
local wait = require("posix.sys.wait").wait

local MODE = tonumber("600", 8)

local function new_queue()
  return assert(msg.msgget(msg.IPC_PRIVATE, msg.IPC_CREAT | MODE))
end

-- It has no msgctl.
local function remove(q)
  assert(os.execute("ipcrm -q " .. q))
end

-- self n size: send and receive in one process, nobody sleeps.
local function self(n, size)
  local q, message, type, got = new_queue(), ("x"):rep(size), nil, nil
  bench.measure(n, function(count)
    for _ = 1, count do
      msg.msgsnd(q, 1, message)
      type, got = msg.msgrcv(q, 8192, 1)
    end
  end)
  remove(q)
  assert(type == 1 and got:sub(1, size) == message)
end

-- roundtrip n size cpu: a message there and back, by types.
local function roundtrip(n, size, cpu)
  local q, message = new_queue(), ("x"):rep(size)
  local pid = assert(unistd.fork())
  if pid == 0 then
    for _ = 1, bench.total(n) do
      local _, body = msg.msgrcv(q, 8192, 1)
      msg.msgsnd(q, 2, body:sub(1, size))
    end
    unistd._exit(0)
  end
  bench.pin(pid, cpu)
  bench.measure(n, function(count)
    for _ = 1, count do
      msg.msgsnd(q, 1, message)
      msg.msgrcv(q, 8192, 2)
    end
  end)
  assert(select(3, wait(pid)) == 0)
  remove(q)
end

bench.main{self = self, roundtrip = roundtrip}
