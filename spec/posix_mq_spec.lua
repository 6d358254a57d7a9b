local t = require "support"
local nobody = require "support.nobody"
local ipc = require "unixipc"

local errno, posix_mq, process = ipc.errno, ipc.posix_mq, ipc.process
local signal, poll = ipc.signal, ipc.poll

local SOON = 2 * t.slow

-- A new queue that goes when it is closed.
local function new(options)
  local all = {create = true, exclusive = true, temporary = true,
    max_messages = 4, message_size = 32}
  for name, value in pairs(options or {}) do all[name] = value end
  return assert(posix_mq.open(t.names.posix(), all))
end

local function as_root(name, test)
  it(name, function()
    if not nobody.is_there() then return pending "needs root" end
    test()
  end)
end

describe("posix_mq.open", function()
  it("tells whether it made what it opened", function()
    local name = t.names.posix()
    local options = {create = true, temporary = true}
    local first, is_new = posix_mq.open(name, options)
    local second, is_new_too = posix_mq.open(name, options)
    first:close()
    second:close()
    assert.same({true, false}, {is_new, is_new_too})
  end)

  it("makes an empty queue (OPTS:mq_open/1-1)", function()
    local q <close> = new()
    assert.equal(0, #q)
    assert.is_true(q:fileno() >= 0)
    assert.equal("posix_mq queue fd=" .. q:fileno() .. " " .. q:name(),
      tostring(q))
  end)

  it("takes the system's sizes (KSELF:mqueue/mq_open_tests.c#1)", function()
    local name = t.names.posix()
    local q <close>, message, code =
      posix_mq.open(name, {create = true, temporary = true})
    if code == errno.EMFILE then -- the user has too many, in all namespaces
      return pending(message)
    end
    local function default(file)
      local f <close> = io.open("/proc/sys/fs/mqueue/" .. file)
      return f and f:read "n"
    end
    local a = assert(assert(q, message):attributes())
    assert.equal(default "msg_default" or a.max_messages, a.max_messages)
    assert.equal(default "msgsize_default" or a.message_size, a.message_size)
  end)

  it("fills in the size that is not given", function()
    local q <close> = assert(posix_mq.open(nil,
      {message_size = 100, temporary = true}))
    assert.equal(100, q:attributes().message_size)
    assert.is_true(q:attributes().max_messages > 0)
  end)

  local BAD = {
    ["no slash (GV:mq.cc:OpenInvalidArgs#1)"] = {"test", "EINVAL"},
    ["two slashes (GV:mq.cc:OpenInvalidArgs#2)"] = {"/a/b", "EACCES"},
    ["nothing"] = {"", "EINVAL"},
    ["a slash alone"] = {"/", "EINVAL"},
    ["256 characters (LTP:mq_unlink01#2)"] =
      {"/" .. ("x"):rep(256), "ENAMETOOLONG"},
  }
  for what, case in pairs(BAD) do
    it("refuses a name of " .. what, function()
      t.refused(case[2], posix_mq.open(case[1], {create = true}))
      t.refused(case[2], posix_mq.unlink(case[1]))
    end)
  end

  it("refuses bad sizes, and says why (GV:mq.cc:OpenInvalidArgs#3)",
    function()
      for _, n in ipairs {-1, 0} do
        for _, key in ipairs {"max_messages", "message_size"} do
          local message = t.refused("EINVAL",
            posix_mq.open(t.names.posix(), {create = true, [key] = n}))
          assert.truthy(message:find(key .. " " .. n .. " of 1 to", 1, true),
            message)
        end
      end
    end)

  it("says EEXIST (LTP:mq_open01#3)", function()
    local q <close> = new()
    t.refused("EEXIST",
      posix_mq.open(q:name(), {create = true, exclusive = true}))
    local again <close> = assert(posix_mq.open(q:name(), {create = true}))
    q:send "x"
    assert.equal("x", (again:receive(SOON)))
  end)

  it("says ENOENT (GV:mq.cc:NoQueueExists)", function()
    t.refused("ENOENT", posix_mq.open(t.names.posix()))
  end)

  it("sets the mode whatever the umask", function()
    for _, mode in ipairs {"rw-rw-rw-", "0620"} do
      local q <close> = new {mode = mode}
      local stat <close> = assert(io.popen(
        ("stat -L -c %%a /proc/%d/fd/%d"):format(process.pid(), q:fileno())))
      assert.equal(mode == "0620" and 620 or 666, stat:read "n")
    end
  end)

  it("opens for one way only", function()
    local q <close> = new()
    local r <close> = assert(posix_mq.open(q:name(), {read = true}))
    local w <close> = assert(posix_mq.open(q:name(), {write = true}))
    t.refused("EBADF", r:send "x")
    assert(w:send "x")
    t.refused("EBADF", w:receive())
    assert.equal("x", (r:receive(0)))
    assert.equal("w", w:events())
  end)

  -- In a child, whose limit it is.
  it("explains EMFILE", function()
    local result = t.children.run("", {command = {"prlimit",
      "--msgqueue=1000", os.getenv "LUA" or "lua5.4", "-e", [[
        print(require("unixipc.posix_mq").open(nil, {create = true}))]]}})
    if result.code == 127 then return pending "needs prlimit(1)" end
    assert.truthy(result.out:find("RLIMIT_MSGQUEUE: 1000 bytes", 1, true),
      result.out .. result.err)
    assert.truthy(result.out:find("\t" .. errno.EMFILE .. "\n$"), result.out)
  end)

  as_root("says EACCES to strangers (LTP:mq_open01#4)", function()
    local q <close> = new {mode = 0}
    assert.equal("13", nobody.run(([[print((select(3,
      require("unixipc.posix_mq").open(%q))))]]):format(q:name())))
  end)

  -- The limit is of the IPC namespace: a new one leaves the machine's alone.
  as_root("says ENOSPC over queues_max (LTP:mq_open01#5)", function()
    local command = nobody.command [[
      local one = assert(ipc.posix_mq.open(nil, {temporary = true}))
      print(ipc.posix_mq.open(nil, {temporary = true}))
      print(ipc.posix_mq.open(one:name(), {create = true}))]]
    table.move({"unshare", "--ipc", "sh", "-c", [[
      echo 1 >/proc/sys/fs/mqueue/queues_max && exec "$@"]], "sh",
      table.unpack(command)}, 1, #command + 6, 1, command)
    local result = t.children.run("", {command = command})
    if result.code ~= 0 then return pending "no namespace can be made here" end
    assert.truthy(result.out:find "^nil.*queues_max is 1%)\t28\nposix_mq",
      result.out)
  end)

  it("raises for what is no option", function()
    t.raises("unknown option 'exlusive'", posix_mq.open, "/x",
      {exlusive = true})
    t.raises("string expected", posix_mq.open, {})
    t.raises("embedded zero", posix_mq.open, "/a\0b")
  end)
end)

describe("posix_mq.Queue", function()
  it("gives the highest priority first, then the oldest", function()
    local q <close> = new()
    for i, priority in ipairs {1, 5, 5, 0} do q:send("m" .. i, priority) end
    local got = {}
    for _ = 1, 4 do got[#got + 1] = table.concat({q:receive(0)}, ":") end
    assert.equal("m2:5 m3:5 m1:1 m4:0", table.concat(got, " "))
  end)

  it("carries any bytes, and none", function()
    local q <close> = new()
    q:send ""
    q:send("a\0b\255")
    assert.same({"", 0}, {q:receive(0)})
    assert.equal("a\0b\255", (q:receive(0)))
  end)

  it("refuses what is too long (OPTS:mq_send/14-1)", function()
    local q <close> = new {message_size = 8}
    assert(q:send(("x"):rep(8)))
    t.refused("EMSGSIZE", q:send(("x"):rep(9)))
    assert.equal(1, #q)
  end)

  it("does not take what it refused (OPTS:mq_send/7-1)", function()
    local q <close> = new {max_messages = 1}
    q:send "first"
    t.timed_out(q:send("second", 0, 0))
    assert.equal("first", (q:receive(0)))
    t.timed_out(q:receive(0))
  end)

  it("refuses a priority", function()
    local q <close> = new()
    t.refused("EINVAL", q:send("x", 1 << 30))
    t.raises("priority must be", q.send, q, "x", -1)
  end)

  it("is empty: timeout at once (OPTS:mq_receive/10-1, "
    .. "OPTS:mq_timedreceive/18-2)", function()
    local q <close> = new()
    local seconds = t.took(function() t.timed_out(q:receive(0)) end)
    assert.is_true(seconds < SOON)
  end)

  it("does at once what can be done, whatever the time "
    .. "(OPTS:mq_timedsend/18-1, OPTS:mq_timedreceive/10-2)", function()
    local q <close> = new()
    assert(q:send("x", 0, 0))
    assert.equal("x", (q:receive(0)))
  end)

  it("raises for bad times (OPTS:mq_timedreceive/17-1, "
    .. "OPTS:mq_timedsend/19-1)", function()
    local q <close> = new {max_messages = 1}
    t.raises("timeout", q.receive, q, -1)
    t.raises("timeout", q.receive, q, 0 / 0)
    q:send "x"
    t.raises("timeout", q.send, q, "y", 0, -1)
  end)

  it("waits no shorter than it should", function()
    local q <close> = new()
    local seconds = t.took(function() t.timed_out(q:receive(0.05)) end)
    assert.is_true(seconds >= 0.05 and seconds < 0.05 + SOON)
  end)

  it("runs handlers while it waits (OPTS:mq_receive/13-1)", function()
    local q <close> = new()
    signal.handle("SIGALRM", function() q:send "from the handler" end)
    signal.alarm(0.02)
    assert.equal("from the handler", (q:receive(SOON)))
    signal.handle("SIGALRM", function() error "enough" end)
    signal.alarm(0.02)
    t.raises("enough", q.receive, q, SOON)
    signal.handle("SIGALRM", function() q:close() end)
    signal.alarm(0.02)
    t.raises("closed posix_mq queue", q.receive, q, SOON)
    signal.handle("SIGALRM", "original")
  end)

  it("says how many are in it (OPTS:mq_getattr/4-1)", function()
    local q <close> = new()
    for i = 1, 3 do q:send(("x"):rep(i)) end
    local a = q:attributes()
    assert.equal(3, a.messages)
    assert.equal(6, a.bytes)
    assert.equal(4, a.max_messages)
    assert.equal(32, a.message_size)
  end)

  it("can be read as a text (GV:mq.cc:ReadEmpty)", function()
    local q <close> = new()
    local file <close> = assert(io.open("/proc/self/fd/" .. q:fileno()))
    assert.truthy(file:read("a"):find(
      "^QSIZE:0 +NOTIFY:0 +SIGNO:0 +NOTIFY_PID:0"))
    assert.equal(0, q:attributes().notify_pid)
  end)

  it("can be closed twice (OPTS:mq_close/3-2)", function()
    local q = new()
    assert.is_true(q:close())
    assert.is_true(q:close())
    assert.equal("posix_mq queue (closed)", tostring(q))
    for _, name in ipairs {"send", "receive", "attributes", "notify"} do
      t.raises("closed posix_mq queue", q[name], q, "x")
    end
  end)

  it("is closed by the collector", function()
    local name = new():name()
    collectgarbage()
    t.refused("ENOENT", posix_mq.open(name))
  end)

  it("lives on without its name (OPTS:mq_unlink/2-1)", function()
    local q <close> = new {temporary = false}
    assert(posix_mq.unlink(q:name()))
    q:send "still"
    assert.equal("still", (q:receive(0)))
    t.refused("ENOENT", posix_mq.open(q:name()))
  end)

  it("is not removed by a forked child", function()
    local q <close> = new()
    local child <close> = assert(process.fork(function() q:close() end))
    child:wait(SOON)
    assert(posix_mq.open(q:name())):close()
  end)

  it("can be waited for in a poller", function()
    local q <close> = new()
    local poller <close> = assert(poll.new())
    poller:add(q)
    t.timed_out(poller:wait(0))
    q:send "x"
    assert.same({q}, (poller:wait(SOON)))
    assert.same({q}, (poll.wait({q}, SOON)))
  end)

  it("carries messages between processes", function()
    local there, here = new(), new()
    local child <close> = assert(process.fork(function()
      for _ = 1, 100 do here:send((there:receive(SOON)) .. "!") end
    end))
    for i = 1, 100 do
      there:send(tostring(i))
      assert.equal(i .. "!", (here:receive(SOON)))
    end
    assert.equal("exit", (child:wait(SOON)))
    there:close()
    here:close()
  end)
end)

describe("posix_mq.unlink", function()
  it("says ENOENT (OPTS:mq_unlink/7-1)", function()
    t.refused("ENOENT", posix_mq.unlink(t.names.posix()))
  end)

  as_root("says EACCES to strangers (LTP:mq_unlink01#1)", function()
    local q <close> = new {mode = "rw-rw-rw-"}
    assert.equal("13", nobody.run(([[print((select(3,
      require("unixipc.posix_mq").unlink(%q))))]]):format(q:name())))
  end)
end)

describe("posix_mq.list", function()
  it("shows queues, or says that it cannot", function()
    local q <close> = new()
    local list, message, code = posix_mq.list()
    if not list then
      assert.truthy(code == errno.ENOTSUP or code == errno.ENOENT, message)
      return
    end
    assert.truthy((" " .. table.concat(list, " ") .. " "):find(
      " " .. q:name() .. " ", 1, true))
  end)
end)

describe("Queue:notify", function()
  -- Runs `test` with a handler of SIGUSR1 that gathers the values.
  local function with_handler(test)
    local got = {}
    signal.handle("SIGUSR1", function(_, info) table.insert(got, info) end)
    local ok, message = pcall(test, got)
    signal.handle("SIGUSR1", "original")
    if not ok then error(message, 0) end
  end

  it("tells once (OPTS:mq_notify/4-1)", function()
    with_handler(function(got)
      local q <close> = new()
      assert(q:notify("SIGUSR1", 42))
      assert.equal(process.pid(), q:attributes().notify_pid)
      q:send "one"
      q:send "two"
      process.sleep(0.01)
      assert.equal(1, #got)
      assert.equal(42, got[1].value)
      assert.equal("mesgq", got[1].code)
      assert.equal(0, q:attributes().notify_pid)
    end)
  end)

  it("can be asked for again each time "
    .. "(POSIX_IPC:test_message_queues.py#2)", function()
    local q <close> = new()
    local count = 0
    signal.handle("SIGUSR1", function()
      q:notify "SIGUSR1"
      while q:receive(0) do count = count + 1 end
    end)
    q:notify "SIGUSR1"
    for i = 1, 10 do
      q:send("x" .. i)
      while count < i do process.sleep(0.001) end
    end
    signal.handle("SIGUSR1", "original")
    assert.equal(10, count)
  end)

  it("is for one only (LTP:mq_notify01#2)", function()
    local q <close> = new()
    local other <close> = assert(posix_mq.open(q:name()))
    assert(q:notify "SIGUSR1")
    t.refused("EBUSY", q:notify "SIGUSR1")
    t.refused("EBUSY", other:notify "SIGUSR1")
    local child <close> = assert(process.fork(function()
      return other:notify "SIGUSR1" and 1 or 0
    end))
    assert.same({"exit", 0}, {child:wait(SOON)})
    assert(q:notify())
    assert(other:notify "SIGUSR1")
  end)

  it("refuses signals that are none (LTP:mq_notify02)", function()
    local q <close> = new()
    t.refused("EINVAL", q:notify(1000))
    t.raises("signal", q.notify, q, "SIGNONE")
  end)

  it("ends when the queue is closed (OPTS:mq_close/2-1)", function()
    local q <close> = new()
    local other = assert(posix_mq.open(q:name()))
    assert(other:notify "SIGUSR1")
    other:close()
    local child <close> = assert(process.fork(function()
      return q:notify "SIGUSR1" and 0 or 1
    end))
    assert.same({"exit", 0}, {child:wait(SOON)})
  end)
end)
