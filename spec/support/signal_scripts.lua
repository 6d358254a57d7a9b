-- Scripts that get signals in plain Lua code.
--
--   scripts.check(script, output)   -- it prints this, and nothing goes wrong
--   scripts.PRELUDE                 -- for those that are run otherwise
local assert = require "luassert"
local children = require "support.children"

local scripts = {}

-- What scripts begin with. kill() sends this process signals while it is in
-- one call of C; loop(fn) runs Lua code that calls nothing of the library until
-- fn() is true, for some seconds at most; enter() calls the library.
scripts.PRELUDE = [[
  local ipc = require "unixipc"
  local signal, process = ipc.signal, ipc.process
  local stream = ipc.pipe.open()
  local function enter() return stream:available() end
  local function kill(...)
    local words = {}
    for i, name in ipairs {...} do words[i] = "kill -" .. name .. " $PPID" end
    local pipe = io.popen(table.concat(words, ";"))
    pipe:read "a"
    pipe:close()
  end
  local function loop(fn)
    local finish = os.clock() + 3
    while not fn() and os.clock() < finish do end
  end
]]

function scripts.check(script, expected)
  local result = children.run(scripts.PRELUDE .. script)
  assert.is_false(result.timed_out, "no end")
  assert.equal("", result.err)
  assert.equal(expected, result.out)
  assert.equal(0, result.code)
end

return scripts
