-- usage: lua5.4 examples/channel_service.lua [servers]
--
-- A service with a pool of servers: each works out how many primes there are
-- below a number. The clients are this process's own.
local ipc = require "unixipc"
local channel, process = ipc.channel, ipc.process

local function primes_below(n)
  local count = 0
  for i = 2, n - 1 do
    local is_prime = true
    for d = 2, math.floor(i ^ 0.5) do
      if i % d == 0 then
        is_prime = false
        break
      end
    end
    if is_prime then count = count + 1 end
  end
  return count
end

local service <close> = assert(channel.service(nil, {retry = true}))
local servers = {}
for i = 1, tonumber(arg[1]) or 2 do
  servers[i] = assert(process.fork(function()
    for request, n in function() return service:accept() end do
      request:reply {count = primes_below(n), server = i}
    end
  end))
end
for _, n in ipairs {10, 100, 1000, 10000} do
  local answer = assert(service:call(n, 10))
  print(("%d primes below %d, says server %d"):format(answer.count, n,
    answer.server))
end
service:shutdown()
for _, server in ipairs(servers) do server:wait(10) end
