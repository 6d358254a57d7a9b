-- What other people's suites check of channels between programs that know only
-- a name or a descriptor, of forks, and of many channels at once. Whose they
-- are is said in channel_queue_facts_spec.lua.
local t = require "support"
local channels = require "support.channels"
local ipc = require "unixipc"

local channel, process = ipc.channel, ipc.process
local child, finish = channels.child, channels.finish
local drain, WAIT = channels.drain, channels.WAIT

local LUA <const> = os.getenv "LUA" or "lua5.4"

-- A queue, a broadcast, a service, a duplex's two ends, a single queue.
local function one_of_each(options)
  options = options or {capacity = 4096}
  local list = {
    assert(channel.queue(nil, options)),
    assert(channel.broadcast(nil, options)),
    assert(channel.service(nil, options)),
  }
  list[4], list[5] = assert(channel.duplex(nil, options))
  list[6] = assert(channel.queue(nil,
    {capacity = options.capacity, single = true}))
  return list
end

-- A program of its own, in Lua, that gets `fds` and the arguments.
local function program(script, fds, ...)
  local words = {LUA, t.names.file(script), ...}
  return assert(process.spawn(words, {fds = fds, env_add = {
    LUA_PATH_5_4 = package.path, LUA_CPATH_5_4 = package.cpath}}))
end

