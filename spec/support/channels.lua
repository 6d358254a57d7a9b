-- Children and queues for the specs of what others know of channels.
local t = require "support"
local ipc = require "unixipc"

local channel, process = ipc.channel, ipc.process

local channels = {
  WAIT = 20 * t.slow, -- longer than anything here takes
}

--- A child that goes well if fn returns nothing, true or 0.
function channels.child(fn, ...)
  return assert(process.fork(fn, ...))
end

--- Waits for children, which must have gone well.
function channels.finish(...)
  for _, child in ipairs {...} do
    local how, code = child:wait(channels.WAIT)
    assert(how == "exit" and code == 0, ("%s %s"):format(how, code))
    child:close()
  end
end

--- Kills children with SIGKILL.
function channels.kill(...)
  for _, child in ipairs {...} do
    child:kill "KILL"
    child:wait(channels.WAIT)
    child:close()
  end
end

local Gate = {}
Gate.__index = Gate

--- Where processes wait for each other: each `open` lets one `pass` by.
function channels.gate()
  local r, w = assert(ipc.pipe.open())
  return setmetatable({r = r, w = w}, Gate)
end

function Gate:open(count)
  assert(self.w:write(("."):rep(count or 1)))
end

function Gate:pass(count)
  for _ = 1, count or 1 do
    assert(self.r:read(1, channels.WAIT) == ".", "nobody opened the gate")
  end
end

function Gate:__close()
  self.r:close()
  self.w:close()
end

--- Waits until fn returns true.
function channels.await(fn)
  local finish = process.now() + channels.WAIT
  repeat
    if fn() then return end
    process.sleep(0.001)
  until process.now() > finish
  error("it did not come to that", 2)
end

--- Calls fn with a queue made as options say, and with one for one sender and
-- one receiver.
function channels.each_kind(options, fn)
  for _, single in ipairs {false, true} do
    local all = {single = single}
    for key, value in pairs(options) do all[key] = value end
    local q <close> = assert(channel.queue(nil, all))
    fn(q)
  end
end

--- Sends messages, of 99 bytes and numbered from 1, until there is no room:
-- how many.
function channels.fill(ch)
  local n = 0
  while ch:send(("%99d"):format(n + 1), 0) do n = n + 1 end
  return n
end

--- All that is there now, as a list.
function channels.drain(ch)
  local list = {}
  while true do
    local value, why = ch:receive(0)
    if why then return list end
    list[#list + 1] = value
  end
end

return channels
