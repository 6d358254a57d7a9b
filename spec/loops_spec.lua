-- Our objects inside other libraries' event loops. Each runs in a script of
-- its own: a loop keeps descriptors of its own open.
local t = require "support"

local children = t.children

-- What every script begins with. hello() starts a child that waits for a line
-- and answers it.
local PRELUDE = [[
  local ipc = require "unixipc"
  local pipe, poll, process = ipc.pipe, ipc.poll, ipc.process
  local function hello()
    return pipe.popen({"sh", "-c", 'read x; printf "hello $x\nmore\n"'}, "rw")
  end
]]

-- Debian has copas for older Luas only; it runs with this one too.
local OLDER = "/usr/share/lua/5.1/?.lua"

-- A script that needs these modules, what it prints.
local function check(modules, script, expected)
  for _, name in ipairs(modules) do
    if not (package.searchpath(name, package.path .. ";" .. OLDER)
      or package.searchpath(name, package.cpath)) then
      return pending(name .. " is not installed")
    end
  end
  local result = children.run(PRELUDE .. script)
  assert.is_false(result.timed_out)
  assert.equal("", result.err)
  assert.equal(expected, result.out)
  assert.equal(0, result.code)
end

describe("cqueues", function()
  it("polls streams and processes", function()
    check({"_cqueues", "cqueues"}, [[
      local cqueues = require "cqueues"
      local loop = cqueues.new()
      local stream, child = hello()
      loop:wrap(function()
        cqueues.poll(stream)
        io.write(stream:read("L", 0))
        cqueues.poll(stream) -- "more" may be in its buffer
        io.write(stream:read("L", 0))
        print(cqueues.poll(child) == child, child:wait(0))
        stream:close()
      end)
      loop:wrap(function()
        cqueues.sleep(0.01)
        io.write "meanwhile\n"
        stream:write "loop\n"
      end)
      assert(loop:loop(5))
    ]], "meanwhile\nhello loop\nmore\ntrue\texit\t0\n")
  end)

  it("sees at once what a Stream has in its buffer", function()
    check({"_cqueues", "cqueues"}, [[
      local cqueues = require "cqueues"
      local loop = cqueues.new()
      local r, w = pipe.open()
      w:write "one\ntwo\n"
      print(r:read "l")
      loop:wrap(function()
        print(cqueues.poll(r, 5) == r)
        print(r:read("l", 0))
      end)
      assert(loop:loop(5))
    ]], "one\ntrue\ntwo\n")
  end)

  it("polls a write end for room, and a Poller", function()
    check({"_cqueues", "cqueues"}, [[
      local cqueues = require "cqueues"
      local loop = cqueues.new()
      local r, w = pipe.open()
      repeat until not w:write_some(("x"):rep(4096), 0)
      local poller = poll.new():add(r)
      loop:wrap(function()
        print(cqueues.poll(w) == w)
        print((w:write_some("y", 0)))
      end)
      loop:wrap(function()
        print(cqueues.poll(poller) == poller)
        print(poller:wait(0)[1] == r)
        r:read(65536)
      end)
      assert(loop:loop(5))
    ]], "true\ntrue\ntrue\n1\n")
  end)

  it("gives up when its timeout runs out first", function()
    check({"_cqueues", "cqueues"}, [[
      local cqueues = require "cqueues"
      local loop = cqueues.new()
      local r, w = pipe.open()
      loop:wrap(function() print(cqueues.poll(r, 0.01) == r) end)
      assert(loop:loop(5))
      w:close()
    ]], "false\n")
  end)

  it("is an object that poll.wait takes", function()
    check({"_cqueues", "cqueues"}, [[
      local cqueues = require "cqueues"
      local loop = cqueues.new()
      local r, w = pipe.open()
      loop:wrap(function()
        cqueues.poll(r)
        print(r:read("l", 0))
      end)
      assert(loop:step(0))
      print(poll.wait({loop}, 0))
      w:write "x\n"
      print(poll.wait({loop}, 5)[1] == loop)
      assert(loop:loop(5))
    ]], "nil\ttimeout\t110\ntrue\nx\n")
  end)

  it("is told to forget an object before that is closed", function()
    check({"_cqueues", "cqueues"}, [[
      local cqueues = require "cqueues"
      local loop = cqueues.new()
      loop:wrap(function()
        local r, w = pipe.open()
        local fd = r:fileno()
        cqueues.poll(r, 0.001)
        cqueues.cancel(fd)
        r:close()
        w:close()
        r, w = pipe.open()
        print(r:fileno() == fd)
        w:write "x\n"
        print(cqueues.poll(r, 5) == r, r:read("l", 0))
      end)
      print(loop:loop(10))
    ]], "true\ntrue\tx\ntrue\n")
  end)
end)

