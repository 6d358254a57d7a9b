-- Child processes: start /bin/true and wait for its end. In small programs,
-- and in one with 100 MB of memory, where fork has much to copy.
return {
  {
    name = "process: spawn + wait",
    unit = "us",
    n = 500,
    run = "process spawn {n} 0",
    competitors = {
      "unixipc",
      { name = "posix_spawn, C", peer = "c" },
      { name = "fork + exec, C", peer = "c", run = "process fork {n} 0" },
      "luaposix",
    },
    goals = { { vs = "posix_spawn, C", max = 1.05 } },
  },
  {
    name = "process: spawn + wait, at 100 MB",
    unit = "us",
    n = 200,
    run = "process spawn {n} 100",
    competitors = {
      "unixipc",
      { name = "posix_spawn, C", peer = "c" },
      { name = "fork + exec, C", peer = "c", run = "process fork {n} 100" },
      "luaposix",
    },
    goals = { { vs = "fork + exec, C", max = 0.25 } },
  },
}
