local t = require "support"
local nobody = require "support.nobody"
local ipc = require "unixipc"

local posix_sem, process, signal = ipc.posix_sem, ipc.process, ipc.signal

local SOON = 2 * t.slow
local MAX = 2147483647 -- SEM_VALUE_MAX

local function new(initial)
  return assert(posix_sem.open(t.names.posix(), {create = true,
    exclusive = true, temporary = true, initial = initial}))
end

local function as_root(name, test)
  it(name, function()
    if not nobody.is_there() then return pending "needs root" end
    test()
  end)
end

describe("posix_sem.open", function()
  it("tells whether it made what it opened", function()
    local name = t.names.posix()
    local options = {create = true, temporary = true}
    local first, is_new = posix_sem.open(name, options)
    local second, is_new_too = posix_sem.open(name, options)
    first:close()
    second:close()
    assert.same({true, false}, {is_new, is_new_too})
  end)

  it("makes one with a value, 0 included", function()
    for _, value in ipairs {0, 1, 5} do
      local s <close> = new(value)
      assert.equal(value, s:value())
      assert.equal("posix_sem semaphore " .. s:name(), tostring(s))
    end
  end)

  it("says EEXIST (OPTS:sem_open/2-2)", function()
    local s <close> = new()
    t.refused("EEXIST",
      posix_sem.open(s:name(), {create = true, exclusive = true}))
  end)

  it("says ENOENT (OPTS:sem_open/6-1)", function()
    t.refused("ENOENT", posix_sem.open(t.names.posix()))
  end)

  it("takes the greatest value (OPTS:sem_open/5-1)", function()
    local s <close> = new(MAX)
    assert.equal(MAX, s:value())
  end)

  it("and none that is greater (OPTS:sem_init/6-1)", function()
    t.refused("EINVAL",
      posix_sem.open(t.names.posix(), {create = true, initial = MAX + 1}))
    t.raises("option 'initial'", posix_sem.open, "/x", {initial = -1})
  end)

  it("twice gives two that are closed apart (OPTS:sem_open/15-1)", function()
    local one <close> = new(1)
    local two = assert(posix_sem.open(one:name()))
    two:close()
    assert.is_true(one:wait(0))
    assert(one:post())
    local three <close> = assert(posix_sem.open(one:name()))
    one:close()
    assert.is_true(three:wait(0))
  end)

  it("makes a name of its own (POSIX_IPC:test_semaphores.py#3)", function()
    local s <close> = assert(posix_sem.open(nil, {temporary = true}))
    assert.equal("/", s:name():sub(1, 1))
    local again <close> = assert(posix_sem.open(s:name()))
    again:post()
    assert.equal(1, s:value())
  end)

  local BAD = {
    [""] = "EINVAL", ["/"] = "EINVAL", ["test"] = "EINVAL",
    ["/a/b"] = "EACCES", ["/" .. ("x"):rep(252)] = "ENAMETOOLONG",
  }
  it("refuses bad names as posix_mq does", function()
    for name, code in pairs(BAD) do
      t.refused(code, posix_sem.open(name, {create = true}))
      t.refused(code, posix_sem.unlink(name))
    end
  end)

  it("sets the mode whatever the umask", function()
    local name = t.names.posix()
    local s <close> = assert(posix_sem.open(name, {create = true,
      temporary = true, mode = "rw-rw-rw-"}))
    local stat <close> = assert(io.popen("stat -c %a /dev/shm/sem." ..
      name:sub(2)))
    assert.equal(666, stat:read "n")
    s:close()
  end)
end)

describe("posix_sem.unlink", function()
  it("makes way for another one (OPTS:sem_unlink/6-1)", function()
    local old <close> = new(3)
    assert(posix_sem.unlink(old:name()))
    local fresh <close> = assert(posix_sem.open(old:name(),
      {create = true, temporary = true}))
    assert.equal(0, fresh:value())
    assert.equal(3, old:value())
  end)

  it("says ENOENT (OPTS:sem_unlink/4-1)", function()
    t.refused("ENOENT", posix_sem.unlink(t.names.posix()))
  end)

  as_root("says EACCES to strangers (OPTS:sem_unlink/3-1)", function()
    local s <close> = new()
    assert.equal("13", nobody.run(([[print((select(3,
      require("unixipc.posix_sem").unlink(%q))))]]):format(s:name())))
  end)
end)

describe("posix_sem.list", function()
  it("shows them", function()
    local s <close> = new()
    local text = " " .. table.concat(assert(posix_sem.list()), " ") .. " "
    assert.truthy(text:find(" " .. s:name() .. " ", 1, true), text)
  end)
end)

