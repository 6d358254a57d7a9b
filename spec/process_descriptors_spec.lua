-- The descriptors of the programs that are started.
local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"

local fifo, pipe, process = ipc.fifo, ipc.pipe, ipc.process
local children, names = t.children, t.names

local SOON = 10 * t.slow

local function read_all(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function with(options, more)
  local merged = {}
  for name, value in pairs(options or {}) do merged[name] = value end
  for name, value in pairs(more) do merged[name] = value end
  return merged
end

-- What a program prints, and how it ended.
local function output(argv, options)
  local child = assert(process.spawn(argv, with(options, {stdout = "pipe"})))
  local out, _, how, code = child:communicate(nil, SOON)
  child:close()
  return out, how, code
end

local function sh(script, options)
  return output({"sh", "-c", script}, options)
end

local function descriptors()
  local list = {}
  for name in lfs.dir "/proc/self/fd" do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, " ")
end

-- What a program has open: "0=/dev/null 1=pipe …", without the directory that
-- it looks into.
local function open_in(options)
  local list = {}
  for line in output({"ls", "-l", "/proc/self/fd"}, options):gmatch "[^\n]+" do
    local fd, target = line:match "(%d+) %-> (.*)$"
    if fd and not target:find "^/proc/" then
      list[#list + 1] = fd .. "=" .. target:gsub("%[%d+%]", "")
    end
  end
  return table.concat(list, " ")
end

describe("No descriptor leaks", function()
  it("into a program but those asked for", function()
    local r, w = assert(pipe.open())
    local path = names.path ".fifo"
    local both = assert(fifo.open(path, "rw", {create = true,
      temporary = true}))
    local poller = assert(ipc.poll.new())
    local child = assert(process.fork(function() r:read(1) end))
    local file = assert(io.open "/etc/passwd") -- is not close-on-exec
    assert.equal("0=/dev/null 1=pipe: 2=/dev/null",
      open_in {stdin = "null", stderr = "null"})
    assert.equal("0=/dev/null 1=pipe: 2=/dev/null 7=/etc/passwd",
      open_in {stdin = "null", stderr = "null", fds = {[7] = file}})
    w:write "x"
    child:wait(SOON)
    for _, object in ipairs {r, w, both, poller, file} do object:close() end
  end)

  it("into what os.execute and io.popen start", function()
    local before = descriptors()
    local objects = {pipe.open()}
    local path = names.path ".fifo"
    objects[3] = assert(fifo.open(path, "rw", {create = true,
      temporary = true}))
    objects[4] = assert(ipc.poll.new())
    objects[5] = assert(process.spawn({"cat"},
      {stdin = "pipe", stdout = "pipe"}))
    objects[6] = ipc.stream.from(objects[3])
    local made = {}
    for fd in descriptors():gmatch "%d+" do
      if not (" " .. before .. " "):find(" " .. fd .. " ") then
        made[fd] = true
      end
    end
    assert.truthy(next(made))
    local ls <close> = assert(io.popen "ls -l /proc/self/fd")
    for line in ls:lines() do
      local fd, target = line:match "(%d+) %-> (.*)$"
      assert.is_false(made[fd] == true and not target:find "^/proc/", line)
    end
    objects[5].stdin:close()
    objects[5].stdout:close()
    objects[5]:wait(SOON)
    for _, object in ipairs(objects) do object:close() end
  end)

  it("from one child to the next: a pipe ends when it is closed", function()
    local one = assert(process.spawn({"cat"}, {stdin = "pipe",
      stdout = "pipe"}))
    local two = assert(process.spawn({"cat"}, {stdin = "pipe",
      stdout = "pipe"}))
    one.stdin:close()
    assert.is_nil(one.stdout:read("l", SOON)) -- two does not hold it open
    assert.same({"exit", 0}, {one:wait(SOON)})
    two.stdin:close()
    assert.same({"exit", 0}, {two:wait(SOON)})
    one.stdout:close()
    two.stdout:close()
  end)
end)

describe("A standard stream", function()
  it("is inherited when nothing is said, or \"inherit\"", function()
    local result = children.run([[
      local process = require "unixipc.process"
      local function run(script, options)
        process.spawn({"sh", "-c", script}, options):wait(5)
      end
      run "read line; echo \"$line\"; echo errors >&2"
      run("echo more; echo worse >&2", {stdin = "inherit",
        stdout = "inherit", stderr = "inherit"})
    ]], {input = "input\n"})
    assert.equal("input\nmore\n", result.out)
    assert.equal("errors\nworse\n", result.err)
  end)

  it("may be nothing", function()
    assert.equal("", output({"cat"}, {stdin = "null"}))
    local child = assert(process.spawn({"sh", "-c", "echo x; echo y >&2"},
      {stdin = "null", stdout = "null", stderr = "null"}))
    assert.same({"exit", 0}, {child:wait(SOON)})
  end)

  it("may be a pipe, whose other end is a Stream", function()
    local child = assert(process.spawn(
      {"sh", "-c", "read line; echo \"out $line\"; echo \"err $line\" >&2"},
      {stdin = "pipe", stdout = "pipe", stderr = "pipe"}))
    child.stdin:write "x\n"
    assert.equal("out x", child.stdout:read("l", SOON))
    assert.equal("err x", child.stderr:read("l", SOON))
    assert.is_nil(child.stdout:read("l", SOON))
    t.refused("EBADF", child.stdin:read_some(1, 0))
    t.refused("EBADF", child.stdout:write "x")
    child:wait(SOON)
    t.refused("EPIPE", child.stdin:write "x")
    for _, name in ipairs {"stdin", "stdout", "stderr"} do
      child[name]:close()
    end
  end)

  it("may be a path", function()
    local input, out, err = names.file "text", names.path(), names.path()
    local child = assert(process.spawn({"sh", "-c", "cat; echo bad >&2"},
      {stdin = input, stdout = out, stderr = err}))
    assert.same({"exit", 0}, {child:wait(SOON)})
    assert.equal("text", read_all(out))
    assert.equal("bad\n", read_all(err))
    process.spawn({"echo", "new"}, {stdout = out}):wait(SOON)
    assert.equal("new\n", read_all(out)) -- cut to length
  end)

  it("may be a Lua file, a Stream or a number", function()
    local input = assert(io.open(names.file "text"))
    local r, w = assert(pipe.open())
    process.spawn({"cat"}, {stdin = input, stdout = w}):wait(SOON)
    process.spawn({"echo", "x"}, {stdout = w:fileno()}):wait(SOON)
    w:close()
    assert.equal("textx\n", r:read("a", SOON))
    r:close()
    input:close()
  end)

  it("may be any object with a descriptor", function()
    local r, w = assert(pipe.open())
    local object = {fileno = function() return w:fileno() end}
    process.spawn({"echo", "x"}, {stdout = object}):wait(SOON)
    assert.equal("x\n", r:read("L", SOON))
    r:close()
    w:close()
  end)

  it("may be standard output, for errors", function()
    assert.equal("out\nerr\n",
      sh("echo out; echo err >&2", {stderr = "stdout"}))
    local r, w = assert(pipe.open())
    local child = assert(process.spawn({"sh", "-c", "echo x >&2"},
      {stdout = w, stderr = "stdout"}))
    assert.equal("x\n", r:read("L", SOON))
    child:wait(SOON)
    r:close()
    w:close()
    local result = children.run [[
      require "unixipc.process".spawn({"sh", "-c", "echo x >&2"},
        {stderr = "stdout"}):wait(5)
    ]]
    assert.equal("x\n", result.out)
    assert.equal("", result.err)
  end)

  it("may be standard output that `fds` gives, for errors", function()
    local r, w = assert(pipe.open())
    local child = assert(process.spawn({"sh", "-c", "echo x >&2"},
      {stderr = "stdout", fds = {[1] = w}}))
    child:wait(SOON)
    w:close()
    assert.equal("x\n", r:read("a", SOON))
    r:close()
  end)

  it("blocks, as programs expect, while ours does not", function()
    local r, w = assert(pipe.open())
    local path = names.path ".fifo"
    local both = assert(fifo.open(path, "rw", {create = true,
      temporary = true}))
    local nonblock = tonumber("4000", 8)
    local function flags_of(fd)
      local info = read_all("/proc/self/fdinfo/" .. fd)
      return tonumber(info:match "flags:%s*(%d+)", 8)
    end
    for _, ends in ipairs {{stdin = r, stderr = w}, {stdin = both},
      {stdin = "pipe", stderr = "pipe"}} do
      local out = sh("cat /proc/self/fdinfo/[012]", ends)
      local count = 0
      for flags in out:gmatch "flags:%s*(%d+)" do
        count = count + 1
        assert.equal(0, tonumber(flags, 8) & nonblock)
      end
      assert.equal(3, count)
    end
    for _, stream in ipairs {r, w, both} do
      assert.not_equal(0, flags_of(stream:fileno()) & nonblock)
      stream:close()
    end
  end)

  it("may be a FIFO whose other side has gone", function()
    local result = children.run([[
      local ipc = require "unixipc"
      local fifo, process = ipc.fifo, ipc.process
      local path = ...
      local both = assert(fifo.open(path, "rw", {create = true,
        temporary = true}))
      local r = assert(fifo.open(path, "r", nil, 5))
      local w = assert(fifo.open(path, "w", nil, 5))
      w:write "bytes"
      both:close()
      w:close()
      print(process.spawn({"cat"}, {stdin = r}):wait(5))
    ]], {args = {names.path ".fifo"}, timeout = 3 * t.slow})
    assert.is_false(result.timed_out)
    assert.equal("bytesexit\t0\n", result.out, result.err)
  end)

  it("may be a FIFO that nobody reads any more", function()
    local result = children.run([[
      local ipc = require "unixipc"
      local fifo, process = ipc.fifo, ipc.process
      local path = ...
      local both = assert(fifo.open(path, "rw", {create = true}))
      local w = assert(fifo.open(path, "w", nil, 5))
      both:close()
      print(process.spawn({"sh", "-c", "echo x"}, {stdout = w,
        stderr = "null"}):wait(5))
    ]], {args = {names.path ".fifo"}, timeout = 3 * t.slow})
    assert.is_false(result.timed_out)
    assert.truthy(result.out:find "^signal\tSIGPIPE\n"
      or result.out:find "^exit\t[^0]", result.out)
  end)
end)

describe("`fds`", function()
  -- Pipes, and what a program that echoes its name into each of these
  -- descriptors makes come out of them.
  local function pipes(count)
    local list = {}
    for i = 1, count do
      local r, w = assert(pipe.open())
      list[i] = {r = r, w = w}
    end
    return list
  end

  local function echo_into(fds, list)
    local script = {}
    for fd in pairs(fds) do
      script[#script + 1] = ("echo %d >/proc/self/fd/%d"):format(fd, fd)
    end
    local child = assert(process.spawn(
      {"sh", "-c", table.concat(script, ";")}, {fds = fds}))
    assert.same({"exit", 0}, {child:wait(SOON)})
    local got = {}
    for i, pair in ipairs(list) do
      pair.w:close()
      got[i] = pair.r:read("a", SOON)
      pair.r:close()
    end
    return got
  end

  it("gives a program further descriptors", function()
    local list = pipes(2)
    assert.same({"3\n", "200\n"},
      echo_into({[3] = list[1].w, [200] = list[2].w}, list))
  end)

  it("may give the same one twice", function()
    local list = pipes(1)
    local got = echo_into({[3] = list[1].w, [9] = list[1].w}, list)
    assert.truthy(got[1] == "3\n9\n" or got[1] == "9\n3\n")
  end)

  it("may swap two", function()
    local list = pipes(2)
    local a, b = list[1].w:fileno(), list[2].w:fileno()
    assert.same({b .. "\n", a .. "\n"},
      echo_into({[a] = b, [b] = a}, list))
  end)

  it("may leave one where it is", function()
    local list = pipes(1)
    local a = list[1].w:fileno()
    assert.same({a .. "\n"}, echo_into({[a] = a}, list))
  end)

  it("may turn any number round, over each other", function()
    local list, fds, expected = pipes(20), {}, {}
    for i, pair in ipairs(list) do
      local target = list[i % 20 + 1].w:fileno()
      fds[target] = pair.w:fileno()
      expected[i] = target .. "\n"
    end
    assert.same(expected, echo_into(fds, list))
  end)

  it("may be any permutation", function()
    for _ = 1, 20 do
      local list, fds, expected = pipes(6), {}, {}
      local targets = {}
      for i = 3, 16 do targets[#targets + 1] = i end
      for i, pair in ipairs(list) do
        local target = table.remove(targets, math.random(#targets))
        fds[target] = pair.w
        expected[i] = target .. "\n"
      end
      assert.same(expected, echo_into(fds, list))
    end
  end)

  it("beyond the limit of descriptors is refused", function()
    local path = names.file [[
      local process = require "unixipc.process"
      local child, message = process.spawn({"true"}, {fds = {[100] = 0}})
      print(child, message)
    ]]
    local result = children.run(nil, {command = {"sh", "-c",
      'ulimit -n 64; exec "$@"', "sh", os.getenv "LUA" or "lua5.4", path}})
    assert.truthy(result.out:find "^nil\tdup2: true: ", result.out)
  end)

  it("may be a standard one", function()
    local list = pipes(1)
    assert.same({"2\n"}, echo_into({[2] = list[1].w}, list))
  end)
end)
