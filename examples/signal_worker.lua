-- A graceful worker: at SIGTERM it finishes the job it has, then ends. The
-- parent hands it jobs and stops it in the middle of one.
--
--   lua5.4 examples/signal_worker.lua
local ipc = require "unixipc"
local signal, process, pipe = ipc.signal, ipc.process, ipc.pipe

-- What the worker does with each job takes a while.
local function do_job(job, done)
  done:send("begins " .. job)
  process.sleep(0.2)
  done:send("ends " .. job)
end

local function worker(jobs, done)
  local is_stopping = false
  -- A handler that only notes: the job that is being done is not disturbed,
  -- its sleep goes on where it was.
  signal.handle("SIGTERM", function() is_stopping = true end)
  done:send("ready")
  while not is_stopping do
    local job = jobs:receive()
    if not job then break end
    do_job(job, done)
  end
  done:send(is_stopping and "stopped in good order" or "no more jobs")
end

local jobs_r, jobs_w = assert(pipe.open())
local done_r, done_w = assert(pipe.open())
local child <close> = assert(process.fork(function()
  jobs_w:close()
  worker(jobs_r, done_w)
end))
jobs_r:close()
done_w:close()

print("worker: " .. done_r:receive(5))
for i = 1, 5 do jobs_w:send("job " .. i) end
for message in done_r:messages() do
  print("worker: " .. message)
  if message == "begins job 2" then child:kill("SIGTERM") end
end
print("worker ended:", child:wait(5))
