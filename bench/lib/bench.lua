--- What every benchmark program in Lua shares: the clock, the loop that is
-- timed, the answer. Runs under Lua 5.3 (luaposix) and 5.4 alike.
local bench = {}

-- The peers that run under 5.3 have luaposix, and with it a clock.
local function find_clock()
  local found, clock = pcall(require, "bench_clock")
  if found then return clock.now end
  local gettime = require("posix").clock_gettime
  return function()
    local seconds, nanoseconds = gettime("monotonic")
    return seconds * 1000000000 + nanoseconds
  end
end

bench.now = find_clock()

--- Part of the run that only warms up: caches, branch predictors, the heap.
function bench.warm_up(n)
  return n // 10
end

--- How many operations a run makes in all; what a writer must supply.
function bench.total(n)
  return n + bench.warm_up(n)
end

--- Times `loop(n)` after `loop(n / 10)` and prints nanoseconds per operation.
-- The loop itself belongs to the program: a call per operation would be
-- charged to the library measured.
function bench.measure(n, loop)
  loop(bench.warm_up(n))
  collectgarbage()
  local start = bench.now()
  loop(n)
  print(string.format("%.3f", (bench.now() - start) / n))
end

--- Moves another process to a core: Lua has no sched_setaffinity, and the
-- same call serves every competitor. Not part of what is timed.
function bench.pin(pid, cpu)
  local command = "taskset -cp %d %d >/dev/null"
  assert(os.execute(command:format(cpu, pid)))
end

--- Runs the subcommand that `arg` names with the rest of `arg` as numbers
-- where they are numbers.
function bench.main(commands)
  local words = {}
  for i = 2, #arg do words[i - 1] = math.tointeger(arg[i]) or arg[i] end
  local command = commands[arg[1]]
  if not command then error("no subcommand " .. tostring(arg[1]), 0) end
  command(table.unpack(words))
end

return bench
