--- Runs the targets of make fuzz, spec/fuzz/*_fuzz.lua, without libFuzzer: the
-- seeds, then seeds whose bytes were changed blindly.
local fuzz = {}

-- As spec/fuzz/host.c has it, as well as Lua can tell.
local function limited(bytes, fn, ...)
  collectgarbage()
  collectgarbage "stop"
  local before = collectgarbage "count"
  local results = table.pack(pcall(fn, ...))
  local used = (collectgarbage "count" - before) * 1024
  collectgarbage "restart"
  assert(used <= bytes, "more memory than allowed")
  return table.unpack(results, 1, results.n)
end

--- The targets: {stem = path}.
function fuzz.targets()
  local list = {}
  local pipe <close> = assert(io.popen "ls spec/fuzz/*_fuzz.lua")
  for path in pipe:lines() do list[path:match "([%w_]+)_fuzz"] = path end
  return list
end

function fuzz.load(path)
  return assert(loadfile(path)) {limited = limited}
end

local INTERESTING <const> = {"\0", "\xff", "\x7f", "\x80", "\1", "\xff\xff",
  "\xff\xff\xff\xff", "\x7f\xff\xff\xff", "\0\0\0\0\0\0\0\0"}

local changes = {
  function(s, at, byte) return s:sub(1, at - 1) .. byte .. s:sub(at + 1) end,
  function(s, at, byte) return s:sub(1, at) .. byte .. s:sub(at + 1) end,
  function(s, at) return s:sub(1, at - 1) .. s:sub(at + 1) end,
  function(s, at) return s:sub(1, at) end,
  function(s, at) return s:sub(1, at) .. s:sub(at // 2 + 1) end,
  function(s, at)
    local bytes = INTERESTING[math.random(#INTERESTING)]
    return s:sub(1, at - 1) .. bytes .. s:sub(at + #bytes)
  end,
}

local function change(bytes)
  for _ = 1, math.random(6) do
    bytes = changes[math.random(#changes)](bytes, math.random(0, #bytes),
      string.char(math.random(0, 255)))
  end
  return bytes
end

--- Runs a target until `is_enough(runs)`. The message of a failure has the
-- bytes.
function fuzz.run(target, is_enough)
  local runs = 0
  while not is_enough(runs) do
    runs = runs + 1
    local bytes = target.seeds[runs]
      or change(target.seeds[math.random(#target.seeds)])
    local ok, message = pcall(target.run, bytes)
    if not ok then error(("%s, with %q"):format(message, bytes), 0) end
  end
  return runs
end

return fuzz
