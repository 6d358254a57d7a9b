-- Shared memory as a user of unixipc would write it; compare
-- bench/c/posix_shm.c.
local bench = require "bench"
local ipc = require "unixipc"

-- open n size: opened, mapped, unmapped and closed.
local function open(n, size)
  local made <close> = assert(ipc.posix_shm.open(nil,
    {size = size, temporary = true}))
  local name = made:name()
  bench.measure(n, function(count)
    for _ = 1, count do
      local s = assert(ipc.posix_shm.open(name))
      local r = assert(s:map())
      r:close()
      s:close()
    end
  end)
end

-- make n size: made, its space taken, and removed.
local function make(n, size)
  local options = {size = size, temporary = true}
  bench.measure(n, function(count)
    for _ = 1, count do ipc.posix_shm.open(nil, options):close() end
  end)
end

bench.main{open = open, make = make}
