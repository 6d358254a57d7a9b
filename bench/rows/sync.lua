-- What costs tens of nanoseconds: mutex, semaphores, atomics, in one process;
-- and two processes that take turns.
local function row(name, word, competitors, goals)
  return {
    name = "sync: " .. name,
    unit = "ns",
    n = 2000000,
    cores = 1,
    run = ("sync %s {n}"):format(word),
    competitors = competitors,
    goals = goals,
  }
end

local function peers(word, ...)
  local list = { "unixipc" }
  for _, peer in ipairs { "c", ... } do
    list[#list + 1] = { name = peer == "c" and "C" or peer, peer = peer,
      run = "sync " .. word .. " {n}" }
  end
  return list
end

local function turns(name, word, n, cores, goals)
  return {
    name = ("sync: %s, round trip, %d core%s"):format(name, cores,
      cores > 1 and "s" or ""),
    unit = "ns",
    n = n,
    cores = cores,
    run = ("sync %s {n} {peer}"):format(word),
    competitors = { "unixipc", "c" },
    goals = goals,
  }
end

-- What it costs at least to call two bound functions from Lua.
local floor = { name = "two calls", peer = "unixipc", run = "sync floor {n}" }

local function with_floor(list)
  list[#list + 1] = floor
  return list
end

return {
  row("robust mutex pair, bound", "bound",
    with_floor(peers("mutex", "python")),
    { { vs = "C", max = 2.0 }, { vs = "python", max = 1.0 } }),
  row("robust mutex pair, methods", "methods", peers "mutex",
    { { vs = "C", max = 4.0 } }),
  row("POSIX semaphore post + wait, bound", "semaphore",
    with_floor(peers("semaphore", "python")), { { vs = "C", max = 2.2 } }),
  row("semaphore of sync, post + wait, bound", "ours",
    peers("semaphore", "python")),
  row("atomic fetch_add, bound", "add", peers("add", "python"),
    { { vs = "python", max = 0.10 } }),
  row("atomic fetch_add, method", "method", peers("add", "python"),
    { { vs = "python", max = 0.10 } }),
  turns("semaphore", "roundtrip", 30000, 2, { { vs = "c", max = 1.10 } }),
  turns("semaphore", "roundtrip", 100000, 1, { { vs = "c", max = 1.20 } }),
  turns("condition", "condition", 30000, 2, { { vs = "c", max = 1.10 } }),
}
