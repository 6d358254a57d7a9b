-- A thousand Lua processes killed at each of the objects of unixipc.sync, at
-- any instruction: the others go on, and what is guarded stays whole. From the
-- environment: ROUNDS, how many (1000).
local t = require "support"
local ipc = require "unixipc"

local atomic, mmap, process, sync = ipc.atomic, ipc.mmap, ipc.process, ipc.sync

local ROUNDS = tonumber(os.getenv "ROUNDS") or 1000
local WORKERS = 3
local PATIENCE = 10 * t.slow

-- Of the region: a counter for each worker, two numbers that are to be equal,
-- and the object.
local LEFT, RIGHT, PLACE, SECOND, SIZE = 64, 72, 128, 8192, 16384

local function write_both(r, recovered)
  local n = r:unpack("j", LEFT)
  assert(recovered or n == r:unpack("j", RIGHT), "half written")
  r:pack("j", LEFT, n + 1)
  r:pack("j", RIGHT, n + 1)
end

local uses = {}

function uses.mutex(r)
  local m = assert(sync.mutex(r, PLACE))
  local lock, unlock = m:bind()
  return function()
    local _, recovered = assert(lock())
    if recovered then assert(m:consistent()) end
    write_both(r, recovered)
    assert(unlock())
  end
end

function uses.rwlock(r)
  local rw = assert(sync.rwlock(r, PLACE))
  return function(turn)
    if turn % 4 == 0 then
      local _, recovered = assert(rw:write_lock())
      write_both(r, recovered)
    else
      local _, recovered = assert(rw:read_lock())
      assert(recovered or r:unpack("j", LEFT) == r:unpack("j", RIGHT))
    end
    assert(rw:unlock())
  end
end

-- Who is killed between the two leaves one too many, never one too few.
function uses.semaphore(r)
  local wait, post = assert(sync.semaphore(r, PLACE)):bind()
  return function()
    assert(post())
    assert(wait())
  end
end

function uses.barrier(r)
  local b = assert(sync.barrier(r, PLACE))
  return function() assert(b:wait() ~= nil) end
end

-- Each in turn: whoever is next is told. The dead are replaced.
function uses.condition(r)
  local m = assert(sync.mutex(r, PLACE))
  local c = assert(sync.condition(r, SECOND))
  return function()
    local _, recovered = assert(m:lock())
    if recovered then assert(m:consistent()) end
    local n = r:unpack("j", LEFT)
    r:pack("j", LEFT, n + 1)
    c:notify()
    _, recovered = c:wait(m, 0.001)
    if recovered == "recovered" then assert(m:consistent()) end
    assert(m:unlock())
  end
end

-- Never to its end, so that there is always one to do it.
function uses.once(r)
  local once = assert(sync.once(r, PLACE))
  return function()
    local ok, message = pcall(once.call, once, function()
      r:pack("j", LEFT, r:unpack("j", LEFT) + 1)
      error("again", 0)
    end)
    assert(not ok and message == "again", message)
  end
end

local function make(kind, r)
  local options = {create = true}
  if kind == "barrier" then options.parties = WORKERS end
  if kind == "condition" then
    assert(sync.mutex(r, PLACE, options))
    return assert(sync.condition(r, SECOND, options))
  end
  return assert(sync[kind](r, PLACE, options))
end

local function start(kind, r, i)
  return assert(process.fork(function()
    local progress = atomic.int64(r, 8 * i):bind "fetch_add"
    local use = uses[kind](r)
    for turn = i, math.maxinteger do
      use(turn)
      progress(1)
    end
  end))
end

local function kill(worker)
  worker:kill "KILL"
  local how, what = worker:wait(PATIENCE)
  assert(how == "signal" and what == "SIGKILL", "a check of a worker failed")
  worker:close()
end

local function went_on(cell, before)
  for _ = 1, PATIENCE * 2000 do
    if cell:load() > before then return true end
    process.sleep(0.0005)
  end
  return false
end

local function storm(kind)
  local r <close> = assert(mmap.map {size = SIZE})
  local _ <close> = make(kind, r)
  local workers, cells = {}, {}
  for i = 1, WORKERS do
    cells[i] = atomic.int64(r, 8 * i)
    workers[i] = start(kind, r, i)
  end
  for round = 1, ROUNDS do
    local victim = math.random(WORKERS)
    process.sleep(math.random() * 0.001)
    kill(workers[victim])
    workers[victim] = start(kind, r, victim)
    local before = {}
    for i = 1, WORKERS do before[i] = cells[i]:load() end
    for i = 1, WORKERS do
      assert(went_on(cells[i], before[i]),
        ("stuck in round %d: worker %d"):format(round, i))
    end
  end
  for i = 1, WORKERS do kill(workers[i]) end
end

describe("unixipc.sync", function()
  for _, kind in ipairs {"mutex", "rwlock", "semaphore", "barrier",
                         "condition", "once"} do
    it("outlives killed processes: " .. kind, function() storm(kind) end)
  end
end)
