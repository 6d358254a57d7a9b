-- What other people's suites check of bytes and messages through UNIX sockets,
-- beyond the specs of socket and socket_facts_spec.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local socket, process, errno = ipc.socket, ipc.process, ipc.errno
local signal = ipc.signal

local WAIT = 20 * t.slow

local function ended(child, code)
  assert.same({"exit", code or 0}, {child:wait(WAIT)})
  child:close()
end

describe("A stream", function()
  it("GV:socket_stream.cc:SplitRecv GV:socket_stream.cc:CoalescedRecv has no "
    .. "boundaries", function()
      local a, b = assert(socket.pair())
      local _ <close> = t.closer(a, b)
      a:write "one"
      a:write "two"
      assert.equal("on", b:read(2, 0))
      assert.equal("etwo", b:read(4, 0))
    end)

  it("GV:socket_unix_unbound_stream.cc:SinglePeek looks without taking",
    function()
      local a, b = assert(socket.pair())
      local _ <close> = t.closer(a, b)
      a:write "peeked"
      for _, n in ipairs {2, 6} do
        local message = assert(b:receive_message({peek = true, max = n}, 0))
        assert.equal(("peeked"):sub(1, n), message.bytes)
      end
      assert.equal("peeked", b:read(6, 0))
    end)

  it("GV:socket_stream_blocking.cc:BlockPartialWriteClosed how far it came, "
    .. "then EPIPE", function()
      local a, b = assert(socket.pair())
      local _ <close> = t.closer(a, b)
      local child = assert(process.fork(function()
        b:close()
        local _, _, code, done = a:write(("x"):rep(1 << 22))
        return code == errno.EPIPE and done > 0
      end))
      a:close()
      signals.await_state(child.pid, "S")
      b:close()
      local how, code = child:wait(WAIT)
      assert.equal("exit", how)
      assert.is_true(code == 0, tostring(code))
      child:close()
    end)

  it("GV:socket_stream_blocking.cc:SendTimeout time runs out in the middle",
    function()
      local a, b = assert(socket.pair())
      local _ <close> = t.closer(a, b)
      a:set_timeout(0.05)
      local done = t.timed_out(a:write(("x"):rep(1 << 22)))
      assert.is_true(done > 0)
      assert.equal(done, b:available())
      assert.equal(done, #b:read(done, WAIT))
    end)

  it("GV:socket_unix.cc:TIOCINQSucceeds available counts what is there",
    function()
      local a, b = assert(socket.pair())
      local _ <close> = t.closer(a, b)
      assert.equal(0, b:available())
      a:write "12345"
      assert.equal(5, b:available())
      b:read(2, 0)
      assert.equal(3, b:available())
    end)

  it("PY:test_socket.py:SendfileUsingSendfileTest offset and count", function()
    local a, b = assert(socket.pair())
    local _ <close> = t.closer(a, b)
    local path = t.names.file("0123456789")
    for _, case in ipairs {{{}, "0123456789"}, {{offset = 3}, "3456789"},
      {{count = 4}, "0123"}, {{offset = 3, count = 4}, "3456"},
      {{count = 0}, ""}, {{offset = 10}, ""}, {{count = 100}, "0123456789"}} do
      assert.equal(#case[2], a:send_file(path, case[1], WAIT))
      if #case[2] > 0 then
        assert.equal(case[2], b:read(#case[2], WAIT))
      end
    end
    t.timed_out(b:read_some(nil, 0))
  end)

  it("GV:socket_unix_unbound_stream.cc:ReadsNotCoalescedAfterFDPass "
    .. "GV:socket_unix_unbound_stream.cc:FDPassPartialRead what comes after a "
    .. "descriptor is not read with it", function()
      local a, b = assert(socket.pair())
      local r, w = assert(ipc.pipe.open())
      local _ <close> = t.closer(a, b, r, w)
      a:write "before"
      a:send_fds("with", {r})
      a:write "after"
      local bytes, list = assert(b:receive_fds(6, WAIT))
      assert.same({"before", 0}, {bytes, #list})
      bytes, list = assert(b:receive_fds(100, WAIT))
      assert.same({"with", 1}, {bytes, #list})
      list[1]:close()
      assert.equal("after", b:read(5, WAIT))
    end)

  it("reads what comes before a descriptor with it, nothing after", function()
    local a, b = assert(socket.pair())
    local r, w = assert(ipc.pipe.open())
    local _ <close> = t.closer(a, b, r, w)
    a:write "before "
    a:send_fds("first", {r})
    a:write "between "
    a:send_fds("second", {r, w})
    a:write "after"
    for _, expected in ipairs {{"before first", 1}, {"between second", 2},
      {"after", 0}} do
      local bytes, list = assert(b:receive_fds(nil, WAIT))
      assert.same(expected, {bytes, #list})
      for _, object in ipairs(list) do object:close() end
    end
  end)

  it("runs handlers while it waits, and goes on", function()
    local a, b = assert(socket.pair())
    local _ <close> = t.closer(a, b)
    local ran = 0
    local handler <close> = signals.handle("SIGUSR1", function()
      ran = ran + 1
      if ran == 3 then a:write "line\n" end
    end)
    local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
    assert.equal("line", b:read("l", WAIT))
    assert(handler and timer)
  end)
end)

for _, kind in ipairs {"seqpacket", "datagram"} do
  describe("Messages of type " .. kind, function()
    it("GV:socket_non_stream.cc:SplitRecv GV:socket_non_stream.cc:SingleRecv "
      .. "GV:socket_non_stream.cc:MsgTruncSameSize "
      .. "GV:socket_non_stream.cc:MsgTruncNotFull one is one, cut or not",
      function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        for _, message in ipairs {"0123456789", "next", "", "last"} do
          a:send(message)
        end
        assert.same({"012", 10}, {b:receive(0, 3)})
        assert.same({"next"}, {b:receive(0, 4)})
        assert.same({""}, {b:receive(0, 10)})
        assert.same({"", 4}, {b:receive(0, 0)})
        t.timed_out(b:receive(0))
      end)

    it("GV:socket_non_stream.cc:SinglePeek stays until it is taken", function()
      local a, b = assert(socket.pair(kind))
      local _ <close> = t.closer(a, b)
      a:send "one"
      a:send "two"
      for _ = 1, 2 do
        local m = assert(b:receive_message({peek = true, max = 2}, 0))
        assert.same({"on", 3}, {m.bytes, m.length})
      end
      assert.same({"one", "two"}, {(b:receive(0)), (b:receive(0))})
    end)

    it("GV:socket_unix_non_stream.cc:FragmentedSendMsg as large as the buffer "
      .. "lets it, whole", function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        a:set_option("send_buffer", 200000)
        local bytes = ("L"):rep(150000)
        assert(a:send(bytes, 0))
        assert.is_true(b:receive(0) == bytes)
        t.refused("EMSGSIZE", a:send(("L"):rep(500000), 0))
      end)

    it("GV:socket_unix_non_stream.cc:SendTimeout waits for room, no longer "
      .. "than it is told", function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        local n = 0
        while a:send(("m"):rep(1000), 0) do n = n + 1 end
        assert.is_true(n > 0)
        local seconds = t.took(function() t.timed_out(a:send("x", 0.03)) end)
        assert.is_true(seconds >= 0.03)
        for _ = 1, n do assert.equal(1000, #b:receive(0)) end
        t.timed_out(b:receive(0))
      end)
  end)
end

describe("Datagrams", function()
  it("GV:socket_unix_unbound_dgram.cc:BindConnect GV:socket_unix_unbound_dgram"
    .. ".cc:DoubleConnect GV:socket_unix_unbound_dgram.cc:GetRemoteAddress to "
    .. "one, then to another", function()
      local one <close> = assert(socket.datagram(t.names.path()))
      local two <close> = assert(socket.datagram(t.names.path()))
      local from <close> = assert(socket.datagram(t.names.path()))
      t.refused("ENOTCONN", from:peer_address())
      t.refused("ENOTCONN", from:send "x")
      for _, to in ipairs {one, two} do
        assert(from:connect(to:local_address()))
        assert.equal(to:local_address(), from:peer_address())
        from:send "hello"
        assert.same({"hello", from:local_address()}, {to:receive_from(0)})
      end
    end)

  it("GV:socket_unix_unbound_dgram.cc:Sendto GV:socket_unix_unbound_dgram.cc:"
    .. "ZeroWriteAllowed to any address, nothing too", function()
      local to <close> = assert(socket.datagram(t.names.path()))
      local from <close> = assert(socket.datagram())
      for _, bytes in ipairs {"", "some"} do
        assert(from:send_to(bytes, to:local_address()))
        assert.same({bytes, ""}, {to:receive_from(0)})
      end
      t.refused("ENOENT", from:send_to("x", t.names.path()))
      t.refused("ECONNREFUSED", from:send_to("x", "@" .. t.names.unique()))
      t.refused("ECONNREFUSED", from:send_to("x", t.names.file ""))
    end)

  it("FBSD:unix_dgram.c:one2many many send to one, which tells them apart",
    function()
      local to <close> = assert(socket.datagram(t.names.path()))
      local list = {}
      for i = 1, 5 do
        list[i] = assert(socket.datagram(t.names.path()))
        list[i]:send_to("from " .. i, to:local_address())
      end
      for i = 1, 5 do
        assert.same({"from " .. i, list[i]:local_address()},
          {to:receive_from(0)})
        list[i]:close()
      end
    end)

  it("one that is connected takes from that one only: EPERM for others",
    function()
      local one <close> = assert(socket.datagram(t.names.path()))
      local peer <close> = assert(socket.datagram(t.names.path()))
      local other <close> = assert(socket.datagram(t.names.path()))
      one:connect(peer:local_address())
      t.refused("EPERM", other:send_to("x", one:local_address()))
      assert(peer:send_to("y", one:local_address()))
      assert.equal("y", (one:receive(0)))
    end)

  it("GV:socket_unix_dgram.cc:WriteOneSideClosed the receiver is gone: "
    .. "ECONNREFUSED, and a new one can be had", function()
      local path = t.names.path()
      local to = assert(socket.datagram(path))
      local from <close> = assert(socket.connect(path, {type = "datagram"}))
      from:send "x"
      to:close()
      t.refused("ECONNREFUSED", from:send "x")
      local again <close> = assert(socket.datagram(path))
      t.refused("ENOTCONN", from:send "x") -- of the same name, not the same
      assert(from:connect(path))
      assert(from:send "x")
      assert.equal("x", (again:receive(0)))
    end)

  it("GV:socket_unix_unbound_abstract.cc:GetSockNameFullLength "
    .. "GV:socket_unix_unbound_filesystem.cc:GetSockNameLength names of every "
    .. "length come back whole", function()
      for _, n in ipairs {1, 50, 107} do
        local name = "@" .. (t.names.unique() .. ("n"):rep(n)):sub(1, n)
        local s = socket.datagram(name)
        if s then -- one of a letter may be somebody's
          assert.equal(name, s:local_address())
          s:close()
        end
      end
      local directory = t.names.directory()
      local path = directory .. "/" .. ("p"):rep(107 - #directory - 1)
      local s <close> = assert(socket.datagram(path))
      assert.same({107, path}, {#path, s:local_address()})
      t.refused("ENAMETOOLONG", socket.datagram(path .. "p"))
    end)

  it("LTP:send a socket that was closed raises", function()
    local a, b = assert(socket.pair "datagram")
    a:close()
    t.raises("closed", a.send, a, "x")
    t.raises("closed", a.receive, a)
    t.raises("closed", a.option, a, "type")
    b:close()
  end)
end)

describe("PY:_test_multiprocessing.py:_TestConnection", function()
  it("messages of every size over a stream, in order", function()
    local a, b = assert(socket.pair())
    local _ <close> = t.closer(a, b)
    local child = assert(process.fork(function()
      a:close()
      for message in b:messages() do assert(b:send(message:upper())) end
    end))
    b:close()
    for _, n in ipairs {0, 1, 255, 65536, 1 << 20} do
      local message = ("m"):rep(n)
      local sent = a:send(message, WAIT)
      assert(sent)
      assert.is_true(a:receive(WAIT) == message:upper())
    end
    a:shutdown "write"
    assert.is_nil(a:receive(WAIT))
    ended(child)
  end)
end)
