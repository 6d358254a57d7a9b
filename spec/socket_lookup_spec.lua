-- Names of hosts: looking them up may take long, and then it is to end like
-- every other call that waits.
local t = require "support"

local ipc = require "unixipc"
local socket = ipc.socket

local PRELUDE = [[
  local ipc = require "unixipc"
  local socket, signal, process = ipc.socket, ipc.signal, ipc.process
  local listener = assert(socket.listen {host = "127.0.0.1", port = 0})
  local slow = {host = "slow", port = listener:local_address().port}
  local function count_fds() -- with no pipe of our own in the way
    local path = os.tmpname()
    os.execute("ls /proc/" .. process.pid() .. "/fd | wc -l > " .. path)
    local n
    for line in io.lines(path) do n = tonumber(line) end
    os.remove(path)
    return n
  end
]]

local function check(script, expected)
  local result = t.children.run("", {timeout = 60 * t.slow,
    command = {t.program "lookup_host", t.names.file(PRELUDE .. script)}})
  assert.equal("", result.err)
  assert.equal(expected, result.out)
  assert.equal(0, result.code)
end

describe("Looking up a host", function()
  it("ends at the deadline, and does not hold up the next", function()
    check([[
      local start = process.now()
      print(socket.connect(slow, nil, 0.05))
      print(process.now() - start >= 0.05)
      await()
      print(socket.connect(slow, nil, 0)) -- a try is too short for a name
      await()
      local udp = assert(socket.datagram {host = "127.0.0.1", port = 0})
      print(udp:send_to("x", slow, 0.01))
      await()
      print(socket.connect(listener:local_address(), nil, 1) ~= nil)
      for _ = 1, 3 do answer() end
    ]], "nil\ttimeout\t110\ntrue\nnil\ttimeout\t110\nnil\ttimeout\t110\ntrue\n")
  end)

  it("gives what was found", function()
    check([[
      answer()
      local client = assert(socket.connect(slow, nil, 5))
      print(listener:accept(5):peer_address().port ==
        client:local_address().port)
    ]], "true\n")
  end)

  it("lets handlers run, which may end it", function()
    check([[
      local n = 0
      signal.handle("SIGALRM", function()
        n = n + 1
        if n == 1 then
          signal.alarm(0.01)
        elseif n == 2 then
          answer()
        else
          error("enough", 0)
        end
      end)
      signal.alarm(0.01)
      print(socket.connect(slow) ~= nil, n)
      signal.alarm(0.01)
      print(pcall(socket.connect, slow))
      await()
      await()
      answer()
    ]], "true\t2\nfalse\tenough\n")
  end)

  it("leaves nothing behind", function()
    check([[
      local before = count_fds()
      socket.connect(slow, nil, 0.01)
      await()
      print(count_fds() > before)
      answer()
      repeat process.sleep(0.001) until count_fds() == before
      print "gone"
      socket.connect(slow, nil, 0.01) -- and one that ends after us
    ]], "true\ngone\n")
  end)

  it("tells in words why not", function()
    for _, call in ipairs {socket.connect, socket.listen} do
      local message = t.refused("ENOENT",
        call {host = "no.such.invalid", port = 1})
      assert.truthy(message:find "no.such.invalid:1: %u")
      assert.falsy(message:find "No such file")
    end
    local udp <close> = assert(socket.datagram {host = "127.0.0.1", port = 0})
    t.refused("EAFNOSUPPORT", udp:send_to("x", {host = "::1", port = 1}))
  end)
end)
