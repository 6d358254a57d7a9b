-- An output handler for busted. People read on stdout what fails; the runner
-- reads SPEC_RESULTS: a line when a test starts, a line when it ends, "end"
-- when all have run. The file is opened anew for each line, so that there is
-- no descriptor to be inherited.
local busted = require "busted"
local base = require "busted.outputHandlers.base"

local function note(...)
  local path = os.getenv "SPEC_RESULTS"
  if not path then return end
  local file <close> = assert(io.open(path, "a"))
  file:write(table.concat({...}, " "):gsub("\n", " "), "\n")
end

-- The lines of a traceback that are of the specs themselves.
local function showTrace(traceback)
  for line in (traceback or ""):gmatch "[^\n]+" do
    if line:find "_spec%.lua" or line:find "stress/" then print(line) end
  end
end

local function show(entry)
  local message = entry.message or "(no message)"
  if type(message) ~= "string" then
    message = require("pl.pretty").write(message)
  end
  print("FAILED: " .. entry.name)
  print("  " .. message:gsub("\n", "\n  "))
  showTrace(entry.trace and entry.trace.traceback)
  io.flush()
end

return function()
  local handler = base()

  -- The base class fills the two lists before we are told. Ctrl-C raises an
  -- error like any other: it is meant for the whole run.
  local function failed(list)
    local entry = list[#list]
    if tostring(entry.message):find "interrupted!$" then os.exit(130) end
    note "failed"
    show(entry)
    return nil, true
  end

  local function onStart(element)
    note("start", handler.getFullName(element))
    return nil, true
  end

  local function onTestEnd(_, _, status)
    if status == "success" then
      note "passed"
    elseif status == "pending" then
      note "skipped"
      local entry = handler.pendings[#handler.pendings]
      print("skipped: " .. entry.name .. ": " .. (entry.message or ""))
    end
    return nil, true
  end

  local function onFailure() return failed(handler.failures) end
  local function onError() return failed(handler.errors) end
  local function onEnd()
    note "end"
    return nil, true
  end

  busted.subscribe({"test", "start"}, onStart)
  busted.subscribe({"test", "end"}, onTestEnd)
  busted.subscribe({"failure", "it"}, onFailure)
  busted.subscribe({"error"}, onError)
  busted.subscribe({"suite", "end"}, onEnd)
  return handler
end