describe("LuaSocket's select", function()
  it("takes streams, processes and Pollers", function()
    check({"socket.core", "socket"}, [[
      local socket = require "socket"
      local stream, child = hello()
      local poller = poll.new():add(stream)
      local r, w = pipe.open()
      local function count(readable, writable, timeout)
        local rs, ws, message = socket.select(readable, writable, timeout)
        return #rs, #ws, message, rs
      end
      local readable, writable = count({stream, child, poller, r}, {w}, 5)
      print(readable, writable)
      w:close()
      print((count({r}, nil, 5)))
      print((select(3, count({stream, child, poller}, nil, 0.01))))
      stream:write "select\n"
      print((select(4, count({stream}, nil, 5)))[1] == stream)
      print(stream:read "l")
      -- What it has read ahead: LuaSocket calls that dirty.
      print(stream:dirty(), (select(4, count({stream}, nil, 5)))[stream] == 1)
      print(stream:read "l", stream:dirty())
      print((select(4, count({child}, nil, 5)))[1] == child)
      print(child:wait(0))
    ]], "0\t1\n1\ntimeout\ntrue\nhello select\ntrue\ttrue\n" ..
      "more\tfalse\ntrue\nexit\t0\n")
  end)

  it("passes over closed objects", function()
    check({"socket.core", "socket"}, [[
      local socket = require "socket"
      local r, w = pipe.open()
      r:close()
      w:close()
      local rs, ws, message = socket.select({r}, {w}, 0.01)
      print(#rs, #ws, message)
    ]], "0\t0\ttimeout\n")
  end)

  it("has sockets that poll.wait and a Poller take", function()
    check({"socket.core", "socket"}, [[
      local socket = require "socket"
      local server = assert(socket.bind("127.0.0.1", 0))
      local address, port = server:getsockname()
      local client = assert(socket.connect(address, port))
      print(poll.wait({server}, 5)[1] == server)
      local peer = server:accept()
      local poller = poll.new():add(peer)
      print(poller:wait(0))
      client:send "x\n"
      print(poller:wait(5)[1] == peer, (peer:receive()))
      client:close()
      print(poll.wait({peer}, 5)[1] == peer)
      peer:close()
      print((pcall(poll.wait, {peer}, 0)))
    ]], "true\nnil\ttimeout\t110\ntrue\tx\ntrue\nfalse\n")
  end)
end)

describe("copas", function()
  it("waits for a Stream among its threads", function()
    check({"socket.core", "socket", "copas"}, ("package.path = %q"):format(
      package.path .. ";" .. OLDER) .. [[

      local copas = require "copas"
      local stream = hello()
      -- What copas calls, in its own words.
      local function adapt(object)
        return {
          settimeout = function() end,
          getfd = function() return object:getfd() end,
          dirty = function() return object:dirty() end,
          receive = function() return object:read("l", 0) end,
          close = function() end,
        }
      end
      local client = adapt(stream)
      local lines = {}
      copas.addthread(function()
        for i = 1, 2 do lines[i] = copas.receive(client) end
      end)
      local r, w = pipe.open()
      copas.addthread(function()
        copas.receive(adapt(r))
        stream:write "copas\n"
      end)
      for _ = 1, 3 do copas.step(0.001) end -- nobody has anything to do
      print(#lines)
      w:write "go\n"
      repeat copas.step(1) until #lines == 2
      print(lines[1], lines[2])
    ]], "0\nhello copas\tmore\n")
  end)
end)

describe("luv", function()
  it("polls streams", function()
    check({"luv"}, [[
      local uv = require "luv"
      local stream = hello()
      local input = uv.new_poll(stream:fileno())
      input:start("r", function(problem, events)
        assert(not problem and events:find "r")
        while true do
          local line, message = stream:read("l", 0)
          if line then print(line) end
          if message then return end -- a timeout: luv will call again
          if not line then return input:close() end
        end
      end)
      local timer = uv.new_timer()
      timer:start(10, 0, function()
        stream:write "luv\n"
        timer:close()
      end)
      uv.run()
    ]], "hello luv\nmore\n")
  end)

  it("polls processes", function()
    check({"luv"}, [[
      local uv = require "luv"
      local stream, child = hello()
      local ended = uv.new_poll(child:fileno())
      ended:start("r", function(problem)
        print(problem, child:wait(0))
        ended:close()
      end)
      stream:write "luv\n"
      uv.run()
    ]], "nil\texit\t0\n")
  end)
end)
