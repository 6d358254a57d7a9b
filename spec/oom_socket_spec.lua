-- Memory that runs out in the middle of sockets' work, as in oom_spec.lua: no
-- descriptor is lost, and none is closed twice.
local t = require "support"

local children, names = t.children, t.names

local PRELUDE = [[
  local _ = ("x"):rep(10000)
  local ipc = require "unixipc"
  local socket, stream = ipc.socket, ipc.stream
  local path = ...
  local function close(...)
    for _, object in ipairs {...} do object:close() end
  end
]]

local function survives(least, script)
  local result = children.run(nil, {
    command = {t.program "oom_host", "memory", names.file(PRELUDE .. script),
      names.path()},
    timeout = 120 * t.slow,
  })
  assert.equal("", result.err)
  assert.equal(0, result.code, result.out)
  local once, all =
    result.out:match "^once: through with (%d+)\nfrom then on: .- (%d+)\n$"
  assert.truthy(once, result.out)
  assert.is_true(tonumber(once) >= least and tonumber(all) >= least,
    result.out)
end

describe("Out of memory", function()
  it("listening, connecting, accepting", function()
    survives(10, [[
      return function()
        local listener <close> = assert(socket.listen(path, {unlink = true}))
        local client <close> = assert(socket.connect(path))
        local server <close> = assert(listener:accept(1))
        client:write "line\n"
        assert(server:read("l", 1) == "line")
        assert(listener:local_address() == path)
      end
    ]])
  end)

  it("sending and receiving descriptors", function()
    survives(10, [[
      return function()
        local one <close>, two = assert(socket.pair())
        local other <close> = two
        assert(one:send_fds("one", {one, other, 0}))
        local bytes, list = other:receive_fds(nil, 1)
        assert(bytes == "one" and #list == 3)
        assert(one:send_fds("two", {one, other}))
        local message = other:receive_message({max = 10}, 1)
        assert(message.bytes == "two" and #message.fds == 2)
        close(table.unpack(list))
        close(table.unpack(message.fds))
      end
    ]])
  end)

  it("with packets and addresses", function()
    survives(10, [[
      return function()
        local one <close> = assert(socket.datagram(path, {unlink = true}))
        local two <close> = assert(socket.datagram "")
        assert(two:send_to("x", path, 1))
        local bytes, from = one:receive_from(1)
        assert(bytes == "x" and from == two:local_address())
        assert(one:connect(from):send "y")
        assert(two:receive(1) == "y")
        local again <close> = assert(socket.from(one))
        one:set_limit(2000000)
        local udp <close> = assert(socket.datagram {host = "127.0.0.1",
          port = 0})
        local target = udp:local_address()
        assert(udp:send_to("z", target, 1))
        assert(udp:receive(1) == "z")
      end
    ]])
  end)

  it("sending files, and messages that do not fit", function()
    survives(5, [[
      return function()
        local one <close>, two = assert(socket.pair())
        local other <close> = two
        assert(one:send_file("/proc/version") > 10)
        local bytes = other:read_some(65536, 1)
        local big = ("x"):rep(1 << 20)
        one:send(big, 0)
        one:set_timeout(0)
        pcall(one.close, one)
        other:read "a"
      end
    ]])
  end)
end)
