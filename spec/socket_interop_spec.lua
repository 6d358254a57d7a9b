-- Other programs at the other end, and our sockets in other loops.
local t = require "support"
local ipc = require "unixipc"
local socket, process = ipc.socket, ipc.process

local WAIT = 10 * t.slow

local function has(program)
  return os.execute("command -v " .. program .. " >/dev/null 2>&1")
end

-- A program that is run with its input, what it prints.
local function run(argv, input)
  local child <close> = assert(process.spawn(argv,
    {stdin = "pipe", stdout = "pipe", stderr = "pipe"}))
  local out, err, how, code = child:communicate(input, WAIT)
  assert.same({"", "exit", 0}, {err, how, code})
  return out
end

local function python(script, ...)
  if not has "python3" then pending "python3 is not installed" end
  return {"python3", "-c", script, ...}
end

local function serving(listener, serve)
  return assert(process.fork(function()
    local client <close> = assert(listener:accept(WAIT))
    serve(client)
  end))
end

local function ended(child)
  assert.same({"exit", 0}, {child:wait(WAIT)})
  child:close()
end

local function upper(client)
  for line in client:lines() do client:write(line:upper(), "\n") end
end

describe("socat", function()
  local function socat(...)
    if not has "socat" then pending "socat is not installed" end
    return {"socat", ...}
  end

  it("is a client, at a path, an abstract name and a port", function()
    local name = t.names.unique()
    local path = t.names.path()
    for address, theirs in pairs {[path] = "UNIX-CONNECT:" .. path,
      ["@" .. name] = "ABSTRACT-CONNECT:" .. name} do
      local listener <close> = assert(socket.listen(address))
      local child = serving(listener, upper)
      assert.equal("HELLO\n", run(socat("-t", "10", "-", theirs), "hello\n"))
      ended(child)
    end
    local listener <close> = assert(socket.listen {host = "127.0.0.1",
      port = 0})
    local child = serving(listener, upper)
    assert.equal("HELLO\n", run(socat("-t", "10", "-", "TCP:127.0.0.1:" ..
      listener:local_address().port), "hello\n"))
    ended(child)
  end)

  it("is a server of every type", function()
    for kind, word in pairs {stream = "", seqpacket = ",type=5"} do
      local path = t.names.path()
      local child <close> = assert(process.spawn(socat(
        "UNIX-LISTEN:" .. path .. word, "EXEC:cat" .. word)))
      local client
      repeat
        client = socket.connect(path, {type = kind})
        if not client then process.sleep(0.005) end
      until client
      client:send "message"
      assert.equal("message", client:receive(WAIT))
      client:close()
      child:wait(WAIT)
    end
  end)

  it("sends datagrams", function()
    local path = t.names.path()
    local receiver <close> = assert(socket.datagram(path))
    run(socat("-", "UNIX-SENDTO:" .. path), "a datagram")
    assert.equal("a datagram", receiver:receive(WAIT))
  end)
end)

describe("Python", function()
  it("exchanges descriptors with us", function()
    local path = t.names.path()
    local listener <close> = assert(socket.listen(path))
    local file = t.names.file "contents of a file"
    local child <close> = assert(process.spawn(python([[
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
data, fds, flags, addr = socket.recv_fds(s, 100, 10)
assert data == b"take these" and len(fds) == 2, (data, fds)
assert os.read(fds[0], 100) == b"contents of a file"
os.write(fds[1], b"into the pipe\n")
socket.send_fds(s, [b"and this"], [os.open(sys.argv[2], os.O_RDONLY)])
]], path, file)))
    local client <close> = assert(listener:accept(WAIT))
    local r, w = assert(ipc.pipe.open())
    local opened <close> = assert(io.open(file))
    client:send_fds("take these", {opened, w})
    w:close()
    assert.equal("into the pipe", r:read("l", WAIT))
    r:close()
    local bytes, list = client:receive_fds(nil, WAIT)
    assert.equal("and this", bytes)
    assert.equal(1, #list)
    list[1]:close()
    assert.same({"exit", 0}, {child:wait(WAIT)})
  end)

  it("is a peer for seqpackets and datagrams, empty ones too", function()
    for kind, theirs in pairs {seqpacket = "SOCK_SEQPACKET",
      datagram = "SOCK_DGRAM"} do
      local path, own = t.names.path(), t.names.path()
      local script = [[
import socket, sys
s = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2]))
s.bind(sys.argv[3])
s.connect(sys.argv[1])
for m in (b"one", b"", b"three"):
    s.send(m)
print(s.recv(100).decode(), s.getpeername())
]]
      local server = kind == "datagram" and assert(socket.datagram(path))
        or assert(socket.listen(path, {type = kind}))
      local child <close> = assert(process.spawn(
        python(script, path, theirs, own), {stdout = "pipe"}))
      local peer = kind == "datagram" and server or assert(server:accept(WAIT))
      assert.equal("one", peer:receive(WAIT))
      assert.equal("", peer:receive(WAIT))
      assert.equal("three", peer:receive(WAIT))
      if kind == "datagram" then
        assert(peer:send_to("answer", own, WAIT))
      else
        assert.equal(own, peer:peer_address())
        assert(peer:send "answer")
      end
      assert.equal("answer " .. path .. "\n", child.stdout:read("a", WAIT))
      assert.same({"exit", 0}, {child:wait(WAIT)})
      peer:close()
      server:close()
    end
  end)

  it("has framed messages with us", function()
    local path = t.names.path()
    local listener <close> = assert(socket.listen(path))
    local child <close> = assert(process.spawn(python([[
import socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rwb")
n, = struct.unpack(">I", f.read(4))
m = f.read(n)
f.write(struct.pack(">I", n) + m[::-1])
f.flush()
]], path)))
    local client <close> = assert(listener:accept(WAIT))
    client:send "stressed"
    assert.equal("desserts", client:receive(WAIT))
    assert.same({"exit", 0}, {child:wait(WAIT)})
  end)
