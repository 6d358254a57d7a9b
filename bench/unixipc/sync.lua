-- Mutex, semaphore, atomics as a user of unixipc would write them; compare
-- bench/c/sync.c.
local bench = require "bench"
local ipc = require "unixipc"

-- bound n: a mutex locked and unlocked by its bound functions.
local function bound(n)
  local lock, unlock = assert(ipc.sync.mutex()):bind()
  bench.measure(n, function(count)
    for _ = 1, count do
      lock()
      unlock()
    end
  end)
end

-- methods n: the same by methods.
local function methods(n)
  local mutex = assert(ipc.sync.mutex())
  bench.measure(n, function(count)
    for _ = 1, count do
      mutex:lock()
      mutex:unlock()
    end
  end)
end

-- semaphore n: post and wait, by bound functions.
local function semaphore(n)
  local sem <close> = assert(ipc.posix_sem.open(nil, {temporary = true}))
  local wait, post = sem:bind()
  bench.measure(n, function(count)
    for _ = 1, count do
      post()
      wait()
    end
  end)
end

-- add n: a word of shared memory is added to.
local function add(n)
  local cell = ipc.atomic.int64()
  local fetch_add = cell:bind "fetch_add"
  bench.measure(n, function(count)
    for _ = 1, count do fetch_add(1) end
  end)
  assert(cell:load() == bench.total(n))
end

bench.main{bound = bound, methods = methods, semaphore = semaphore, add = add}
