local ipc = require "unixipc"
local channel, process = ipc.channel, ipc.process

return {
  title = "Live prices for whoever listens",
  text = [[
A broadcast: every subscriber gets every price. Readers come and go, one is
killed, one is slow: with the policy "drop" nobody waits for it, and it is told
how much it missed.]],
  play = function(scene)
    -- show
    local prices <close> = assert(channel.broadcast(nil,
      {policy = "drop", capacity = 16 * 1024}))
    local report <close> = assert(channel.queue())
    local function reader(delay)
      return assert(process.fork(function()
        assert(prices:subscribe())
        report:send "listening"
        local seen, missed = 0, 0
        for price in prices:receiver() do
          seen, missed = seen + 1, missed + prices:lost()
          if delay then process.sleep(delay) end
          if price.last then break end
        end
        report:send {seen = seen, missed = missed}
      end))
    end
    local quick, slow, doomed = reader(), reader(0.001), reader(1)
    for _ = 1, 3 do report:receive(5) end
    doomed:kill "KILL"
    for i = 1, 2000 do
      prices:send {share = "LUA", price = 100 + i % 7, last = i == 2000}
    end
    local total, missed = 0, 0
    for _ = 1, 2 do
      local seen = assert(report:receive(10))
      total = total + seen.seen + seen.missed
      missed = math.max(missed, seen.missed)
    end
    -- end
    for _, child in ipairs {quick, slow, doomed} do child:wait(5) end
    scene.expect("seen and missed, of two readers", total, 4000)
    scene.expect("the slow one missed some", missed > 0, true)
  end,
}
