local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local socket, process, pipe = ipc.socket, ipc.process, ipc.pipe

local LOCAL = {host = "127.0.0.1", port = 0}

-- A listener, and both ends of a connection to it.
local function connection(options, address)
  local listener = assert(socket.listen(address or t.names.path(), options))
  local client = assert(socket.connect(listener:local_address(),
    {type = options and options.type}, 5 * t.slow))
  local server = assert(listener:accept(5 * t.slow))
  return listener, client, server
end

local function close(...)
  for _, object in ipairs {...} do object:close() end
end

-- What stat says of the mode.
local function mode_of(path)
  return lfs.symlinkattributes(path, "permissions")
end

-- In a process of its own, since the umask is the process's.
local function under_umask(umask, script, ...)
  local result = t.children.run("", {command = {"sh", "-c",
    "umask " .. umask .. '; exec "$@"', "sh", os.getenv "LUA" or "lua5.4",
    t.names.file(script), ...}})
  assert.equal("", result.err)
  return result.out
end

describe("socket.listen and connect", function()
  for _, kind in ipairs {"stream", "seqpacket"} do
    it("carry bytes both ways: " .. kind, function()
      local listener, client, server = connection {type = kind}
      client:send "hello"
      assert.equal("hello", server:receive(5 * t.slow))
      server:send "and back"
      assert.equal("and back", client:receive(5 * t.slow))
      close(listener, client, server)
    end)
  end

  it("are Streams with all their reading", function()
    local listener, client, server = connection()
    client:write("one\ntwo\n", 3, " 4.5 rest")
    assert.equal("one", server:read())
    assert.equal("two\n", server:read "L")
    assert.same({3, 4.5}, {server:read("n", "n")})
    assert.equal(" re", server:read(3))
    client:shutdown "write"
    assert.equal("st", server:read "a")
    assert.is_nil(server:read "l")
    close(listener, client, server)
  end)

  it("take abstract names of any bytes", function()
    local name = "@" .. t.names.unique() .. "\0\255\n "
    local listener, client, server = connection(nil, name)
    assert.equal(name, listener:local_address())
    assert.equal(name, client:peer_address())
    assert.equal(name, server:local_address())
    assert.equal("", client:local_address())
    assert.equal("", server:peer_address())
    close(listener, client, server)
    t.refused("ECONNREFUSED", socket.connect(name))
  end)

  it("go over TCP, with IPv4 and IPv6", function()
    for _, host in ipairs {"127.0.0.1", "::1"} do
      local listener = socket.listen {host = host, port = 0}
      if listener then -- there may be no IPv6
        local address = listener:local_address()
        assert.equal(host, address.host)
        local client = assert(socket.connect(address,
          {nodelay = true, keepalive = true}, 5 * t.slow))
        local server = assert(listener:accept(5 * t.slow))
        assert.is_true(client:option "nodelay")
        assert.is_true(client:option "keepalive")
        assert.same(address, client:peer_address())
        assert.same(client:local_address(), server:peer_address())
        client:write "line\n"
        assert.equal("line", server:read("l", 5 * t.slow))
        close(client)
        assert.is_nil(server:read("l", 5 * t.slow))
        close(listener, server)
      end
    end
  end)

  it("wait for a connection as long as they are told", function()
    local listener <close> = assert(socket.listen(t.names.path()))
    t.timed_out(listener:accept(0))
    local took = t.took(function() t.timed_out(listener:accept(0.02)) end)
    assert.is_true(took >= 0.02)
  end)

  it("say what they are", function()
    local path = t.names.path()
    local listener, client, server = connection(nil, path)
    assert.equal(("socket listener fd=%d %s"):format(listener:fileno(), path),
      tostring(listener))
    assert.equal(("socket stream fd=%d %s"):format(client:fileno(), path),
      tostring(client))
    close(listener, client, server)
    assert.equal("socket listener (closed)", tostring(listener))
    assert.equal("socket stream (closed)", tostring(client))
    t.raises("closed socket listener", listener.accept, listener)
    assert.is_true(listener:close())
    local tcp <close> = assert(socket.listen(LOCAL))
    assert.truthy(tostring(tcp):find ":[1-9]%d*$")
  end)

  it("set no descriptor to be inherited", function()
    local listener, client, server = connection()
    local one, other = assert(socket.pair())
    for _, object in ipairs {listener, client, server, one, other} do
      local flags = io.open("/proc/self/fdinfo/" .. object:fileno()):read "a"
        :match "flags:%s*(%d+)"
      assert.is_true(tonumber(flags, 8) & tonumber("2000000", 8) ~= 0)
    end
    close(listener, client, server, one, other)
  end)

  it("refuse a path that is too long, and cut none", function()
    local directory = t.names.directory()
    local fitting = directory .. "/" .. ("x"):rep(106 - #directory)
    assert.equal(107, #fitting)
    local listener, client, server = connection(nil, fitting)
    assert.equal(fitting, client:peer_address())
    close(listener, client, server)
    for most, long in pairs {[107] = fitting .. "x",
      [108] = "@" .. ("a"):rep(108)} do
      local message = t.refused("ENAMETOOLONG", socket.listen(long))
      assert.truthy(message:find("over " .. most .. " bytes", 1, true))
      t.refused("ENAMETOOLONG", socket.connect(long))
      t.refused("ENAMETOOLONG", socket.datagram(long))
    end
    assert.is_nil(lfs.symlinkattributes(fitting:sub(1, -2)))
  end)

  it("raise at what is no address or option", function()
    t.raises("address must be", socket.listen, 5)
    t.raises("address must be", socket.connect)
    t.raises("unknown option 'name'", socket.connect,
      {host = "localhost", port = 1, name = "x"})
    t.raises("option 'host': string expected", socket.connect,
      {host = 1, port = 1})
    t.raises("option 'port': integer", socket.connect,
      {host = "localhost", port = 65536})
    t.raises("no port", socket.connect, {host = "localhost"})
    t.raises("no host", socket.connect, {port = 1})
    t.raises("zero", socket.listen, "/tmp/a\0b")
    t.raises("unknown word 'raw'", socket.listen, "@x", {type = "raw"})
    t.raises("unknown option 'baklog'", socket.listen, "@x", {baklog = 1})
    t.raises("seqpacket", socket.listen, LOCAL, {type = "seqpacket"})
    t.raises("do not listen", socket.listen, "@x", {type = "datagram"})
    t.raises("timeout must be", socket.connect, "@x", nil, -1)
    t.raises("option 'timeout'", socket.connect, "@x", {timeout = -1})
    t.raises("invalid option 'raw'; known: stream,", socket.pair, "raw")
  end)

  it("say by name why not", function()
    local path = t.names.path()
    t.refused("ENOENT", socket.connect(path))
    t.refused("ENOENT", socket.listen(path .. "/x/y"))
    t.refused("ENOTDIR", socket.connect(t.names.file() .. "/x"))
    t.refused("ECONNREFUSED", socket.connect(t.names.file()))
    t.refused("ECONNREFUSED", socket.connect("@" .. t.names.unique()))
    local closed = assert(socket.listen(LOCAL))
    local address = closed:local_address()
    closed:close()
    local message = t.refused("ECONNREFUSED", socket.connect(address))
    assert.truthy(message:find("connect: 127.0.0.1:" .. address.port, 1, true))
    t.refused("ENOENT", socket.connect({host = "no.such.invalid", port = 1}))
  end)
end)

describe("The file of a socket", function()
  it("is its owner's alone unless a mode is given", function()
    for mode, letters in pairs {[false] = "rw-------",
      ["rw-rw----"] = "rw-rw----", ["0666"] = "rw-rw-rw-",
      ["---------"] = "---------"} do
      local path = t.names.path()
      local _ <close> =
        assert(socket.listen(path, {mode = mode or nil}))
      assert.equal(letters, mode_of(path))
      local _ <close> =
        assert(socket.datagram(path .. "d", {mode = mode or nil}))
      assert.equal(letters, mode_of(path .. "d"))
    end
  end)

  it("has its mode whatever the umask, which stays", function()
    assert.equal("rw-rw-rw- rw-------\n", under_umask("077", [[
      local socket = require "unixipc".socket
      local lfs = require "lfs"
      local path = arg[1]
      local listener <close> = assert(socket.listen(path, {mode = "0666"}))
      io.open(path .. ".file", "w"):close()
      print(lfs.attributes(path, "permissions") .. " " ..
        lfs.attributes(path .. ".file", "permissions"))
      os.remove(path .. ".file")
    ]], t.names.path()))
  end)

  it("goes when the one that made it closes", function()
    local path = t.names.path()
    local listener, client, server = connection(nil, path)
    client:close()
    server:close()
    assert.is_truthy(mode_of(path))
    listener:close()
    assert.is_nil(mode_of(path))
    local packet = assert(socket.datagram(path))
    assert.is_truthy(mode_of(path))
    packet:close()
    assert.is_nil(mode_of(path))
    socket.listen(path)
    collectgarbage()
    assert.is_nil(mode_of(path))
  end)

  it("stays when a child of the maker closes", function()
    local path = t.names.path()
    local listener <close> = assert(socket.listen(path))
    local child <close> = assert(process.fork(function()
      listener:close()
    end))
    assert.same({"exit", 0}, {child:wait()})
    assert.is_truthy(mode_of(path))
    local _ <close> = assert(socket.connect(path))
  end)

  it("stays when it is another one's by now", function()
    local path = t.names.path()
    local listener = assert(socket.listen(path))
    assert(os.remove(path))
    local _ <close> = assert(socket.listen(path))
    listener:close()
    assert.is_truthy(mode_of(path))
  end)

  -- A server that is killed leaves its file behind.
  local function leave_stale(path, kind)
    local child = assert(process.fork(function()
      local _ = kind == "datagram" and assert(socket.datagram(path))
        or assert(socket.listen(path, {type = kind}))
      process.exit(0)
    end))
    child:wait()
    child:close()
  end

  for _, kind in ipairs {"stream", "seqpacket", "datagram"} do
    it("gives way when it is stale, and that was asked for: " .. kind,
      function()
        local path = t.names.path()
        leave_stale(path, kind)
        assert.is_truthy(mode_of(path))
        t.refused("EADDRINUSE", socket.listen(path))
        t.refused("ECONNREFUSED", socket.connect(path))
        local listener <close> = assert(socket.listen(path, {unlink = true}))
        assert.is_truthy(socket.connect(path)):close()
        listener:accept():close()
      end)
  end

  it("never gives way while a server is alive, of any type", function()
    for _, kind in ipairs {"stream", "seqpacket", "datagram"} do
      local path = t.names.path()
      local server <close> = kind == "datagram" and
        assert(socket.datagram(path)) or
        assert(socket.listen(path, {type = kind}))
      for _, other in ipairs {"stream", "seqpacket"} do
        t.refused("EADDRINUSE",
          socket.listen(path, {type = other, unlink = true}))
      end
      t.refused("EADDRINUSE", socket.datagram(path, {unlink = true}))
      assert.is_truthy(mode_of(path))
      assert.equal(path, server:local_address())
    end
  end)

  it("never gives way when it is no socket's", function()
    local path = t.names.file "precious"
    t.refused("EADDRINUSE", socket.listen(path, {unlink = true}))
    local link = t.names.path()
    assert(lfs.link(path, link, true))
    t.refused("EADDRINUSE", socket.listen(link, {unlink = true}))
    assert.equal("precious", io.open(path):read "a")
  end)

  it("goes to one alone of many servers that start at once", function()
    local path = t.names.path()
    for _ = 1, 5 do
      leave_stale(path, "stream")
      local go, start = assert(pipe.open())
      local stop, keep = assert(pipe.open())
      local said, say = assert(pipe.open())
      local list = {}
      for i = 1, 6 do
        list[i] = assert(process.fork(function()
          start:close()
          keep:close()
          go:read(1)
          local l <close> = socket.listen(path, {unlink = true})
          say:write(l and "1" or "0")
          if l then stop:read(1) end
        end))
      end
      start:close()
      local answers = said:read(6, 10 * t.slow)
      assert.equal("000001", answers:gsub("10*", function(s)
        return s:sub(2) .. "1"
      end))
      assert.is_truthy(socket.connect(path)):close()
      keep:close()
      for _, child in ipairs(list) do
        assert.same({"exit", 0}, {child:wait(10 * t.slow)})
        child:close()
      end
      close(go, stop, said, say)
    end
  end)
end)

describe("A full backlog", function()
  local function fill(path)
    local list = {}
    repeat
      local client = socket.connect(path, nil, 0)
      list[#list + 1] = client
    until not client
    return list
  end

  it("is no success: connect waits until its deadline", function()
    local path = t.names.path()
    local _ <close> = assert(socket.listen(path, {backlog = 1}))
    local list = fill(path)
    assert.equal(2, #list)
    local took = t.took(function()
      t.timed_out(socket.connect(path, nil, 0.03))
      t.timed_out(socket.connect(path, {timeout = 0.03}))
    end)
    assert.is_true(took >= 0.06)
    close(table.unpack(list))
  end)

  it("ends when the server accepts", function()
    local path = t.names.path()
    local listener <close> = assert(socket.listen(path, {backlog = 0}))
    local list = fill(path)
    local r, w = assert(pipe.open())
    local child <close> = assert(process.fork(function()
      local client <close> = assert(socket.connect(path, nil, 10 * t.slow))
      w:write "connected"
      client:write "x"
      client:read "a"
    end))
    t.timed_out(r:read(1, 0.02))
    listener:accept():close()
    assert.equal("connected", r:read(9, 10 * t.slow))
    local server <close> = listener:accept()
    assert.equal("x", server:read(1))
    server:close()
    assert.same({"exit", 0}, {child:wait(10 * t.slow)})
    close(r, w, table.unpack(list))
  end)
end)

describe("socket.pair", function()
  it("makes two ends that know each other's process", function()
    for _, kind in ipairs {"stream", "seqpacket", "datagram"} do
      local one, other = assert(socket.pair(kind))
      one:send "ping"
      assert.equal("ping", other:receive())
      assert.equal("", one:local_address())
      assert.equal(process.pid(), (one:peer_credentials()))
      close(one, other)
    end
  end)
end)

describe("socket.from", function()
  it("makes of a descriptor what it is", function()
    local listener, client, server = connection()
    local again <close> = assert(socket.from(listener))
    assert.equal("socket listener", tostring(again):match "^socket %a+")
    local _ <close> = assert(socket.connect(listener:local_address()))
    local _ <close> = assert(again:accept())
    local stream <close> = assert(socket.from(client:fileno()))
    stream:write "x"
    assert.equal("x", server:read(1))
    local one, two = assert(socket.pair "datagram")
    local packet <close> = assert(socket.from(one))
    packet:send "whole"
    assert.equal("whole", two:receive())
    close(listener, client, server, one, two)
  end)

  it("refuses what is none", function()
    local file <close> = assert(io.tmpfile())
    t.refused("ENOTSOCK", socket.from(file))
    t.refused("EBADF", socket.from(1000000))
    t.raises("only an integer", socket.from, file, {adopt = true})
  end)
end)
