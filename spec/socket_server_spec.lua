local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local socket, process, pipe = ipc.socket, ipc.process, ipc.pipe

local WAIT = 10 * t.slow

-- Starts a server in a process of its own: the process, the address, and a pipe
-- that its log goes to.
local function start(options, handler)
  local address = t.names.path()
  local r, w = assert(pipe.open())
  local ready, say = assert(pipe.open())
  options.address = options.address or address
  options.handler = handler
  options.log = function(message) w:write(message:match "^[^\n]*", "\n") end
  local child = assert(process.fork(function()
    r:close()
    ready:close()
    local server = assert(socket.server(options))
    local at = server.listener:local_address()
    say:write(type(at) == "string" and at or at.port, "\n")
    say:close()
    server:run()
  end))
  w:close()
  say:close()
  local at = ready:read("l", WAIT)
  ready:close()
  return child, at, r
end

local function stop(child, log)
  child:kill "SIGTERM"
  assert.same({"exit", 0}, {child:wait(WAIT)})
  child:close()
  local said = log:read("a", WAIT)
  log:close()
  return said
end

local function ask(address, line)
  local client <close> = assert(socket.connect(address, nil, WAIT))
  client:set_timeout(WAIT):write(line, "\n")
  return (client:read "l")
end

local function echo(client)
  for line in client:lines() do client:write(line, "\n") end
end

local function tell_pid(client)
  client:read "l"
  client:write(process.pid(), "\n")
end

