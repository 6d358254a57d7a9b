-- Tasks that are run while memory runs out, at each single allocation, in a
-- program in C: spec/c/oom_host.c says what it looks for.
local assert = require "luassert"

local out_of_memory = {}

--- Runs the script in the program: its mode, and what the script gets as "...".
function out_of_memory.run_host(mode, script, ...)
  local t = require "support"
  return t.children.run(nil, {
    command = {t.program "oom_host", mode, t.names.file(script), ...},
    timeout = 60 * t.slow,
  })
end

--- The script returns a function, the task, which may be run any number of
-- times. With less than `least` allocations it fails: then the task does not
-- do much.
function out_of_memory.survives(least, script, ...)
  local result = out_of_memory.run_host("memory", script, ...)
  -- What forked children say.
  assert.equal("", (result.err:gsub("not enough memory\n", "")))
  assert.equal(0, result.code)
  local once, all =
    result.out:match "^once: through with (%d+)\nfrom then on: .- (%d+)\n$"
  assert.truthy(once, result.out)
  assert.is_true(tonumber(once) >= least and tonumber(all) >= least,
    result.out)
end

return out_of_memory
