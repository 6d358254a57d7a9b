local ipc = require "unixipc"
local process = ipc.process

return {
  title = "Talking to a program until it ends",
  text = [[
spawn starts a program with its input, output and errors where they are wanted.
communicate feeds it, takes both its outputs as they come, and waits for its
end: however much there is, neither side gets stuck on a full pipe.]],
  play = function(scene)
    local input = ("The quick brown fox.\n"):rep(200000)
    -- show
    local child <close> = assert(process.spawn(
      {"sh", "-c", "tr a-z A-Z; echo done >&2; exit 3"},
      {stdin = "pipe", stdout = "pipe", stderr = "pipe"}))
    local output, errors, how, code = child:communicate(input, 9)
    -- end
    scene.tell("its input: %d bytes", #input)
    scene.expect("its output", output, input:upper())
    scene.expect("its errors", errors, "done\n")
    scene.expect("its status", how .. " " .. code, "exit 3")

    -- What does not end when asked to, can be made to.
    local stubborn <close> = assert(process.spawn(
      {"sh", "-c", "trap '' TERM; echo ready; exec sleep 60"},
      {stdout = "pipe"}))
    scene.check(stubborn.stdout:read("l", 5) == "ready", "it does not start")
    stubborn:kill() -- SIGTERM
    local _, message = stubborn:wait(0.2)
    scene.expect("a child that ignores SIGTERM, after 0.2 s", message,
      "timeout")
    stubborn:kill "SIGKILL"
    how, code = stubborn:wait(5)
    scene.expect("after SIGKILL", how .. " " .. code, "signal SIGKILL")
  end,
}
