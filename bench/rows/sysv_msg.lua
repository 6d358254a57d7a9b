-- System V message queues: one process alone, and two that wait for each other.
local function round_trip(cores, n, goals)
  return {
    name = ("sysv_msg: round trip, 64 B, %d core%s"):format(cores,
      cores > 1 and "s" or ""),
    unit = "ns",
    n = n,
    cores = cores,
    run = "sysv_msg roundtrip {n} 64 {peer}",
    competitors = { "unixipc", "c", "luaposix" },
    goals = goals,
  }
end

return {
  {
    name = "sysv_msg: send + receive, 64 B, one process",
    unit = "ns",
    n = 300000,
    cores = 1,
    run = "sysv_msg self {n} 64",
    competitors = { "unixipc", "c", "luaposix", "python" },
    goals = { { vs = "c", max = 1.40 }, { vs = "luaposix", max = 0.50 } },
  },
  round_trip(2, 30000, {
    { vs = "c", max = 1.10 },
    { vs = "luaposix", max = 0.90 },
  }),
  round_trip(1, 100000, { { vs = "c", max = 1.20 } }),
}
