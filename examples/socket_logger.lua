-- A logger: programs send it datagrams, each a line of the log, and wait for
-- nobody. The kernel says who sent each.
--
--   lua5.4 examples/socket_logger.lua [path]        in one terminal
--   echo hello | socat - UNIX-SENDTO:path           in another
--   lua5.4 examples/socket_logger.lua path words    the same
local ipc = require "unixipc"
local socket = ipc.socket

local path = arg[1] or "/tmp/unixipc_log.sock"
io.stdout:setvbuf "line"

if arg[2] then
  local sender <close> = assert(socket.datagram())
  assert(sender:send_to(table.concat(arg, " ", 2), path, 5))
  return
end

local function serve()
  local logger <close> = assert(socket.datagram(path, {unlink = true}))
  logger:set_option("passcred", true) -- have the kernel say who sends
  print("logging from " .. path .. ", Ctrl-C stops")
  for message in function() return logger:receive_message() end do
    local text = message.bytes:gsub("%s+$", "")
    print(("pid %d, uid %d: %s"):format(message.credentials.pid,
      message.credentials.uid, text))
  end
end

local ok, message = pcall(serve)
if not ok and not tostring(message):find "interrupted!$" then
  io.stderr:write(tostring(message), "\n")
  os.exit(1, true)
end
print "stopped"
