-- Pipes. Two processes that wait for each other, and one alone.
local function round_trip(cores, n, goals)
  return {
    name = ("pipe: round trip, 64 B, %d core%s"):format(cores,
      cores > 1 and "s" or ""),
    unit = "ns",
    n = n,
    cores = cores,
    run = "pipe roundtrip {n} 64 {peer}",
    competitors = { "unixipc", "c", "luaposix" },
    goals = goals,
  }
end

-- For information: one side writes, the other reads.
local function one_way(size, label, n)
  return {
    name = "pipe: one way, " .. label,
    unit = "ns",
    n = n,
    run = ("pipe oneway {n} %d {peer}"):format(size),
    competitors = { "unixipc", "c", "luaposix" },
  }
end

return {
  round_trip(2, 30000, {
    { vs = "c", max = 1.10 },
    { vs = "luaposix", max = 0.90 },
  }),
  round_trip(1, 100000, { { vs = "c", max = 1.20 } }),
  {
    name = "pipe: write + read, 1 B, one process",
    unit = "ns",
    n = 500000,
    cores = 1,
    run = "pipe self {n}",
    competitors = { "unixipc", "c", "luaposix" },
    goals = { { vs = "c", max = 1.30 }, { vs = "luaposix", max = 0.50 } },
  },
  one_way(64, "64 B", 300000),
  one_way(1024, "1 KiB", 300000),
  one_way(65536, "64 KiB", 10000),
}
