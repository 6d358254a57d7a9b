-- load: what `require "posix"` adds to the start of a program.
local bench = require "bench"

-- The clock of bench comes from posix itself: forget that it was loaded, as
-- far as Lua lets us (its C part stays mapped, which favours this peer).
local function load()
  for name in pairs(package.loaded) do
    if name:find("^posix") then package.loaded[name] = nil end
  end
  local start = bench.now()
  require "posix"
  print(bench.now() - start)
end

bench.main{load = load}
