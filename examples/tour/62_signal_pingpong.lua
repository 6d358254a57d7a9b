local ipc = require "unixipc"
local signal, process = ipc.signal, ipc.process

return {
  title = "Ping-pong with queued signals",
  text = [[
A real-time signal carries a number, and arrives as often as it was queued, in
order. Two processes send one back and forth; then a burst of ten thousand
arrives while this process is busy in one long call of C, and none is lost.]],
  play = function(scene)
    local PING, PONG, BURST = "SIGRTMIN", "SIGRTMIN+1", "SIGRTMIN+2"
    -- show
    signal.block {PING, PONG}
    local player <close> = assert(process.fork(function()
      for _ = 1, 100 do
        local _, ping = assert(signal.wait(PING, 5))
        signal.queue(ping.pid, PONG, ping.value * 2)
      end
    end))
    local sum = 0
    for i = 1, 100 do
      signal.queue(player.pid, PING, i)
      local _, pong = assert(signal.wait(PONG, 5))
      sum = sum + pong.value
    end

    local got = {}
    signal.handle(BURST, function(_, info) got[#got + 1] = info.value end)
    local sender <close> = assert(process.fork(function()
      for i = 1, 10000 do
        while not signal.queue(process.parent(), BURST, i) do
          process.sleep(0.001) -- the system's queue is full
        end
      end
    end))
    while sender:is_alive() do
      (("x"):rep(1000000)):find("y", 1, true) -- one long call of C
    end
    -- end
    process.sleep(0.01)
    local in_order = true
    for i, value in ipairs(got) do in_order = in_order and i == value end
    scene.expect("the sum of 100 pongs", sum, 10100)
    scene.expect("of the burst came", #got, 10000)
    scene.expect("in order", in_order, true)
    signal.handle(BURST, "default")
    signal.unblock {PING, PONG}
    player:wait(5)
  end,
}
