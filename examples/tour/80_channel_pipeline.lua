local ipc = require "unixipc"
local channel, process = ipc.channel, ipc.process

return {
  title = "A pipeline through shared memory",
  text = [[
Three processes, two queues for one sender and one receiver each: numbers are
made, squared, and summed up. Values go through memory that all share; while
both sides are busy there is no system call.]],
  play = function(scene)
    -- show
    local numbers <close> = assert(channel.queue(nil, {single = true}))
    local squares <close> = assert(channel.queue(nil, {single = true}))
    local maker <close> = assert(process.fork(function()
      local send = numbers:sender()
      for i = 1, 10000 do assert(send(i, 10)) end
      numbers:send(nil) -- a value like any other: here the end
    end))
    local squarer <close> = assert(process.fork(function()
      local receive, send = numbers:receiver(), squares:sender()
      for n in receive do assert(send(n * n, 10)) end
      squares:send(nil)
    end))
    local sum, count = 0, 0
    for square in squares:receiver() do
      sum, count = sum + square, count + 1
    end
    -- end
    scene.expect("squares that came", count, 10000)
    scene.expect("their sum", sum, 333383335000)
    scene.expect("the maker", maker:wait(5), "exit")
    scene.expect("the squarer", squarer:wait(5), "exit")
  end,
}
