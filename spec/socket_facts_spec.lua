-- What other people's suites check of UNIX sockets, beyond the specs of
-- socket.
local t = require "support"
local signals = require "support.signals"
local nobody = require "support.nobody"
local ipc = require "unixipc"

local socket, process, errno = ipc.socket, ipc.process, ipc.errno
local poll = ipc.poll

local WAIT = 20 * t.slow
local TYPES = {"stream", "seqpacket", "datagram"}
local CONNECTED = {"stream", "seqpacket"}

local function ended(child, code)
  assert.same({"exit", code or 0}, {child:wait(WAIT)})
  child:close()
end

-- One call for the three types: the bytes of a message, or of a stream what is
-- there.
local function receive(s, timeout)
  if s.receive_from then return s:receive(timeout) end
  local message, why, code = s:receive_message(nil, timeout)
  if not message then return nil, why, code end
  return message.bytes
end

local function send(s, bytes, timeout)
  if s.write_some then return s:write_some(bytes, timeout) end
  return s:send(bytes, timeout)
end

-- A listener at a new path, a client and what was accepted.
local function connected(kind, options)
  local path = t.names.path()
  local all = {type = kind}
  for name, value in pairs(options or {}) do all[name] = value end
  local listener = assert(socket.listen(path, all))
  local client = assert(socket.connect(path, {type = kind}, WAIT))
  local server = assert(listener:accept(WAIT))
  return client, server, t.closer(client, server, listener), path, listener
end

