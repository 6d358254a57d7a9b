-- A calculator in shared memory: clients leave operands and an operator, the
-- server answers. Any number of clients at a time; nobody waits in a loop.
--
--   lua5.4 examples/sysv_shm_calculator_server.lua [path]    in one terminal
--   lua5.4 examples/sysv_shm_calculator_client.lua [path]    in others
--
-- Three semaphores:
--
--   FREE      1: no client is at the memory
--   REQUEST   1: there is a request in it, until it is answered
--   ANSWER    1: there is an answer in it
--
-- All make the key of the same file, which the server makes and locks. The lock
-- ends with it, also by kill -9: so who gets the lock is the only server, and
-- what it finds under the key is left over.
--
-- The struct is the C compiler's own, so that either side can be a C program:
-- sysv_shm_calculator_server.c is this server once more.
local ipc = require "unixipc"
local layout = ipc.layout

local Calculator = layout.struct {
  {"operand1", "int"}, {"operand2", "int"}, {"op", "char"},
  {"result", "int"}, {"status", "int"}, {"requests", "int"},
}

local REQUEST, ANSWER = 2, 3
local OK, DIVISION_BY_ZERO, UNKNOWN_OPERATOR, OVERFLOW = 0, 1, 2, 3
local QUIT = "q"

local path = arg[1] or "/tmp/unixipc.calculator"
io.stdout:setvbuf "line"

local operations = {
  ["+"] = function(a, b) return a + b end,
  ["-"] = function(a, b) return a - b end,
  ["*"] = function(a, b) return a * b end,
}

-- As in C: towards zero.
operations["/"] = function(a, b)
  if b == 0 then return nil end
  local q = a // b
  return q < 0 and q * b ~= a and q + 1 or q
end

local function calculate(a, op, b)
  local operation = operations[op]
  if not operation then return UNKNOWN_OPERATOR, 0 end
  local result = operation(a, b)
  if not result then return DIVISION_BY_ZERO, 0 end
  if result ~= string.unpack("i4", string.pack("j", result)) then
    return OVERFLOW, 0
  end
  return OK, result
end

-- Answers one request; false when it was the last.
local function answer(calculator)
  -- What stands there may be changed by a client at any time: take it once.
  local a, op, b = calculator.operand1, calculator.op, calculator.operand2
  if op == QUIT then
    calculator.status = OK
    return false
  end
  local status, result = calculate(a, op, b)
  calculator.status, calculator.result = status, result
  calculator.requests = calculator.requests + 1
  print(("%d %s %d = %s"):format(a, op, b,
    status == OK and result or "error " .. status))
  return true
end

-- SIGTERM as Ctrl-C: else it would end this process with nothing removed.
ipc.signal.handle("SIGTERM", function() error("interrupted!", 0) end)

-- The set goes first, which ends the clients that wait.
local function remove_left_over(key)
  for _, module in ipairs {ipc.sysv_sem, ipc.sysv_shm} do
    local left_over = module.get(key)
    if left_over then assert(left_over:remove()) end
  end
end

local function serve()
  local lock <close>, why = ipc.lock.flock(path, {create = true}, 0)
  if not lock then error(path .. ": " .. why .. ". Is one running?", 0) end
  local key = assert(ipc.sysv.ftok(path, "c"))
  remove_left_over(key)
  local options = {create = true, temporary = true}
  local segment <close> =
    assert(ipc.sysv_shm.get(key, Calculator:size(), options))
  local region <close> = assert(segment:attach())
  options.initial = {1, 0, 0}
  local set <close> = assert(ipc.sysv_sem.get(key, 3, options))
  print("ready, " .. tostring(segment))
  local calculator = Calculator:at(region)
  repeat
    -- Wait for a request, but leave the semaphore as it is. So it is 0 only
    -- when we are not at the memory, even if the client was killed meanwhile.
    assert(set:op {{REQUEST, -1}, {REQUEST, 1}})
    local goes_on = answer(calculator)
    assert(set:op {{REQUEST, -1}, {ANSWER, 1}})
  until not goes_on
  -- The last client still has to see its answer before the set goes.
  set:wait_zero(ANSWER, 1)
end

-- Ctrl-C and errors close all three, and that removes them.
local ok, message = pcall(serve)
if not ok and not tostring(message):find "interrupted!$" then
  io.stderr:write(tostring(message), "\n")
  os.exit(1, true)
end
print "stopped"