describe("socket.server", function()
  it("serves clients in workers of its own, and stops at SIGTERM", function()
    local child, address, log = start({workers = 2}, echo)
    for i = 1, 20 do
      assert.equal("line " .. i, ask(address, "line " .. i))
    end
    assert.equal("", stop(child, log))
    assert.is_nil(lfs.attributes(address))
  end)

  it("serves several at once with several workers", function()
    local child, address, log = start({workers = 3}, tell_pid)
    local clients, pids, count = {}, {}, 0
    for i = 1, 3 do
      clients[i] = assert(socket.connect(address, nil, WAIT))
    end
    for i = 3, 1, -1 do
      clients[i]:write "\n"
      local pid = clients[i]:read("l", WAIT)
      if not pids[pid] then count = count + 1 end
      pids[pid] = true
      clients[i]:close()
    end
    assert.is_true(count >= 1)
    assert.is_nil(pids[tostring(child.pid)])
    assert.equal("", stop(child, log))
  end)

  it("goes over TCP, and with packets", function()
    local child, port, log = start(
      {address = {host = "127.0.0.1", port = 0}}, echo)
    assert.equal("tcp", ask({host = "127.0.0.1", port = tonumber(port)},
      "tcp"))
    assert.equal("", stop(child, log))
    local address
    child, address, log = start({type = "seqpacket"}, function(client)
      for message in function() return client:receive() end do
        client:send(message:upper())
      end
    end)
    local client <close> = assert(socket.connect(address,
      {type = "seqpacket"}))
    client:send "packet"
    assert.equal("PACKET", client:receive(WAIT))
    client:close()
    assert.equal("", stop(child, log))
  end)

  it("starts a worker again that died", function()
    local child, address, log = start({}, function(client)
      local line = client:read "l"
      if line == "die" then os.exit(3) end
      client:write(line, "\n")
    end)
    assert.equal("well", ask(address, "well"))
    assert.is_nil(ask(address, "die"))
    assert.equal("again", ask(address, "again"))
    assert.truthy(stop(child, log):find "^worker %d+ ended: exit 3\n$")
  end)

  it("stops also a worker that is just being started", function()
    for i = 1, 3 do
      local child, address, log = start({workers = 4}, function(client)
        if client:read "l" == "die" then os.exit(3) end
        client:write "ok\n"
      end)
      assert.equal("ok", ask(address, ""))
      for _ = 1, i do ask(address, "die") end
      process.sleep(1 + i / 1000) -- they are started again about now
      child:kill "SIGTERM"
      assert.same({"exit", 0}, {child:wait(WAIT)})
      child:close()
      log:close()
    end
  end)

  it("goes on when a handler raises", function()
    local child, address, log = start({}, function(client)
      local line = client:read "l"
      if line == "raise" then error "mistake" end
      client:write(line, "\n")
    end)
    assert.is_nil(ask(address, "raise"))
    assert.equal("next", ask(address, "next"))
    assert.truthy(stop(child, log):find "^a client was given up: .*mistake")
  end)

  it("lets clients end that are served, and takes no more", function()
    local child, address, log = start({}, echo)
    local client <close> = assert(socket.connect(address, nil, WAIT))
    client:set_timeout(WAIT):write "one\n"
    assert.equal("one", client:read "l")
    local queued <close> = assert(socket.connect(address, nil, WAIT))
    queued:set_timeout(WAIT):write "queued\n"
    queued:shutdown "write"
    child:kill "SIGTERM"
    -- The file goes first: then it has heard of it.
    repeat process.sleep(0.002) until not lfs.attributes(address)
    t.refused("ENOENT", socket.connect(address))
    t.timed_out(child:wait(0.02))
    client:write "two\n"
    assert.equal("two", client:read "l")
    client:close()
    assert.equal("queued", queued:read "l")
    assert.same({"exit", 0}, {child:wait(WAIT)})
    child:close()
    assert.equal("", log:read("a", WAIT))
    log:close()
  end)

  it("kills workers whose clients take too long", function()
    local child, address, log = start({drain = 0.05}, echo)
    local client <close> = assert(socket.connect(address, nil, WAIT))
    client:set_timeout(WAIT):write "one\n"
    assert.equal("one", client:read "l")
    assert.truthy(stop(child, log):find "killed")
    assert.is_nil(client:read "l")
  end)

  it("has no worker that outlives it when it is killed", function()
    local child, address, log = start({workers = 2}, tell_pid)
    assert.is_truthy(ask(address, ""))
    child:kill "SIGKILL"
    child:wait(WAIT)
    child:close()
    assert.equal("", log:read("a", WAIT)) -- the last worker closed it
    log:close()
    -- It has many descriptors to close; the listener may not be the first.
    local client, _, code
    repeat
      client, _, code = socket.connect(address, nil, 0)
      if client then client:close() end
    until not client and code ~= ipc.errno.ETIMEDOUT
    assert.equal(ipc.errno.ECONNREFUSED, code)
    local server = assert(socket.server {address = address, unlink = true,
      handler = echo})
    server.listener:close()
  end)

  it("takes a listener that is there, and stop() from within", function()
    local path = t.names.path()
    local listener <close> = assert(socket.listen(path))
    local server = assert(socket.server {listener = listener, handler = echo,
      start = function() process.exit(0) end, log = function() end})
    local timer = assert(ipc.signal.handle("SIGALRM", function()
      server:stop()
    end))
    ipc.signal.alarm(0.05)
    assert.is_true(server:run())
    ipc.signal.handle("SIGALRM", timer)
    assert.is_true(listener:is_open())
    assert.is_truthy(lfs.attributes(path))
  end)

  it("says why it cannot, and raises at mistakes", function()
    local path = t.names.path()
    local _ <close> = assert(socket.listen(path))
    t.refused("EADDRINUSE", socket.server {address = path, unlink = true,
      handler = echo})
    t.raises("table expected", socket.server)
    t.raises("no handler", socket.server, {address = path})
    t.raises("option 'workers': number expected", socket.server,
      {handler = echo, workers = "2"})
    t.raises("option 'workers': a count", socket.server,
      {handler = echo, workers = 0.5})
    t.raises("bad argument #1 to 'server' (unknown option 'worker'; known: "
      .. "address, handler, workers, start, drain, log, listener, type, ",
      socket.server, {address = path, handler = echo, worker = 2})
    local listener <close> = assert(socket.listen(t.names.path()))
    t.raises("option 'worker': the listener is made already", socket.server,
      {listener = listener, handler = echo, worker = 2})
    t.raises("address must be", socket.server, {handler = echo})
  end)
end)
