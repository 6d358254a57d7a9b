-- The cases of support.blocking that are the channels': makers by name, each
-- returns objects, call, release.
local ipc = require "unixipc"
local channel = ipc.channel

local makers = {}

local function on_channel(make, call, release)
  return function()
    local object, other = assert(make())
    return {
      slices = true,
      objects = {object, other},
      call = function(timeout) return call(object, timeout) end,
      release = function() return release(other or object) end,
    }
  end
end

local function new_queue() return channel.queue(nil, {capacity = 65536}) end

local function new_full_queue()
  local queue = new_queue()
  local message = ("x"):rep(30000)
  repeat until not queue:send(message, 0)
  return queue
end

local function receive(object, timeout) return object:receive(timeout) end
local function send_one(object) return object:send "x" end
local function receive_one(object) return object:receive() end

makers["Channel:receive"] = on_channel(new_queue, receive, send_one)

makers["Channel:receive of duplex"] = on_channel(channel.duplex, receive,
  send_one)

-- A child subscribes for itself.
makers["Channel:receive of broadcast"] = on_channel(channel.broadcast,
  function(object, timeout)
    object:subscribe()
    return object:receive(timeout)
  end, send_one)

makers["Channel:receive_many"] = on_channel(new_queue,
  function(object, timeout) return object:receive_many(10, timeout) end,
  send_one)

makers["Channel:peek"] = on_channel(new_queue, function(object, timeout)
  return object:peek(timeout)
end, send_one)

makers["Channel:send"] = on_channel(new_full_queue, function(object, timeout)
  return object:send(("x"):rep(30000), timeout)
end, receive_one)

makers["Channel:send_many"] = on_channel(new_full_queue,
  function(object, timeout)
    return object:send_many({("x"):rep(30000)}, timeout)
  end, receive_one)

makers["Channel:accept"] = on_channel(channel.service,
  function(object, timeout) return object:accept(timeout) end,
  function(object)
    local client <close> = assert(ipc.process.fork(function()
      object:call("x", 0)
    end))
    return client:wait()
  end)

return makers
