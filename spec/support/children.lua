-- Lua scripts in processes of their own, started by the shell: nothing here
-- depends on the library that is tested.
--
--   local child = children.start([[ print(io.read("a")) ]], {input = "hello"})
--   child:kill "INT"
--   local result = child:wait()      -- .out .err .code .signal .timed_out
local names = require "support.names"

local children = {}
local Child = {}
Child.__index = Child

local LIMIT = 10 * (tonumber(os.getenv "SPEC_SLOW") or 1) -- seconds

local function quote(word)
  return "'" .. tostring(word):gsub("'", [['\'']]) .. "'"
end

local function readAll(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

-- The pid comes first, the status last; what the script itself prints goes to
-- files, so that nothing it leaves running can keep us waiting.
local COMMAND = [[
%s timeout -k 1 %g sh -c 'echo $$
  exec "$@" <"$0/in" >"$0/out" 2>"$0/err"' %s %s
echo $?]]

local function environment(variables)
  local words = {
    LUA_PATH_5_4 = package.path, LUA_CPATH_5_4 = package.cpath,
  }
  for name, value in pairs(variables or {}) do words[name] = value end
  local list = {}
  for name, value in pairs(words) do
    list[#list + 1] = name .. "=" .. quote(value)
  end
  return table.concat(list, " ")
end

local function writeFile(path, bytes)
  local file <close> = assert(io.open(path, "wb"))
  file:write(bytes)
  return path
end

--- Starts a Lua script: its text, or the path of a file that ends in .lua.
-- options: args, input (a string), env, timeout (seconds, 10), and command, a
-- list of words that takes the place of the Lua interpreter and the script.
function children.start(script, options)
  options = options or {}
  local directory = names.path()
  assert(os.execute("mkdir " .. quote(directory)))
  writeFile(directory .. "/in", options.input or "")
  local words = options.command
  if not words then
    local is_file = script:find "^[^\n]+%.lua$"
    words = {
      os.getenv "LUA" or "lua5.4",
      is_file and script or writeFile(directory .. "/script.lua", script),
    }
  end
  local list = {}
  for _, word in ipairs(words) do list[#list + 1] = quote(word) end
  for _, word in ipairs(options.args or {}) do list[#list + 1] = quote(word) end
  local command = COMMAND:format(environment(options.env),
    options.timeout or LIMIT, quote(directory), table.concat(list, " "))
  local pipe = assert(io.popen("{ " .. command .. "; } 2>/dev/null"))
  local child = {pipe = pipe, directory = directory}
  child.pid = math.tointeger(tonumber(pipe:read "l"))
  return setmetatable(child, Child)
end

--- Waits for the end: out, err, and code or signal (a number), or timed_out.
function Child:wait()
  local status = tonumber(self.pipe:read "l")
  self.pipe:close()
  local result = {
    out = readAll(self.directory .. "/out"),
    err = readAll(self.directory .. "/err"),
    timed_out = status == 124,
  }
  if status > 128 then
    result.signal = status - 128
  else
    result.code = status
  end
  return result
end

--- kill(1): the name of a signal without SIG.
function Child:kill(signal)
  return os.execute(("kill -%s %d"):format(signal or "TERM", self.pid))
end

--- Runs a script to its end.
function children.run(script, options)
  return children.start(script, options):wait()
end

--- A place where two processes meet, a FIFO: give its path to a child.
function children.gate()
  local path = names.path ".gate"
  assert(os.execute("mkfifo " .. quote(path)))
  return path
end

--- Says at the gate that we are here; waits until the other hears it.
function children.open_gate(path)
  assert(io.open(path, "w")):close()
end

--- Waits until the other process opens the gate.
function children.pass_gate(path)
  local ok = os.execute(("timeout %g cat %s"):format(LIMIT, quote(path)))
  return ok or error("nobody opened the gate " .. path, 2)
end

return children
