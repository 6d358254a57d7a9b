-- What other people's suites check of messages over UNIX sockets, seqpackets
-- and datagrams. See spec/socket_facts_spec.lua.
local t = require "support"
local ipc = require "unixipc"

local socket = ipc.socket

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
