-- The first line of every spec: local t = require "support"
-- After each test nothing may be left behind: helper.lua sees to that.
local assert = require "luassert"
local busted = require "busted"

local t = {
  children = require "support.children",
  names = require "support.names",
  leaks = require "support.leaks",
  -- How many times slower than usual: under valgrind, with sanitizers.
  slow = tonumber(os.getenv "SPEC_SLOW") or 1,
  -- Options of children.run for one that is to die of a fault in memory: no
  -- sanitizer is to catch it.
  dying = {env = {ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "")
    .. ":handle_segv=0:handle_sigbus=0"}},
}

--- The call was refused: t.refused("ENOENT", fifo.open(path, "r")).
-- Returns the message and whatever came after the number.
function t.refused(name, value, message, number, ...)
  assert.is_nil(value)
  assert.is_string(message)
  assert.equal(require("unixipc.errno").number(name), number, message)
  return message, ...
end

--- The call ran out of time. Returns whatever came after the number.
function t.timed_out(...)
  assert.equal("timeout", (t.refused("ETIMEDOUT", ...)))
  return select(4, ...)
end

--- The call is a programmer's mistake; `text` is part of the message.
function t.raises(text, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok, "no error was raised")
  assert.truthy(tostring(message):find(text, 1, true),
    ("%q is not in %q"):format(text, tostring(message)))
  return message
end

--- The seconds that a call took, then what it returned.
function t.took(fn, ...)
  local start = busted.monotime()
  local results = table.pack(fn(...))
  return busted.monotime() - start, table.unpack(results, 1, results.n)
end

t.under_valgrind = require "support.under_valgrind"
t.out_of_memory = require "support.out_of_memory"

--- As `it`, for what valgrind cannot run.
function t.natively(name, fn)
  return (t.under_valgrind and busted.pending or busted.it)(name, fn)
end

--- For `local _ <close> = t.closer(one, other)`: closes them all.
function t.closer(...)
  local list = {...}
  return setmetatable({}, {__close = function()
    for _, object in ipairs(list) do object:close() end
  end})
end

--- Eight children call fn at once, and exit with the integer it returns: how
-- many did with which.
function t.race(fn)
  local process = require "unixipc.process"
  local r, w = assert(require("unixipc.pipe").open())
  local list, count = {}, {}
  for i = 1, 8 do
    list[i] = assert(process.fork(function()
      w:close()
      r:read(1, 20 * t.slow)
      return fn()
    end))
  end
  w:close()
  r:close()
  for _, child in ipairs(list) do
    local _, code = child:wait(20 * t.slow)
    count[code] = (count[code] or 0) + 1
    child:close()
  end
  return count
end

--- Waits until a child has ended, and leaves its status to be taken.
function t.await_exit(child)
  local start = busted.monotime()
  repeat
    local file <close> = io.open("/proc/" .. child.pid .. "/stat")
    local state = file and file:read "a":match "%) (%a)"
    if state == "Z" then return end
    busted.sleep(0.001)
  until busted.monotime() - start > 10 * t.slow
  error("process " .. child.pid .. " has not ended", 2)
end

--- The path of a program that was built from spec/c/<name>.c.
function t.program(name)
  return (os.getenv "BUILD" or "build/release") .. "/spec/c/" .. name
end

return t
