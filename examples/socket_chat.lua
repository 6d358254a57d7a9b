-- A chat room on a UNIX socket: many clients in one process. What one says all
-- others hear. A client is `socat READLINE UNIX:path`, or `nc -U path`; the
-- first line is its name.
--
--   lua5.4 examples/socket_chat.lua [path]
local ipc = require "unixipc"
local errno, poll, socket = ipc.errno, ipc.poll, ipc.socket

local path = arg[1] or "/tmp/unixipc_chat.sock"
io.stdout:setvbuf "line"

local names = {} -- by client; false before the first line
local poller

local function leave(client)
  local name = names[client]
  names[client] = nil
  poller:remove(client)
  client:close()
  return name
end

-- Who does not listen for long has no room for more, and has to leave.
local function say(text, but)
  for client, name in pairs(names) do
    if name and client ~= but then
      local ok = client:write(text, "\n")
      if not ok then leave(client) end
    end
  end
end

local function hear(client, line)
  if names[client] then
    say(names[client] .. ": " .. line, client)
  else
    names[client] = line
    say("* " .. line .. " is here", client)
  end
end

local function read_lines(client)
  while names[client] ~= nil do
    local line, _, code = client:read("l", 0)
    if line then
      hear(client, line)
    elseif code == errno.ETIMEDOUT then
      return
    else
      local name = leave(client)
      if name then say("* " .. name .. " has left") end
    end
  end
end

local function serve()
  local listener <close> = assert(socket.listen(path, {unlink = true}))
  poller = assert(poll.new())
  poller:add(listener)
  print("the room is at " .. path .. ", Ctrl-C closes it")
  while true do
    for _, object in ipairs(assert((poller:wait()))) do
      local client = object == listener and listener:accept(0)
      if client then
        names[client] = false
        poller:add(client:set_timeout(0.1))
      elseif object ~= listener then
        read_lines(object)
      end
    end
  end
end

local ok, message = pcall(serve)
if not ok and not tostring(message):find "interrupted!$" then
  io.stderr:write(tostring(message), "\n")
  os.exit(1, true)
end
print "closed"
