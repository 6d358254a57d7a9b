-- What other people's suites check of poll, select and epoll, beyond the specs
-- of poll.
local t = require "support"
local signals = require "support.signals"
local ipc = require "unixipc"

local poll, pipe, process, signal = ipc.poll, ipc.pipe, ipc.process, ipc.signal

local WAIT = 20 * t.slow

local function new()
  local r, w = assert(pipe.open())
  return r, w, setmetatable({}, {__close = function()
    r:close()
    w:close()
  end})
end

-- What a waiter says of one object: its events, or nil.
local WAITERS = {
  poll = function(object, events, timeout)
    local _, list = poll.wait({{object, events}}, timeout)
    return list and list[1]
  end,
  epoll = function(object, events, timeout)
    local p <close> = assert(poll.new())
    assert(p:add(object, events))
    local _, list = p:wait(timeout)
    return list and list[1]
  end,
}

for name, wait in pairs(WAITERS) do
  describe(name, function()
    it("GV:poll.cc:NonBlockingEventPOLLIN GV:epoll.cc:LastReadable "
      .. "LTP:poll01#1 input is told, and only when it is there", function()
        local r, w, _ <close> = new()
        assert.is_nil(wait(r, "r", 0))
        w:write "x"
        assert.equal("r", wait(r, "r", 0))
        assert.equal("r", wait(r, "r", WAIT))
      end)

    it("GV:poll.cc:NonBlockingEventPOLLOUT GV:epoll.cc:AllWritable "
      .. "GV:epoll.cc:LastNonWritable LTP:poll01#2 room is told, and only "
      .. "when it is there", function()
        local r, w, _ <close> = new()
        assert.equal("w", wait(w, "w", 0))
        repeat until not w:write_some(("x"):rep(4096), 0)
        assert.is_nil(wait(w, "w", 0))
        r:read_some()
        assert.equal("w", wait(w, "w", WAIT))
      end)

    it("GV:poll.cc:NonBlockingEventPOLLHUP "
      .. "GV:epoll.cc:PipeReaderHupAfterWriterClosed the writer has gone",
      function()
        local r, w, _ <close> = new()
        w:close()
        assert.truthy(wait(r, "r", 0):find "h")
      end)

    it("GV:poll.cc:NonBlockingEventPOLLERR "
      .. "GV:epoll.cc:PipeWriterErrAfterReaderClosed the reader has gone",
      function()
        local r, w, _ <close> = new()
        r:close()
        assert.truthy(wait(w, "w", 0):find "e")
      end)

    it("GV:poll.cc:BlockingEventPOLLIN GV:epoll.cc:WaitThenUnblock sleeps "
      .. "until it comes", function()
        local r, w, _ <close> = new()
        local child = signals.when_asleep(function() w:write "x" end)
        assert.equal("r", wait(r, "r", WAIT))
        signals.finish(child)
      end)

    it("GV:poll.cc:PollLevelTriggered is told again until it is read",
      function()
        local r, w, _ <close> = new()
        w:write "xy"
        for _ = 1, 3 do assert.equal("r", wait(r, "r", 0)) end
        assert.equal("xy", r:read(2))
        assert.is_nil(wait(r, "r", 0))
      end)

    it("LTP:poll02 LTP:epoll_wait02 LTP:select02 GV:poll.cc:ZeroTimeout never "
      .. "early", function()
        local r, _, _ <close> = new()
        for _, seconds in ipairs {0.001, 0.01, 0.0305} do
          local took = t.took(function()
            assert.is_nil(wait(r, "r", seconds))
          end)
          assert.is_true(took >= seconds)
        end
      end)

    it("GV:epoll.cc:UnblockWithSignal GV:ppoll.cc:SignalMaskAllowsSignal runs "
      .. "handlers, and keeps its time", function()
        local r, _, _ <close> = new()
        local ran = 0
        local handler <close> = signals.handle("SIGUSR1", function()
          ran = ran + 1
        end)
        local timer <close> = signal.timer {every = 0.01, signal = "SIGUSR1"}
        local took = t.took(function() assert.is_nil(wait(r, "r", 0.1)) end)
        assert.is_true(took >= 0.1 and ran >= 3)
        assert(handler and timer)
      end)

    it("GV:ppoll.cc:SignalMaskBlocksSignal what is blocked stays so",
      function()
        local r, _, _ <close> = new()
        local mask <close> = signals.block "SIGUSR1"
        local ran = 0
        local handler <close> = signals.handle("SIGUSR1", function()
          ran = ran + 1
        end)
        signal.raise "SIGUSR1"
        assert.is_nil(wait(r, "r", 0.01))
        assert.equal(0, ran)
        signal.wait("SIGUSR1", 0)
        assert(mask and handler)
      end)
  end)
end

