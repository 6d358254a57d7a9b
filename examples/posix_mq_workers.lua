-- A pool of workers that take jobs from a message queue, the most urgent first:
-- each job is a number to factorise. examples/posix_mq_submit.lua sends them.
--
--   lua5.4 examples/posix_mq_workers.lua [name] [workers]   in one terminal
--   lua5.4 examples/posix_mq_submit.lua [name] [priority] numbers...
--                                                           in others
local ipc = require "unixipc"

local name, count = arg[1] or "/unixipc-jobs", tonumber(arg[2] or 3)
io.stdout:setvbuf "line"

-- The kernel keeps the jobs: they are there before there is a worker, and no
-- job goes to two. `temporary`: the name goes when this process ends, but not
-- when it is killed with kill -9; what such a one has left is removed first.
ipc.posix_mq.unlink(name)
local jobs <close> = assert(ipc.posix_mq.open(name,
  {create = true, exclusive = true, temporary = true, message_size = 64}))

local function factors(n)
  local list, divisor = {}, 2
  while n > 1 do
    while n % divisor == 0 do
      list[#list + 1] = divisor
      n = n // divisor
    end
    divisor = divisor * divisor > n and n or divisor + 1
  end
  return table.concat(list, " * ")
end

local function work(number)
  for job, priority in function() return jobs:receive() end do
    if job == "quit" then
      jobs:send("quit", 0) -- for the next worker
      return
    end
    local n = math.tointeger(tonumber(job))
    print(("worker %d, priority %d: %s = %s"):format(number, priority, job,
      n and n > 1 and factors(n) or "?"))
  end
end

local workers = {}
for i = 1, count do workers[i] = assert(ipc.process.fork(work, i)) end
print(("%d workers at %s"):format(count, jobs:name()))

-- SIGTERM is an error here, as Ctrl-C is: without a handler it would end this
-- process at once, and the name would stay. Set after the forks, it is not the
-- workers'.
ipc.signal.handle("SIGTERM", function() error("terminated", 0) end)
local ok, message = pcall(function()
  for _, worker in ipairs(workers) do worker:wait() end
end)
if not ok then
  for _, worker in ipairs(workers) do worker:kill() end
end
print(ok and "all workers have gone home" or message)
