-- Locks on files as a user of unixipc would write them; compare
-- bench/c/lock.c.
local bench = require "bench"
local ipc = require "unixipc"

local function pairs_of(kind, options)
  return function(n)
    local file <close> = assert(io.tmpfile())
    options.kind = kind
    local lock <close> = assert(ipc.lock.open(file, options))
    bench.measure(n, function(count)
      for _ = 1, count do
        lock:lock()
        lock:unlock()
      end
    end)
  end
end

-- The same with a path, which the Lock opens for itself.
local function by_path(n)
  local path = os.tmpname()
  local lock <close> = assert(ipc.lock.open(path, {kind = "fcntl",
    length = 1}))
  os.remove(path)
  bench.measure(n, function(count)
    for _ = 1, count do
      lock:lock()
      lock:unlock()
    end
  end)
end

bench.main{
  fcntl = pairs_of("fcntl", {length = 1}), ofd = pairs_of("ofd", {length = 1}),
  flock = pairs_of("flock", {}), path = by_path,
}
