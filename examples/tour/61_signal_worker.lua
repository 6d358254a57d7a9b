local ipc = require "unixipc"
local process = ipc.process

return {
  title = "A worker that ends in good order",
  text = [[
At SIGTERM a worker finishes what it is doing, then ends: its handler only
notes that it is to stop. The example sends it five jobs and stops it in the
middle of the second.]],
  show = {
    file = "signal_worker.lua", from = "^local function worker",
    to = "^end",
  },
  play = function(scene)
    local child <close> = assert(process.spawn(
      {scene.lua, scene.examples .. "/signal_worker.lua"},
      {stdout = "pipe", stderr = "stdout"}))
    local output, _, how, code = child:communicate(nil, 8)
    scene.expect("the example", how, "exit")
    scene.expect("with the code", code, 0)
    scene.tell("%s", (output:gsub("\n", "\n    "):gsub("%s+$", "")))
    scene.check(output:find("ends job 2\nworker: stopped in good order", 1,
      true), "the worker did not finish its job")
    scene.check(not output:find("begins job 3", 1, true), "it did not stop")
  end,
}
