-- What a forked child has of its parent's channels.
local t = require "support"
local ipc = require "unixipc"

local channel, process = ipc.channel, ipc.process

local SOON <const> = 20 * t.slow

local function in_child(fn, ...)
  local child <close> = assert(process.fork(fn, ...))
  assert.same({"exit", 0}, {child:wait(SOON)})
end

local function is_parents(fn, ...)
  local ok, message = pcall(fn, ...)
  assert(not ok and message:find("parent process", 1, true), message)
end

describe("In a forked child", function()
  it("loans are the parent's", function()
    local queue <close> = assert(channel.queue())
    local loan = assert(queue:reserve(3))
    loan:fill(0, 3, "x")
    in_child(function()
      is_parents(queue.commit, queue, loan)
      is_parents(queue.abort, queue, loan)
      queue:close()
    end)
    t.timed_out(queue:receive(0))
    assert.is_true(queue:commit(loan))
    assert.equal("xxx", queue:receive(0))
  end)

  it("what was peeked at is the parent's", function()
    local queue <close> = assert(channel.queue())
    assert(queue:send "one")
    assert(queue:send "two")
    local message = assert(queue:peek(0))
    in_child(function()
      is_parents(queue.release, queue, message)
      is_parents(queue.give_back, queue, message)
      assert(queue:receive(0) == "two")
    end)
    assert.is_true(queue:give_back(message))
    assert.equal("one", queue:receive(0))
  end)

  it("requests are the parent's", function()
    local service <close> = assert(channel.service())
    local client <close> = assert(process.fork(function()
      assert(service:call("x", SOON) == "parent's")
    end))
    local request = assert(service:accept(SOON))
    in_child(function()
      is_parents(request.reply, request, "child's")
      is_parents(request.refuse, request, "child's")
      request:close()
      service:close()
    end)
    assert.is_true(request:reply "parent's")
    assert.same({"exit", 0}, {client:wait(SOON)})
  end)
end)

describe("A temporary name", function()
  local name <const> = t.names.posix()

  it("is left alone once it is another channel's", function()
    local first = assert(channel.queue(name, {create = true,
      temporary = true}))
    assert(channel.unlink(name))
    local second <close> = assert(channel.queue(name, {create = true,
      temporary = true}))
    first:close()
    local third <close> = assert(channel.queue(name))
    assert(third:send "x")
    assert.equal("x", second:receive(0))
  end)
end)

describe("channel.duplex", function()
  it("keeps no descriptor when there are none for the other end", function()
    local script = t.names.file [[
        local channel = require "unixipc".channel
        collectgarbage "stop"
        local files = {}
        repeat
          local file = io.open "/dev/null"
          files[#files + 1] = file
        until not file
        local free = 0
        local ok, code
        repeat
          table.remove(files):close()
          free = free + 1
          ok, _, code = channel.duplex(nil, {capacity = 1024, slots = 2})
          local count = 0
          local there = {}
          while not ok do
            local file = io.open "/dev/null"
            if not file then break end
            count = count + 1
            there[count] = file
          end
          assert(ok or count == free, "some are lost")
          for _, file in ipairs(there) do file:close() end
        until ok
        io.write("made with ", free)
    ]]
    local result = t.children.run("", {command = {"sh", "-c",
      'ulimit -n 24; exec "$@"', "sh", os.getenv "LUA" or "lua5.4", script}})
    assert.equal("", result.err)
    assert.truthy(result.out:find "^made with")
  end)
end)

describe("channel.broadcast", function()
  it("is joined while others send", function()
    local ch <close> = assert(channel.broadcast(nil,
      {policy = "drop", capacity = 1 << 14}))
    local senders = {}
    for i = 1, 3 do
      senders[i] = assert(process.fork(function()
        for _ = 1, 100000 do ch:send(("x"):rep(500), 0) end
      end))
    end
    for _ = 1, 20000 do
      assert(ch:subscribe())
      assert(ch:unsubscribe())
    end
    for _, child in ipairs(senders) do
      assert.same({"exit", 0}, {child:wait(SOON)})
    end
  end)
end)
