-- What costs tens of nanoseconds: mutex, semaphores, atomics, in one process.
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

local function both(word)
  return { "unixipc", { name = "C", peer = "c", run = "sync " .. word
    .. " {n}" } }
end

return {
  row("robust mutex pair, bound", "bound", both "mutex",
    { { vs = "C", max = 2.0 } }),
  row("robust mutex pair, methods", "methods", both "mutex",
    { { vs = "C", max = 4.0 } }),
  row("POSIX semaphore post + wait, bound", "semaphore", both "semaphore",
    { { vs = "C", max = 2.2 } }),
  row("fetch_add, bound", "add", both "add"),
}
