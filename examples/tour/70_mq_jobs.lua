local ipc = require "unixipc"
local posix_mq, process = ipc.posix_mq, ipc.process

return {
  title = "Jobs with priorities, and workers that take them",
  text = [[
A POSIX message queue gives the message with the highest priority first. Three
workers take jobs from one queue and put what they did into another. A job of
no bytes, sent last and with the lowest priority, tells a worker to go home.]],
  play = function(scene)
    -- show
    local options = {temporary = true, message_size = 64}
    local jobs <close> = assert(posix_mq.open(nil, options))
    local results <close> = assert(posix_mq.open(nil, options))
    local function work()
      repeat
        local job, priority = jobs:receive()
        if job ~= "" then results:send(("%s:%d"):format(job, priority)) end
      until job == ""
    end
    for _, job in ipairs {"low", "urgent", "middle"} do
      jobs:send(job, ({low = 1, middle = 5, urgent = 9})[job])
    end
    for _ = 1, 3 do jobs:send("", 0) end
    local workers = {}
    for i = 1, 3 do workers[i] = assert(process.fork(work)) end
    local done = {}
    for i = 1, 3 do done[i] = results:receive(5) end
    for _, worker in ipairs(workers) do worker:wait(5) end
    -- end
    table.sort(done)
    scene.expect("what was done", table.concat(done, " "),
      "low:1 middle:5 urgent:9")
    scene.expect("jobs left", #jobs, 0)
  end,
}
