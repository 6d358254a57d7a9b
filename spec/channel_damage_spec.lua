-- What stands in a channel's memory is anybody's. (Every byte, without time:
-- spec/c/ring_mutate_test.c; and make fuzz.)
local t = require "support"
local ipc = require "unixipc"

local channel, mmap = ipc.channel, ipc.mmap

local OPTIONS <const> = {capacity = 1024, slots = 4}
local HEAD <const> = 2048 -- bytes: more than stand before the ring itself

local makers = {
  queue = function() return channel.queue(nil, OPTIONS) end,
  ["queue of one"] = function()
    return channel.queue(nil, {capacity = 1024, slots = 4, single = true})
  end,
  broadcast = function()
    return channel.broadcast(nil, {capacity = 1024, slots = 4,
      subscribe = "new"})
  end,
  ["broadcast that drops"] = function()
    return channel.broadcast(nil, {capacity = 1024, slots = 4,
      subscribe = "new", policy = "drop"})
  end,
  duplex = function() return channel.duplex(nil, OPTIONS) end,
}

local changes = {
  function() return 0x7fffffff0 end,
  function(old) return old + 64 end,
}

local SOON <const> = 0.0001

-- One message more than it knows of.
local function make_used(make)
  local ch, other = assert(make())
  ch:receive(0)
  assert((other or ch):send("one", 0))
  return ch, other
end

local function change_word(ch, place, change)
  local memory <close> = assert(mmap.map {file = ch:descriptor()})
  memory:pack("<i8", place, change(memory:unpack("<i8", place)))
end

-- Values, or errors in words.
local function try(ch)
  ch:receive(SOON)
  ch:receive_many(5, SOON)
  ch:send("x", SOON)
end

describe("A damaged channel", function()
  for name, make in pairs(makers) do
    it("keeps to the time that a call has: " .. name, function()
      for place = 0, HEAD - 8, 8 do
        for _, change in ipairs(changes) do
          local ch, other = make_used(make)
          change_word(ch, place, change)
          local seconds = t.took(try, ch)
          assert(seconds < 5 * t.slow, ("byte %d"):format(place))
          ch:close()
          if other then other:close() end
        end
      end
    end)
  end
end)