describe("Another program", function()
  it("IPCC:cross_process_spawn IPCC:spawn_one_shot_server_client BIP:open_only "
    .. "opens by its name what was made here", function()
      local name = t.names.posix()
      local options = {create = true, temporary = true, capacity = 4096}
      local jobs <close> = assert(channel.queue(name, options))
      local back = t.names.posix()
      local done <close> = assert(channel.queue(back, options))
      local other = program([[
        local channel = require "unixipc.channel"
        local jobs = assert(channel.queue(arg[1]))
        local done = assert(channel.queue(arg[2]))
        for job in jobs:receiver() do
          done:send {job.a, #job.b, job.c == nil}
        end
        done:send "end"
      ]], nil, name, back)
      for i = 1, 10 do jobs:send {a = i, b = ("b"):rep(i * 100)} end
      jobs:shutdown()
      for i = 1, 10 do assert.same({i, i * 100, true}, (done:receive(WAIT))) end
      assert.equal("end", done:receive(WAIT))
      finish(other)
    end)

  it("IPCC:cross_process_sender_transfer_spawn gets the descriptor of any kind",
    function()
      local list = one_of_each()
      list[2]:subscribe()
      local calls = child(function()
        return list[3]:call("ask", WAIT) == "answer"
      end)
      local fds = {}
      for i = 1, 4 do fds[10 + i] = list[i]:descriptor() end
      list[4]:send "hello" -- this end is ours: the other one is to be had
      list[5]:close()
      local other = program([[
        local channel = require "unixipc.channel"
        local queue, broadcast, service, duplex =
          assert(channel.from(11)), assert(channel.from(12)),
          assert(channel.from(13)), assert(channel.from(14))
        assert(queue:receive(10) == "job")
        broadcast:send {"news"}
        local request, value = service:accept(10)
        assert(value == "ask" and request:reply "answer")
        assert(duplex:receive(10) == "hello" and duplex:send "hello yourself")
      ]], fds)
      list[1]:send "job"
      assert.same({"news"}, (list[2]:receive(WAIT)))
      assert.equal("hello yourself", list[4]:receive(WAIT))
      t.refused("EPIPE", list[4]:receive(WAIT))
      finish(other, calls)
      for _, ch in ipairs(list) do ch:close() end
    end)

  it("PY:_TestQueue.test_closed_queue_put_get_exceptions has nothing of what "
    .. "is not handed to it", function()
      local list = one_of_each()
      local before = {}
      for _, ch in ipairs(list) do
        ch:fileno()
        before[#before + 1] = ("/proc/self/fd/%d"):format(ch:descriptor())
      end
      local other = program([[
        for _, path in ipairs(arg) do assert(not io.open(path)) end
      ]], nil, table.unpack(before))
      finish(other)
      for _, ch in ipairs(list) do ch:close() end
    end)

  it("ICE:recreate_after_drop_works may make the name anew when all have gone",
    function()
      local name = t.names.posix()
      for i = 1, 3 do
        finish(program([[
          local channel = require "unixipc.channel"
          local q = assert(channel.queue(arg[1], {create = true,
            temporary = true, exclusive = true, capacity = tonumber(arg[2])}))
          assert(q:stats().capacity == tonumber(arg[2]))
          q:close()
        ]], nil, name, tostring(1024 << i)))
        t.refused("ENOENT", channel.queue(name))
      end
    end)

  it("BIP:test_serialize_db ICE:open_uses_predefined_settings_when_nothing_is_"
    .. "specified takes a large thing in pieces, by the room that there is",
    function()
      local name = t.names.posix()
      local q <close> = assert(channel.queue(name, {create = true,
        temporary = true, capacity = 1024}))
      local bytes = {}
      for i = 1, 65536 do bytes[i] = string.char(i * i % 251) end
      local all = table.concat(bytes)
      local path = t.names.path()
      local other = program([[
        local channel = require "unixipc.channel"
        local q = assert(channel.queue(arg[1], {create = true,
          capacity = 1 << 20}))
        assert(q:stats().capacity == 1024)
        local file <close> = assert(io.open(arg[2], "wb"))
        for piece in q:receiver() do file:write(piece) end
      ]], nil, name, path)
      for i = 1, #all, 100 do assert(q:send(all:sub(i, i + 99), WAIT)) end
      q:shutdown()
      finish(other)
      local file <close> = assert(io.open(path, "rb"))
      assert.is_true(file:read "a" == all)
    end)
end)

describe("A child", function()
  it("ZMQ:test_fork that closes its copies takes nothing from its parent",
    function()
      local list = one_of_each()
      list[1]:send "kept"
      list[2]:subscribe()
      list[4]:send "for the other"
      list[6]:send "single"
      finish(child(function()
        for _, ch in ipairs(list) do ch:close() end
      end))
      list[2]:send "news"
      assert.equal("kept", list[1]:receive(0))
      assert.equal("news", list[2]:receive(0))
      assert.equal("for the other", list[5]:receive(0))
      assert.is_true(list[5]:send "back")
      assert.equal("back", list[4]:receive(0))
      assert.equal("single", list[6]:receive(0))
      assert.is_true(list[6]:send "again")
      for _, ch in ipairs(list) do ch:close() end
    end)

  it("PY:_TestQueue.test_fork of a child of a child sends as well", function()
    local q <close> = assert(channel.queue())
    local function down(depth)
      q:send(depth)
      if depth > 1 then finish(child(down, depth - 1)) end
    end
    down(5)
    assert.same({5, 4, 3, 2, 1}, drain(q))
  end)

  it("RB:test_queue of forty at once, one after the other and all together",
    function()
      local q <close> = assert(channel.queue(nil, {slots = 41}))
      for _ = 1, 3 do
        local list = {}
        for i = 1, 40 do
          list[i] = child(function() return q:send(i, WAIT) end)
        end
        local seen = {}
        for _ = 1, 40 do seen[q:receive(WAIT)] = true end
        for i = 1, 40 do assert.is_true(seen[i]) end
        finish(table.unpack(list))
      end
    end)
end)

describe("A channel of any kind", function()
  it("PY:_TestQueue.test_closed_queue_put_get_exceptions PY:TestSimpleQueue."
    .. "test_close that was closed raises for whatever is asked of it",
    function()
      local methods = {"send", "receive", "send_many", "receive_many",
        "reserve", "commit", "abort", "peek", "release", "give_back", "call",
        "accept", "subscribe", "unsubscribe", "lost", "shutdown",
        "descriptor", "limit", "stats", "participants", "sender", "receiver",
        "fileno"}
      for _, ch in ipairs(one_of_each()) do
        assert.is_true(ch:close())
        assert.is_true(ch:close())
        for _, method in ipairs(methods) do
          t.raises("closed channel", ch[method], ch, 1)
        end
        t.raises("closed channel", function() return #ch end)
        assert.equal("channel (closed)", tostring(ch))
      end
    end)

  it("ZMQ:test_many_sockets is one of many, and leaves no descriptor behind",
    function()
      local function count()
        local n = 0
        for _ in require "lfs".dir "/proc/self/fd" do n = n + 1 end
        return n
      end
      local before = count()
      for _ = 1, 2 do
        local all = {}
        for i = 1, 20 do
          local list = one_of_each {capacity = 1024}
          list[1]:fileno()
          list[2]:subscribe()
          list[1]:send(i)
          list[6]:send(i)
          table.move(list, 1, #list, #all + 1, all)
        end
        assert.equal(7, (all[6 * 6 + 1]:receive(0)))
        for i, ch in ipairs(all) do if i % 2 == 0 then ch:close() end end
        all = nil
        collectgarbage()
        collectgarbage()
        assert.is_nil(all)
        assert.equal(before, count())
      end
    end)

  it("CB:same_channel.rs:array_same_channel is one, however often it is opened",
    function()
      local name = t.names.posix()
      local a <close> = assert(channel.queue(name,
        {create = true, temporary = true}))
      local b <close> = assert(channel.queue(name))
      local c <close> = assert(channel.from(a:descriptor()))
      a:send "a"
      b:send "b"
      c:send "c"
      assert.same({3, 3, 3}, {#a, #b, #c})
      assert.same({"a", "b", "c"}, {c:receive(0), (b:receive(0)),
        (a:receive(0))})
    end)
end)
