-- A tour of unixipc: `make demo`, or
--
--   lua5.4 examples/tour.lua [word...]    only scenes with a word in their name
--
-- Each scene is a file, examples/tour/NN_name.lua, that returns a table:
--
--   title   a line
--   text    what it is about, in some lines
--   show    the code to print: {file = , from = , to = }, a file beside this
--           one and the patterns of the first and the last line to print; left
--           out it is what stands between `-- show` and `-- end` in the scene
--   play    a function that does it, given a scene (see below), and raises
--           when anything is not as it should be
--
-- Each is played in a process and a process group of its own, under a time
-- limit, with an empty directory for its files. It fails if it leaves a file
-- or a process behind. To add a scene, add the file.
local ipc = require "unixipc"
local process = ipc.process

local LIMIT = 10 -- seconds a scene

local this_file = arg[0]
local examples = this_file:match "^(.*)/[^/]*$" or "."
local first = 0
while arg[first - 1] do first = first - 1 end
local interpreter = arg[first] -- the command line begins with it

-- ---- one scene, in its own process -----------------------------------------

local scene = {examples = examples, lua = interpreter}

--- A path for a file of the scene.
function scene.path(name)
  return scene.directory .. "/" .. name
end

--- Says what happens.
function scene.tell(...)
  print("    " .. string.format(...))
end

local function in_short(value)
  local text = type(value) == "string" and ("%q"):format(value)
    or tostring(value)
  text = text:gsub("\\?\n", "\\n")
  if #text <= 70 then return text end
  return ("%s... (%d bytes)"):format(text:sub(1, 40), #value)
end

--- Says what came out, and raises if it is not what is wanted.
function scene.expect(what, value, wanted)
  scene.tell("%s: %s", what, in_short(value))
  if value ~= wanted then
    error(("%s: %s, not %s"):format(what, in_short(value), in_short(wanted)),
      2)
  end
end

--- Raises unless a condition holds.
function scene.check(condition, what)
  if not condition then error(what, 2) end
end

--- Starts one of the examples as a process, with the options of spawn.
function scene.start(name, arguments, options)
  local argv = {interpreter, examples .. "/" .. name .. ".lua"}
  table.move(arguments, 1, #arguments, #argv + 1, argv)
  return assert(process.spawn(argv, options))
end

-- The lines from the one that matches `from` to the one that matches `to`.
local function excerpt(path, from, to)
  local lines, is_inside, indent = {}, false, nil
  for line in io.lines(path) do
    is_inside = is_inside or line:find(from) ~= nil
    if is_inside then
      indent = indent or line:match "^ *"
      lines[#lines + 1] = line:gsub("^" .. indent, "")
      if line:find(to) then return lines end
    end
  end
  error(path .. ": no lines to show")
end

local function code_of(path, show)
  if show then
    return excerpt(examples .. "/" .. show.file, show.from, show.to)
  end
  local lines = excerpt(path, "^ *%-%- show$", "^ *%-%- end$")
  return table.move(lines, 2, #lines - 1, 1, {})
end

local function play(path, directory, number)
  local script = dofile(path)
  scene.directory = directory
  io.stdout:setvbuf "line"
  print(("%s. %s\n"):format(number, script.title))
  print(script.text)
  print()
  for _, line in ipairs(code_of(path, script.show)) do
    print((("  | " .. line):gsub("%s+$", "")))
  end
  print()
  script.play(scene)
end

if arg[1] == "--play" then
  local ok, trouble = xpcall(play, debug.traceback, table.unpack(arg, 2))
  if not ok then print(trouble) end
  os.exit(ok, true)
end

-- ---- all of them -----------------------------------------------------------

local function lines_of(...)
  local stream <close>, child = assert(ipc.pipe.popen {...})
  local lines = {}
  for line in stream:lines() do lines[#lines + 1] = line end
  local how, code = child:wait()
  if how ~= "exit" or code ~= 0 then
    error(table.concat({...}, " ") .. " failed", 0)
  end
  return lines
end

-- A signal to all processes of a group; false if there is none.
local function signal_group(signal, group)
  local child <close> = assert(process.spawn({"sh", "-c",
    'kill -s "$0" -- "-$1" 2>/dev/null', signal, group}))
  local how, code = child:wait()
  return how == "exit" and code == 0
end

-- An object that, closed, removes what a scene may have left.
local function sweeper(directory)
  local sweep = {}
  return setmetatable(sweep, {__close = function()
    if sweep.group then signal_group("KILL", sweep.group) end
    lines_of("rm", "-rf", directory)
  end})
end

local function what_is_left(directory, group)
  local files = lines_of("ls", "-A", directory)
  if #files > 0 then return "left files: " .. table.concat(files, " ") end
  for _ = 1, 10 do -- one that was told to end may need a moment
    if not signal_group("0", group) then return nil end
    process.sleep(0.05)
  end
  return "left a process"
end

-- Returns what went wrong, or nil.
local function run(path, number)
  local directory = lines_of("mktemp", "-d", "/tmp/unixipc_tour.XXXXXX")[1]
  local sweep <close> = sweeper(directory)
  local child <close> = assert(process.spawn(
    {interpreter, this_file, "--play", path, directory, number},
    {stdin = "null", stderr = "stdout", pgroup = true}))
  sweep.group = child.pid
  local how, code = child:wait(LIMIT)
  if not how then return "no end within " .. LIMIT .. " seconds" end
  if how == "signal" then return "killed by " .. code end
  if code ~= 0 then return "see above" end
  return what_is_left(directory, child.pid)
end

local function is_wanted(name)
  for _, word in ipairs(arg) do
    if name:find(word, 1, true) then return true end
  end
  return #arg == 0
end

local passed, failed = 0, 0
print "unixipc: a tour. Each scene runs real processes and checks what they do."
for _, file in ipairs(lines_of("ls", examples .. "/tour")) do
  local name = file:match "^%d+_(.*)%.lua$"
  if name and is_wanted(name) then
    print()
    io.stdout:flush() -- the scene writes to it too
    local start = process.now()
    local trouble = run(examples .. "/tour/" .. file, passed + failed + 1)
    print(("\n%s  %s%s (%.2f s)"):format(trouble and "FAILED" or "OK", name,
      trouble and ": " .. trouble or "", process.now() - start))
    if trouble then failed = failed + 1 else passed = passed + 1 end
  end
end
print(("\n%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and passed > 0, true)
