-- A server of several processes, under load: each answers with the number of
-- its process. One client ends its worker, and gets no answer; another worker
-- takes the place, and all the other clients are served.
--
--   lua5.4 examples/socket_prefork.lua [clients]
local ipc = require "unixipc"
local poll, process, socket = ipc.poll, ipc.process, ipc.socket

local COUNT = tonumber(arg[1]) or 200

local server = assert(socket.server {
  address = "", -- an abstract name of the system's choice
  workers = 4,
  log = function() end,
  handler = function(client)
    local line = client:read("l", 5)
    if line == "die" then process.exit(1) end
    client:write(line, " from ", process.pid(), "\n")
  end,
})
local address = server.listener:local_address()
local parent <close> = assert(process.fork(function() server:run() end))

-- All connect at once; then each waits for its answer.
local answers, workers, count = 0, {}, 0
local poller <close> = assert(poll.new())
for i = 1, COUNT do
  local client = assert(socket.connect(address, nil, 5))
  client:write(i == COUNT // 2 and "die" or "question", "\n")
  poller:add(client)
end
while #poller > 0 do
  for _, client in ipairs(assert((poller:wait(5)))) do
    local line = client:read("l", 5)
    local pid = line and line:match "^question from (%d+)$"
    if pid then
      answers = answers + 1
      if not workers[pid] then count = count + 1 end
      workers[pid] = true
    end
    poller:remove(client)
    client:close()
  end
end
print(("%d clients: %d answered, by several workers: %s; without an answer, "
  .. "as its worker died: %d"):format(COUNT, answers, count > 1,
  COUNT - answers))

parent:kill "SIGTERM"
assert(parent:wait(5) == "exit")
