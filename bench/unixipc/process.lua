-- Child processes as a user of unixipc would write them; compare
-- bench/c/process.c.
local bench = require "bench"
local occupy = require "memory"
local process = require("unixipc").process

-- spawn n megabytes
local function spawn(n, megabytes)
  local held = occupy(megabytes)
  bench.measure(n, function(count)
    for _ = 1, count do
      local child <close> = assert(process.spawn{"/bin/true"})
      assert(child:wait() == "exit")
    end
  end)
  assert(#held == megabytes * 1000)
end

bench.main{spawn = spawn}
