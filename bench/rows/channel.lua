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

-- Peers that go through the kernel, or a lock. stdio moves 4 KiB at once: as
-- channels do where they get many.
local function against_io(word, label, size, luaposix)
  local sizes = (" {n} %d {peer}"):format(size)
  return {
    name = ("channel: %s, %s, to io and others"):format(word, label),
    unit = "ns",
    n = 2000000,
    cores = 2,
    run = ("channel %s%s"):format(word, sizes),
    competitors = {
      "unixipc",
      { name = "stock", run = "pipe oneway" .. sizes },
      { name = "boost", run = "channel oneway" .. sizes },
      { name = "luaposix", run = "pipe oneway" .. sizes },
    },
    goals = {
      { vs = "stock", max = 0.286 },
      { vs = "boost", max = 0.286 },
      { vs = "luaposix", max = luaposix },
    },
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
  against_io("single", "16 B", 16, 0.071),
  against_io("single", "64 B", 64, 0.083),
  against_io("batched", "16 B", 16, 0.071),
  against_io("batched", "64 B", 64, 0.083),
  {
    name = "channel: queue for many, 64 B, to others",
    unit = "ns",
    n = 2000000,
    cores = 2,
    run = "channel queue {n} 64 {peer}",
    competitors = {
      "unixipc",
      {
        name = "single",
        peer = "unixipc",
        run = "channel single {n} 64 {peer}",
      },
      { name = "boost", run = "channel oneway {n} 64 {peer}" },
    },
    goals = { { vs = "single", max = 2.0 }, { vs = "boost", max = 1.0 } },
  },
  {
    name = "channel: read in place, 64 KiB",
    unit = "ns",
    n = 50000,
    cores = 2,
    run = "channel inplace {n} 65536 {peer}",
    competitors = {
      "unixipc",
      { name = "ring", peer = "c", run = "ring inplace {n} 65536 {peer}" },
    },
    goals = { { vs = "ring", max = 1.18 } },
  },
  {
    name = "channel: round trip, 64 B, one core",
    unit = "us",
    n = 30000,
    cores = 1,
    run = "channel roundtrip {n} 64 {peer}",
    competitors = {
      "unixipc",
      { name = "futex", peer = "c", run = "futex roundtrip {n} {peer}" },
    },
    goals = { { vs = "futex", max = 1.2 } },
  },
  {
    name = "channel: round trip, 64 B, two busy cores",
    unit = "us",
    n = 200000,
    cores = 2,
    run = "channel busy {n} 64 {own} {peer}",
    competitors = {
      "unixipc",
      { name = "futex", peer = "c", run = "futex busy 20000 {peer}" },
    },
    goals = { { max = 3 } },
  },
  {
    name = "channel: tables of four fields",
    unit = "ns",
    n = 300000,
    cores = 2,
    run = "channel tables {n} {peer}",
    competitors = {
      "unixipc",
      { name = "python", run = "mpqueue tables {n} {peer}" },
      "messagepack",
    },
    goals = {
      { vs = "python", max = 0.2 },
      { vs = "messagepack", max = 0.2 },
    },
  },
}
