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

-- ours n: the same with a semaphore of sync.
local function ours(n)
  local sem <close> = assert(ipc.sync.semaphore())
  local wait, post = sem:bind()
  bench.measure(n, function(count)
    for _ = 1, count do
      post()
      wait()
    end
  end)
end

-- floor n: two functions of C that do nothing to speak of.
local function floor(n)
  local cell = ipc.atomic.int64()
  local load = cell:bind "load"
  bench.measure(n, function(count)
    for _ = 1, count do
      load()
      load()
    end
  end)
end

-- method n: as add, by a method.
local function method(n)
  local cell = ipc.atomic.int64()
  bench.measure(n, function(count)
    for _ = 1, count do cell:fetch_add(1) end
  end)
  assert(cell:load() == bench.total(n))
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

-- condition n cpu: two processes take turns, by a mutex and a condition.
local function condition(n, cpu)
  local mutex, changed = assert(ipc.sync.mutex()), assert(ipc.sync.condition())
  local turn = ipc.atomic.int64()
  local function play(count, mine)
    for _ = 1, count do
      mutex:lock()
      while turn:load() ~= mine do changed:wait(mutex) end
      turn:store(1 - mine)
      changed:notify()
      mutex:unlock()
    end
  end
  local child = assert(ipc.process.fork(function() play(bench.total(n), 1) end))
  bench.pin(child.pid, cpu)
  bench.measure(n, function(count) play(count, 0) end)
  assert(child:wait() == "exit")
end

-- roundtrip n cpu: two processes take turns, by two semaphores of sync.
local function roundtrip(n, cpu)
  local there, back = assert(ipc.sync.semaphore()), assert(ipc.sync.semaphore())
  local child = assert(ipc.process.fork(function()
    for _ = 1, bench.total(n) do
      there:wait()
      back:post()
    end
  end))
  bench.pin(child.pid, cpu)
  bench.measure(n, function(count)
    for _ = 1, count do
      there:post()
      back:wait()
    end
  end)
  assert(child:wait() == "exit")
end

bench.main{
  bound = bound, methods = methods, semaphore = semaphore, ours = ours,
  floor = floor, add = add, method = method, condition = condition,
  roundtrip = roundtrip,
}
