local ipc = require "unixipc"

-- When each of the children says something and ends, in tenths of a second.
local DELAYS = {6, 2, 4}

local function speak_after(tenths)
  ipc.process.sleep(tenths / 10)
  print("    a child speaks after 0." .. tenths .. " s")
  return tenths
end

return {
  title = "Waiting for several at once",
  text = [[
A Poller takes anything with a descriptor, as many as there are. A Stream is
ready when there is something to read, a Process when it has ended. Three
children are started; they are heard in the order in which they speak.]],
  play = function(scene)
    local children, started = {}, ipc.process.now()
    for i, tenths in ipairs(DELAYS) do
      children[i] = assert(ipc.process.fork(speak_after, tenths))
    end
    local ended = {}
    -- show
    local poller <close> = assert(ipc.poll.new())
    for _, child in ipairs(children) do poller:add(child) end
    while #poller > 0 do
      local ready = assert(poller:wait(5))
      for _, child in ipairs(ready) do
        local _, code = child:wait()
        ended[#ended + 1] = code
        poller:remove(child)
        child:close()
      end
    end
    -- end
    scene.expect("they ended in the order", table.concat(ended, " "), "2 4 6")
    local took = ipc.process.now() - started
    scene.tell("all together it took %.1f s, as long as the slowest", took)
    scene.check(took >= 0.6 and took < 5, "not as long as the slowest")
  end,
}
