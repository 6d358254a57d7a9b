--- Reads bench/rows/*.lua and checks what they say.
local rows = {}

-- What a competitor takes from its row unless it says otherwise.
local INHERITED = { "run", "beside", "feed", "fifos", "by" }

local ROW = {
  name = "string", unit = "string", n = "number", cores = "number",
  run = "string", beside = "string", feed = "string", fifos = "table",
  by = "string", pinned = "boolean", competitors = "table", goals = "table",
}
local COMPETITOR = {
  name = "string", peer = "string", run = "string", beside = "string",
  feed = "string", fifos = "table", by = "string",
}
local GOAL = { vs = "string", max = "number" }

local function check(given, schema, where)
  for key, value in pairs(given) do
    if type(value) ~= schema[key] then
      error(("%s: bad field '%s'"):format(where, tostring(key)), 0)
    end
  end
end

local function competitor_of(row, given)
  local competitor = given
  if type(given) == "string" then competitor = { name = given } end
  check(competitor, COMPETITOR, row.name)
  competitor.peer = competitor.peer or competitor.name
  for _, key in ipairs(INHERITED) do
    if competitor[key] == nil then competitor[key] = row[key] end
  end
  return competitor
end

local function check_goals(row)
  local names = {}
  for _, competitor in ipairs(row.competitors) do
    names[competitor.name] = true
  end
  for _, goal in ipairs(row.goals) do
    check(goal, GOAL, row.name)
    if not goal.max or goal.vs and not names[goal.vs] then
      error(row.name .. ": a goal without max, or against nobody", 0)
    end
  end
end

-- Fills in what the row leaves out.
local function complete(row, where)
  check(row, ROW, where)
  for _, key in ipairs { "name", "unit", "n", "run", "competitors" } do
    if row[key] == nil then error(("%s: no '%s'"):format(where, key), 0) end
  end
  row.cores = row.cores or 2
  row.goals = row.goals or {}
  for i, given in ipairs(row.competitors) do
    row.competitors[i] = competitor_of(row, given)
  end
  check_goals(row)
  return row
end

--- All rows whose name contains `filter`, file by file in order of names.
function rows.load(filter)
  local list = {}
  local pipe = assert(io.popen("ls bench/rows/*.lua"))
  for path in pipe:lines() do
    for i, row in ipairs(dofile(path)) do
      complete(row, ("%s, row %d"):format(path, i))
      if row.name:find(filter, 1, true) then table.insert(list, row) end
    end
  end
  pipe:close()
  return list
end

return rows
