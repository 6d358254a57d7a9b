local ipc = require "unixipc"
local process = ipc.process

-- Waits until the program says a line that holds some words.
local function await(output, words)
  for line in output:lines() do
    if line:find(words, 1, true) then return line end
  end
  error("the program never said: " .. words)
end

return {
  title = "A handler in Lua",
  text = [[
A signal's handler is a Lua function. It runs inside whatever call the program
is blocked in; when it returns the call goes on, when it raises the error
leaves the call. A program sleeps, and gets Ctrl-C three times.]],
  show = {
    file = "signal_interrupt.lua", from = "^assert%(signal.handle",
    to = "^end%)%)",
  },
  play = function(scene)
    local child <close> = assert(process.spawn(
      {scene.lua, scene.examples .. "/signal_interrupt.lua"},
      {stdout = "pipe", stderr = "stdout"}))
    child.stdout:set_timeout(5)
    await(child.stdout, "step 1")
    for i = 1, 3 do
      assert(child:kill "SIGINT")
      scene.tell(await(child.stdout, "number " .. i))
    end
    local rest = child.stdout:read "a"
    scene.expect("then", rest, "what was to be closed is closed\nstopped\n")
    scene.expect("it ended with", select(2, child:wait(5)), 0)
  end,
}
