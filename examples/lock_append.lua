-- Appends lines to a file, each in several pieces, under a lock: any number of
-- these may run at once, in any number of terminals, and no line is torn.
--
--   lua5.4 examples/lock_append.lua [path] [name] [lines]
local ipc = require "unixipc"

local path = arg[1] or os.tmpname()
local name, lines = arg[2] or "anna", tonumber(arg[3] or 100)

-- The log itself is locked; flock(1) and other programs that lock it by flock
-- keep out, and are kept out. Whoever dies lets go of it.
local file <close> = assert(io.open(path, "a"))
file:setvbuf "no"

local function append(...)
  local held, message = ipc.lock.flock(path, nil, 5)
  if not held then error("somebody sits on " .. path .. ": " .. message) end
  local _ <close> = held
  for _, piece in ipairs {...} do file:write(piece) end
end

for i = 1, lines do append(name, " ", i, " ", ("."):rep(i % 20), "\n") end

-- Who looks at the file should not see half of a line either.
local whole, torn = 0, 0
do
  local _ <close> = assert(ipc.lock.flock(path, {shared = true}, 5))
  for line in io.lines(path) do
    if line:find "^%w+ %d+ %.*$" then whole = whole + 1
    else torn = torn + 1 end
  end
end
print(("%s: %d whole lines, %d torn"):format(path, whole, torn))
if not arg[1] then os.remove(path) end
os.exit(torn == 0)
