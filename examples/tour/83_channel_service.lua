local ipc = require "unixipc"
local channel, process = ipc.channel, ipc.process

return {
  title = "A service with a pool of servers",
  text = [[
Clients ask, whichever server is free answers, and each reply finds who asked.
One server dies with a request: as the service retries, another one does it.]],
  play = function(scene)
    -- show
    local service <close> = assert(channel.service(nil, {retry = true}))
    local died <close> = assert(channel.queue())
    local function serve()
      for request, text in function() return service:accept() end do
        if text == "poison" and not died:receive(0) then
          died:send "once"
          ipc.signal.raise "KILL"
        end
        request:reply(text:reverse())
      end
    end
    local servers, clients = {}, {}
    for i = 1, 3 do servers[i] = assert(process.fork(serve)) end
    for i = 1, 4 do
      clients[i] = assert(process.fork(function()
        for n = 1, 100 do
          assert(service:call("ab" .. n, 10) == ("ab" .. n):reverse())
        end
      end))
    end
    local answer = service:call("poison", 10)
    local good = 0
    for _, client in ipairs(clients) do
      local how, code = client:wait(10)
      if how == "exit" and code == 0 then good = good + 1 end
    end
    service:shutdown()
    -- end
    for _, server in ipairs(servers) do server:wait(10) end
    scene.expect("answered by another one", answer, "nosiop")
    scene.expect("clients that got all their answers", good, 4)
  end,
}
