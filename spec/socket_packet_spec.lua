local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local socket, process, pipe, poll = ipc.socket, ipc.process, ipc.pipe, ipc.poll

local WAIT = 10 * t.slow

local function close(...)
  for _, object in ipairs {...} do object:close() end
end

-- A test of both ends of a pair, of each type of packet socket.
local function of_pairs(name, test)
  for _, kind in ipairs {"seqpacket", "datagram"} do
    it(name .. ": " .. kind, function()
      local one, other = assert(socket.pair(kind))
      test(one, other, kind)
      close(one, other)
    end)
  end
end

describe("A Packet", function()
  of_pairs("keeps messages apart, also empty ones", function(one, other)
    for _, message in ipairs {"one", "", "three\0\255", ""} do
      assert.equal(one, one:send(message))
    end
    assert.equal("one", other:receive(0))
    assert.equal("", other:receive(0))
    assert.equal("three\0\255", other:receive(0))
    assert.equal("", other:receive(0))
    t.timed_out(other:receive(0))
    t.timed_out(other:receive(0.01))
  end)

  of_pairs("GV:socket_non_stream.cc:MsgTruncTruncation tells that it was cut",
    function(one, other)
      one:send "0123456789"
      assert.same({"0123", 10}, {other:receive(0, 4)})
      one:send "0123456789"
      assert.same({"0123456789"}, {other:receive(0, 10)})
      one:send "0123456789"
      assert.same({"", 10}, {other:receive(0, 0)})
      other:set_limit(3)
      one:send "0123"
      assert.same({"012", 4}, {other:receive(0)})
      one:send "0123"
      assert.same({"012", "", 4}, {other:receive_from(0)})
    end)

  of_pairs("GV:socket_non_stream.cc:RecvmsgMsghdrFlagMsgTrunc says so",
    function(one, other)
      one:send "0123456789"
      local message = other:receive_message({max = 4}, 0)
      assert.equal("0123", message.bytes)
      assert.equal(10, message.length)
      one:send "01"
      assert.is_nil(other:receive_message({max = 4}, 0).length)
    end)

  of_pairs("GV:socket_unix_non_stream.cc:ZeroLengthRecvEmptyQueue waits",
    function(_, other)
      t.timed_out(other:receive(0, 0))
    end)

  of_pairs("GV:socket_non_stream.cc:SendMsgTooLarge is EMSGSIZE",
    function(one, other)
      one:set_option("send_buffer", 8192)
      t.refused("EMSGSIZE", one:send(("x"):rep(100000)))
      t.timed_out(other:receive(0))
    end)

  of_pairs("waits for room in the other's queue", function(one, other)
    repeat until not one:send("x", 0)
    t.timed_out(one:send("y", 0.01))
    local child <close> = assert(process.fork(function()
      other:close()
      assert(one:send("last", WAIT))
    end))
    local count = 0
    repeat count = count + 1 until other:receive(WAIT) == "last"
    assert.is_true(count > 5)
    assert.same({"exit", 0}, {child:wait(WAIT)})
  end)

  of_pairs("carries large messages whole", function(one, other)
    one:set_option("send_buffer", 400000)
    local message = ("0123456789"):rep(15000)
    assert(one:send(message))
    assert.equal(message, other:receive(0))
  end)

  it("of type seqpacket is at its end when the other side closed", function()
    local one, other = assert(socket.pair "seqpacket")
    one:send "last"
    one:send ""
    one:close()
    assert.equal("last", other:receive(0))
    assert.equal("", other:receive(0))
    assert.same({n = 1}, table.pack(other:receive(0)))
    assert.same({n = 1}, table.pack(other:receive()))
    assert.same({n = 1}, table.pack(other:receive_from()))
    assert.same({n = 1}, table.pack(other:receive_message()))
    assert.same({n = 1}, table.pack(other:receive_fds()))
    t.refused("EPIPE", other:send "x")
    other:close()
  end)

  it("of type datagram is at its end only when reading was shut down",
    function()
      local one, other = assert(socket.pair "datagram")
      one:close()
      t.timed_out(other:receive(0.01))
      other:shutdown "read"
      assert.same({n = 1}, table.pack(other:receive(WAIT)))
      other:close()
    end)

  it("LTP:shutdown01 can shut one way and go on the other", function()
    for _, kind in ipairs {"stream", "seqpacket"} do
      local one, other = assert(socket.pair(kind))
      one:shutdown "write"
      t.timed_out(one:receive(0))
      t.refused("EPIPE", one:send "x")
      assert.is_nil(other:receive(0))
      other:send "still"
      assert.equal("still", one:receive(0))
      close(one, other)
    end
  end)

  it("FBSD:unix_seqpacket_test.c#1 gets EPIPE and no SIGPIPE", function()
    for _, kind in ipairs {"stream", "seqpacket"} do
      local result = t.children.run([[
        local socket = require "unixipc".socket
        local one, other = socket.pair(arg[1])
        other:close()
        io.write(select(2, one:send "x"))
      ]], {args = {kind}})
      assert.equal(0, result.code)
      assert.truthy(result.out:find "Broken pipe")
    end
  end)

  it("raises at misuse", function()
    local one, other = assert(socket.pair "datagram")
    t.raises("string expected", one.send, one)
    t.raises("timeout must be", one.send, one, "x", -1)
    t.raises("must not be negative", one.receive, one, 0, -1)
    t.raises("limit must be", one.set_limit, one, 0)
    t.raises("invalid option", one.shutdown, one, "all")
    t.raises("packet socket expected", one.send, io.stdout, "x")
    t.raises("address must be", one.send_to, one, "x", 1)
    close(one, other)
    t.raises("closed packet socket", one.send, one, "x")
    t.raises("closed packet socket", one.receive, one)
    t.raises("closed packet socket", one.option, one, "type")
    assert.is_true(one:close())
    assert.equal("socket datagram (closed)", tostring(one))
  end)

  it("has a timeout of its own, and takes that of a call", function()
    local one, other = assert(socket.pair "seqpacket")
    assert.equal(one, one:set_timeout(0.01))
    t.timed_out(one:receive())
    t.timed_out(one:receive(0))
    close(one, other)
  end)

  it("is polled like any other object", function()
    local one, other = assert(socket.pair "datagram")
    t.timed_out(poll.wait({other}, 0))
    one:send ""
    assert.equal(other, poll.wait({other}, 0)[1])
    close(one, other)
  end)
end)

