-- Regions: bytes in and out, and integers in shared memory.
local function write(label, size, n)
  return {
    name = "region: write, " .. label,
    unit = "ns",
    n = n,
    cores = 1,
    run = ("region write {n} %d"):format(size),
    competitors = { "unixipc", "c" },
    goals = { { vs = "c", max = 1.25 } }, -- 80 % of memcpy's speed
  }
end

local function read(label, size, n)
  return {
    name = "region: read, " .. label,
    unit = "ns",
    n = n,
    cores = 1,
    run = ("region read {n} %d"):format(size),
    competitors = {
      "unixipc",
      { name = "string.sub", peer = "unixipc",
        run = ("region floor {n} %d"):format(size) },
    },
    goals = { { vs = "string.sub", max = 1.10 } }, -- Lua's own making of one
  }
end

return {
  write("8 KiB", 8192, 1000000),
  write("64 KiB", 65536, 100000),
  read("8 KiB", 8192, 500000),
  read("64 KiB", 65536, 50000),
  {
    name = "region: shared integer, set + get, bound",
    unit = "ns",
    n = 3000000,
    cores = 1,
    run = "region bound {n}",
    competitors = {
      "unixipc",
      { name = "python", peer = "python", run = "region integer {n}" },
    },
    goals = { { vs = "python", max = 1.00 } },
  },
  {
    name = "region: shared integer, set + get, v[i]",
    unit = "ns",
    n = 3000000,
    cores = 1,
    run = "region integer {n}",
    competitors = {
      "unixipc", "python",
      { name = "a field", peer = "unixipc", run = "region field {n}" },
    },
    goals = { { vs = "python", max = 1.00 } },
  },
}
