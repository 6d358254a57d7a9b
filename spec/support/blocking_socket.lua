-- The cases of support.blocking that are sockets': makers by name, each returns
-- objects, call, release.
local ipc = require "unixipc"
local names = require "support.names"

local socket = ipc.socket

local makers = {}

-- Calls that wait for a message: the other side sends one.
local function receiving(kind, call)
  return function()
    local one, other = assert(socket.pair(kind))
    return {
      objects = {one, other},
      call = function(timeout) return call(one, timeout) end,
      release = function() return other:send "x" end,
    }
  end
end

-- Calls that wait for room: the other side takes what is there.
local function sending(kind, call)
  return function()
    local one, other = assert(socket.pair(kind))
    if kind == "stream" then
      repeat until not one:write_some(("x"):rep(65536), 0)
    else
      repeat until not one:send("x", 0)
    end
    return {
      objects = {one, other},
      call = function(timeout) return call(one, timeout) end,
      release = function()
        repeat until not other:receive_message(nil, 0)
        return true
      end,
    }
  end
end

for _, method in ipairs {"receive", "receive_from"} do
  for _, kind in ipairs {"seqpacket", "datagram"} do
    makers["Packet:" .. method .. " " .. kind] =
      receiving(kind, function(one, timeout)
        return one[method](one, timeout)
      end)
  end
end

makers["Stream:receive_fds"] = receiving("stream", function(one, timeout)
  return one:receive_fds(nil, timeout)
end)

makers["Packet:receive_message"] = receiving("datagram",
  function(one, timeout) return one:receive_message(nil, timeout) end)

makers["Packet:send"] = sending("seqpacket", function(one, timeout)
  return one:send("x", timeout)
end)

makers["Stream:send_fds"] = sending("stream", function(one, timeout)
  return one:send_fds("x", {0}, timeout)
end)

makers["Packet:send_fds"] = sending("datagram", function(one, timeout)
  return one:send_fds("x", {0}, timeout)
end)

makers["Stream:send_file"] = sending("stream", function(one, timeout)
  return one:send_file("/proc/version", {count = 1}, timeout)
end)

makers["Packet:send_to"] = function()
  local path = names.path()
  local one, other = assert(socket.datagram()), assert(socket.datagram(path))
  repeat until not one:send_to("x", path, 0)
  return {
    objects = {one, other},
    call = function(timeout) return one:send_to("x", path, timeout) end,
    release = function()
      repeat until not other:receive(0)
      return true
    end,
  }
end

makers["Listener:accept"] = function()
  local listener = assert(socket.listen(names.path()))
  local clients = {}
  return {
    objects = {listener},
    call = function(timeout)
      local client, message, code = listener:accept(timeout)
      if not client then return nil, message, code end
      return client:close()
    end,
    release = function()
      clients[1] = socket.connect(listener:local_address())
      if clients[1] then clients[1]:close() end
      return true
    end,
  }
end

makers["socket.connect"] = function()
  local path = names.path()
  local listener = assert(socket.listen(path, {backlog = 0}))
  local first = assert(socket.connect(path))
  return {
    objects = {listener, first},
    call = function(timeout)
      local client, message, code = socket.connect(path, nil, timeout)
      if not client then return nil, message, code end
      return client:close()
    end,
    release = function()
      local client = listener:accept(0)
      if client then client:close() end
      return true
    end,
  }
end

makers["Stream:read_some socket"] = function()
  local one, other = assert(socket.pair())
  return {
    objects = {one, other},
    call = function(timeout) return one:read_some(1, timeout) end,
    release = function() return other:write "x" end,
  }
end

return makers
