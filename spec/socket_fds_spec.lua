local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local socket, process, pipe = ipc.socket, ipc.process, ipc.pipe

local WAIT = 10 * t.slow

local function close(...)
  for _, object in ipairs {...} do object:close() end
end

local function close_list(list)
  for _, object in ipairs(list) do object:close() end
end

local function count_descriptors()
  local count = 0
  for _ in lfs.dir "/proc/self/fd" do count = count + 1 end
  return count
end

local function of_pairs(name, test)
  for _, kind in ipairs {"stream", "seqpacket", "datagram"} do
    it(name .. ": " .. kind, function()
      local one, other = assert(socket.pair(kind))
      test(one, other, kind)
      close(one, other)
    end)
  end
end

-- What a descriptor stands for, as /proc has it.
local function target(object)
  return lfs.symlinkattributes("/proc/self/fd/" .. object:fileno(), "target")
end

-- A script with as many descriptors as the shell allows it.
local function limited(limit, script)
  local result = t.children.run("", {command = {"sh", "-c",
    "ulimit -n " .. limit .. '; exec "$@"', "sh",
    os.getenv "LUA" or "lua5.4", t.names.file(script)}})
  assert.equal("", result.err)
  return result.out
end

describe("send_fds and receive_fds", function()
  of_pairs("hand over files, pipes and sockets as objects",
    function(one, other)
      local r, w = assert(pipe.open())
      local listener <close> = assert(socket.listen(t.names.path()))
      local packet <close> = assert(socket.datagram())
      local memory <close> = assert(ipc.posix_shm.memfd(nil, {size = 4096}))
      local file <close> = assert(io.open(t.names.file "contents"))
      assert.equal(one, one:send_fds("six",
        {r, w, listener, packet, memory, file}))
      local bytes, list, cut = other:receive_fds(nil, WAIT)
      assert.equal("six", bytes)
      assert.is_false(cut)
      assert.equal(6, #list)
      for i, original in ipairs {r, w, listener, packet, memory} do
        assert.equal(target(original), target(list[i]))
      end
      list[2]:write "through the pipe\n"
      assert.equal("through the pipe", list[1]:read("l", WAIT))
      local client <close> = assert(socket.connect(listener:local_address()))
      list[3]:accept(WAIT):close()
      assert.truthy(tostring(list[4]):find "^socket datagram")
      memory:map():write(0, "shared")
      assert.equal("shared", list[5]:map():read(0, 6))
      assert.equal("contents", list[6]:read "a")
      close_list(list)
      close(r, w)
      assert.is_true(client:is_open())
    end)

  of_pairs("GV:socket_unix_cmsg.cc:CloexecRecvFDPass set close-on-exec",
    function(one, other)
      one:send_fds("x", {0})
      local _, list = other:receive_fds()
      local flags = io.open("/proc/self/fdinfo/" .. list[1]:fileno()):read "a"
        :match "flags:%s*(%d+)"
      assert.is_true(tonumber(flags, 8) & tonumber("2000000", 8) ~= 0)
      close_list(list)
    end)

  of_pairs("FBSD:unix_passfd_test.c:two_files keep the order",
    function(one, other)
      local r, w = assert(pipe.open())
      one:send_fds("1", {r, w})
      local _, list = other:receive_fds()
      assert.equal(target(r), target(list[1]))
      assert.truthy(list[2]:write "x")
      close_list(list)
      one:send_fds("1", {r})
      one:send_fds("2", {w})
      local bytes1, list1 = other:receive_fds()
      local bytes2, list2 = other:receive_fds()
      assert.same({"1", "2"}, {bytes1, bytes2})
      assert.equal("r", list1[1]:events())
      assert.equal("w", list2[1]:events())
      close_list(list1)
      close_list(list2)
      close(r, w)
    end)

  of_pairs("EDGEOS:scm_rights_pool_abi_probe:limit_and_multiple_cmsg "
    .. "253 go, 254 are EINVAL", function(one, other)
    local list = {}
    for i = 1, 253 do list[i] = 0 end
    assert(one:send_fds("x", list))
    local bytes, got, cut = other:receive_fds(nil, WAIT)
    assert.equal("x", bytes)
    assert.equal(253, #got)
    assert.is_false(cut)
    close_list(got)
    list[254] = 0
    assert.equal(0, (select(2, t.refused("EINVAL", one:send_fds("x", list)))))
    t.timed_out(other:receive_fds(nil, 0))
  end)

  of_pairs("EDGEOS:scm_rights_pool_abi_probe:control_truncation_prefix",
    function(one, other)
      local r, w = assert(pipe.open())
      one:send_fds("x", {r, w, r, 0, 0, 0, 0, 0})
      local before = count_descriptors()
      local bytes, list, cut = other:receive_fds(nil, WAIT, 3)
      assert.equal("x", bytes)
      assert.is_true(cut)
      assert.equal(3, #list)
      assert.equal("w", list[2]:events())
      assert.equal(before + 3, count_descriptors())
      close_list(list)
      close(r, w)
    end)

  of_pairs("GV:socket_unix_cmsg.cc:BasicThreeFDPassTruncationMsgCtrunc",
    function(one, other)
      one:send_fds("x", {0, 0, 0})
      local before = count_descriptors()
      local _, list, cut = other:receive_fds(nil, WAIT, 2)
      assert.equal(2, #list)
      assert.is_true(cut)
      assert.equal(before + 2, count_descriptors())
      close_list(list)
    end)

  of_pairs("GV:socket_unix_cmsg.cc:BasicFDPassNoSpaceMsgCtrunc",
    function(one, other)
      one:send_fds("data", {0})
      local bytes, list, cut = other:receive_fds(nil, WAIT, 0)
      assert.same({"data", {}, true}, {bytes, list, cut})
    end)

  of_pairs("FBSD:unix_passfd_test.c:truncated_rights leak none",
    function(one, other)
      local before = count_descriptors()
      for _ = 1, 20 do
        one:send_fds("x", {0, 0, 0, 0})
        local _, list = other:receive_fds(nil, WAIT, 1)
        close_list(list)
      end
      assert.equal(before, count_descriptors())
    end)

  it("EDGEOS:scm_rights_pool_abi_probe:emfile_zero_prefix says so", function()
    assert.equal("data 0 true\nmore 1 false\n", limited(20, [[
      local ipc = require "unixipc"
      local one, other = ipc.socket.pair()
      one:send_fds("data", {0, 0})
      local list = {}
      repeat
        local s = ipc.stream.from(0)
        list[#list + 1] = s
      until not s
      local bytes, fds, cut = other:receive_fds(nil, 0)
      print(bytes .. " " .. #fds .. " " .. tostring(cut))
      for _, s in ipairs(list) do s:close() end
      one:send_fds("more", {0})
      bytes, fds, cut = other:receive_fds(nil, 0)
      print(bytes .. " " .. #fds .. " " .. tostring(cut))
    ]]))
  end)

  it("EDGEOS:scm_rights_pool_abi_probe:plain_read_discard drops them",
    function()
      local one, other = assert(socket.pair())
      local r, w = assert(pipe.open())
      one:send_fds("x", {w})
      w:close()
      assert.equal("x", other:read(1))
      assert.is_nil(r:read(1, WAIT))
      close(one, other, r)
    end)

  of_pairs("GV:socket_unix_cmsg.cc:BadFDPass sends nothing",
    function(one, other)
      t.refused("EBADF", one:send_fds("x", {0, 1000000}))
      t.raises("entry 1: a descriptor is an integer", one.send_fds, one, "x",
        {-1})
      t.timed_out(other:receive_fds(nil, 0))
    end)

  it("GV:socket_unix_cmsg.cc:ShortCmsg cannot be made; no list is no message",
    function()
      local one, other = assert(socket.pair())
      t.raises("table expected", one.send_fds, one, "x")
      t.raises("list expected", one.send_fds, one, "x", {other = other})
      t.raises("entry 1: it has no descriptor", one.send_fds, one, "x", {{}})
      local r, w = assert(pipe.open())
      r:close()
      t.raises("entry 2: object is closed", one.send_fds, one, "x", {w, r})
      assert(one:send_fds("plain", {}))
      assert.same({"plain", {}, false}, {other:receive_fds()})
      close(one, other, w)
    end)

  it("GV:socket_unix_unbound_stream.cc:FDPassPartialRead is of the first half",
    function()
      local one, other = assert(socket.pair())
      one:send_fds(("x"):rep(20), {0})
      local python = ("x"):rep(10)
      assert.equal(python, (other:receive_fds(10, WAIT, 0)))
      local bytes, list, cut = other:receive_fds(nil, WAIT)
      assert.same({python, {}, false}, {bytes, list, cut})
      close(one, other)
    end)

  it("GV:socket_unix_unbound_stream.cc:ZeroLengthMessageFDDiscarded is refused",
    function()
      local one, other = assert(socket.pair())
      t.raises("at least a byte", one.send_fds, one, "", {0})
      close(one, other)
      one, other = assert(socket.pair "datagram")
      assert(one:send_fds("", {0}))
      local bytes, list = other:receive_fds()
      assert.equal("", bytes)
      assert.equal(1, #list)
      close_list(list)
      close(one, other)
    end)

  of_pairs("GV:socket_unix_cmsg.cc:ZeroLengthRecvReceivesFD",
    function(one, other, kind)
      one:send_fds("b", {0})
      local bytes, list, _, length = other:receive_fds(0, WAIT)
      assert.equal("", bytes)
      assert.equal(1, #list)
      close_list(list)
      if kind == "stream" then
        assert.equal("b", other:read(1, WAIT))
      else
        assert.equal(1, length)
        t.timed_out(other:receive(0))
      end
    end)

  of_pairs("GV:socket_unix_cmsg.cc:FDPassPeek gives duplicates each time",
    function(one, other)
      one:send_fds("x", {0})
      local peeked = other:receive_message({peek = true}, WAIT)
      local taken = other:receive_message(nil, WAIT)
      assert.same({"x", "x", 1, 1},
        {peeked.bytes, taken.bytes, #peeked.fds, #taken.fds})
      assert.are_not.equal(peeked.fds[1]:fileno(), taken.fds[1]:fileno())
      close_list(peeked.fds)
      close_list(taken.fds)
    end)

  of_pairs("GV:socket_unix_cmsg.cc:MsgCtruncInputIsNoop cut is for the call",
    function(one, other)
      one:send_fds("x", {0, 0})
      local _, list, cut = other:receive_fds(nil, WAIT, 1)
      assert.is_true(cut)
      close_list(list)
      one:send_fds("y", {0})
      _, list, cut = other:receive_fds(nil, WAIT, 1)
      assert.is_false(cut)
      close_list(list)
    end)

  of_pairs("are closed when nobody takes them", function(one, other)
    local r, w = assert(pipe.open())
    one:send_fds("x", {w})
    w:close()
    other:close()
    assert.is_nil(r:read(1, WAIT))
    r:close()
  end)

  of_pairs("are closed by the collector", function(one, other)
    local before = count_descriptors()
    one:send_fds("x", {0, 0, 0})
    other:receive_fds()
    collectgarbage()
    assert.equal(before, count_descriptors())
  end)

  it("give bytes that are in the buffer first", function()
    local one, other = assert(socket.pair())
    one:write "line\nand more"
    assert.equal("line", other:read())
    one:send_fds("fd", {0})
    assert.same({"and", {}, false}, {other:receive_fds(3)})
    assert.equal(" more", other:receive_message({peek = true}).bytes)
    assert.equal(" more", (other:receive_fds()))
    local bytes, list = other:receive_fds()
    assert.equal("fd", bytes)
    assert.equal(1, #list)
    close_list(list)
    close(one, other)
  end)

  it("send what is kept back first, and long strings whole", function()
    local one, other = assert(socket.pair())
    local long = ("0123456789"):rep(100000)
    local child <close> = assert(process.fork(function()
      other:close()
      one:setvbuf "full"
      one:write "first "
      assert(one:send_fds(long, {0}, WAIT))
      one:close()
    end))
    one:close()
    local all, fds = {}, 0
    for bytes, list in function() return other:receive_fds(nil, WAIT) end do
      all[#all + 1] = bytes
      fds = fds + #list
      close_list(list)
    end
    assert.equal("first " .. long, table.concat(all))
    assert.equal(1, fds)
    assert.same({"exit", 0}, {child:wait(WAIT)})
    other:close()
  end)

  it("hand an accepted client to a worker in one call", function()
    local path = t.names.path()
    local one, other = assert(socket.pair())
    local child <close> = assert(process.fork(function()
      one:close()
      local _, list = other:receive_fds(nil, WAIT)
      local client <close> = list[1]
      client:write("served ", client:read("l", WAIT), "\n")
    end))
    local listener <close> = assert(socket.listen(path))
    local client <close> = assert(socket.connect(path))
    local accepted = assert(listener:accept(WAIT))
    one:send_fds("client", {accepted})
    accepted:close()
    client:write "this\n"
    assert.equal("served this", client:read("l", WAIT))
    assert.same({"exit", 0}, {child:wait(WAIT)})
    close(one, other)
  end)
end)

describe("Credentials", function()
  it("GV:socket_unix_peercred.cc:PeerCredBeforeListen", function()
    local fresh <close> = assert(socket.datagram())
    t.refused("ENOTCONN", fresh:peer_credentials())
    local path = t.names.path()
    local listener <close> = assert(socket.listen(path))
    local pid = process.pid()
    local ids = process.ids()
    assert.same({pid, ids.euid or ids.uid, ids.egid or ids.gid},
      {listener:peer_credentials()})
    local r, w = assert(pipe.open())
    local child <close> = assert(process.fork(function()
      local client <close> = assert(socket.connect(path))
      assert((client:peer_credentials()) == pid)
      r:read(1)
    end))
    local server <close> = assert(listener:accept(WAIT))
    assert.equal(child.pid, (server:peer_credentials()))
    local pidfd, _, code = server:peer_pidfd()
    if pidfd then
      t.timed_out(ipc.poll.wait({pidfd}, 0))
    else
      assert.truthy(({ENOPROTOOPT = 1})[ipc.errno.name(code)])
    end
    w:write "x"
    assert.same({"exit", 0}, {child:wait(WAIT)})
    if pidfd then
      assert.truthy(ipc.poll.wait({pidfd}, WAIT))
      pidfd:close()
    end
    close(r, w)
    t.refused("ENOTSOCK", ipc.stream.from(0):peer_credentials())
  end)

  of_pairs("GV:socket_unix_cmsg.cc:WriteAfterSoPassCredRecvEnd",
    function(one, other, kind)
      other:set_option("passcred", true)
      local child <close> = assert(process.fork(function()
        if kind == "stream" then one:write "x" else one:send "x" end
      end))
      assert.same({"exit", 0}, {child:wait(WAIT)})
      local message = other:receive_message(nil, WAIT)
      assert.equal("x", message.bytes)
      assert.equal(child.pid, message.credentials.pid)
    end)

  of_pairs("GV:socket_unix_cmsg.cc:WriteBeforeSoPassCredRecvEnd",
    function(one, other, kind)
      if kind == "stream" then one:write "x" else one:send "x" end
      other:set_option("passcred", true)
      local message = other:receive_message(nil, WAIT)
      local nobody = {pid = 0, uid = 65534, gid = 65534}
      local known = message.credentials.pid == process.pid()
      assert.same(known and message.credentials or nobody,
        message.credentials)
    end)

  of_pairs("GV:socket_unix_cmsg.cc:CredAndFDPass come together",
    function(one, other)
      other:set_option("passcred", true)
      one:send_fds("x", {0, 1})
      local message = other:receive_message(nil, WAIT)
      assert.equal(process.pid(), message.credentials.pid)
      assert.equal(2, #message.fds)
      assert.is_false(message.cut)
      close_list(message.fds)
    end)

  it("GV:socket_unix_cmsg.cc:InheritPasscred by accepted sockets", function()
    local path = t.names.path()
    local listener <close> = assert(socket.listen(path))
    listener:set_option("passcred", true)
    local client <close> = assert(socket.connect(path))
    local server <close> = assert(listener:accept(WAIT))
    assert.is_true(server:option "passcred")
    assert.is_false(client:option "passcred")
  end)
end)

describe("Options", function()
  it("LUAPOSIX:posix_sys_socket_spec.yaml#2 have values of their kinds",
    function()
      local one, other = assert(socket.pair())
      assert.equal(one, one:set_option("receive_timeout", 1.5))
      assert.equal(1.5, one:option "receive_timeout")
      assert.is_false(one:option "linger")
      one:set_option("linger", 5)
      assert.equal(5, one:option "linger")
      one:set_option("linger", false)
      assert.is_false(one:option "linger")
      assert.equal(0, one:option "error")
      one:set_option("send_buffer", 50000)
      assert.equal(50000, one:option "send_buffer")
      assert.is_false(one:option "accepting")
      assert.equal(1, one:option "type")
      close(one, other)
    end)

  it("LUAPOSIX:posix_sys_socket_spec.yaml#1 addresses are checked first",
    function()
      t.raises("option 'port': integer expected", socket.connect,
        {host = "x", port = "80"})
      t.raises("unknown option 'family'", socket.listen,
        {host = "x", port = 80, family = 1})
      t.raises("address must be", socket.listen, true)
    end)

  it("GV:socket_unix.cc:InvalidGetSockOpt is ENOPROTOOPT", function()
    local one, other = assert(socket.pair())
    t.refused("ENOPROTOOPT", one:option(-1))
    t.refused("EOPNOTSUPP", one:option "nodelay")
    t.raises("unknown option 'nodely'", one.option, one, "nodely")
    t.raises("boolean expected", one.set_option, one, "keepalive", 1)
    t.raises("number expected", one.set_option, one, "send_buffer", "x")
    t.raises("seconds >= 0", one.set_option, one, "send_timeout", -1)
    t.raises("socket expected", one.option, io.stdout, "type")
    close(one, other)
    t.raises("closed stream", one.option, one, "type")
  end)
end)

describe("Stream:send_file", function()
  local function receiver(one, other)
    local r, w = assert(pipe.open())
    local child = assert(process.fork(function()
      one:close()
      r:close()
      w:write(other:read "a")
    end))
    other:close()
    w:close()
    return r, child
  end

  it("sends files and parts of them", function()
    local bytes = ("0123456789"):rep(100000)
    local path = t.names.file(bytes)
    local file <close> = assert(io.open(path))
    local one, other = assert(socket.pair())
    local r, child = receiver(one, other)
    one:setvbuf "full"
    one:write "kept back "
    assert.equal(#bytes, one:send_file(path, nil, WAIT))
    assert.equal(5, one:send_file(file, {offset = 3, count = 5}))
    assert.equal(1, one:send_file(file:seek() == 0 and file,
      {offset = #bytes - 1, count = 100}))
    assert.equal(0, one:send_file(path, {offset = #bytes + 10}))
    one:close()
    assert.equal("kept back " .. bytes .. "345679", r:read("a", WAIT))
    assert.same({"exit", 0}, {child:wait(WAIT)})
    child:close()
    r:close()
  end)

  it("says why not, and how much went", function()
    local one, other = assert(socket.pair())
    t.refused("ENOENT", one:send_file(t.names.path()))
    t.refused("EISDIR", one:send_file(t.names.directory()))
    local r, w = assert(pipe.open())
    t.refused("ESPIPE", one:send_file(r))
    local path = t.names.file(("x"):rep(10000000))
    local done = t.timed_out(one:send_file(path, nil, 0.01))
    assert.is_true(done > 0 and done < 10000000)
    other:close()
    t.refused("EPIPE", one:send_file(path))
    t.raises("unknown option 'from'", one.send_file, one, path, {from = 1})
    t.raises("no descriptor", one.send_file, one, {})
    close(one, r, w)
  end)
end)