describe("A datagram socket", function()
  it("sends to addresses and says where from", function()
    local here, there = t.names.path(), t.names.path()
    local one <close> = assert(socket.datagram(here))
    local other <close> = assert(socket.datagram(there))
    local nameless <close> = assert(socket.datagram())
    assert.equal(one, one:send_to("hello", there))
    assert.same({"hello", here}, {other:receive_from(0)})
    nameless:send_to("who am I", there)
    assert.same({"who am I", ""}, {other:receive_from(0)})
    one:send_to("", there)
    assert.same({"", here}, {other:receive_from(0)})
    t.refused("ENOENT", one:send_to("x", there .. "x"))
    t.refused("ENAMETOOLONG", one:send_to("x", ("x"):rep(200)))
    other:close()
    t.refused("ENOENT", one:send_to("x", there))
    t.refused("ENOTCONN", one:send "x")
  end)

  it("connects, to one and to another", function()
    local here, there = t.names.path(), t.names.path()
    local one <close> = assert(socket.datagram(here))
    local other <close> = assert(socket.datagram(there))
    local third <close> = assert(socket.datagram(
      "@" .. t.names.unique()))
    assert.equal(one, one:connect(there))
    one:send "to other"
    assert.equal("to other", other:receive(0))
    t.refused("EPERM", third:send_to("x", here))
    one:connect(third:local_address())
    one:send "to third"
    assert.equal("to third", third:receive(0))
    one:connect ""
    t.refused("ENOTCONN", one:send "x")
    local client <close> = assert(socket.connect(there, {type = "datagram"}))
    client:send "connected"
    assert.equal("connected", other:receive(0))
  end)

  it("goes over UDP", function()
    local one <close> = assert(socket.datagram {host = "127.0.0.1", port = 0})
    local other <close> = assert(socket.datagram {host = "127.0.0.1",
      port = 0})
    one:send_to("hello", other:local_address())
    local bytes, from = other:receive_from(WAIT)
    assert.equal("hello", bytes)
    assert.same(one:local_address(), from)
    other:send_to("", from)
    assert.equal("", one:receive(WAIT))
    one:send_to("0123456789", other:local_address())
    assert.same({"01", 10}, {other:receive(WAIT, 2)})
  end)

  it("waits for room in the queue it sends to", function()
    local there = t.names.path()
    local one <close> = assert(socket.datagram())
    local other <close> = assert(socket.datagram(there))
    repeat until not one:send_to("x", there, 0)
    local took = t.took(function()
      t.timed_out(one:send_to("y", there, 0.03))
    end)
    assert.is_true(took >= 0.03)
    local child <close> = assert(process.fork(function()
      other:close()
      assert(one:send_to("last", there, WAIT))
    end))
    repeat until other:receive(WAIT) == "last"
    assert.same({"exit", 0}, {child:wait(WAIT)})
  end)

  it("GV:socket_unix_unbound_dgram.cc:SelfConnect sends to itself", function()
    local path = t.names.path()
    local one <close> = assert(socket.datagram(path))
    one:connect(path)
    one:send "to myself"
    assert.same({"to myself", path}, {one:receive_from(0)})
  end)

  it("GV:socket_unix_unbound_abstract.cc:AutoBindSuccess gets a name",
    function()
      local one <close> = assert(socket.datagram "")
      assert.truthy(one:local_address():find "^@%x%x%x%x%x$")
      local listener <close> = assert(socket.listen "")
      assert.truthy(listener:local_address():find "^@%x%x%x%x%x$")
    end)

  it("GV:socket_unix_dgram.cc:IncreasedSocketSendBufUnblocksWrites",
    function()
      local path = t.names.path()
      local _ <close> = assert(socket.datagram(path))
      local one <close> = assert(socket.connect(path, {type = "datagram"}))
      one:set_option("send_buffer", 4096)
      repeat until not one:send(("x"):rep(1024), 0)
      one:set_option("send_buffer", 100000)
      assert(one:send("y", 0))
    end)

  it("KSELF:af_unix/unix_connreset.c#3 is not reset by its peer", function()
    local one, other = assert(socket.pair "datagram")
    one:send "unread"
    other:send "unread"
    other:close()
    assert.equal("unread", one:receive(0))
    t.timed_out(one:receive(0))
    t.refused("ECONNREFUSED", one:send "x")
    one:close()
  end)

  it("GV:socket_unix_non_stream.cc:PeerWriteShutdown is one sender's alone",
    function()
      local path = t.names.path()
      local receiver <close> = assert(socket.datagram(path))
      local one <close> = assert(socket.connect(path, {type = "datagram"}))
      local other <close> = assert(socket.connect(path, {type = "datagram"}))
      one:shutdown "write"
      t.timed_out(receiver:receive(0.01))
      other:send "still here"
      assert.equal("still here", receiver:receive(0))
      t.refused("EPIPE", one:send "x")
    end)
end)

