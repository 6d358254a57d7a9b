-- Child processes with luaposix, which has fork and exec; compare
-- bench/c/process.c.
local bench = require "bench"
local occupy = require "memory"
local unistd = require "posix.unistd"
local wait = require("posix.sys.wait").wait

-- spawn n megabytes
local function spawn(n, megabytes)
  local held = occupy(megabytes)
  bench.measure(n, function(count)
    for _ = 1, count do
      local pid = assert(unistd.fork())
      if pid == 0 then
        unistd.exec("/bin/true", {})
        unistd._exit(127)
      end
      assert(select(3, wait(pid)) == 0)
    end
  end)
  assert(#held == megabytes * 1000)
end

bench.main{spawn = spawn}