for _, kind in ipairs(TYPES) do
  describe("A pair of type " .. kind, function()
    it("GV:socket_generic_test_cases.cc:SendmsgRecvmsg10KB "
      .. "GV:socket_generic_test_cases.cc:SendmsgRecvmsg16KB carries 10 and 16 "
      .. "KiB", function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        for _, n in ipairs {1, 10240, 16384} do
          local bytes = ("s"):rep(n)
          send(a, bytes, 0)
          assert.is_true(receive(b, 0) == bytes)
        end
      end)

    it("GV:socket_generic_test_cases.cc:GetSockoptType "
      .. "GV:socket_generic_test_cases.cc:GetSockoptDomain "
      .. "GV:socket_generic_test_cases.cc:GetSockoptProtocol says what it is",
      function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        assert.same({({stream = 1, datagram = 2, seqpacket = 5})[kind], 1, 0},
          {a:option "type", a:option "domain", a:option "protocol"})
        assert.equal(0, a:option "error")
        assert.is_false(b:option "accepting")
      end)

    it("GV:socket_generic_test_cases.cc:RcvBufSucceeds "
      .. "GV:socket_generic_test_cases.cc:GetSndBufSucceeds LTP:setsockopt "
      .. "buffers are what they were set to", function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        for _, name in ipairs {"send_buffer", "receive_buffer"} do
          assert.is_true(a:option(name) > 0)
          assert(a:set_option(name, 20000))
          assert.equal(20000, a:option(name))
        end
      end)

    it("GV:socket_generic_test_cases.cc:LingerSocketOption "
      .. "GV:socket_generic_test_cases.cc:KeepAliveSocketOption "
      .. "GV:socket_generic_test_cases.cc:SetGetRecvTimeout options come back",
      function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        for _, case in ipairs {{"linger", 5}, {"linger", false},
          {"keepalive", true}, {"keepalive", false}, {"send_timeout", 1.5},
          {"receive_timeout", 2}, {"receive_timeout", 0},
          {"passcred", true}, {"passcred", false}} do
          assert(a:set_option(case[1], case[2]))
          assert.equal(case[2], a:option(case[1]))
        end
        t.raises("", a.set_option, a, "no_such", true)
        t.refused("ENOPROTOOPT", a:option(9999))
      end)

    it("GV:socket_blocking.cc:RecvBlocks waits for the other side", function()
      local a, b = assert(socket.pair(kind))
      local _ <close> = t.closer(a, b)
      local child = assert(process.fork(function()
        return receive(a, WAIT) == "come"
      end))
      signals.await_state(child.pid, "S")
      send(b, "come")
      ended(child)
    end)

    it("GV:socket_unix.cc:ShutdownRead GV:socket_unix.cc:ShutdownWrite the end "
      .. "one way, the other goes on", function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        assert.is_true(a:shutdown "write")
        t.refused("EPIPE", send(a, "x", 0))
        send(b, "yet", 0)
        assert.equal("yet", receive(a, 0))
        assert.is_true(a:shutdown "read")
        t.refused("EPIPE", send(b, "no more", 0))
        local nothing, why = receive(a, WAIT)
        assert.same({nil, nil}, {nothing, why})
      end)

    it("GV:socket_unix.cc:SocketReopenFromProcfs cannot be opened by /proc: "
      .. "ENXIO", function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        local _, _, code = io.open(("/proc/%d/fd/%d"):format(process.pid(),
          a:fileno()))
        assert.equal(errno.ENXIO, code)
      end)

    it("LTP:socketpair02 LTP:socket02 GV:socket_unix_cmsg.cc:"
      .. "CloexecDroppedWhenFDPassed none is a program's", function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        local child <close> = assert(process.spawn({"sh", "-c",
          ("test -e /proc/self/fd/%d || test -e /proc/self/fd/%d"):format(
            a:fileno(), b:fileno())}))
        assert.same({"exit", 1}, {child:wait(WAIT)})
      end)

    it("LTP:getsockname01 LTP:getpeername01#4 has no address, nor has the "
      .. "other side", function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        assert.same({"", ""}, {a:local_address(), a:peer_address()})
      end)

    it("GV:socket_unix_peercred.cc:GetPeerCred knows who the other side is",
      function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        local ids = process.ids()
        assert.same({ids.pid, ids.euid, ids.egid}, {a:peer_credentials()})
        assert.same({ids.pid, ids.euid, ids.egid}, {b:peer_credentials()})
      end)

    it("GV:socket_unix_cmsg.cc:BasicFDPass "
      .. "GV:socket_unix_cmsg.cc:BasicTwoFDPass "
      .. "PY:test_socket.py:testFDPassSimple passes descriptors", function()
        local a, b = assert(socket.pair(kind))
        local r, w = assert(ipc.pipe.open())
        local _ <close> = t.closer(a, b, r, w)
        assert(a:send_fds("two", {r, w}))
        local bytes, list = assert(b:receive_fds(nil, WAIT))
        assert.same({"two", 2}, {bytes, #list})
        list[2]:write "through both\n"
        assert.equal("through both", list[1]:read("l", WAIT))
        local _ <close> = t.closer(list[1], list[2])
      end)

    it("GV:socket_unix_cmsg.cc:FDPassInterspersed2 "
      .. "GV:socket_unix_cmsg.cc:FDPassNotCoalesced messages with descriptors "
      .. "stay apart, and from what comes after them", function()
        local a, b = assert(socket.pair(kind))
        local r, w = assert(ipc.pipe.open())
        local _ <close> = t.closer(a, b, r, w)
        a:send_fds("with", {r})
        a:send_fds("also", {w})
        send(a, "plain", 0)
        local seen = {}
        for i = 1, 3 do
          local bytes, list = assert(b:receive_fds(nil, WAIT))
          seen[i] = bytes .. #list
          for _, object in ipairs(list) do object:close() end
        end
        assert.same({"with1", "also1", "plain0"}, seen)
      end)

    it("GV:socket_unix_cmsg.cc:FDPassNoRecv FBSD:unix_passfd_test.c:"
      .. "send_and_cancel descriptors that nobody took are closed", function()
        local a, b = assert(socket.pair(kind))
        local r, w = assert(ipc.pipe.open())
        local _ <close> = t.closer(a, b, r)
        a:send_fds("never read", {w})
        w:close()
        t.timed_out(r:read(1, 0))
        a:close()
        b:close()
        assert.is_nil(r:read(1, WAIT))
      end)

    it("FBSD:unix_passfd_test.c:send_and_close PY:test_socket.py:testFDPass"
      .. "Separate the sender may close its own at once", function()
        local a, b = assert(socket.pair(kind))
        local r, w = assert(ipc.pipe.open())
        local _ <close> = t.closer(a, b, r)
        a:send_fds("w", {w})
        w:close()
        local _, list = assert(b:receive_fds(nil, WAIT))
        list[1]:write "alive"
        list[1]:close()
        assert.equal("alive", r:read("a", WAIT))
      end)

    it("GV:socket_unix_cmsg.cc:ZeroFDPass a message without any is a message",
      function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        assert(a:send_fds("none", {}))
        local bytes, list, cut = assert(b:receive_fds(nil, WAIT))
        assert.same({"none", {}, false}, {bytes, list, cut})
      end)

    it("GV:socket_unix_cmsg.cc:BasicCredPass GV:socket_unix_cmsg.cc:SoPassCred "
      .. "each message tells who sent it", function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        b:set_option("passcred", true)
        local child = assert(process.fork(function() send(a, "mine", 0) end))
        local message = assert(b:receive_message(nil, WAIT))
        local ids = process.ids()
        assert.same({"mine", {pid = child.pid, uid = ids.uid, gid = ids.gid}},
          {message.bytes, message.credentials})
        ended(child)
      end)

    it("GV:socket_unix_cmsg.cc:NoPassCred without being asked none are there",
      function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        send(a, "x", 0)
        assert.is_nil(assert(b:receive_message(nil, WAIT)).credentials)
      end)

    it("KSELF:af_unix/scm_rights.c a socket sent through itself goes with the "
      .. "last that has it", function()
        local inodes = {}
        local function note(object)
          local link = assert(io.popen(("readlink /proc/%d/fd/%d"):format(
            process.pid(), object:fileno())))
          inodes[link:read("a"):match "%d+"] = true
          link:close()
        end
        local function are_there()
          for line in io.lines "/proc/net/unix" do
            local inode = line:match("^" .. ("%S+%s+"):rep(6) .. "(%d+)")
            if inode and inodes[inode] then return true end
          end
          return false
        end
        for _ = 1, 5 do
          local a, b = assert(socket.pair(kind))
          note(a)
          note(b)
          assert(a:send_fds("a", {a, b}))
          assert(b:send_fds("b", {a, b}))
          assert.is_true(are_there())
          a:close()
          b:close()
        end
        local deadline = process.now() + WAIT
        while are_there() and process.now() < deadline do
          local a, b = assert(socket.pair(kind))
          a:close() -- then the kernel looks for those
          b:close()
          process.sleep(0.01)
        end
        assert.is_false(are_there())
      end)

    it("GV:poll a pair can be written, and read when something is there",
      function()
        local a, b = assert(socket.pair(kind))
        local _ <close> = t.closer(a, b)
        local function events()
          local _, list = poll.wait({{a, "rw"}}, 0)
          return list and list[1]
        end
        assert.equal("w", events())
        send(b, "x", 0)
        assert.equal("rw", events())
      end)
  end)
end

for _, kind in ipairs(CONNECTED) do
  describe("A connection of type " .. kind, function()
    it("GV:accept_bind.cc:Accept GV:accept_bind.cc:GetRemoteAddress "
      .. "GV:accept_bind.cc:BoundGetLocalAddress tells addresses", function()
        local client, server, _ <close>, path, listener = connected(kind)
        assert.same({path, path, path, "", ""}, {listener:local_address(),
          client:peer_address(), server:local_address(),
          client:local_address(), server:peer_address()})
      end)

    it("GV:accept_bind.cc:ConnectNonListening "
      .. "GV:accept_bind.cc:ConnectToFilePath "
      .. "GV:accept_bind.cc:ConnectToInvalidAbstractPath LTP:connect01 "
      .. "nobody there", function()
        t.refused("ECONNREFUSED", socket.connect(t.names.file "",
          {type = kind}, 0))
        t.refused("ECONNREFUSED", socket.connect("@" .. t.names.unique(),
          {type = kind}, 0))
        t.refused("ENOENT", socket.connect(t.names.path(), {type = kind}, 0))
        t.refused("ENOTDIR", socket.connect(t.names.file "" .. "/x",
          {type = kind}, 0))
        local bound <close> = assert(socket.datagram(t.names.path()))
        t.refused("EPROTOTYPE", socket.connect(bound:local_address(),
          {type = kind}, 0))
      end)

    it("LTP:bind01 LTP:bind02 LTP:bind03#2 GV:accept_bind.cc:DoubleBind names "
      .. "that cannot be", function()
        local path = t.names.path()
        local l <close> = assert(socket.listen(path, {type = kind}))
        t.refused("EADDRINUSE", socket.listen(path, {type = kind}))
        t.refused("EADDRINUSE", socket.listen(t.names.file "", {type = kind}))
        t.refused("EADDRINUSE", socket.listen(t.names.directory(),
          {type = kind}))
        t.refused("ENOTDIR", socket.listen(t.names.file "" .. "/x",
          {type = kind}))
        t.refused("ENAMETOOLONG", socket.listen("/" .. ("n"):rep(107),
          {type = kind}))
        assert(l)
      end)

    it("LTP:connect the mode of the file counts: EACCES", function()
      if not nobody.is_there() then return pending "needs root and setpriv" end
      assert(os.execute("chmod 755 " .. t.names.directory()))
      local path = t.names.path()
      local l <close> = assert(socket.listen(path, {type = kind}))
      assert.equal("EACCES", nobody.run([[
        print(code(ipc.socket.connect(arg[1], {type = arg[2]}, 0)))
      ]], path, kind))
      assert(l)
    end)

    it("GV:socket_unix_peercred.cc:AfterConnectClientPeerCred "
      .. "GV:socket_unix_peercred.cc:AfterConnectServerPeerCred "
      .. "GV:socket_unix_peercred.cc:PeerCredSurvivesPeerExit the one that "
      .. "connected, even when it has ended", function()
        local path = t.names.path()
        local l <close> = assert(socket.listen(path, {type = kind}))
        local child = assert(process.fork(function()
          local c <close> = assert(socket.connect(path, {type = kind}, WAIT))
          local pid = c:peer_credentials()
          return pid == process.parent()
        end))
        local pid = child.pid
        local server <close> = assert(l:accept(WAIT))
        ended(child)
        local ids = process.ids()
        assert.same({pid, ids.euid, ids.egid}, {server:peer_credentials()})
      end)

    it("GV:socket_unix_stream.cc:ReadOneSideClosed GV:socket_unix_seqpacket.cc:"
      .. "ReadOneSideClosed the end, once all is read", function()
        local client, server, _ <close> = connected(kind)
        send(client, "last", 0)
        client:close()
        assert.equal("last", receive(server, WAIT))
        for _ = 1, 2 do
          local nothing, why = receive(server, WAIT)
          assert.same({nil, nil}, {nothing, why})
        end
        t.refused("EPIPE", send(server, "x", 0))
      end)

    it("GV:socket_unix_stream.cc:ReadOneSideClosedWithUnreadData "
      .. "KSELF:af_unix/unix_connreset.c#1 closed with something unread: "
      .. "ECONNRESET", function()
        local client, server, _ <close> = connected(kind)
        send(client, "unread", 0)
        server:close()
        t.refused("ECONNRESET", receive(client, WAIT))
      end)

    it("GV:socket_unix_stream_listener_close.cc:PendingConnectionGetsECONNRESET"
      .. " GV:socket_unix_stream_listener_close.cc:SOErrorReturnsECONNRESET",
      function()
        local path = t.names.path()
        local l = assert(socket.listen(path, {type = kind}))
        local c <close> = assert(socket.connect(path, {type = kind}, WAIT))
        local d <close> = assert(socket.connect(path, {type = kind}, WAIT))
        l:close()
        assert.equal(errno.ECONNRESET, c:option "error")
        assert.equal(0, c:option "error")
        t.refused("ECONNRESET", receive(d, WAIT))
      end)

    it("GV:accept_bind.cc:ListenBacklogSizes LTP:accept connections come in "
      .. "their order, with what was sent before", function()
        local path = t.names.path()
        local l <close> = assert(socket.listen(path, {type = kind,
          backlog = 8}))
        local list = {}
        for i = 1, 5 do
          list[i] = assert(socket.connect(path, {type = kind}, WAIT))
          send(list[i], "number " .. i, 0)
        end
        for i = 1, 5 do
          local server <close> = assert(l:accept(WAIT))
          assert.equal("number " .. i, receive(server, WAIT))
          list[i]:close()
        end
        t.timed_out(l:accept(0))
      end)

    it("many accept from one listener: each connection is one's", function()
      local path = t.names.path()
      local l <close> = assert(socket.listen(path, {type = kind}))
      local list = {}
      for i = 1, 4 do
        list[i] = assert(process.fork(function()
          local server <close> = assert(l:accept(WAIT))
          send(server, "served", WAIT)
        end))
      end
      for _ = 1, 4 do
        local c <close> = assert(socket.connect(path, {type = kind}, WAIT))
        assert.equal("served", receive(c, WAIT))
      end
      for _, child in ipairs(list) do ended(child) end
    end)

    it("GV:socket_unix_cmsg.cc:InheritPasscred "
      .. "GV:socket_unix_stream.cc:GetAcceptConn what a listener has",
      function()
        local client, server, _ <close>, _, listener = connected(kind)
        assert.same({true, false, false}, {listener:option "accepting",
          client:option "accepting", server:option "accepting"})
      end)

    it("LTP:accept03 LTP:listen01 LTP:shutdown02 what is no socket: ENOTSOCK",
      function()
        local file <close> = assert(io.open "/dev/null")
        t.refused("ENOTSOCK", socket.from(file))
        t.refused("EBADF", socket.from(977))
        local r, w = assert(ipc.pipe.open())
        local _ <close> = t.closer(r, w)
        t.refused("ENOTSOCK", r:peer_credentials())
        t.refused("ENOTSOCK", r:option "type")
        t.refused("ENOTSOCK", w:send_fds("x", {}))
      end)

    it("the death of the peer is the end, or a reset", function()
      local path = t.names.path()
      local l <close> = assert(socket.listen(path, {type = kind}))
      local child = assert(process.fork(function()
        local c = assert(socket.connect(path, {type = kind}, WAIT))
        send(c, "here", 0)
        process.sleep(WAIT)
      end))
      local server <close> = assert(l:accept(WAIT))
      assert.equal("here", receive(server, WAIT))
      child:kill "SIGKILL"
      local nothing, why = receive(server, WAIT)
      assert.same({nil, nil}, {nothing, why})
      child:wait(WAIT)
    end)
  end)
end
