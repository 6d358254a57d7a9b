local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"
local nobody = require "support.nobody"
local sysv, sysv_msg = ipc.sysv, ipc.sysv_msg
local sysv_sem, sysv_shm = ipc.sysv_sem, ipc.sysv_shm

local NEW = {create = true, temporary = true}

local function output_of(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

describe("sysv.ftok", function()
  it("PERL:cpan/IPC-SysV/t/ipcsysv.t takes numbers and characters", function()
    local path = t.names.file ""
    assert.equal(sysv.ftok(path), sysv.ftok(path, 1))
    assert.equal(sysv.ftok(path, 65), sysv.ftok(path, "A"))
    assert.equal(sysv.ftok(path, 50), sysv.ftok(path, "2"))
    assert.not_equal(sysv.ftok(path, 2), sysv.ftok(path, "2"))
    t.raises("one character", sysv.ftok, path, "AA")
    t.raises("one character", sysv.ftok, path, "")
    t.raises("number has no integer representation", sysv.ftok, path, 3.14159)
  end)

  it("gives what ftok(3) gives in other programs", function()
    local path = t.names.file ""
    local found = output_of(("perl -e 'use IPC::SysV q(ftok); "
      .. "print ftok(q(%s), 200)' 2>/dev/null"):format(path))
    if found == "" then return pending "perl has no IPC::SysV" end
    local key = sysv.ftok(path, 200)
    assert.equal(tonumber(found) & 0xffffffff, key & 0xffffffff)
  end)

  it("says what is wrong with the path", function()
    t.refused("ENOENT", sysv.ftok "/nonexistent/file")
    t.refused("ENOTDIR", sysv.ftok "/dev/null/x")
    t.refused("ENAMETOOLONG", sysv.ftok(("x"):rep(5000)))
  end)

  it("raises for other ids", function()
    for _, id in ipairs {0, 256, -1} do
      t.raises("from 1 to 255", sysv.ftok, "/tmp", id)
    end
    t.raises("bad argument #1", sysv.ftok)
    t.raises("embedded zero", sysv.ftok, "/tmp\0")
  end)
end)

describe("Keys", function()
  it("are integers of 32 bits, with a sign or without", function()
    local q <close> = assert(sysv_msg.get(0xfedcba98, NEW))
    local same <close> = assert(sysv_msg.get(0xfedcba98 - (1 << 32)))
    assert.equal(q:id(), same:id())
    assert.equal(0xfedcba98 - (1 << 32), q:key())
    assert.truthy(tostring(q):find "key=0xfedcba98$")
    t.raises("32 bits", sysv_msg.get, 1 << 32)
    t.raises("32 bits", sysv_msg.get, -(1 << 31) - 1)
    t.raises("number expected", sysv_msg.get, "key")
  end)

  it("left out make a new object, if that is what is wanted", function()
    for _, module in ipairs {sysv_msg, sysv_sem, sysv_shm} do
      t.raises("needs create = true", module.get)
      t.raises("needs create = true", module.get, nil)
      t.raises("needs create = true", module.get, 0)
    end
    local q <close>, is_new = assert(sysv_msg.get(nil, NEW))
    assert.is_true(is_new)
    assert.equal(0, q:key())
    assert.is_nil(tostring(q):find "key")
  end)

  it("of one kind say nothing of the others", function()
    local key = sysv.ftok(t.names.file "")
    local q <close> = assert(sysv_msg.get(key, NEW))
    t.refused("ENOENT", sysv_shm.get(key))
    t.refused("ENOENT", sysv_sem.get(key))
    assert.equal(key, q:key())
  end)
end)

describe("A temporary object", function()
  local function makers()
    return {
      msg = function(key, options) return sysv_msg.get(key, options) end,
      sem = function(key, options) return sysv_sem.get(key, 1, options) end,
      shm = function(key, options) return sysv_shm.get(key, 1, options) end,
    }
  end

  for kind, make in pairs(makers()) do
    it("goes when its maker closes it: " .. kind, function()
      local key = sysv.ftok(t.names.file "")
      local first, is_new = assert(make(key, NEW))
      assert.is_true(is_new)
      local second, again = assert(make(key, NEW))
      assert.is_false(again)
      second:close()
      assert.is_table(first:stat())
      assert.is_true(first:close())
      assert.is_true(first:close())
      t.refused("ENOENT", make(key))
    end)

    it("is collected: " .. kind, function()
      local key = sysv.ftok(t.names.file "")
      assert(make(key, NEW))
      collectgarbage()
      collectgarbage()
      t.refused("ENOENT", make(key))
    end)

    it("outlives a forked child: " .. kind, function()
      local object <close> = assert(make(nil, NEW))
      local child <close> = assert(ipc.process.fork(function()
        object:close()
      end))
      assert.same({"exit", 0}, {child:wait(5 * t.slow)})
      assert.is_table(object:stat())
    end)

    it("may be gone already: " .. kind, function()
      local object = assert(make(nil, NEW))
      assert.is_true(object:remove())
      assert.is_true(object:close())
    end)

    it("that is not temporary stays: " .. kind, function()
      local object = assert(make(nil, {create = true}))
      local id = object:id()
      object:close()
      assert.is_true(sysv.remove(kind, id))
      t.refused("EINVAL", sysv.remove(kind, id))
    end)

    it("is opened by its id: " .. kind, function()
      local module = ipc["sysv_" .. kind]
      local key = sysv.ftok(t.names.file "")
      local object <close> = assert(make(key, NEW))
      local same <close> = assert(module.from_id(object:id()))
      assert.same(object:stat(), same:stat())
      assert.equal(key, same:key())
      assert.equal(tostring(object), tostring(same))
      t.refused("EINVAL", module.from_id(-1))
      t.refused("EINVAL", module.from_id(99999999))
      t.raises("number expected", module.from_id)
    end)

    it("closed raises from every method: " .. kind, function()
      local object = assert(make(nil, NEW))
      local methods = {}
      for _, name in ipairs {"stat", "set", "remove", "id", "key", "send",
        "receive", "acquire", "release", "op", "lock", "attach", "value"} do
        methods[#methods + 1] = object[name]
      end
      object:close()
      assert.is_true(#methods >= 7)
      for _, method in ipairs(methods) do
        t.raises("attempt to use a closed sysv_" .. kind, method, object)
      end
      assert.truthy(tostring(object):find "%(closed%)$")
      assert.is_false(object:is_open())
    end)
  end
end)

describe("sysv.list", function()
  it("has what ipcs shows", function()
    local q <close> = assert(sysv_msg.get(nil, NEW))
    local s <close> = assert(sysv_sem.get(nil, 3, NEW))
    local m <close> = assert(sysv_shm.get(nil, 5000, NEW))
    q:send("1234", 1)
    local all = assert(sysv.list())
    for kind, object in pairs {msg = q, sem = s, shm = m} do
      local found
      for _, entry in ipairs(all[kind]) do
        if entry.id == object:id() then found = entry end
      end
      local stat = object:stat()
      stat.max_bytes = nil -- the kernel does not list that
      for name, value in pairs(stat) do
        assert.equal(value, found[name], kind .. " " .. name)
      end
      assert.equal(#all[kind], #sysv.list(kind))
    end
    local shown = output_of("ipcs -q -i " .. q:id())
    if shown ~= "" then assert.truthy(shown:find "qnum=1") end
  end)

  it("LTP:semctl09 shows ordinary users the same sets", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local s <close> = assert(sysv_sem.get(nil, 2, NEW))
    assert.equal(tostring(s:id()), nobody.run([[
      for _, entry in ipairs(assert(ipc.sysv.list "sem")) do
        if entry.id == tonumber(arg[1]) then print(entry.id) end
      end]], tostring(s:id())))
  end)

  it("raises for another kind", function()
    t.raises("invalid option 'queue'", sysv.list, "queue")
    t.raises("invalid option '1'", sysv.list, 1)
  end)
end)

describe("sysv.remove", function()
  it("refuses an ordinary user: EPERM", function()
    if not nobody.is_there() then return pending "needs root and setpriv" end
    local q <close> = assert(sysv_msg.get(nil, NEW))
    local s <close> = assert(sysv_sem.get(nil, 1, NEW))
    local m <close> = assert(sysv_shm.get(nil, 1, NEW))
    assert.equal("EPERM EPERM EPERM", nobody.run([[
      print(code(ipc.sysv.remove("msg", tonumber(arg[1]))),
        code(ipc.sysv.remove("sem", tonumber(arg[2]))),
        code(ipc.sysv.remove("shm", tonumber(arg[3]))))
    ]], tostring(q:id()), tostring(s:id()), tostring(m:id())))
  end)

  it("raises for bad arguments", function()
    t.raises("invalid option", sysv.remove, "x", 1)
    t.raises("bad argument #2", sysv.remove, "msg")
    t.raises("no id", sysv.remove, "msg", 1 << 40)
  end)
end)

local function read_numbers(path)
  local file <close> = assert(io.open("/proc/sys/kernel/" .. path))
  local list = {}
  for word in file:read "a":gmatch "%d+" do
    list[#list + 1] = math.tointeger(tonumber(word)) or math.maxinteger
  end
  return table.unpack(list)
end

describe("sysv.limits", function()
  it("LTP:shmctl03 is what /proc/sys/kernel says", function()
    local limits = assert(sysv.limits())
    assert.same({segments = read_numbers "shmmni",
      segment_bytes = (read_numbers "shmmax"), least_bytes = 1,
      pages = (read_numbers "shmall")}, limits.shm)
    assert.same({queues = read_numbers "msgmni",
      message_bytes = (read_numbers "msgmax"),
      queue_bytes = (read_numbers "msgmnb")}, limits.msg)
    local per_set, all, at_once, sets = read_numbers "sem"
    assert.same({set_semaphores = per_set, semaphores = all,
      operations = at_once, sets = sets, value = 32767}, limits.sem)
  end)
end)

describe("sysv.usage", function()
  it("GV:semaphore.cc:SemInfo counts what there is", function()
    local before = assert(sysv.usage())
    local s <close> = assert(sysv_sem.get(nil, 7, NEW))
    local q <close> = assert(sysv_msg.get(nil, NEW))
    local m <close> = assert(sysv_shm.get(nil, 10000, NEW))
    q:send("12345", 1)
    local after = assert(sysv.usage())
    assert.equal(before.sem.sets + 1, after.sem.sets)
    assert.equal(before.sem.semaphores + 7, after.sem.semaphores)
    assert.equal(before.msg.queues + 1, after.msg.queues)
    assert.equal(before.msg.messages + 1, after.msg.messages)
    assert.equal(before.msg.bytes + 5, after.msg.bytes)
    assert.equal(before.shm.segments + 1, after.shm.segments)
    assert.equal(before.shm.pages + 3, after.shm.pages)
    assert.equal(7, #s)
    assert.equal(10000, m:stat().size)
  end)
end)

-- Runs with a limit of the system lowered to `value`, and sets it back.
local function with_limit(name, value, fn)
  local path = "/proc/sys/kernel/" .. name
  local file = io.open(path)
  local old = file:read "a"
  file:close()
  file = io.open(path, "w")
  local ok = file and file:write(tostring(value), "\n") and file:close()
  if not ok then return pending("cannot set " .. path) end
  local result = table.pack(pcall(fn))
  file = assert(io.open(path, "w"))
  file:write(old)
  file:close()
  if not result[1] then error(result[2], 0) end
end

describe("The limit", function()
  it("LTP:msgget03 of queues is named: ENOSPC", function()
    with_limit("msgmni", sysv.usage().msg.queues, function()
      local message = t.refused("ENOSPC", sysv_msg.get(nil, NEW))
      assert.truthy(message:find "limit of queues, /proc/sys/kernel/msgmni: ",
        message)
    end)
  end)

  it("LTP:semget05 of sets is named: ENOSPC", function()
    local usage = sysv.usage().sem
    with_limit("sem", "32000 1024000000 500 " .. usage.sets, function()
      local message = t.refused("ENOSPC", sysv_sem.get(nil, 1, NEW))
      assert.truthy(message:find "limit of sets, the fourth number", message)
      assert.truthy(message:find "/proc/sys/kernel/sem: 32000 ", message)
    end)
  end)

  it("of semaphores in all sets is told from that of sets: ENOSPC", function()
    local usage = sysv.usage().sem
    local limits = ("32000 %d 500 32000"):format(usage.semaphores + 3)
    with_limit("sem", limits, function()
      local message = t.refused("ENOSPC", sysv_sem.get(nil, 4, NEW))
      assert.truthy(message:find "semaphores in all sets, the second number",
        message)
      assert(sysv_sem.get(nil, 3, NEW)):close()
    end)
  end)

  it("LTP:shmget03 of segments is named: ENOSPC", function()
    with_limit("shmmni", sysv.usage().shm.segments, function()
      local message = t.refused("ENOSPC", sysv_shm.get(nil, 1, NEW))
      assert.truthy(message:find "/proc/sys/kernel/shmmni: ", message)
    end)
  end)

  it("of pages is told from that of segments: ENOSPC", function()
    with_limit("shmall", sysv.usage().shm.pages + 2, function()
      local message = t.refused("ENOSPC", sysv_shm.get(nil, 3 * 4096, NEW))
      assert.truthy(message:find "pages in all segments, .*/shmall: ", message)
      assert(sysv_shm.get(nil, 2 * 4096, NEW)):close()
    end)
  end)

  it("GV:shm.cc:RequestingSegmentLargerThanSHMMAXFails: EINVAL", function()
    with_limit("shmmax", 8192, function()
      local message = t.refused("EINVAL", sysv_shm.get(nil, 8193, NEW))
      assert.truthy(message:find "/proc/sys/kernel/shmmax: 8192", message)
      assert(sysv_shm.get(nil, 8192, NEW)):close()
    end)
  end)

  it("of a message is that of the moment", function()
    local q <close> = assert(sysv_msg.get(nil, NEW))
    t.refused("EINVAL", q:send(("x"):rep(9000)))
    with_limit("msgmax", 12000, function()
      assert.is_true(q:send(("x"):rep(12000), 3))
      assert.same({("x"):rep(12000), 3}, {q:receive()})
      assert.is_true(q:send(("y"):rep(12000), 3))
      local other <close> = assert(sysv_msg.from_id(q:id()))
      assert.same({("y"):rep(12000), 3}, {other:receive()})
      t.refused("EINVAL", q:send(("x"):rep(12001)))
    end)
  end)

  it("of a set does not limit one that has taken the id of another", function()
    local s = assert(sysv_sem.get(nil, 1, {create = true, initial = 7}))
    local id, fresh = s:id(), nil
    assert.is_true(s:remove())
    with_limit("sem_next_id", id, function()
      fresh = assert(sysv_sem.get(nil, 5000, NEW))
    end)
    if not fresh then return end
    assert.equal(id, fresh:id())
    assert.same({0}, s:values()) -- and no byte beyond
    fresh:close()
    s:close()
  end)

  it("LTP:shmget05 an id that was asked for is given", function()
    with_limit("shm_next_id", 4711, function()
      local m <close> = assert(sysv_shm.get(nil, 1, NEW))
      assert.equal(4711, m:id())
      assert.equal(-1, tonumber(io.open "/proc/sys/kernel/shm_next_id":read()))
    end)
  end)
end)

describe("A run of the specs", function()
  local function namespace(pid)
    return lfs.symlinkattributes(("/proc/%s/ns/ipc"):format(pid), "target")
  end

  local function read(pid, name)
    local file <close> = io.open(("/proc/%s/%s"):format(pid, name))
    return file and file:read "a" or ""
  end

  -- The process that runs all specs, of those that this one comes from.
  local function runner()
    local pid = "self"
    repeat
      pid = read(pid, "status"):match "PPid:%s*(%d+)"
    until not pid or read(pid, "cmdline"):find "^%S*lua%S*scripts/run%-specs"
    return pid
  end

  it("leaves nothing, even if it is killed: its objects go with it", function()
    local pid = runner()
    local its = pid and namespace(pid)
    if not its or its == namespace "self" then
      return pending "not run in a namespace of its own"
    end
    assert.truthy(its:find "^ipc:")
  end)
end)
