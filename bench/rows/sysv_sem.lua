-- System V semaphores: one process alone, and two that take turns.
local function round_trip(cores, n, max)
  return {
    name = ("sysv_sem: round trip, %d core%s"):format(cores,
      cores > 1 and "s" or ""),
    unit = "ns",
    n = n,
    cores = cores,
    run = "sysv_sem roundtrip {n} {peer}",
    competitors = { "unixipc", "c" },
    goals = { { vs = "c", max = max } },
  }
end

return {
  {
    name = "sysv_sem: release + acquire, one process",
    unit = "ns",
    n = 500000,
    cores = 1,
    run = "sysv_sem self {n}",
    competitors = { "unixipc", "c", "python" },
    goals = { { vs = "c", max = 1.30 } },
  },
  round_trip(2, 30000, 1.10),
  round_trip(1, 100000, 1.20),
}