describe("posix_sem.Semaphore", function()
  it("gives as many as there are (BIONIC:semaphore_test.cpp#1)", function()
    local s <close> = new(3)
    for _ = 1, 3 do assert.is_true(s:wait(0)) end
    t.timed_out(s:wait(0))
  end)

  it("can hold no more (BIONIC:semaphore_test.cpp#2)", function()
    local s <close> = new(MAX)
    t.refused("EOVERFLOW", s:post())
    assert.equal(MAX, s:value())
  end)

  it("posts many", function()
    local s <close> = new()
    assert(s:post(5))
    assert(s:post(0))
    assert.equal(5, s:value())
    t.raises("count", s.post, s, -1)
  end)

  it("raises for bad times (OPTS:sem_timedwait/6-1)", function()
    local s <close> = new()
    t.raises("timeout", s.wait, s, -1)
    t.raises("timeout", s.wait, s, 0 / 0)
  end)

  it("runs handlers while it waits (OPTS:sem_timedwait/9-1, "
    .. "OPTS:sem_post/6-1)", function()
    local s <close> = new()
    signal.handle("SIGALRM", function() s:post() end)
    signal.alarm(0.02)
    assert.is_true(s:wait(SOON))
    signal.handle("SIGALRM", function() error "enough" end)
    signal.alarm(0.02)
    t.raises("enough", s.wait, s, SOON)
    signal.handle("SIGALRM", function() s:close() end)
    signal.alarm(0.02)
    t.raises("closed posix_sem semaphore", s.wait, s, SOON)
    signal.handle("SIGALRM", "original")
  end)

  -- The rest of the row: what is measured is the monotonic clock.
  it("waits as long as it should (OPTS:sem_timedwait/10-1)", function()
    local s <close> = new()
    local seconds = t.took(function() t.timed_out(s:wait(0.05)) end)
    assert.is_true(seconds >= 0.05 and seconds < 0.05 + SOON)
  end)

  as_root("wakes the one with the highest priority (OPTS:sem_post/8-1)",
    function()
      local s <close> = new()
      local r, w = assert(ipc.pipe.open())
      local start <close> = new()
      local workers, is_possible = {}, true
      for priority = 1, 3 do
        workers[priority] = assert(process.fork(function()
          start:wait()
          s:wait(10 * SOON)
          w:write(tostring(priority))
        end))
        is_possible = os.execute(("chrt -f -p %d %d 2>/dev/null"):format(
          priority, workers[priority].pid)) and is_possible
      end
      start:post(3)
      process.sleep(0.1) -- until they wait
      local got = {}
      for _ = 1, 3 do
        s:post()
        got[#got + 1] = r:read(1, SOON)
      end
      for _, child in ipairs(workers) do child:wait(SOON) end
      for _, stream in ipairs {r, w} do stream:close() end
      if not is_possible then return pending "no real-time priorities" end
      assert.equal("321", table.concat(got))
    end)

  it("raises when it is closed (POSIX_IPC:test_semaphores.py#4)", function()
    local s = new()
    local wait, post = s:bind()
    assert.is_true(s:close())
    assert.is_true(s:close())
    assert.equal("posix_sem semaphore (closed)", tostring(s))
    for _, fn in ipairs {"wait", "post", "value", "bind"} do
      t.raises("closed posix_sem semaphore", s[fn], s)
    end
    t.raises("closed posix_sem semaphore", wait)
    t.raises("closed posix_sem semaphore", post)
  end)

  it("gives bound functions", function()
    local s <close> = new()
    local wait, post = s:bind()
    assert.is_true(post(2))
    assert.is_true(wait())
    assert.is_true(wait(0))
    t.timed_out(wait(0))
    t.timed_out(wait(0.01))
    t.raises("timeout", wait, -1)
  end)

  it("passes between processes", function()
    local ping <close> = new()
    local pong <close> = new()
    local child <close> = assert(process.fork(function()
      for _ = 1, 100 do
        assert(ping:wait(SOON))
        pong:post()
      end
    end))
    for _ = 1, 100 do
      ping:post()
      assert(pong:wait(SOON))
    end
    assert.same({"exit", 0}, {child:wait(SOON)})
  end)

  it("is not removed by a forked child, nor by the collector's work there",
    function()
      local s <close> = new()
      local child <close> = assert(process.fork(function() s:close() end))
      child:wait(SOON)
      assert(posix_sem.open(s:name())):close()
    end)
end)

describe("posix_sem.unnamed", function()
  it("stands in shared memory", function()
    local r <close> = assert(ipc.mmap.map {size = 128})
    local s <close> = assert(posix_sem.unnamed(r, 64,
      {create = true, initial = 1}))
    assert.equal("posix_sem semaphore in a region", tostring(s))
    assert.is_true(s:wait(0))
    local child <close> = assert(process.fork(function()
      local mine <close> = assert(posix_sem.unnamed(r, 64))
      mine:post(2)
    end))
    assert.is_true(s:wait(SOON))
    assert.is_true(s:wait(SOON))
    child:wait(SOON)
    assert.is_nil(s:name())
  end)

  it("is gone with its region", function()
    local r = assert(ipc.mmap.map {size = 128})
    local s = assert(posix_sem.unnamed(r, 0, {create = true}))
    local wait = s:bind()
    r:close()
    t.raises("closed region", s.wait, s)
    t.raises("closed region", wait)
    assert.is_true(s:close())
  end)

  it("checks its place", function()
    local r <close> = assert(ipc.mmap.map {size = 64})
    t.raises("out of bounds", posix_sem.unnamed, r, 64)
    t.raises("aligned", posix_sem.unnamed, r, 1)
    t.raises("region expected", posix_sem.unnamed, {}, 1)
    t.refused("EINVAL", posix_sem.unnamed(r, 0,
      {create = true, initial = MAX + 1}))
    local s <close> = assert(posix_sem.unnamed(r:view(0), 0, {create = true}))
    r:protect "r"
    t.raises("read-only", posix_sem.unnamed, r, 0)
    t.raises("read-only", s.post, s)
    t.raises("read-only", s.wait, s, 0)
  end)

  it("keeps its region alive", function()
    local s <close> = assert(posix_sem.unnamed(
      assert(ipc.mmap.map {size = 64}), 0, {create = true, initial = 1}))
    collectgarbage()
    assert.is_true(s:wait(0))
  end)
end)
