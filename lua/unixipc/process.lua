---
-- @module unixipc.process

-- Processes: most is in csrc/process.c; `communicate` stands on poll.
local core = require "unixipc.core"

local process = core.process
local poll = core.poll
local errno = core.errno
local Process = process.Process

-- Where a communicate that was stopped goes on. What the child wrote is in the
-- buffers of its streams, where nothing gets lost.
local unfinished = setmetatable({}, { __mode = "k" })

local CHUNK = 65536

local function begin(child, input)
  local state = { input = input or "", sent = 0, reading = {} }
  for _, name in ipairs { "stdout", "stderr" } do
    local stream = child[name]
    if stream and stream:is_open() then table.insert(state.reading, stream) end
  end
  return state
end

local function forget(list, stream)
  for i, other in ipairs(list) do
    if other == stream then table.remove(list, i) end
  end
end

-- Takes what is there; nil, message, errno when reading fails.
local function take(state, stream)
  local held, message, code = stream:fill(0)
  if held or code == errno.ETIMEDOUT then return true end
  if message then return nil, message, code end
  forget(state.reading, stream) -- at its end
  return true
end

-- Gives what there is room for, what the stream kept back first. True when all
-- went out. A child that does not want it is no error: it has its reasons, and
-- its status tells them.
local function give(state, stream)
  local rest = state.input:sub(state.sent + 1, state.sent + CHUNK)
  local taken, _, code = stream:write_some(rest, 0)
  if taken then
    state.sent = state.sent + taken
    return state.sent == #state.input
  end
  return code ~= errno.ETIMEDOUT
end

local function list_waiting(state, stdin)
  local list = {}
  for _, stream in ipairs(state.reading) do
    table.insert(list, { stream, "r" })
  end
  if stdin then table.insert(list, { stdin, "w" }) end
  return list
end

-- Closes without a wait: what could not go out is not wanted.
local function give_and_close(state, stdin)
  if not give(state, stdin) then return stdin end
  stdin:set_timeout(0)
  stdin:close()
  return nil
end

-- Moves bytes both ways until all streams are at their end.
local function exchange(state, stdin, time_left)
  stdin = stdin and stdin:is_open() and give_and_close(state, stdin) or nil
  while stdin or #state.reading > 0 do
    local ready, message, code =
      poll.wait(list_waiting(state, stdin), time_left())
    if not ready then return nil, message, code end
    for _, stream in ipairs(ready) do
      if stream == stdin then
        stdin = give_and_close(state, stdin)
      else
        local ok, why, number = take(state, stream)
        if not ok then return nil, why, number end
      end
    end
  end
  return true
end

-- All that is in its buffer; asked again, the same.
local function gathered(state, stream)
  if not stream then return nil end
  if not stream:is_open() then return state[stream] end
  state[stream] = stream:read("a")
  stream:close()
  return state[stream]
end

local function check_arguments(input, timeout)
  if input ~= nil and type(input) ~= "string" then
    error("bad argument #1 to 'communicate' (string expected, got "
      .. type(input) .. ")", 3)
  end
  if timeout ~= nil and type(timeout) ~= "number" then
    error("bad argument #2 to 'communicate' (number expected, got "
      .. type(timeout) .. ")", 3)
  end
  local is_time = timeout == nil or timeout >= 0 -- NaN is none
  if not is_time then
    error("bad argument #2 to 'communicate' (timeout must be a number of "
      .. "seconds >= 0)", 3)
  end
end

-- A function that says how much of the timeout is left.
local function countdown(timeout)
  if not timeout then
    return function() return nil end
  end
  local deadline = process.now() + timeout
  return function() return math.max(0, deadline - process.now()) end
end

--- Gives the child its input, takes all its output, and waits for its end,
-- without a deadlock whatever the sizes. When time runs out nothing is lost:
-- call it again, without the input, and it goes on. After an error that was
-- raised inside it, as Ctrl-C does, it cannot be called again.
-- @function Process:communicate
-- @tparam[opt] string input for a child with `stdin = "pipe"`
-- @tparam[opt] number timeout seconds
-- @treturn[1] string|nil its output, with `stdout = "pipe"`
-- @treturn[1] string|nil its errors, with `stderr = "pipe"`
-- @treturn[1] string `"exit"` or `"signal"`
-- @treturn[1] integer|string exit code or name of the signal
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer errno: ETIMEDOUT, ECHILD
-- @see Process:wait
function Process:communicate(input, timeout)
  check_arguments(input, timeout)
  local state = unfinished[self] or begin(self, input)
  unfinished[self] = state
  local time_left = countdown(timeout)
  local ok, message, code = exchange(state, self.stdin, time_left)
  if not ok then return nil, message, code end
  local how, status, number = self:wait(time_left())
  if not how then return nil, status, number end
  return gathered(state, self.stdout), gathered(state, self.stderr), how,
    status
end

return process
