-- FIFOs: two programs that meet at two names.
local function round_trip(cores, n, goals)
  return {
    name = ("fifo: round trip, 64 B, %d core%s"):format(cores,
      cores > 1 and "s" or ""),
    unit = "ns",
    n = n,
    cores = cores,
    fifos = { "ping", "pong" },
    beside = "fifo server 64 {dir}",
    run = "fifo client {n} 64 {dir}",
    competitors = { "unixipc", "c", "stock", "luaposix" },
    goals = goals,
  }
end

return {
  round_trip(2, 30000, {
    { vs = "c", max = 1.10 },
    { vs = "luaposix", max = 0.90 },
  }),
  round_trip(1, 100000, { { vs = "c", max = 1.20 } }),
}
