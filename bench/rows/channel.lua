-- Channels: messages through shared memory, on two cores.
local function against_ring(word, size, label, n, goals)
  local sizes = (" {n} %d {peer}"):format(size)
  return {
    name = ("channel: %s, %s"):format(word, label),
    unit = "ns",
    n = n,
    cores = 2,
    run = "channel " .. word .. sizes,
    competitors = {
      "unixipc",
      { name = "ring", peer = "c", run = "ring " .. word .. sizes },
      {
        name = "luaposix",
        run = "pipe " .. (word == "roundtrip" and word or "oneway") .. sizes,
      },
    },
    goals = goals,
  }
end

return {
  against_ring("single", 64, "64 B", 3000000, {
    { vs = "ring", max = 1.0 },
    { vs = "luaposix", max = 0.083 },
  }),
  against_ring("single", 1024, "1 KiB", 1000000, { { vs = "ring",
    max = 1.54 } }),
  against_ring("single", 65536, "64 KiB", 30000, { { vs = "ring",
    max = 1.14 } }),
  against_ring("queue", 64, "64 B", 2000000),
  against_ring("roundtrip", 64, "64 B", 100000, {
    { vs = "ring", max = 1.5 },
    { vs = "luaposix", max = 0.083 },
  }),
  {
    name = "channel: tables of four fields",
    unit = "ns",
    n = 300000,
    cores = 2,
    run = "channel tables {n} {peer}",
    competitors = {
      "unixipc",
      { name = "python", run = "mpqueue tables {n} {peer}" },
    },
    goals = { { vs = "python", max = 0.2 } },
  },
}
