-- POSIX message queues: one process alone, and two that wait for each other.
local function round_trip(cores, n, max)
  return {
    name = ("posix_mq: round trip, 64 B, %d core%s"):format(cores,
      cores > 1 and "s" or ""),
    unit = "ns",
    n = n,
    cores = cores,
    run = "posix_mq roundtrip {n} 64 {peer}",
    competitors = { "unixipc", "c" },
    goals = { { vs = "c", max = max } },
  }
end

return {
  {
    name = "posix_mq: send + receive, 64 B, one process",
    unit = "ns",
    n = 300000,
    cores = 1,
    run = "posix_mq self {n} 64",
    competitors = { "unixipc", "c", "python" },
    goals = { { vs = "c", max = 1.40 } },
  },
  round_trip(2, 30000, 1.10),
  round_trip(1, 100000, 1.20),
}
