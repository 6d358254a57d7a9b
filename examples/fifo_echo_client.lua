-- Asks the server of fifo_echo_server.lua to echo each of its arguments.
--
--   lua5.4 examples/fifo_echo_client.lua path word...
local ipc = require "unixipc"
local fifo, process = ipc.fifo, ipc.process

local path = arg[1] or "/tmp/unixipc_echo"
local PIPE_BUF = 4096 -- what goes into a FIFO in one piece

local function fail(...)
  io.stderr:write("fifo_echo_client: ", ...)
  io.stderr:write "\n"
  os.exit(1, true) -- true: closes what is open, and so removes our FIFO
end

-- To open for writing waits for a reader: the server.
local requests <close>, message = fifo.open(path, "w", nil, 2)
if not requests then fail("no server at ", path, ": ", message) end

-- The way back must be open before the request is out. "rw" waits for nobody;
-- the name, which has this process's number in it, goes at the end.
local reply_path = path .. "." .. process.pid()
local reply <close> = assert(fifo.open(reply_path, "rw",
  {create = true, exclusive = true, temporary = true}))

for i = 2, #arg do
  local request = reply_path .. "\t" .. arg[i]:gsub("\n", " ") .. "\n"
  if #request > PIPE_BUF then fail "too long for one request" end
  assert(requests:write(request))
  local answer, why = reply:read("l", 5)
  if not answer then fail("no answer: ", why) end
  print(answer)
end
