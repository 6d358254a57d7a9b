-- A /dev/shm of a few pages: what does not fit is an error when it is asked
-- for, never SIGBUS when it is used. In a mount namespace of a child's own, so
-- that nobody else's /dev/shm is touched.
local t = require "support"

local MOUNT = [[
mount -t tmpfs -o size=$SIZE tmpfs /dev/shm && exec "$@"]]

-- What the script prints; nil where no namespace can be made.
local function in_small_shm(size, script)
  local file = t.names.file("local ipc = require 'unixipc'\n"
    .. "local function code(...)\n"
    .. "  local number = select(3, ...)\n"
    .. "  return number and ipc.errno.name(number) or tostring((...))\n"
    .. "end\n" .. script)
  local result = t.children.run("", {env = {SIZE = size}, command = {
    "unshare", "-m", "sh", "-c", MOUNT, "sh", os.getenv "LUA" or "lua5.4",
    file}})
  if result.out == "" and result.code ~= 0 and not result.err:find "lua" then
    return nil, result.err
  end
  assert.equal("", result.err)
  return result.out
end

local function full(name, size, script, expected)
  it(name, function()
    local out = in_small_shm(size, script)
    if not out then return pending "no namespace can be made here" end
    assert.equal(expected, out)
  end)
end

describe("A full /dev/shm", function()
  full("gives no segment, and leaves no name", "16k", [[
    local shm = ipc.posix_shm
    print(code(shm.open("/big", {create = true, size = 1 << 20})))
    print(#assert(shm.list()))
    local s = assert(shm.open("/small", {create = true, size = 8192}))
    local r = assert(s:map())
    r:write(0, ("x"):rep(8192))
    print(r:read(8191, 1), #assert(shm.list()))
  ]], "ENOSPC\n0\nx\t1\n")

  full("leaves the size as it was", "16k", [[
    local s = assert(ipc.posix_shm.open("/s", {create = true, size = 8192}))
    print(code(s:truncate(1 << 20)), s:size())
    print(code(s:truncate(12288)), s:size())
    local again = assert(ipc.posix_shm.open("/s", {size = 1 << 20}))
    print(again:size())
    print(code(ipc.posix_shm.open("/s", {truncate = true, size = 1 << 20})))
  ]], "ENOSPC\t8192\ntrue\t12288\n12288\nENOSPC\n")

  full("gives no more semaphores", "12k", [[
    local kept = {}
    for i = 1, 10 do
      local sem, message, number =
        ipc.posix_sem.open("/s" .. i, {create = true})
      if not sem then
        print(#kept > 0, ipc.errno.name(number), message)
        break
      end
      kept[i] = sem
    end
    print(kept[1]:post(), kept[1]:wait(0))
  ]], "true\tENOSPC\tsem_open: /s4: No space left on device\ntrue\ttrue\n")

  full("maps no file that does not fit", "16k", [[
    local map = ipc.mmap.map
    local path = "/dev/shm/file"
    print(code(map {file = path, create = true, size = 1 << 20}))
    local r = assert(map {file = path, create = true, size = 8192,
      resizable = true})
    print(code(r:resize(1 << 20)), #r)
    r:write(0, ("x"):rep(8192))
    r = assert(r:resize(16384))
    r:write(0, ("y"):rep(16384))
    print(#r, r:read(16383, 1))
  ]], "ENOSPC\nENOSPC\t8192\n16384\ty\n")

  full("tells of pages that are not there", "8k", [[
    local file = assert(io.open("/dev/shm/file", "w"))
    file:seek("set", 65535)
    file:write("x")
    file:close() -- sparse: there is no room for the rest
    local r = assert(ipc.mmap.map {file = "/dev/shm/file"})
    local answer = code(r:advise "populate_write")
    print(answer == "EFAULT" or answer == "EINVAL" or answer)
  ]], "true\n")

  full("gives no channel, and leaves no name", "64k", [[
    local channel, MAKE = ipc.channel, {create = true, capacity = 1 << 20}
    for _, kind in ipairs {"queue", "broadcast", "service", "duplex"} do
      print(code(channel[kind]("/big", MAKE)))
    end
    print(#channel.list(), #ipc.posix_shm.list())
    local q = assert(channel.queue("/small", {create = true, capacity = 4096}))
    print(code(channel.queue("/big", MAKE)))
    for i = 1, 1000 do
      assert(q:send(("x"):rep(i)))
      assert(q:receive() == ("x"):rep(i))
    end
    print(code(q:send(("x"):rep(1 << 20))), #channel.list())
    print(channel.unlink "/small", #ipc.posix_shm.list())
  ]], ("ENOSPC\n"):rep(4) .. "0\t0\nENOSPC\nEMSGSIZE\t1\ntrue\t0\n")
end)
