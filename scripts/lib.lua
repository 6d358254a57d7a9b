-- What the scripts here share. They are run from the root of the project.
local lib = {}

--- The lines that a shell command prints.
function lib.lines(command)
  local pipe <close> = assert(io.popen(command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  return lines
end

--- The files that match patterns of the shell; those without a match give none.
function lib.files(patterns)
  return lib.lines("ls " .. patterns .. " 2>/dev/null")
end

--- All of a file; "" when it is not there.
function lib.read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a" or ""
end

function lib.exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

--- The stems in the X-macro of csrc/base/modules.h, in its order.
function lib.modules()
  local text = lib.read "csrc/base/modules.h"
  local list = text:match "#define UX_MODULES%(X%)(.-[^\\])\n"
  local modules = {}
  for stem in list:gmatch "X%(([%w_]+)%)" do modules[#modules + 1] = stem end
  return modules
end

function lib.stem(path)
  return path:match "([^/]+)%.%w+$"
end

--- The module that a file is part of: stream_read.c of stream, but sysv_msg.c
-- of sysv_msg, which is a module itself. Nil for other files.
function lib.module_of(path)
  local is_module = {}
  for _, stem in ipairs(lib.modules()) do is_module[stem] = true end
  local stem = lib.stem(path)
  while stem and not is_module[stem] do stem = stem:match "^(.*)_" end
  return stem
end

-- Depth first; `open` are the indices in `trail` of those we are inside of.
local function visit(node, targets_of, walk)
  local trail, open = walk.trail, walk.open
  trail[#trail + 1] = node
  if open[node] then
    table.insert(walk.circles, table.move(trail, open[node], #trail, 1, {}))
  elseif not walk.done[node] then
    walk.done[node], open[node] = true, #trail
    for _, target in ipairs(targets_of(node)) do
      visit(target, targets_of, walk)
    end
    open[node] = nil
  end
  trail[#trail] = nil
end

--- The circles among what `targets_of` leads to, as lists that end with what
-- they begin with. None when there is none, but not all when there are many.
function lib.circles(nodes, targets_of)
  local walk = {trail = {}, open = {}, done = {}, circles = {}}
  for _, node in ipairs(nodes) do visit(node, targets_of, walk) end
  return walk.circles
end

--- Seconds of the wall clock.
function lib.now()
  return tonumber(lib.lines("date +%s.%N")[1])
end

local problems = 0

--- Prints what is wrong; `finish` ends the script accordingly.
function lib.problem(...)
  problems = problems + 1
  print(string.format(...))
end

function lib.finish()
  os.exit(problems == 0)
end

return lib