end)

-- ---- loops of other libraries ----------------------------------------------

local PRELUDE = [[
  local ipc = require "unixipc"
  local socket = ipc.socket
  local listener = assert(socket.listen "")
  local address = listener:local_address()
  local function client(line)
    local c = assert(socket.connect(address))
    c:write(line, "\n")
    return c
  end
]]

local function check(modules, script, expected)
  for _, name in ipairs(modules) do
    if not package.searchpath(name,
        package.path .. ";/usr/share/lua/5.1/?.lua")
      and not package.searchpath(name, package.cpath) then
      return pending(name .. " is not installed")
    end
  end
  local result = t.children.run(PRELUDE .. script)
  assert.is_false(result.timed_out)
  assert.equal("", result.err)
  assert.equal(expected, result.out)
  assert.equal(0, result.code)
end

describe("Sockets in other loops", function()
  it("are polled by cqueues", function()
    check({"_cqueues", "cqueues"}, [[
      local cqueues = require "cqueues"
      local loop = cqueues.new()
      loop:wrap(function()
        for i = 1, 3 do
          cqueues.poll(listener)
          local c = assert(listener:accept(0))
          loop:wrap(function()
            cqueues.poll(c)
            c:write("echo ", c:read("L", 0))
            cqueues.cancel(c:fileno()) -- as it wants before a close
            c:close()
          end)
        end
      end)
      local list = {}
      loop:wrap(function()
        for i = 1, 3 do list[i] = client(tostring(i)) end
        for i = 3, 1, -1 do
          cqueues.poll(list[i])
          print(list[i]:read("l", 0))
        end
      end)
      assert(loop:loop(5))
    ]], "echo 3\necho 2\necho 1\n")
  end)

  it("are selected by LuaSocket", function()
    check({"socket.core", "socket"}, [[
      local select = require "socket".select
      local p, q = socket.pair "seqpacket"
      local c = client "line"
      local ready = select({listener, q}, nil, 5)
      print(#ready, ready[1] == listener)
      local s = listener:accept(0)
      q:send "packet"
      print(#select({p, s}, nil, 5), s:read("l", 0))
      local _, writable = select(nil, {s, q}, 5)
      print(#writable)
    ]], "1\ttrue\n2\tline\n2\n")
  end)

  it("are served by copas", function()
    -- Debian has it for older Luas; it runs with this one too.
    check({"socket.core", "socket", "copas"}, [[
      package.path = package.path .. ";/usr/share/lua/5.1/?.lua"
      local copas = require "copas"
      -- What copas calls, in its own words.
      local function adapt(object, methods)
        methods.settimeout = function() end
        methods.getfd = function() return object:getfd() end
        methods.dirty = function() return object:dirty() end
        return methods
      end
      local server = adapt(listener, {
        accept = function()
          local c, message = listener:accept(0)
          if not c then return nil, message end
          return adapt(c, {
            receive = function() return c:read("l", 0) end,
            send = function(_, bytes) c:write(bytes) return #bytes end,
            close = function() return c:close() end,
          })
        end,
        close = function() return listener:close() end,
      })
      copas.addserver(server, function(c)
        copas.send(c, "echo " .. copas.receive(c) .. "\n")
        c:close()
      end)
      local one, other = client "one", client "other"
      local lines = {}
      for i, c in ipairs {other, one} do
        repeat copas.step(0.1) lines[i] = c:read("l", 0) until lines[i]
      end
      print(lines[1], lines[2])
    ]], "echo other\techo one\n")
  end)

  it("are polled by luv", function()
    check({"luv"}, [[
      local uv = require "luv"
      local accepting = uv.new_poll(listener:fileno())
      accepting:start("r", function()
        local c = assert(listener:accept(0))
        accepting:close()
        local reading = uv.new_poll(c:fileno())
        reading:start("r", function()
          local line, message = c:read("l", 0)
          if message then return end
          print(line)
          reading:close()
        end)
      end)
      local timer = uv.new_timer()
      timer:start(5, 0, function() client "luv" timer:close() end)
      uv.run()
    ]], "luv\n")
  end)
end)
