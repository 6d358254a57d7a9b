-- An echo server with cqueues; compare bench/c/socket.c.
local bench = require "bench"
local cqueues = require "cqueues"
local socket = require "cqueues.socket"

-- server path: until all clients have left.
local function server(path)
  local listener = assert(socket.listen {path = path})
  local loop = cqueues.new()
  local count, is_started = 0, false
  local function serve(client)
    client:setmode("bn", "bn")
    while true do
      local bytes = client:read(-8192)
      if not bytes then break end
      client:write(bytes)
    end
    client:close()
    count = count - 1
    if count == 0 and is_started then os.exit(0) end
  end
  loop:wrap(function()
    for client in listener:clients() do
      count, is_started = count + 1, true
      loop:wrap(serve, client)
    end
  end)
  assert(loop:loop())
end

bench.main {server = server}
