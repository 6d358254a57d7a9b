-- What loading the library adds to the start of a program.
return {
  {
    name = 'init: require "unixipc"',
    unit = "ms",
    n = 1,
    cores = 1,
    run = "init load",
    competitors = { "unixipc", "luaposix" },
    goals = { { max = 1 } },
  },
  {
    name = "init: and the first use of ipc.pipe",
    unit = "ms",
    n = 1,
    cores = 1,
    run = "init use",
    competitors = { "unixipc", { name = "luaposix", run = "init load" } },
  },
}
