local ipc = require "unixipc"
local channel, process = ipc.channel, ipc.process

return {
  title = "A hundred megabytes without a copy",
  text = [[
A loan is a place in the channel's memory: it is filled there, committed, and
read there by the other process, by its own view. Nothing is copied.]],
  play = function(scene)
    local SIZE = 100 * 1024 * 1024
    -- show
    local blocks <close> = assert(channel.queue(nil, {capacity = 4 * SIZE}))
    local writer <close> = assert(process.fork(function()
      local loan = assert(blocks:reserve(SIZE, 10))
      loan:fill(0, SIZE, 0x2a)
      loan:write(SIZE - 3, "end")
      assert(blocks:commit(loan))
    end))
    local block = assert(blocks:peek(20))
    local size, first, last = #block, block:read(0, 2), block:read(SIZE - 3, 3)
    blocks:release(block)
    -- end
    writer:wait(10)
    scene.expect("bytes", size, SIZE)
    scene.expect("the first two", first, "**")
    scene.expect("the last three", last, "end")
  end,
}
