-- Peers that misbehave, servers that die, limits that are reached.
local t = require "support"
local ipc = require "unixipc"
local socket, process, pipe = ipc.socket, ipc.process, ipc.pipe

local WAIT = 20 * t.slow

local function close(...)
  for _, object in ipairs {...} do object:close() end
end

local function connection()
  local path = t.names.path()
  local listener <close> = assert(socket.listen(path))
  local client = assert(socket.connect(path))
  return client, assert(listener:accept(WAIT))
end

local function script(limit, text, ...)
  local result = t.children.run("", {timeout = 60 * t.slow, command = {"sh",
    "-c", "ulimit -n " .. limit .. '; exec "$@"', "sh",
    os.getenv "LUA" or "lua5.4", t.names.file(text), ...}})
  assert.equal("", result.err)
  assert.equal(0, result.code)
  return result.out
end

describe("A client", function()
  it("that never speaks costs a timeout, and no more", function()
    local client, server = connection()
    t.timed_out(server:read("l", 0.01))
    t.timed_out(server:receive(0.01))
    client:write "late\n"
    assert.equal("late", server:read("l", WAIT))
    close(client, server)
  end)

  it("that sends a byte now and then does not put off the deadline",
    function()
      local client, server = connection()
      local child <close> = assert(process.fork(function()
        server:close()
        while client:write "x" do process.sleep(0.005) end
      end))
      client:close()
      local took = t.took(function()
        t.timed_out(server:read("l", 0.1))
      end)
      assert.is_true(took >= 0.1 and took < 5 * t.slow)
      close(server)
      assert.same({"exit", 0}, {child:wait(WAIT)})
    end)

  it("that half-closes still gets its answer", function()
    local client, server = connection()
    client:write "question"
    client:shutdown "write"
    assert.equal("question", server:read("a", WAIT))
    server:write "answer"
    server:close()
    assert.equal("answer", client:read("a", WAIT))
    client:close()
  end)

  it("that resets is ECONNRESET, by name", function()
    local client, server = connection()
    server:write "unread"
    client:write "unread too"
    client:close()
    assert.truthy(({ECONNRESET = true, EPIPE = true})
      [ipc.errno.name((select(3, server:write "x")))])
    local listener <close> = assert(socket.listen {host = "127.0.0.1",
      port = 0})
    client = assert(socket.connect(listener:local_address(), nil, WAIT))
    server:close()
    server = assert(listener:accept(WAIT))
    client:set_option("linger", 0)
    client:close()
    t.refused("ECONNRESET", server:read("l", WAIT))
    t.refused("EPIPE", server:write "x")
    server:close()
  end)

  it("that announces a message too long is refused at once", function()
    for _, length in ipairs {"\255\255\255\255", "\127\0\0\0", "\1\0\0\1"} do
      local client, server = connection()
      client:write(length, "x")
      t.refused("EMSGSIZE", server:receive(WAIT))
      close(client, server)
    end
    local client, server = connection()
    client:write "\0\0\0\5abc"
    client:close()
    t.refused("EBADMSG", server:receive(WAIT))
    server:close()
  end)
end)

