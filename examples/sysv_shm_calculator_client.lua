-- Asks examples/sysv_shm_calculator_server.lua, or a program in C that has the
-- same struct: each line of the input is an operand, an operator, an operand.
-- The line q ends the server.
--
--   lua5.4 examples/sysv_shm_calculator_client.lua [path]
local ipc = require "unixipc"
local layout = ipc.layout

local Calculator = layout.struct {
  {"operand1", "int"}, {"operand2", "int"}, {"op", "char"},
  {"result", "int"}, {"status", "int"}, {"requests", "int"},
}

local FREE, REQUEST, ANSWER = 1, 2, 3
local QUIT = "q"
local TIMEOUT = 5 -- seconds
local ERRORS = {"division by zero", "unknown operator", "overflow"}

io.stdout:setvbuf "line"
local key, message = ipc.sysv.ftok(arg[1] or "/tmp/unixipc.calculator", "c")
local set
if key then set, message = ipc.sysv_sem.get(key, 3) end
if not set then
  io.stderr:write(message, "\nIs the server running?\n")
  os.exit(1)
end
local region <close> = assert(assert(ipc.sysv_shm.get(key)):attach())
local calculator = Calculator:at(region)

-- The lock keeps other clients out from the request to the answer. It is given
-- back if this process is killed in between.
local function ask(a, op, b)
  local _ <close> = assert(set:lock(FREE, TIMEOUT))
  -- A client that was killed may have left a request, or its answer.
  assert(set:wait_zero(REQUEST, TIMEOUT))
  set:acquire(ANSWER, 1, 0)
  calculator.operand1, calculator.op, calculator.operand2 = a, op, b
  assert(set:release(REQUEST))
  assert(set:acquire(ANSWER, 1, TIMEOUT))
  if calculator.status ~= 0 then return ERRORS[calculator.status] end
  return calculator.result
end

-- Operands are what an int of C holds.
local function parse(line)
  local a, op, b = line:match "^%s*(-?%d+)%s*([^%sq])%s*(-?%d+)%s*$"
  if a and pcall(string.pack, "i4i4", a, b) then
    return tonumber(a), op, tonumber(b)
  end
end

for line in io.lines() do
  local a, op, b = parse(line)
  if line == QUIT then
    ask(0, QUIT, 0)
    break
  elseif not a then
    print "like 6 * 7, or q"
  else
    print(line .. " = " .. ask(a, op, b))
  end
end
