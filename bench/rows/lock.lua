-- Locks on files: taken and let go in one process, nobody waits.
local function row(name, run, competitors, goals)
  return {
    name = "lock: " .. name,
    unit = "ns",
    n = 300000,
    cores = 1,
    run = "lock " .. run .. " {n}",
    competitors = competitors,
    goals = goals,
  }
end

return {
  row("fcntl pair", "path", {
    "unixipc", { name = "c", run = "lock fcntl {n}" },
    { name = "luaposix", run = "lock fcntl {n}" },
    { name = "python", run = "lock fcntl {n}" },
  }, { { vs = "c", max = 1.20 } }),
  row("fcntl pair, of a Lua file", "fcntl", { "unixipc", "c" }),
  row("ofd pair, of a Lua file", "ofd", { "unixipc", "c" }),
  row("flock pair, of a Lua file", "flock", { "unixipc", "c", "python" }),
}
