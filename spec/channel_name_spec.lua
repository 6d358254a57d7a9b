local t = require "support"
local ipc = require "unixipc"
local nobody = require "support.nobody"

local channel, process = ipc.channel, ipc.process

local SOON = 5 * t.slow

local function in_child(fn, ...)
  return assert(process.fork(fn, ...))
end

local function finish(child)
  assert.same({"exit", 0}, {child:wait(4 * SOON)})
end

describe("Channels with names", function()
  local function new(options)
    local name = t.names.posix()
    options = options or {}
    options.create, options.temporary = true, true
    return name, assert(channel.queue(name, options))
  end

  it("are opened by others", function()
    local name, q = new()
    local child = in_child(function()
      local mine <close> = assert(channel.queue(name))
      return mine:send "from the child"
    end)
    assert.equal("from the child", q:receive(SOON))
    finish(child)
    q:close()
    t.refused("ENOENT", channel.queue(name))
  end)

  it("are made once", function()
    local name, q = new()
    t.refused("EEXIST", channel.queue(name, {exclusive = true}))
    local same <close> = assert(channel.queue(name, {create = true}))
    same:send "x"
    assert.equal("x", q:receive(SOON))
    q:close()
  end)

  it("are not made when an option is wrong, or memory does not do",
    function()
      local name = t.names.posix()
      t.raises("option 'subscribe'", channel.broadcast, name,
        {create = true, subscribe = "last"})
      t.refused("ENOENT", channel.broadcast(name))
      t.refused("ENOMEM", channel.queue(nil, {capacity = 1 << 40}))
    end)

  it("are made while signals come", function()
    ipc.signal.handle("SIGUSR1", function() end)
    local timer <close> = assert(ipc.signal.timer {every = 0.0005 * t.slow,
      signal = "SIGUSR1"})
    local q <close> = assert(channel.queue(nil, {capacity = 1 << 26}))
    timer:close()
    ipc.signal.dispatch()
    ipc.signal.handle("SIGUSR1", "default")
    assert.equal(1 << 26, q:stats().capacity)
  end)

  it("are of one kind", function()
    local name, q = new()
    assert.truthy(t.refused("EINVAL", channel.broadcast(name))
      :find "this is a queue")
    t.refused("EINVAL", channel.duplex(name))
    t.refused("EINVAL", channel.service(name))
    q:close()
  end)

  it("have the names of all POSIX objects", function()
    for name, code in pairs {
      [""] = "EINVAL", ["/"] = "EINVAL", x = "EINVAL", ["/."] = "EINVAL",
      ["/a/b"] = "EACCES", ["/" .. ("x"):rep(248)] = "ENAMETOOLONG",
    } do
      t.refused(code, channel.queue(name, {create = true}))
      t.refused(code, channel.unlink(name))
    end
    t.refused("ENOENT", channel.unlink(t.names.posix()))
    t.raises("embedded zero", channel.queue, "/a\0b")
  end)

  it("are listed, and removed when nobody has them", function()
    local name, q = new {capacity = 8192}
    local dead = t.names.posix()
    finish(in_child(function()
      local _ = assert(channel.duplex(dead, {create = true}))
    end))
    local found = {}
    for _, info in ipairs(channel.list()) do found[info.name] = info end
    assert.equal("queue", found[name].kind)
    assert.equal(1, found[name].participants)
    assert.equal(8192, found[name].capacity)
    assert.is_false(found[name].closed)
    assert.equal(0, found[dead].participants)
    local removed = {}
    for _, each in ipairs(channel.reap()) do removed[each] = true end
    assert.is_true(removed[dead])
    assert.is_nil(removed[name])
    t.refused("ENOENT", channel.duplex(dead))
    q:close()
  end)

  it("are refused in words when they are something else", function()
    local name = t.names.posix()
    local path = "/dev/shm/unixipc." .. name:sub(2)
    local file = assert(io.open(path, "w"))
    file:write(("x"):rep(100000)):close()
    local message = t.refused("EBADMSG", channel.queue(name))
    assert.truthy(message:find "not a channel", message)
    for _, info in ipairs(channel.list()) do
      if info.name == name then
        assert.equal("not a channel", info.problem)
      end
    end
    assert(os.remove(path))
  end)
end)

describe("The descriptor of a channel", function()
  it("is for whom the mode lets take part", function()
    if not nobody.is_there() then pending "only root can try this" end
    local command = nobody.command [[
      local ch, why = ipc.channel.from(5)
      print(ch and ch:send "x" or why)
    ]]
    for mode, answer in pairs {
      ["rw-------"] = "channel: Permission denied", ["rw-rw-rw-"] = "true",
    } do
      local q <close> = assert(channel.queue(nil, {mode = mode}))
      local child = assert(process.spawn(command,
        {stdout = "pipe", fds = {[5] = q:descriptor()}}))
      assert.equal(answer .. "\n", (child:communicate(nil, SOON)))
    end
  end)
end)
