-- An echo server on a UNIX socket, for any number of clients at a time: one
-- process, which waits for all of them in one poller. Until Ctrl-C.
--
--   lua5.4 examples/socket_echo_server.lua [path]           in one terminal
--   lua5.4 examples/socket_echo_client.lua path line...     in another
--   socat - UNIX:path                                       or so
local ipc = require "unixipc"
local errno, poll, socket = ipc.errno, ipc.poll, ipc.socket

local path = arg[1] or "/tmp/unixipc_echo.sock"
io.stdout:setvbuf "line"

-- Answers all whole lines that are there. False at the end.
local function answer(client)
  while true do
    local line, message, code = client:read("l", 0)
    if not line then return code == errno.ETIMEDOUT, message end
    if not client:write(line, "\n") then return false end
  end
end

local function serve()
  -- "unlink": the file of a server that was killed gives way, that of one that
  -- is alive never. Ours goes when the listener is closed.
  local listener <close> = assert(socket.listen(path, {unlink = true}))
  local poller <close> = assert(poll.new())
  poller:add(listener)
  print("listening on " .. path .. ", Ctrl-C stops")
  while true do
    for _, object in ipairs(assert((poller:wait()))) do
      if object == listener then
        local client = listener:accept(0)
        -- One that does not take its answers is not waited for.
        if client then poller:add(client:set_timeout(1)) end
      elseif not answer(object) then
        poller:remove(object)
        object:close()
      end
    end
  end
end

local ok, message = pcall(serve)
if not ok and not tostring(message):find "interrupted!$" then
  io.stderr:write(tostring(message), "\n")
  os.exit(1, true)
end
print "stopped"
