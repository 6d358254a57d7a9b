-- Handlers and masks for the time of a block, and other processes that send.
--
--   local handler <close> = signals.handle("SIGUSR1", fn)
--   local mask <close> = signals.block "SIGUSR1"
--
-- What is declared last is put back first: the mask while the handler is there.
local t = require "support"
local ipc = require "unixipc"

local process, signal = ipc.process, ipc.signal

local signals = {}

local function closing(fn)
  return setmetatable({}, {__close = fn})
end

--- signal.handle, undone when the block ends.
function signals.handle(sig, action, options)
  assert(signal.handle(sig, action, options))
  return closing(function() assert(signal.handle(sig, "original")) end)
end

--- Runs fn with a handler, and puts back what was there.
function signals.with_handler(sig, action, fn)
  local handler <close> = signals.handle(sig, action)
  return fn(handler)
end

--- A signal that comes in the middle of what is done next. The timer is closed
-- by the caller.
function signals.soon(sig)
  return assert(signal.timer{after = 0.003, signal = sig})
end

--- signal.block, undone when the block ends. Of a handler that raises then,
-- nobody hears.
function signals.block(set)
  local before = signal.block(set)
  return closing(function() pcall(signal.set_mask, before) end)
end

--- A list of the values that came with this signal, which grows; and what to
-- close.
function signals.collect(sig, options)
  local values = {}
  return values, signals.handle(sig, function(_, info)
    table.insert(values, info.value)
  end, options)
end

--- Queues the values from 1 to count for this process.
function signals.queue(sig, count)
  for value = 1, count do
    assert(signal.queue(process.pid(), sig, value))
  end
end

local function status_of(pid)
  local file <close> = io.open("/proc/" .. pid .. "/status")
  return file and file:read "a" or ""
end

--- A field of /proc/self/status: SigBlk, SigIgn, SigCgt, as a number.
function signals.status(name)
  return tonumber(status_of("self"):match(name .. ":\t(%x+)"), 16)
end

--- Waits until a process is in a state: "S" asleep in a system call.
function signals.await_state(pid, wanted)
  local finish = process.now() + 10 * t.slow
  while status_of(pid):match "State:\t(%a)" ~= wanted do
    assert(process.now() < finish, "process " .. pid .. " is not " .. wanted)
    process.sleep(0.001)
  end
end

--- A child that calls fn with the number of this process, once that sleeps.
function signals.when_asleep(fn)
  return assert(process.fork(function(parent)
    process.sleep(0.02)
    signals.await_state(parent, "S")
    return fn(parent)
  end, process.pid()))
end

--- A child that sends this process a signal once that sleeps.
function signals.send_when_asleep(sig)
  return signals.when_asleep(function(parent)
    assert(signal.send(parent, sig))
  end)
end

--- Waits for children, which must have gone well.
function signals.finish(...)
  for _, child in ipairs {...} do
    local how, code = child:wait(10 * t.slow)
    assert(how == "exit" and code == 0, ("%s %s"):format(how, code))
  end
end

return signals