describe("What other systems' tests ask", function()
  it("GV:socket_generic_test_cases.cc:BasicReadWrite of a pair", function()
    local one, other = assert(socket.pair())
    local bytes = ("\0\1\254\255"):rep(500)
    one:write(bytes)
    assert.equal(bytes, other:read(2000))
    close(one, other)
  end)

  it("GV:socket_unix_stream.cc:ZeroLengthRecvPendingData takes nothing",
    function()
      local one, other = assert(socket.pair())
      one:write "data"
      assert.equal("", other:read(0))
      assert.equal("", other:receive_message({max = 0}, 0).bytes)
      assert.equal("data", other:read(4))
      close(one, other)
    end)

  it("GV:socket_generic_test_cases.cc:MsgPeek leaves it there", function()
    for _, kind in ipairs {"stream", "seqpacket", "datagram"} do
      local one, other = assert(socket.pair(kind))
      if kind == "stream" then one:write "data" else one:send "data" end
      for _ = 1, 2 do
        assert.equal("data",
          other:receive_message({max = 10, peek = true}, 0).bytes)
      end
      assert.equal("data", other:receive_message({max = 10}, 0).bytes)
      t.timed_out(other:receive_message(nil, 0))
      close(one, other)
    end
  end)

  it("GV:socket_non_blocking.cc:RecvNothingAvailable waits no longer",
    function()
      local one, other = assert(socket.pair())
      t.timed_out(other:read(1, 0))
      t.timed_out(other:receive_message(nil, 0))
      close(one, other)
    end)

  it("GV:socket_generic_test_cases.cc:RecvWaitAll reads all it was asked for",
    function()
      local one, other = assert(socket.pair())
      one:write "01234"
      local child <close> = assert(process.fork(function()
        one:write "56789"
      end))
      assert.equal("0123456789", other:read(10, WAIT))
      assert.same({"exit", 0}, {child:wait()})
      close(one, other)
    end)

  it("GV:socket_unix_stream.cc:WriteOneSideClosed is EPIPE", function()
    for _, kind in ipairs {"stream", "seqpacket"} do
      local one, other = assert(socket.pair(kind))
      other:close()
      t.refused("EPIPE", one:send "x")
      one:close()
    end
  end)

  it("KSELF:af_unix/unix_connreset.c#2 a listener that closes resets",
    function()
      for _, kind in ipairs {"stream", "seqpacket"} do
        local path = t.names.path()
        local listener = assert(socket.listen(path, {type = kind}))
        local client <close> = assert(socket.connect(path, {type = kind}))
        listener:close()
        t.refused("ECONNRESET", client:receive(WAIT))
      end
    end)

  it("GV:socket_unix.cc:Shutdown leaves what is queued to be read", function()
    local one, other = assert(socket.pair())
    one:write "queued"
    other:write "queued too"
    one:shutdown()
    assert.equal("queued too", one:read "a")
    assert.equal("queued", other:read "a")
    close(one, other)
  end)

  it("GV:socket_unix_unbound_stream.cc + _seqpacket.cc:SendtoWithoutConnect "
    .. "is refused", function()
    local one, other = assert(socket.pair "seqpacket")
    t.refused("EOPNOTSUPP", one:send_to("x", t.names.path()))
    close(one, other)
  end)

  it("GV:socket_unix_unbound_dgram.cc:Listen is a mistake", function()
    t.raises("do not listen", socket.listen, t.names.path(),
      {type = "datagram"})
  end)

  it("FBSD:unix_seqpacket_test.c#2 there is no way to listen unbound",
    function()
      t.raises("address must be", socket.listen, nil)
    end)

  it("PY:test_socket.py:TestLinuxAbstractNamespace#2 keeps every byte",
    function()
      local name = "@" .. t.names.unique() .. "\0h\255"
      local one <close> = assert(socket.datagram(name))
      assert.equal(name, one:local_address())
    end)

  it("GV:socket_unix_unbound_abstract.cc:ShortAddressNotExtended", function()
    local name = "@" .. t.names.unique()
    local _ <close> = assert(socket.listen(name .. "\0"))
    t.refused("ECONNREFUSED", socket.connect(name))
    assert(socket.connect(name .. "\0")):close()
  end)

  it("GV:socket_unix_unbound_abstract.cc:AddressAfterNull tells them apart",
    function()
      local name = "@" .. t.names.unique() .. "\0"
      local one <close> = assert(socket.datagram(name .. "a"))
      local other <close> = assert(socket.datagram(name .. "b"))
      t.refused("EADDRINUSE", socket.datagram(name .. "a"))
      assert.is_true(one:is_open() and other:is_open())
    end)

  it("GV:socket_unix_unbound_filesystem.cc:AddressAfterNull is a mistake",
    function()
      t.raises("embedded zero", socket.listen, t.names.path() .. "\0junk")
    end)

  it("LTP:bind03#1 a refused bind leaves no file", function()
    local path = t.names.path()
    local _ <close> = assert(socket.datagram(path))
    t.refused("EADDRINUSE", socket.datagram(path))
    t.refused("EADDRINUSE", socket.listen(path))
    assert.equal("socket", lfs.attributes(path, "mode"))
    local missing = t.names.path() .. "/x"
    t.refused("ENOENT", socket.listen(missing))
    assert.is_nil(lfs.attributes(missing))
  end)

  it("GV:socket_unix.cc:BindToBadName is ENOENT", function()
    t.refused("ENOENT", socket.datagram(t.names.path() .. "/x"))
    t.refused("ENOENT", socket.listen(t.names.path() .. "/x"))
  end)

  it("GV:socket_unix_unbound_filesystem.cc:OpenSocketWithTruncate is ENXIO",
    function()
      local path = t.names.path()
      local _ <close> = assert(socket.listen(path))
      local _, _, code = io.open(path, "w")
      assert.equal(ipc.errno.ENXIO, code)
    end)

  it("LTP:connect03#1 another type is EPROTOTYPE", function()
    local path = t.names.path()
    local types = {"stream", "seqpacket", "datagram"}
    for _, kind in ipairs(types) do
      local server = kind == "datagram" and assert(socket.datagram(path))
        or assert(socket.listen(path, {type = kind}))
      for _, other in ipairs(types) do
        if other ~= kind then
          t.refused("EPROTOTYPE", socket.connect(path, {type = other}))
        end
      end
      server:close()
    end
  end)

  it("GV:socket_unix_unbound_abstract.cc:ListenZeroBacklog is no success",
    function()
      local name = "@" .. t.names.unique()
      local _ <close> = assert(socket.listen(name, {backlog = 0}))
      local first <close> = assert(socket.connect(name, nil, 0))
      t.timed_out(socket.connect(name, nil, 0))
      assert.is_true(first:is_open())
    end)

  it("waits in a process of its own, while a signal comes", function()
    local r, w = assert(pipe.open())
    local one, other = assert(socket.pair "seqpacket")
    local child <close> = assert(process.fork(function()
      ipc.signal.handle("SIGUSR1", function() w:write "handled" end)
      w:write "ready"
      assert(one:receive(WAIT) == "go")
    end))
    assert.equal("ready", r:read(5, WAIT))
    child:kill "SIGUSR1"
    assert.equal("handled", r:read(7, WAIT))
    other:send "go"
    assert.same({"exit", 0}, {child:wait(WAIT)})
    close(r, w, one, other)
  end)
end)