describe("A server", function()
  it("that is killed and started again is found by its name", function()
    local path = t.names.path()
    for i = 1, 3 do
      local ready, say = assert(pipe.open())
      local child = assert(process.fork(function()
        local listener <close> = assert(socket.listen(path, {unlink = true}))
        say:write "."
        while true do
          local client <close> = assert(listener:accept())
          client:write(tostring(i), "\n")
        end
      end))
      assert.equal(".", ready:read(1, WAIT))
      local client = assert(socket.connect(path))
      assert.equal(tostring(i), client:read("l", WAIT))
      client:close()
      child:kill "SIGKILL"
      child:wait(WAIT)
      child:close()
      t.refused("ECONNREFUSED", socket.connect(path))
      close(ready, say)
    end
    os.remove(path)
  end)

  it("has 1000 clients at once", function()
    assert.equal("1000 1000\n", script(4096, [[
      local ipc = require "unixipc"
      local listener = assert(ipc.socket.listen "")
      local address = listener:local_address()
      local poller = assert(ipc.poll.new())
      local clients, answers = {}, 0
      for i = 1, 1000 do
        clients[i] = assert(ipc.socket.connect(address))
        poller:add(assert(listener:accept(5)))
      end
      for i, client in ipairs(clients) do client:write(i, "\n") end
      while #poller > 0 do
        for _, server in ipairs(assert((poller:wait(5)))) do
          server:write(server:read("L", 0))
          poller:remove(server)
        end
        collectgarbage "step"
      end
      for i, client in ipairs(clients) do
        if client:read("l", 5) == tostring(i) then answers = answers + 1 end
      end
      print(#clients .. " " .. answers)
    ]]))
  end)

  it("that is out of descriptors says EMFILE, and goes on", function()
    assert.equal("EMFILE true\nnext\n", script(24, [[
      local ipc = require "unixipc"
      local errno = ipc.errno -- while a file can be opened still
      local listener = assert(ipc.socket.listen "")
      local address = listener:local_address()
      local child = ipc.process.fork(function()
        local list = {}
        for i = 1, 30 do
          list[i] = ipc.socket.connect(address)
          if list[i] then list[i]:write("next\n") end
          if i > 15 then list[i - 15]:close() end
        end
        list = nil
        ipc.process.sleep(100)
      end)
      local list, client, message, code = {}
      repeat
        client, message, code = listener:accept(10)
        list[#list + 1] = client
      until not client
      print(errno.name(code) .. " " .. tostring(#list > 5))
      for _, c in ipairs(list) do c:close() end
      print(listener:accept(10):read "l")
      child:kill "SIGKILL"
      child:wait()
    ]]))
  end)

  it("of socket.server is out of descriptors, and goes on", function()
    assert.equal("true\n", script(30, [[
      local ipc = require "unixipc"
      local keep = {}
      local server = assert(ipc.socket.server {address = arg[1],
        log = function(message)
          if message:find "Too many open files" then
            for _, s in ipairs(keep) do s:close() end
            keep = {}
          end
        end,
        handler = function(client)
          for i = 1, 30 do keep[#keep + 1] = ipc.stream.from(client) end
          client:write "served\n"
        end})
      local child = ipc.process.fork(function() server:run() end)
      local all = true
      for _ = 1, 5 do
        local client <close> = assert(ipc.socket.connect(arg[1], nil, 5))
        if client:read("l", 10) ~= "served" then all = false end
      end
      child:kill()
      child:wait(10)
      print(all)
    ]], t.names.path()))
  end)
end)

describe("100 MB", function()
  local BYTES <const>, PART <const> = 100 * 1024 * 1024, 65536

  for _, kind in ipairs {"stream", "seqpacket", "datagram", "tcp"} do
    it("go through " .. kind .. " unchanged", function()
      local one, other
      if kind == "tcp" then
        local listener <close> = assert(socket.listen {host = "127.0.0.1",
          port = 0})
        one = assert(socket.connect(listener:local_address(), nil, WAIT))
        other = assert(listener:accept(WAIT))
      else
        one, other = assert(socket.pair(kind))
      end
      local is_stream = kind == "stream" or kind == "tcp"
      local total = t.slow > 1 and BYTES // 20 or BYTES
      local count = total // PART
      local child <close> = assert(process.fork(function()
        other:close()
        local part = ("0123456789abcdef"):rep(PART // 16 - 1)
        for i = 1, count do
          local message = ("%016d"):format(i) .. part
          assert(is_stream and one:write(message) or one:send(message, WAIT))
        end
        one:close()
      end))
      one:close()
      local good = 0
      for i = 1, count do
        local message = is_stream and other:read(PART, WAIT)
          or not is_stream and other:receive(WAIT)
        if #message == PART and message:find(("%016d"):format(i), 1, true) == 1
          and message:sub(-16) == "0123456789abcdef" then
          good = good + 1
        end
      end
      assert.equal(count, good)
      if kind ~= "datagram" then
        assert.is_nil(is_stream and other:read(1, WAIT) or
          not is_stream and other:receive(WAIT) or nil)
      end
      assert.same({"exit", 0}, {child:wait(WAIT)})
      other:close()
    end)
  end
end)

describe("A handler that closes the socket of the blocked call", function()
  it("makes that raise", function()
    for _, call in ipairs {"receive", "receive_from", "receive_fds",
      "receive_message"} do
      local one, other = assert(socket.pair "seqpacket")
      local before = ipc.signal.handle("SIGALRM", function() one:close() end)
      ipc.signal.alarm(0.01)
      t.raises("closed packet socket", function()
        if call == "receive" or call == "receive_from" then
          return one[call](one, WAIT)
        end
        return one[call](one, nil, WAIT)
      end)
      ipc.signal.handle("SIGALRM", before)
      close(other)
    end
    local listener = assert(socket.listen(t.names.path()))
    local before = ipc.signal.handle("SIGALRM", function() listener:close() end)
    ipc.signal.alarm(0.01)
    t.raises("closed socket listener", listener.accept, listener, WAIT)
    ipc.signal.handle("SIGALRM", before)
  end)
end)
