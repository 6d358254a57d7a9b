--- The machine the figures belong to, and the cores to use on it.
local machine = {}

local function field(path, pattern)
  local file = io.open(path)
  if not file then return nil end
  local value = file:read("a"):match(pattern)
  file:close()
  return value
end

local function first_line(command)
  local pipe = io.popen(command .. " 2>&1")
  local line = pipe:read("l")
  return pipe:close() and line or nil
end

--- Numbers of the cores this process may run on, in order: in a container
-- they need not start at 0.
function machine.cores()
  local list = field("/proc/self/status", "Cpus_allowed_list:%s*(%S+)")
  local cores = {}
  for first, last in (list or "0"):gmatch("(%d+)%-?(%d*)") do
    for core = tonumber(first), tonumber(last) or tonumber(first) do
      table.insert(cores, core)
    end
  end
  return cores
end

local function lua_versions()
  local ours = (first_line("lua5.4 -v") or "?"):match("Lua [%d.]+") or "?"
  local theirs = (first_line("lua5.3 -v") or ""):match("Lua [%d.]+")
  return theirs and ("%s  (luaposix under %s)"):format(ours, theirs) or ours
end

--- Prints what was measured on.
function machine.print()
  local model = field("/proc/cpuinfo", "model name%s*:%s*([^\n]+)")
  local load = field("/proc/loadavg", "^%S+ %S+ %S+")
  print(("machine: %d cores, %s"):format(#machine.cores(), model or "?"))
  print("kernel:  " .. (first_line("uname -srm") or "?"))
  print("cc:      " .. (first_line("cc --version") or "?"))
  print("Lua:     " .. lua_versions())
  print(("load:    %s before the start"):format(load or "?"))
end

return machine
