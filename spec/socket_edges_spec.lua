-- What sits between the lines of the man pages: handlers that change the
-- object of the call that is blocked, descriptors nobody asked for, addresses
-- to the last byte.
local t = require "support"
local signals = require "support.signals"
local lfs = require "lfs"
local ipc = require "unixipc"
local socket, stream, pipe = ipc.socket, ipc.stream, ipc.pipe

local WAIT = 20 * t.slow
local SIG = "SIGALRM"
local SO_TIMESTAMP, SO_PASSPIDFD = 29, 76

local function close(...)
  for _, object in ipairs {...} do object:close() end
end

local function count_fds()
  local n = 0
  for _ in lfs.dir "/proc/self/fd" do n = n + 1 end
  return n
end

-- Calls fn, which blocks, while a handler does `action`.
local function meanwhile(action, fn)
  return signals.with_handler(SIG, action, function()
    local _ <close> = signals.soon(SIG)
    return fn()
  end)
end

describe("A handler that changes the object of the blocked call", function()
  it("by reading the numeral that is being read: it is read anew", function()
    for _, last in ipairs {"", " 3.5 "} do
      local r, w = assert(pipe.open())
      w:write "12"
      local taken
      local got = meanwhile(function()
        taken = r:read(2, 0)
        w:write(last)
        w:close()
      end, function() return r:read("n", WAIT) end)
      assert.equal("12", taken)
      assert.equal(tonumber(last), got)
      assert.equal(last == "" and "" or " ", r:read "a")
      assert.equal(0, r:available())
      r:close()
    end
  end)

  it("by setting a lower limit: what comes is cut", function()
    local one, other = assert(socket.pair "datagram")
    local big = ("x"):rep(3 << 20)
    one:set_option("send_buffer", 1 << 23)
    if one:option "send_buffer" < 1 << 22 then
      close(one, other)
      return pending "the system does not allow so large a buffer"
    end
    other:set_limit(1 << 24)
    local got, length = meanwhile(function()
      other:set_limit(100)
      assert(one:send(big, 0))
    end, function() return other:receive(WAIT) end)
    assert.equal(("x"):rep(100), got)
    assert.equal(#big, length)
    close(one, other)
  end)

  it("by sending half a message of its own: its rest goes first", function()
    local one, other = assert(socket.pair())
    local fill = 0
    repeat
      local n = one:write_some(("f"):rep(65536), 0)
      fill = fill + (n or 0)
    until not n
    local mine, theirs = ("m"):rep(1 << 20), ("t"):rep(1 << 20)
    local rest, child
    meanwhile(function()
      if rest then return end
      assert.equal(fill, #other:read(fill, WAIT)) -- now there is room
      rest = select(4, one:send(theirs, 0))
      child = ipc.process.fork(function()
        one:close()
        local first, second = other:receive(WAIT), other:receive(WAIT)
        return first == theirs and second == mine
      end)
    end, function() assert(one:send(mine, WAIT)) end)
    assert.is_true(rest > 0 and rest < #theirs)
    assert.same({"exit", 0}, {child:wait(WAIT)})
    close(one, other, child)
  end)
end)

describe("Descriptors that nobody asked for", function()
  -- Whoever shares the socket may set its options.
  it("are closed by a call that takes bytes only", function()
    local one, other = assert(socket.pair "seqpacket")
    assert(other:set_option(SO_TIMESTAMP, 0))
    local before = count_fds()
    for _ = 1, 5 do
      assert(one:send_fds("x", {one, one, one}))
      assert.equal("x", other:receive(WAIT))
      assert(one:send_fds("x", {one, one, one}))
      assert.equal("x", (other:receive_from(WAIT)))
    end
    assert.equal(before, count_fds())
    close(one, other)
  end)

  it("and those of the sender itself are, too", function()
    for _, kind in ipairs {"stream", "seqpacket", "datagram"} do
      local one, other = assert(socket.pair(kind))
      if not other:set_option(SO_PASSPIDFD, 1) then
        close(one, other)
        return pending "no SO_PASSPIDFD here"
      end
      local before = count_fds()
      for _ = 1, 5 do
        assert(one:send_fds("x", {}))
        assert.equal("x", other:receive_message(nil, WAIT).bytes)
        assert(one:send_fds("x", {one}))
        local bytes, list = other:receive_fds(nil, WAIT)
        assert.equal("x", bytes)
        close(table.unpack(list))
        if kind ~= "stream" then
          assert(one:send "x")
          assert.equal("x", other:receive(WAIT))
        end
      end
      assert.equal(before, count_fds())
      close(one, other)
    end
  end)
end)

describe("A stream of one way", function()
  it("sends and receives descriptors that way only", function()
    local one, other = assert(socket.pair())
    local reader = assert(stream.from(one, {mode = "r"}))
    local writer = assert(stream.from(one, {mode = "w"}))
    t.refused("EBADF", reader:send_fds("x", {one}))
    t.refused("EBADF", writer:receive_fds(nil, 0))
    t.refused("EBADF", writer:receive_message(nil, 0))
    assert(writer:send_fds("x", {}))
    assert.equal("x", (other:receive_fds(nil, WAIT)))
    close(one, other, reader, writer)
  end)

  it("joined with another sends by that", function()
    local one, one_peer = assert(socket.pair())
    local two, two_peer = assert(socket.pair())
    local both = stream.join(assert(stream.from(one, {mode = "r"})),
      assert(stream.from(two, {mode = "w"})))
    assert(both:send_fds("x", {}))
    assert.equal("x", (two_peer:receive_fds(nil, WAIT)))
    t.timed_out(one_peer:read_some(1, 0))
    one_peer:write "y"
    assert.equal("y", (both:receive_fds(nil, WAIT)))
    close(one, two, one_peer, two_peer, both)
  end)
end)

describe("Addresses", function()
  it("abstract names have 107 bytes beside the @", function()
    local name = ("@" .. t.names.path():gsub("/", "\0")
      .. ("n"):rep(108)):sub(1, 108)
    local server = assert(socket.datagram(name))
    local client = assert(socket.datagram(("@c" .. name:sub(2)):sub(1, 108)))
    assert.equal(name, server:local_address())
    assert(client:send_to("x", name))
    local bytes, from = server:receive_from(WAIT)
    assert.equal("x", bytes)
    assert.equal(108, #from)
    assert(server:send_to("back", from)) -- every name that comes can be used
    assert.equal("back", client:receive(WAIT))
    local message = t.refused("ENAMETOOLONG", socket.datagram(name .. "x"))
    assert.truthy(message:find("over 108 bytes", 1, true))
    close(server, client)
  end)

  it("of one network have its name", function()
    local host
    for line in io.lines "/proc/net/if_inet6" do
      local digits, name = line:match "^(fe80%x+) %x+ %x+ 20 %x+%s+(%S+)"
      if digits then
        host = digits:gsub("%x%x%x%x", "%0:"):sub(1, -2) .. "%" .. name
      end
    end
    if not host then return pending "no such network here" end
    local one = assert(socket.datagram {host = host, port = 0})
    local address = one:local_address()
    assert.equal(host:match "%%.*", address.host:match "%%.*")
    local other = assert(socket.datagram(address.port and
      {host = address.host, port = 0}))
    assert(other:send_to("x", address)) -- it can be sent to
    local bytes, from = one:receive_from(WAIT)
    assert.equal("x", bytes)
    assert.same(other:local_address(), from)
    close(one, other)
  end)

  it("of a kind that is not ours are none", function()
    -- An integer of a netlink socket, from whoever started us.
    local script = t.names.file [[
      local socket = require "unixipc".socket
      local netlink = assert(socket.from(3))
      print(netlink:local_address() == "", (netlink:peer_credentials()))
    ]]
    local result = t.children.run("", {command = {"python3", "-c", [[
import os, socket, sys
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
if s.fileno() != 3: os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.execvp(sys.argv[1], sys.argv[1:])
]], os.getenv "LUA" or "lua5.4", script}})
    if result.code == 127 then return pending "no python3 here" end
    assert.equal("", result.err)
    assert.equal("true\tnil\n", result.out)
  end)
end)

describe("Small things", function()
  it("a datagram socket shut for reading says so at once, too", function()
    local one, other = assert(socket.pair "datagram")
    one:send "last"
    assert(other:shutdown "read")
    assert.equal("last", other:receive(0))
    assert.same({n = 1}, table.pack(other:receive(0)))
    assert.same({n = 1}, table.pack(other:receive(WAIT)))
    close(one, other)
  end)

  it("one that is shut while a call sleeps still gives what came", function()
    local one, other = assert(socket.pair "datagram")
    assert(one:send "learn to sleep")
    for _, words in ipairs {"first", "second"} do
      assert.truthy(other:receive())
      meanwhile(function() one:send(words) end, function()
        assert.equal(words, other:receive())
      end)
      one:send "next"
    end
    other:receive()
    meanwhile(function()
      one:send "last"
      other:shutdown "read"
    end, function() assert.equal("last", other:receive()) end)
    assert.same({n = 1}, table.pack(other:receive()))
    close(one, other)
  end)

  it("send_file does not wait for a FIFO", function()
    local path = t.names.path ".fifo"
    assert(ipc.fifo.create(path))
    local one, other = assert(socket.pair())
    t.refused("ESPIPE", one:send_file(path))
    ipc.fifo.unlink(path)
    close(one, other)
  end)

  it("TCP has no credentials", function()
    local listener = assert(socket.listen {host = "127.0.0.1", port = 0})
    local client = assert(socket.connect(listener:local_address()))
    t.refused("ENOTSUP", client:peer_credentials())
    local unix = assert(socket.datagram())
    t.refused("ENOTCONN", unix:peer_credentials())
    close(listener, client, unix)
  end)

  it("a tiny time is not for ever; numbers of options are small", function()
    local one, other = assert(socket.pair())
    one:set_option("receive_timeout", 1e-9)
    assert.is_true(one:option "receive_timeout" > 0)
    one:set_option("receive_timeout", 2.5)
    assert.near(2.5, one:option "receive_timeout", 0.01)
    t.raises("no number of an option", one.option, one, 1 << 32 | 3)
    t.raises("not be negative", one.set_option, one, "linger", -1)
    t.raises("not be negative", one.set_option, one, "send_buffer", -1)
    t.raises("option 'timeout'", socket.connect, "@x", {timeout = "1s"})
    t.raises("option 'timeout'", socket.connect, "@x", {timeout = -1})
    t.raises("too many descriptors", one.send_fds, one, "x",
      setmetatable({}, {__len = function() return -1 end}))
    close(one, other)
  end)

  it("a fileno that closes the socket it is called for", function()
    local one, other = assert(socket.pair())
    local evil = {fileno = function() one:close() return 0 end}
    t.raises("closed stream", one.send_fds, one, "x", {evil})
    t.raises("closed stream", other.send_file, other,
      {fileno = function() other:close() return 0 end})
  end)
end)
