-- Sets of semaphores are seen by nobody before they have their values.
local t = require "support"
local ipc = require "unixipc"
local sysv, sysv_sem, process = ipc.sysv, ipc.sysv_sem, ipc.process

local function new_key()
  return assert(sysv.ftok(t.names.file ""))
end

-- A set that this process made with these values, for a key.
local function new_set(count, initial, key)
  return assert(sysv_sem.get(key, count,
    {create = true, temporary = true, initial = initial}))
end

describe("A set that is being made", function()
  local HALF_MADE = 64 -- the mark: x for the owner

  it("has its first semop when get returns", function()
    local s <close> = new_set(2, {1, 0}, new_key())
    assert.is_true(s:stat().operated_at > 0)
    assert.equal("rw-------", s:stat().mode)
    local zero <close> = new_set(2, 0, new_key())
    assert.is_true(zero:stat().operated_at > 0)
  end)

  -- ipcmk makes the set and its mode, as a creator that was killed then.
  local function make_half(count)
    local path = t.names.file ""
    local command = ("ipcmk -S %d -p 0%o"):format(count, 384 + HALF_MADE)
    local pipe <close> = assert(io.popen(command))
    local id = assert(pipe:read "a":match "%d+")
    for _, entry in ipairs(sysv.list "sem") do
      if entry.id == tonumber(id) then return entry.key, path end
    end
  end

  it("by a dead process is finished by the next that creates", function()
    local key = make_half(2)
    t.refused("ENOENT", sysv_sem.get(key))
    t.refused("ENOENT", sysv_sem.get(key, 2))
    local s <close>, is_new = assert(sysv_sem.get(key, 2,
      {create = true, initial = {3, 0}, temporary = true}))
    assert.is_true(is_new)
    assert.same({3, 0}, s:values())
    assert.equal("rw-------", s:stat().mode)
    local r <close>, again = assert(sysv_sem.get(key, 2,
      {create = true, initial = {7, 7}}))
    assert.is_false(again)
    assert.same({3, 0}, r:values())
  end)

  it("by a dead process in another size is made anew", function()
    local key = make_half(3)
    local s <close> = assert(sysv_sem.get(key, 2,
      {create = true, initial = 4, temporary = true}))
    assert.same({4, 4}, s:values())
  end)

  it("by a dead process needs a count to be finished: EINVAL", function()
    local key = make_half(2)
    t.refused("EINVAL", sysv_sem.get(key, nil, {create = true}))
    assert(sysv_sem.get(key, 2, {create = true, temporary = true})):close()
  end)

  it("lets signal handlers run while it waits for its maker", function()
    local key = make_half(1)
    local made_r, made_w = assert(ipc.pipe.open())
    -- Holds the lock as a maker does.
    local child = assert(process.fork(function()
      local file <close> = assert(io.open "/proc/self/ns/ipc")
      local _ <close> = assert(ipc.lock.flock(file))
      made_w:write "y"
      process.sleep(100)
    end))
    assert.equal("y", made_r:read(1, 10 * t.slow))
    ipc.signal.handle("SIGALRM", function() error("stop", 0) end)
    ipc.signal.alarm(0.02)
    t.raises("stop", sysv_sem.get, key, 1, {create = true, initial = 1})
    ipc.signal.handle("SIGALRM", "default")
    child:kill "SIGKILL"
    child:wait()
    for _, object in ipairs {child, made_r, made_w} do object:close() end
    assert(sysv_sem.get(key, 1, {create = true, temporary = true})):close()
  end)

  it("by a dead process is there for exclusive: EEXIST", function()
    local key = make_half(1)
    t.refused("EEXIST", sysv_sem.get(key, 1,
      {create = true, exclusive = true, initial = 1}))
    assert(sysv_sem.get(key, 1, {create = true, temporary = true})):close()
  end)

  it("by a program that waits for nothing is taken as it is", function()
    local key = new_key()
    local peer <close> = assert(process.spawn(
      {t.program "sysv_peer", "half", tostring(key), "1"}, {stdout = "pipe"}))
    assert.equal("made", peer.stdout:read("l", 5 * t.slow))
    local s = assert(sysv_sem.get(key, 1,
      {create = true, initial = 5, temporary = true}))
    assert.equal(0, s:value())
    assert(s:remove())
    peer:kill "SIGKILL"
    peer:wait()
    peer.stdout:close()
  end)

  it("is never seen unfinished, however many make it at once", function()
    local key = new_key()
    local r, w = assert(ipc.pipe.open())
    local children = {}
    for i = 1, 12 do
      children[i] = assert(process.fork(function()
        w:close()
        r:read "a" -- all at once
        local options = {create = true, initial = {1, 7}}
        local set, is_new = assert(sysv_sem.get(key, 2, options))
        local values = set:values()
        if set:stat().operated_at == 0 or values[2] ~= 7 then return 9 end
        local _ <close> = assert(set:lock(1, 10))
        if set:value(1) ~= 0 then return 8 end
        return is_new and 1 or 0
      end))
    end
    w:close()
    r:close()
    local makers = 0
    for _, child in ipairs(children) do
      local how, code = child:wait(20 * t.slow)
      assert.equal("exit", how)
      assert.is_true(code < 2, "exit code " .. code)
      makers = makers + code
      child:close()
    end
    assert.equal(1, makers)
    assert(sysv_sem.get(key)):remove()
  end)

  it("by processes that are killed at any moment is there or not", function()
    local key = new_key()
    for round = 1, 40 do
      local child = assert(process.fork(function()
        while true do
          local set = assert(sysv_sem.get(key, 1,
            {create = true, initial = 1}))
          set:remove()
        end
      end))
      process.sleep(0.0005 * (round % 7))
      child:kill "SIGKILL"
      child:wait()
      child:close()
      local set = assert(sysv_sem.get(key, 1, {create = true, initial = 1}))
      assert.equal(1, set:value())
      assert.is_true(set:stat().operated_at > 0)
      assert.is_true(set:remove())
    end
  end)
end)
