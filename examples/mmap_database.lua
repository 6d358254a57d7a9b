-- A tiny database: a file of records of equal size, mapped into memory. To read
-- or change one is to read or write memory; the record is locked meanwhile,
-- and only that one. Several terminals may use the same file.
--
--   lua5.4 examples/mmap_database.lua path put apples 12
--   lua5.4 examples/mmap_database.lua path add apples -2
--   lua5.4 examples/mmap_database.lua path get apples
--   lua5.4 examples/mmap_database.lua path list
local ipc = require "unixipc"

local RECORDS, SIZE, FORMAT = 1024, 64, "<j z" -- a number, the name of it
local MOST = SIZE - 9

local path, command, name, number = table.unpack(arg)
if not command then
  io.stderr:write("usage: mmap_database.lua path put|add|get|list ...\n")
  os.exit(2)
end

-- The first one makes the file; whoever comes at the same time finds it whole.
-- The space is really there: a full disk is an error here, not a signal later.
local db <close> = assert(ipc.mmap.map {file = path, create = true,
  size = RECORDS * SIZE})
-- These locks are those of this opening of the file, and end with it.
local locks <close> = assert(ipc.lock.open(path, {kind = "ofd"}))

local function get(place)
  local value, key = db:unpack(FORMAT, place)
  return key ~= "" and key or nil, value
end

local function hash(key)
  local h = 0
  for i = 1, #key do h = (h * 31 + key:byte(i)) % RECORDS end
  return h
end

-- Calls fn(place, found) with the record of the key locked; nil: it is full.
local function with_record(key, mode, fn)
  for i = 0, RECORDS - 1 do
    local place = (hash(key) + i) % RECORDS * SIZE
    assert(locks:lock_range(place, SIZE, mode, 5))
    local here = get(place)
    if here == key or not here then
      local result = fn(place, here == key)
      assert(locks:unlock_range(place, SIZE))
      return result
    end
    assert(locks:unlock_range(place, SIZE))
  end
end

local commands = {}

function commands.put()
  return with_record(name, "exclusive", function(place)
    db:pack(FORMAT, place, math.tointeger(number), name)
    return "done"
  end)
end

function commands.add()
  return with_record(name, "exclusive", function(place, found)
    local old = found and select(2, get(place)) or 0
    db:pack(FORMAT, place, old + math.tointeger(number), name)
    return old + number
  end)
end

function commands.get()
  return with_record(name, "shared", function(place, found)
    return found and select(2, get(place)) or "not there"
  end)
end

function commands.list()
  for place = 0, #db - 1, SIZE do
    local key, value = get(place)
    if key then print(key, value) end
  end
  return "that is all"
end

if not commands[command] or command ~= "list" and not name
  or name and #name > MOST then
  io.stderr:write("what?\n")
  os.exit(2)
end
print(commands[command]() or "it is full")
assert(db:sync(0, nil, "async")) -- on its way to the disk
