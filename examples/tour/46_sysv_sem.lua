return {
  title = "A producer and its consumers, with System V semaphores",
  text = [[
examples/sysv_sem_producer.lua puts numbers into a buffer in shared memory, two
processes of examples/sysv_sem_consumer.lua take them out. Semaphores count the
places that are free and those that are filled; a third one is a lock that is
given back even if its holder is killed.

From the producer:]],
  show = {
    file = "sysv_sem_producer.lua",
    from = "^local function put",
    to = "^end",
  },
  play = function(scene)
    local COUNT = 100
    local path = scene.directory
    local producer <close> = scene.start("sysv_sem_producer",
      {path, tostring(COUNT)}, {stdout = "pipe"})
    scene.tell("the producer says: %s", assert(producer.stdout:read("l", 5)))
    -- Until both consumers are there: one alone could take all in no time.
    producer:kill "SIGSTOP"
    local sum, consumers = 0, {}
    for i = 1, 2 do
      consumers[i] = scene.start("sysv_sem_consumer", {path},
        {stdout = "pipe"})
      assert(consumers[i].stdout:read("l", 5)) -- "consuming"
    end
    producer:kill "SIGCONT"
    for i, consumer in ipairs(consumers) do
      local output = consumer:communicate(nil, 5)
      local mine = tonumber(output:match "sum (%d+)")
      scene.tell("consumer %d took numbers that make %d", i, mine)
      sum = sum + mine
      consumer:close()
    end
    scene.expect("together", sum, COUNT * (COUNT + 1) // 2)
    local _, _, how, code = producer:communicate(nil, 5)
    scene.expect("the producer's status", how .. " " .. code, "exit 0")
  end,
}
