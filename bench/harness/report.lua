--- Medians, ratios and verdicts, as one table; the raw runs in a file.
local report = {}

local SCALE = { ns = 1, us = 1e3, ms = 1e6 }
local OURS = "%-36s %-2s %9s"
local THEIRS = "  %-16s %9s  %5s %-11s %-7s %s"

local function sorted(list)
  local copy = table.move(list, 1, #list, 1, {})
  table.sort(copy)
  return copy
end

local function median(list)
  local half = #list // 2
  list = sorted(list)
  if #list % 2 == 1 then return list[half + 1] end
  return (list[half] + list[half + 1]) / 2
end

-- Three digits that count; thousands apart.
local function figure(value)
  if value < 999.5 then return ("%.3g"):format(value) end
  local text = ("%.0f"):format(value):reverse():gsub("(%d%d%d)", "%1,")
  return (text:reverse():gsub("^,", ""))
end

local function ratio_figure(value)
  return (value < 0.0995 and "%.3f" or "%.2f"):format(value)
end

-- The median of a competitor, in nanoseconds; nil when it did not run.
local function median_of(results, name)
  if not results[1] or not results[1][name] then return nil end
  local list = {}
  for i, result in ipairs(results) do list[i] = result[name] end
  return median(list)
end

-- Pair by pair: both runs of a round meet the machine at the same speed.
local function ratio_of(results, ours, theirs)
  if not median_of(results, ours) or not median_of(results, theirs) then
    return nil
  end
  local list = {}
  for i, result in ipairs(results) do
    list[i] = result[ours] / result[theirs]
  end
  local in_order = sorted(list)
  return median(list), in_order[1], in_order[#in_order]
end

local function verdict(value, goal, counts)
  local word = "not measured"
  if value then word = value <= goal.max and "met" or "MISSED" end
  counts[word] = (counts[word] or 0) + 1
  return word
end

local function goal_against(row, name)
  for _, goal in ipairs(row.goals) do
    if goal.vs == name then return goal end
  end
end

local function shown(row, ns)
  return ns and figure(ns / SCALE[row.unit]) or "-"
end

-- A line for a goal that is no ratio.
local function absolute_line(row, results, goal, counts)
  local ns = median_of(results, row.competitors[1].name)
  local value = ns and ns / SCALE[row.unit]
  return THEIRS:format("", "", "", "", ("<=%g"):format(goal.max),
    verdict(value, goal, counts))
end

local function against_line(row, results, name, counts)
  local ratio, low, high = ratio_of(results, row.competitors[1].name, name)
  local goal = goal_against(row, name)
  return THEIRS:format(name, shown(row, median_of(results, name)),
    ratio and ratio_figure(ratio) or "-",
    ratio and ratio_figure(low) .. "-" .. ratio_figure(high) or "",
    goal and ("<=%.2f"):format(goal.max) or "",
    goal and verdict(ratio, goal, counts) or "")
end

local function emit(text)
  io.write((text:gsub("%s+$", "")), "\n")
  io.flush()
end

function report.header()
  emit("")
  emit(OURS:format("row", "", "unixipc")
    .. THEIRS:format("against", "", "ratio", "range", "goal", ""))
end

--- Prints a row. `results` is what rounds.run gives, empty when nothing ran;
-- `counts` sums the verdicts.
function report.row(row, results, counts)
  local lines = {}
  for _, goal in ipairs(row.goals) do
    if not goal.vs then
      table.insert(lines, absolute_line(row, results, goal, counts))
    end
  end
  for i = 2, #row.competitors do
    table.insert(lines,
      against_line(row, results, row.competitors[i].name, counts))
  end
  local ours = shown(row, median_of(results, row.competitors[1].name))
  local start = OURS:format(row.name, row.unit, ours)
  emit(start .. (lines[1] or ""))
  for i = 2, #lines do emit((" "):rep(#start) .. lines[i]) end
end

function report.summary(counts)
  emit(("%d goals met, %d missed, %d not measured, %d rows failed"):format(
    counts.met or 0, counts.MISSED or 0, counts["not measured"] or 0,
    counts.failed or 0))
end

--- Opens the file of raw runs: its path, and the function that adds one.
function report.recorder()
  local path = os.date("build/bench/runs-%Y%m%d-%H%M%S.tsv")
  local file = assert(io.open(path, "w"))
  file:write("row\tround\tcompetitor\tns\n")
  return path, function(row, round, name, ns)
    file:write(("%s\t%d\t%s\t%.3f\n"):format(row.name, round, name, ns))
    file:flush()
  end
end

return report
