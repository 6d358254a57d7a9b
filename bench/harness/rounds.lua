--- Runs the competitors of a row, round after round.
local peers = require "harness.peers"

local rounds = {}

-- A run takes about a second; one that hangs must not hang all.
local LIMIT_SECONDS = 120

-- The whole run is one shell script, so that what it starts and makes goes
-- away with it. The number is on the last line that the program prints.
local SCRIPT = [[
set -e
peer= dir=$(mktemp -d)
trap '[ -z "$peer" ] || kill "$peer" 2>/dev/null; rm -rf "$dir"' EXIT
%s
%s
%s
[ -z "$peer" ] || wait "$peer"
peer=
]]

local function fill(text, values)
  return (text:gsub("{(%w+)}", function(name)
    return values[name] or error("what is {" .. name .. "}?", 0)
  end))
end

local function make_fifos(names)
  local paths = {}
  for i, name in ipairs(names or {}) do paths[i] = '"$dir/' .. name .. '"' end
  return #paths > 0 and "mkfifo " .. table.concat(paths, " ") or ""
end

-- "c stream feed 100": a kind, then what it runs.
local function feed_command(feed, cpu)
  local kind, run = feed:match("^(%S+)%s+(.*)$")
  return peers.command(kind, run, cpu) .. " | "
end

local function script(row, competitor, values, cores)
  local mine, other = cores[1], values.peer
  if row.pinned == false then mine, other = nil, nil end
  local main = peers.command(competitor.by or competitor.peer,
    fill(competitor.run, values), mine)
  local beside = ""
  if competitor.feed then
    main = feed_command(fill(competitor.feed, values), other) .. main
  end
  if competitor.beside then
    beside = peers.command(competitor.peer, fill(competitor.beside, values),
      other) .. " & peer=$!"
  end
  return SCRIPT:format(make_fifos(competitor.fifos), beside, main)
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Nanoseconds per operation, or nil and the command that failed.
local function run_once(text)
  local command = ("timeout -k 5 %d sh -c %s"):format(LIMIT_SECONDS,
    quoted(text))
  local pipe = assert(io.popen(command))
  local output = pipe:read("a")
  local ok = pipe:close()
  local ns = tonumber(output:match("(%S+)%s*$"))
  if not ok or not ns then return nil, text end
  return ns
end

local function available(row)
  local list = {}
  for _, competitor in ipairs(row.competitors) do
    if peers.is_there(competitor.peer) then table.insert(list, competitor) end
  end
  return list
end

local function values_of(row, cores, is_quick)
  local n = is_quick and math.max(row.n // 10, 10) or row.n
  return {
    n = tostring(n),
    own = tostring(cores[1]),
    peer = tostring(cores[row.cores]),
    dir = '"$dir"',
  }
end

-- One round: {name = ns}. The order turns round each time.
local function run_round(row, list, values, options, is_reversed)
  local result = {}
  for i = 1, #list do
    local competitor = list[is_reversed and #list + 1 - i or i]
    local ns, command =
      run_once(script(row, competitor, values, options.cores))
    if not ns then return nil, competitor.name, command end
    result[competitor.name] = ns
  end
  return result
end

--- Runs a row: a list of rounds, each {name of competitor = ns}.
-- Nil, the competitor and the command when a program failed.
-- @tparam table row
-- @tparam table options rounds, is_quick, cores; record(row, round, name, ns)
function rounds.run(row, options)
  local list, results = available(row), {}
  local values = values_of(row, options.cores, options.is_quick)
  for round = 0, options.rounds do
    local result, who, command =
      run_round(row, list, values, options, round % 2 == 1)
    if not result then return nil, who, command end
    if round > 0 then results[round] = result end -- 0 is the warm-up
    for name, ns in pairs(result) do options.record(row, round, name, ns) end
  end
  return results
end

return rounds
