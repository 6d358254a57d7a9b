local ipc = require "unixipc"
local channel, process = ipc.channel, ipc.process

return {
  title = "A log of many writers",
  text = [[
Eight processes send to one queue; one of them is killed in the middle of it.
No message is broken, none of the others is lost, and nobody is stuck.]],
  play = function(scene)
    -- show
    local log <close> = assert(channel.queue(nil, {capacity = 64 * 1024}))
    local writers = {}
    for i = 1, 8 do
      writers[i] = assert(process.fork(function()
        for n = 1, i == 8 and math.maxinteger or 500 do
          assert(log:send({writer = i, line = "line " .. n, number = n}, 10))
        end
      end))
    end
    local last, is_in_order, killed = {}, true, false
    local finished = 0
    while finished < 7 do
      local entry = assert(log:receive(10))
      is_in_order = is_in_order
        and entry.number == (last[entry.writer] or 0) + 1
      last[entry.writer] = entry.number
      if entry.number == 500 and entry.writer < 8 then
        finished = finished + 1
      end
      if not killed and entry.writer == 8 then
        killed = writers[8]:kill "KILL"
      end
    end
    -- end
    for _, writer in ipairs(writers) do writer:wait(10) end
    scene.expect("writer 8 was killed", killed, true)
    scene.expect("the lines of the others, all of them", finished, 7)
    scene.expect("each writer's in order", is_in_order, true)
  end,
}
