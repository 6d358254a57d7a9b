-- An echo server with luv; compare bench/c/socket.c.
local bench = require "bench"
local uv = require "luv"

-- server path: until all clients have left.
local function server(path)
  local listener = uv.new_pipe(false)
  assert(listener:bind(path))
  local count = 0
  listener:listen(128, function(problem)
    assert(not problem, problem)
    local client = uv.new_pipe(false)
    listener:accept(client)
    count = count + 1
    client:read_start(function(_, bytes)
      if bytes then
        client:write(bytes)
      else
        client:close()
        count = count - 1
        if count == 0 then listener:close() end
      end
    end)
  end)
  uv.run()
end

bench.main {server = server}