describe("poll.wait", function()
  it("GV:poll.cc:NullFds GV:select.cc:NullFds nothing to wait for is a sleep",
    function()
      local took = t.took(function() t.timed_out(poll.wait({}, 0.02)) end)
      assert.is_true(took >= 0.02)
    end)

  it("GV:poll.cc:InvalidFds GV:select.cc:ClosedFds LTP:select01 what is not "
    .. "open: EBADF", function()
      t.refused("EBADF", poll.wait({975}, 0))
      local r, _, _ <close> = new()
      t.refused("EBADF", poll.wait({r, 975}, WAIT))
    end)

  it("GV:poll.cc:UnpollableFile a file is always ready", function()
    local file <close> = assert(io.open(t.names.file "x", "r+"))
    assert.equal("rw", select(2, assert(poll.wait({{file, "rw"}}, WAIT)))[1])
  end)

  it("GV:poll.cc:ImmediatelyReturnOnlyOnPollEvents of many those that are "
    .. "ready, in order", function()
      local list, all = {}, {}
      for i = 1, 20 do
        local r, w = assert(pipe.open())
        list[i], all[#all + 1], all[#all + 2] = r, r, w
        if i % 3 == 0 then w:write "x" end
      end
      local ready = assert(poll.wait(list, 0))
      assert.equal(6, #ready)
      for i, object in ipairs(ready) do assert.equal(list[3 * i], object) end
      for _, object in ipairs(all) do object:close() end
    end)
end)

describe("A Poller", function()
  local function poller()
    return assert(poll.new())
  end

  it("GV:epoll.cc:Timeout GV:epoll.cc:TimeoutNoFds LTP:epoll_wait04 with "
    .. "nothing in it", function()
      local p <close> = poller()
      t.timed_out(p:wait(0))
      local took = t.took(function() t.timed_out(p:wait(0.02)) end)
      assert.is_true(took >= 0.02)
    end)

  it("GV:epoll.cc:UnblockWithNewFD what a handler adds while it sleeps is "
    .. "waited for", function()
      local r, w, _ <close> = new()
      w:write "x"
      local p <close> = poller()
      local handler <close> = signals.handle("SIGUSR1", function()
        p:add(r)
      end)
      local timer <close> = signals.soon "SIGUSR1"
      assert.same({r}, (p:wait(WAIT)))
      assert(handler and timer)
    end)

  it("GV:epoll.cc:Oneshot GV:epoll.cc:DoubleEpollOneShot LTP:epoll_ctl once, "
    .. "then not until it is asked for anew", function()
      local r, w, _ <close> = new()
      local p <close> = poller()
      p:add(r, "r", {oneshot = true})
      w:write "x"
      assert.same({r}, (p:wait(0)))
      w:write "y"
      t.timed_out(p:wait(0))
      p:modify(r, "r", {oneshot = true})
      assert.same({r}, (p:wait(0)))
      t.timed_out(p:wait(0))
    end)

  it("GV:epoll.cc:EdgeTriggered GV:epoll.cc:OneshotAndEdgeTriggered once for "
    .. "each time that something comes", function()
      local r, w, _ <close> = new()
      local p <close> = poller()
      p:add(r, "r", {edge = true})
      t.timed_out(p:wait(0))
      for _ = 1, 3 do
        w:write "x"
        assert.same({r}, (p:wait(0)))
        t.timed_out(p:wait(0))
      end
    end)

  it("GV:epoll.cc:CycleOfOneDisallowed GV:epoll.cc:CycleOfThreeDisallowed "
    .. "LTP:epoll_ctl04 LTP:epoll_ctl05 no poller in itself: EINVAL, ELOOP",
    function()
      local a <close> = poller()
      local b <close> = poller()
      local c <close> = poller()
      t.refused("EINVAL", a:add(a))
      assert(a:add(b, "r"))
      assert(b:add(c, "r"))
      t.refused("ELOOP", c:add(a, "r"))
    end)

  it("GV:epoll.cc:DoubleLayerEpoll one in another is ready when something in "
    .. "it is", function()
      local r, w, _ <close> = new()
      local inner <close> = poller()
      local outer <close> = poller()
      inner:add(r)
      outer:add(inner, "r")
      t.timed_out(outer:wait(0))
      w:write "x"
      assert.same({inner}, (outer:wait(WAIT)))
      assert.same({r}, (inner:wait(0)))
    end)

  it("GV:epoll.cc:RegularFiles LTP:epoll_ctl02 a file: EPERM; twice: EEXIST; "
    .. "not in it: ENOENT; not open: EBADF", function()
      local p <close> = poller()
      local file <close> = assert(io.open(t.names.file "x"))
      t.refused("EPERM", p:add(file))
      local r, _, _ <close> = new()
      assert(p:add(r))
      t.refused("EEXIST", p:add(r))
      assert(p:remove(r))
      t.refused("ENOENT", p:remove(r))
      t.refused("ENOENT", p:modify(r, "r"))
      t.refused("EBADF", p:add(975))
    end)

  it("GV:epoll.cc:CloseFile what was closed is not told of", function()
    local r, w, _ <close> = new()
    local p <close> = poller()
    p:add(r)
    w:write "x"
    r:close()
    t.timed_out(p:wait(0.01))
  end)

  it("LTP:epoll_wait01 LTP:epoll-ltp both ways of one socket at once",
    function()
      local a, b = assert(ipc.socket.pair())
      local p <close> = poller()
      p:add(a, "rw")
      assert.equal("w", select(2, p:wait(0))[1])
      b:write "x"
      assert.equal("rw", select(2, p:wait(0))[1])
      p:modify(a, "r")
      assert.equal("r", select(2, p:wait(0))[1])
      a:close()
      b:close()
    end)

  it("twenty children write a hundred lines, none is lost", function()
    local p <close> = poller()
    local list = {}
    for i = 1, 20 do
      local r, w = assert(pipe.open())
      list[i] = assert(process.fork(function()
        for n = 1, 5 do w:write(("%02d%d\n"):format(i, n)) end
      end))
      w:close()
      p:add(r)
    end
    local lines, ends = 0, 0
    while ends < 20 do
      for _, r in ipairs(assert(p:wait(WAIT))) do
        local bytes = r:read_some()
        if bytes then
          lines = lines + select(2, bytes:gsub("\n", ""))
        else
          p:remove(r)
          r:close()
          ends = ends + 1
        end
      end
    end
    assert.equal(100, lines)
    for _, child in ipairs(list) do
      assert.same({"exit", 0}, {child:wait(WAIT)})
      child:close()
    end
  end)
end)
