-- An echo server on a FIFO, for any number of clients, until Ctrl-C.
--
--   lua5.4 examples/fifo_echo_server.lua [path]         in one terminal
--   lua5.4 examples/fifo_echo_client.lua path word...   in another, often
--
-- A FIFO leads one way, so each client makes one of its own for the answer
-- and says its path in the request:
--
--   request   path of the client's FIFO, a tab, text, end of line
--   answer    text, end of line
--
-- A write of up to 4096 bytes (PIPE_BUF) goes into a FIFO in one piece:
-- requests of several clients at a time cannot mix.
local ipc = require "unixipc"
local errno, fifo = ipc.errno, ipc.fifo

local path = arg[1] or "/tmp/unixipc_echo"
io.stdout:setvbuf "line"

-- A server that was killed could not remove its FIFO. Opening to write without
-- waiting tells whether anybody has it open to read.
local function remove_stale()
  local probe <close>, _, code = fifo.open(path, "w", nil, 0)
  if not probe and code == errno.ETIMEDOUT then fifo.unlink(path) end
end

local function answer(reply_path, text)
  -- The client opened its FIFO before it asked. If nobody has it open now,
  -- the client is gone, and we do not wait for it: a timeout of 0 only tries.
  local reply <close>, message = fifo.open(reply_path, "w", nil, 0)
  if not reply then
    return nil, "no answer to " .. reply_path .. ": " .. message
  end
  return reply:set_timeout(1):write(text, "\n")
end

local function serve()
  -- "rw": the server is a writer of its own FIFO too. So opening it waits for
  -- nobody, and there is no end of file when a client closes it.
  -- "exclusive": not if another server is there. "temporary": the name goes
  -- when the server ends, also by an error or by Ctrl-C.
  local requests <close> = assert(fifo.open(path, "rw",
    {create = true, exclusive = true, temporary = true}))
  print("listening on " .. path .. ", Ctrl-C stops")
  for line in requests:lines() do
    local reply_path, text = line:match "^([^\t]+)\t(.*)$"
    if reply_path then
      local ok, message = answer(reply_path, text)
      print(ok and "echoed " .. #text .. " bytes" or message)
    else
      print("not a request: " .. line)
    end
  end
end

-- Ctrl-C raises "interrupted!" out of whatever call is blocked, and <close>
-- does its work on the way.
remove_stale()
local ok, message = pcall(serve)
if not ok and not tostring(message):find "interrupted!$" then
  io.stderr:write(tostring(message), "\n")
  os.exit(1, true)
end
print "stopped"
