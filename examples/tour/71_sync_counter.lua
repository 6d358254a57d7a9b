local ipc = require "unixipc"
local atomic, mmap, process, sync = ipc.atomic, ipc.mmap, ipc.process, ipc.sync

local WORKERS, TURNS = 8, 2000

return {
  title = "Eight processes count together",
  text = [[
Two counters in shared memory. One is a word that is added to in one step; the
other is read, added to and written back, under a mutex. Both are exact to the
last. Then a process is killed while it has the mutex: the next one is told.]],
  play = function(scene)
    -- show
    local region <close> = assert(mmap.map {size = 4096})
    local cell = atomic.int64(region, 0)
    local mutex = assert(sync.mutex(region, 64, {create = true}))
    local function count()
      local add, lock, unlock = cell:bind "fetch_add", mutex:bind()
      for _ = 1, TURNS do
        add(1)
        assert(lock())
        region:pack("j", 8, region:unpack("j", 8) + 1)
        assert(unlock())
      end
    end
    local workers = {}
    for i = 1, WORKERS do workers[i] = assert(process.fork(count)) end
    for _, worker in ipairs(workers) do worker:wait(20) end

    local ready = atomic.int32(region, 16)
    local thief <close> = assert(process.fork(function()
      mutex:lock()
      ready:store(1):wake()
      process.sleep(60)
    end))
    ready:wait(0, 5)
    thief:kill "KILL"
    thief:wait(5)
    local ok, recovered = mutex:lock(5)
    mutex:consistent()
    mutex:unlock()
    -- end
    scene.expect("the atomic word", cell:load(), WORKERS * TURNS)
    scene.expect("the number under the mutex", (region:unpack("j", 8)),
      WORKERS * TURNS)
    scene.expect("locked after its owner was killed", ok, true)
    scene.expect("and told so", recovered, "recovered")
  end,
}
