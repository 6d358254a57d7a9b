--- Runs the benchmarks and prints each figure beside its goal; see README.md.
-- usage: lua5.4 bench/run.lua [words of a row's name] [--rounds N] [--quick]
-- Needs only stock Lua: it must work where the library does not build.
package.path = "bench/?.lua;" .. package.path

-- Rows, programs and builds are named from the root of the repository.
local found, machine = pcall(require, "harness.machine")
if not found then
  io.stderr:write("run this from the root of the repository\n")
  os.exit(2)
end
local report = require "harness.report"
local rounds = require "harness.rounds"
local rows = require "harness.rows"

local USAGE = "usage: lua5.4 bench/run.lua [row] [--rounds N] [--quick]\n"

local function usage()
  io.stderr:write(USAGE)
  os.exit(2)
end

local function parse(words)
  local options, filter, i = { rounds = 7 }, {}, 1
  while words[i] do
    local word = words[i]
    if word == "--quick" then
      options.rounds, options.is_quick = 1, true
    elseif word == "--rounds" then
      i = i + 1
      options.rounds = math.tointeger(tonumber(words[i]))
      if not options.rounds or options.rounds < 1 then usage() end
    elseif word:sub(1, 1) == "-" then
      usage()
    else
      table.insert(filter, word)
    end
    i = i + 1
  end
  options.filter = table.concat(filter, " ")
  return options
end

local function run_row(row, options, counts)
  local results = {}
  if row.cores <= #options.cores then
    local who, command
    results, who, command = rounds.run(row, options)
    if not results then
      counts.failed = (counts.failed or 0) + 1
      io.stderr:write(("FAILED: %s, %s:\n%s\n"):format(row.name, who, command))
      results = {}
    end
  end
  report.row(row, results, counts)
end

local function main(words)
  local options = parse(words)
  local list = rows.load(options.filter)
  if #list == 0 then
    io.stderr:write(("no row has '%s' in its name\n"):format(options.filter))
    os.exit(2)
  end
  if not os.execute("make -s -f bench/Makefile >&2") then os.exit(1) end
  local path, record = report.recorder()
  local counts = {}
  options.record = record
  options.cores = machine.cores()
  machine.print()
  print(("rounds:  %d, all runs in %s"):format(options.rounds, path))
  report.header()
  for _, row in ipairs(list) do run_row(row, options, counts) end
  report.summary(counts)
  os.exit(not counts.failed)
end

main(arg)
