---
-- @module unixipc.pipe

-- Pipes: `open` is in csrc/pipe.c; `popen` stands on spawn.
local core = require "unixipc.core"
local process = require "unixipc.process"

local pipe = core.pipe

-- Which ends of the child each mode makes pipes.
local ENDS = {
  r = { stdout = "pipe" },
  w = { stdin = "pipe" },
  rw = { stdin = "pipe", stdout = "pipe" },
}

local function spawn_options(options, ends)
  local merged = {}
  for name, value in pairs(options or {}) do merged[name] = value end
  for name, value in pairs(ends) do
    if merged[name] ~= nil then
      error("bad argument #3 to 'popen' (option '" .. name
        .. "' is the stream's own)", 3)
    end
    merged[name] = value
  end
  return merged
end

-- Mistakes in the arguments are those of popen's caller.
local function spawn(argv, options)
  local ok, child, message, code = pcall(process.spawn, argv, options)
  if ok then return child, message, code end
  local mistake = tostring(child):gsub("^.-(bad argument)", "%1")
    :gsub("#1 to '[^']*'", "#1 to 'popen'")
    :gsub("#2 to '[^']*'", "#3 to 'popen'")
  error(mistake, 3)
end

local function stream_to(child)
  if child.stdin and child.stdout then
    return core.stream.join(child.stdout, child.stdin)
  end
  return child.stdin or child.stdout
end

--- Starts a program with a stream to it, as `io.popen` does, but in both
-- directions if asked to, and telling a program that is not there from one
-- that failed. The exit status is that of the second result:
-- `child:wait()`.
--
-- A string goes to `/bin/sh -c`; a table is a program and its arguments, and
-- no shell comes near it. With `"rw"` the stream writes to the program's input
-- and reads its output: `stream:shutdown("write")` ends its input.
-- @function popen
-- @tparam string|table command
-- @tparam[opt="r"] string mode `"r"` to read its output, `"w"` to write its
-- input, or `"rw"`
-- @tparam[opt] table options as `process.spawn` takes them
-- @treturn[1] Stream
-- @treturn[1] Process
-- @treturn[2] nil when it could not be started
-- @treturn[2] string message
-- @treturn[2] integer errno: ENOENT (no such program), EACCES, EMFILE, EAGAIN
-- @see popen(3)
function pipe.popen(command, mode, options)
  local ends = ENDS[mode or "r"]
  if not ends then
    error("bad argument #2 to 'popen' (invalid mode '" .. tostring(mode)
      .. "'; known: r, w, rw)", 2)
  end
  local argv = command
  if type(command) == "string" then
    argv = { "/bin/sh", "-c", command }
  elseif type(command) ~= "table" then
    error("bad argument #1 to 'popen' (string or table expected, got "
      .. type(command) .. ")", 2)
  end
  local child, message, code = spawn(argv, spawn_options(options, ends))
  if not child then return nil, message, code end
  return stream_to(child), child
end

return pipe
