-- A mapped file as a user of unixipc would use it; compare bench/c/mmap.c.
local bench = require "bench"
local ipc = require "unixipc"

local SIZE, RECORD = 1 << 20, 64

-- records n: 64 bytes read and written back.
local function records(n)
  local path = os.tmpname()
  local r <close> = assert(ipc.mmap.map {file = path, size = SIZE,
    extend = true})
  os.remove(path)
  local at = 0
  bench.measure(n, function(count)
    for _ = 1, count do
      at = (at * 1103515245 + 12345) % (SIZE // RECORD)
      local place = at * RECORD
      r:write(place, r:read(place, RECORD))
    end
  end)
end

-- map n: a page mapped and unmapped.
local function map(n)
  local options = {size = 4096}
  bench.measure(n, function(count)
    for _ = 1, count do ipc.mmap.map(options):close() end
  end)
end

-- stock n: as records, with a file of Lua's own.
local function stock(n)
  local file <close> = io.tmpfile()
  file:write(("x"):rep(SIZE))
  local at = 0
  bench.measure(n, function(count)
    for _ = 1, count do
      at = (at * 1103515245 + 12345) % (SIZE // RECORD)
      local place = at * RECORD
      file:seek("set", place)
      local bytes = file:read(RECORD)
      file:seek("set", place)
      file:write(bytes)
    end
  end)
end

bench.main{records = records, map = map, stock = stock}
