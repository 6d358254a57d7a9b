return {
  title = "A writer and readers of System V shared memory",
  text = [[
examples/sysv_shm_writer.lua keeps a struct in shared memory. A reader attaches
it read only, at any time, and takes a copy that was not written meanwhile.

From the reader:]],
  show = {
    file = "sysv_shm_reader.lua",
    from = "^local function read",
    to = "^end",
  },
  play = function(scene)
    local path = scene.directory
    local writer <close> = scene.start("sysv_shm_writer", {path},
      {stdin = "pipe", stdout = "pipe"})
    scene.tell("the writer says: %s", assert(writer.stdout:read("l", 5)))
    for _, line in ipairs {"Oslo -3.5 snow", "Cairo 31 sun"} do
      writer.stdin:write(line, "\n")
      assert(writer.stdout:read("l", 5)) -- it has written it
      local reader <close> = scene.start("sysv_shm_reader", {path},
        {stdout = "pipe"})
      local place, degrees, remark = line:match "(%S+) (%S+) (%S+)"
      scene.expect("a reader says", reader:communicate(nil, 5),
        ("%s: %s degrees, %s\n"):format(place, degrees, remark))
    end
    local _, _, how, code = writer:communicate("", 5)
    scene.expect("the writer's status", how .. " " .. code, "exit 0")
  end,
}
