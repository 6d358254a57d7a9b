-- Queued signals, and what handlers cost code that gets none.
local function round_trip(cores, n, goals)
  return {
    name = ("signal: round trip, queued, %d core%s"):format(cores,
      cores > 1 and "s" or ""),
    unit = "ns",
    n = n,
    cores = cores,
    run = "signal roundtrip {n} {peer}",
    competitors = { "unixipc", "c" },
    goals = goals,
  }
end

return {
  {
    name = "signal: queue + wait, one process",
    unit = "ns",
    n = 200000,
    cores = 1,
    run = "signal self {n}",
    competitors = { "unixipc", "c" },
    goals = { { vs = "c", max = 1.10 } },
  },
  round_trip(2, 20000, { { vs = "c", max = 1.15 } }),
  round_trip(1, 50000),
  {
    name = "signal: plain Lua loop with handlers",
    unit = "ns",
    n = 20000000,
    cores = 1,
    run = "signal loop {n} handled",
    competitors = {
      "unixipc",
      { name = "without", peer = "unixipc", run = "signal loop {n} bare" },
    },
    goals = { { vs = "without", max = 1.02 } },
  },
}
