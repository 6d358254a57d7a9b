-- POSIX shared memory: opening and making; what is in it is region's.
local function row(name, word, competitors, goals)
  return {
    name = "posix_shm: " .. name,
    unit = "ns",
    n = 50000,
    cores = 1,
    run = ("posix_shm %s {n} 65536"):format(word),
    competitors = competitors,
    goals = goals,
  }
end

return {
  row("open, map, close, 64 KiB", "open", { "unixipc", "c", "python" },
    { { vs = "c", max = 1.50 }, { vs = "python", max = 1.00 } }),
  -- Python's is not there yet: nobody asked the system for the space.
  row("make and remove, 64 KiB", "make", { "unixipc", "c", "python" },
    { { vs = "c", max = 1.50 } }),
}
