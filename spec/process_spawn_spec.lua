local t = require "support"
local lfs = require "lfs"
local ipc = require "unixipc"

local pipe, process = ipc.pipe, ipc.process
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

-- An executable file with these bytes.
local function program(bytes, mode)
  local path = names.file(bytes)
  assert(os.execute("chmod " .. (mode or "755") .. " " .. path))
  return path
end

local function descriptors()
  local list = {}
  for name in lfs.dir "/proc/self/fd" do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, " ")
end

describe("process.spawn", function()
  it("starts a program with its arguments, strings and numbers", function()
    assert.equal("1 2.5 a b \n", output {"echo", 1, 2.5, "a b", ""})
    assert.equal("$HOME *\n", output {"echo", "$HOME", "*"}) -- no shell
  end)

  it("leaves the numbers in the table of arguments numbers", function()
    local argv = {"true", 1, 2.5}
    process.spawn(argv):wait(SOON)
    assert.equal("integer", math.type(argv[2]))
    assert.equal("float", math.type(argv[3]))
  end)

  it("takes a thousand arguments", function()
    local argv = {"sh", "-c", "echo $#", "sh"}
    for i = 1, 1000 do argv[i + 4] = "argument " .. i end
    assert.equal("1000\n", output(argv))
  end)

  it("takes arguments of any bytes but zero", function()
    local bytes = {}
    for i = 1, 255 do bytes[i] = string.char(i) end
    local all = table.concat(bytes)
    assert.equal(all, output {"printf", "%s", all})
  end)

  it("refuses arguments that cannot be", function()
    for _, bad in ipairs {{}, {[2] = "x"}} do
      t.raises("no program", process.spawn, bad)
    end
    t.raises("table expected", process.spawn, "true")
    t.raises("table expected", process.spawn)
    for _, bad in ipairs {{"true", {}}, {"true", true}, {true}} do
      t.raises("must be a string", process.spawn, bad)
    end
    for _, bad in ipairs {{"tr\0ue"}, {"true", "a\0"}, {"true", "\0"}} do
      t.raises("embedded zero", process.spawn, bad)
    end
  end)

  it("refuses options that cannot be", function()
    for _, case in ipairs {
      {{stdinn = "pipe"}, "unknown option 'stdinn'"},
      {{"pipe"}, "options must have names"},
      {{stdin = "pip"}, "option 'stdin': unknown word 'pip'; "
        .. "known: inherit, null, pipe, a path with a '/'"},
      {{stdin = ""}, "option 'stdin': unknown word ''"},
      {{stdout = "stdout"}, "option 'stdout': unknown word 'stdout'"},
      {{stdin = "stdout"}, "option 'stdin': unknown word 'stdout'"},
      {{stderr = "stdin"}, "option 'stderr': unknown word 'stdin'; "
        .. "known: inherit, null, pipe, stdout, a path with a '/'"},
      {{stdin = "/dev\0/null"}, "embedded zero"},
      {{cwd = "/tmp\0"}, "option 'cwd'"}, {{cwd = 1}, "option 'cwd'"},
      {{setsid = 1}, "option 'setsid'"},
      {{pgroup = "x"}, "option 'pgroup'"}, {{pgroup = -1}, "option 'pgroup'"},
      {{pgroup = 1.5}, "option 'pgroup'"},
      {{env = "A=B"}, "option 'env'"}, {{env = {"A=B"}},
        "option 'env': names without '=' expected as keys"},
      {{env = {A = true}},
        "option 'env': 'A' is a boolean, not a string or a number"},
      {{env = {["A=B"] = "C"}}, "option 'env': names without '='"},
      {{env = {A = "b\0"}}, "option 'env'"},
      {{env = {["A\0"] = "b"}}, "option 'env'"},
      {{fds = 3}, "option 'fds'"}, {{fds = {[-1] = 0}}, "option 'fds'"},
      {{fds = {x = 0}}, "option 'fds'"}, {{fds = {[1.5] = 0}}, "option 'fds'"},
      {{fds = {[1 << 40] = 0}}, "option 'fds'"},
      {{groups = {audio = true}}, "list expected"},
      {{stdout = "null", fds = {[1] = 0}}, "fds"},
    } do
      local message = t.raises(case[2], process.spawn, {"true"}, case[1])
      assert.truthy(message:find("bad argument #2", 1, true), message)
    end
    t.raises("table expected", process.spawn, {"true"}, "pipe")
  end)

  it("names the option that has no descriptor", function()
    for _, bad in ipairs {false, true, {}, -1, 1.5} do
      for _, name in ipairs {"stdin", "stdout", "stderr"} do
        local message = t.raises("'" .. name .. "'", process.spawn, {"true"},
          {[name] = bad})
        assert.truthy(message:find("bad argument #2", 1, true), message)
      end
      t.raises("bad argument #2", process.spawn, {"true"}, {fds = {[5] = bad}})
    end
  end)

  it("refuses closed objects", function()
    local r, w = assert(pipe.open())
    r:close()
    w:close()
    local file = assert(io.open "/dev/null")
    file:close()
    t.raises("closed", process.spawn, {"true"}, {stdin = r})
    t.raises("closed", process.spawn, {"true"}, {stdin = file})
    t.raises("closed", process.spawn, {"true"}, {fds = {[3] = w}})
  end)

  it("works in a coroutine", function()
    assert.equal("x\n", coroutine.wrap(output) {"echo", "x"})
  end)
end)

describe("The program", function()
  -- A Lua script whose PATH begins with these directories.
  local function with_path(path, script)
    return children.run([[
      local process = require "unixipc.process"
      local function output(argv, options)
        options = options or {}
        options.stdout = "pipe"
        local child, message = process.spawn(argv, options)
        return child and child:communicate(nil, 5) or message .. "\n"
      end
    ]] .. script, {env = {PATH = path .. ":" .. os.getenv "PATH"}}).out
  end

  local function directory_with(name, bytes, mode)
    local directory = names.path()
    assert(lfs.mkdir(directory))
    assert(os.rename(program(bytes, mode), directory .. "/" .. name))
    return directory
  end

  it("is looked for in PATH, in order", function()
    local name = names.unique()
    local one = directory_with(name, "#!/bin/sh\necho one\n")
    local two = directory_with(name, "#!/bin/sh\necho two\n")
    local script = ("io.write(output {%q})"):format(name)
    assert.equal("one\n", with_path(one .. ":" .. two, script))
    assert.equal("two\n", with_path(two .. ":" .. one, script))
    assert.equal("two\n", with_path("/nonexistent:/etc/passwd:" .. two, script))
  end)

  it("may be one that cannot be run: then the next is taken", function()
    local name = names.unique()
    local bad = directory_with(name, "#!/bin/sh\necho bad\n", "644")
    local good = directory_with(name, "#!/bin/sh\necho good\n")
    local script = ("io.write(output {%q})"):format(name)
    assert.equal("good\n", with_path(bad .. ":" .. good, script))
    assert.equal(("exec: %s: Permission denied\n"):format(name),
      with_path(bad, script))
  end)

  it("is looked for where an empty entry of PATH says: here", function()
    local name = names.unique()
    local place = directory_with(name, "#!/bin/sh\necho here\n")
    local script = ("io.write(output({%q}, {cwd = %q}))"):format(name, place)
    assert.equal("here\n", with_path("", script))
    assert.equal("here\n", with_path("/nonexistent:", script))
  end)

  it("is looked for in the usual places without a PATH", function()
    local path = names.file [[
      local process = require "unixipc.process"
      print(process.spawn({"sh", "-c", "exit 3"}):wait(5))
    ]]
    local lua <close> =
      io.popen("command -v " .. (os.getenv "LUA" or "lua5.4"))
    local result = children.run(nil,
      {command = {"env", "-u", "PATH", lua:read "l", path}})
    assert.equal("exit\t3\n", result.out, result.err)
  end)

  it("with a slash in its name is not looked for", function()
    local path = program "#!/bin/sh\necho \"$0\"\n"
    assert.equal(path .. "\n", output {path})
    local directory, name = path:match "^(.*)/(.*)$"
    assert.equal("./" .. name .. "\n", output({"./" .. name},
      {cwd = directory}))
    t.refused("ENOENT", process.spawn {"./" .. name})
  end)

  it("gets its name as it was given", function()
    assert.equal("sh\n", output {"sh", "-c", "echo $0"})
  end)
end)

-- Each way of not starting: what is asked for, the error, the message.
local function failures()
  local file, directory = names.file "text", names.directory()
  local closed = io.open "/dev/null"
  local number = ipc.stream.from(closed):fileno()
  collectgarbage()
  closed:close()
  return {
    {{"nonexistent_program"}, {}, "ENOENT",
      "exec: nonexistent_program: No such file or directory"},
    {{"/nonexistent/program"}, {}, "ENOENT",
      "exec: /nonexistent/program: No such file or directory"},
    {{""}, {}, "ENOENT"},
    {{file .. "/x"}, {}, "ENOTDIR"},
    {{file}, {}, "EACCES"},
    {{directory}, {}, "EACCES"},
    {{program "no program\n"}, {}, "ENOEXEC"},
    {{program "#!/nonexistent\n"}, {}, "ENOENT"},
    {{("x"):rep(5000)}, {}, "ENAMETOOLONG"},
    {{"true", ("x"):rep(200000)}, {}, "E2BIG"},
    {{"true"}, {cwd = "/nonexistent"}, "ENOENT",
      "chdir: /nonexistent: No such file or directory"},
    {{"true"}, {cwd = file}, "ENOTDIR"},
    {{"true"}, {stdin = "/nonexistent"}, "ENOENT",
      "open: /nonexistent: No such file or directory"},
    {{"true"}, {stdin = "pipe", stdout = directory}, "EISDIR"},
    {{"true"}, {stdin = number + 1000}, "EBADF"},
    {{"true"}, {fds = {[3] = number + 1000}}, "EBADF"},
    {{"true"}, {pgroup = 999999}, "EPERM", "setpgid: true: "},
  }
end

describe("A program that cannot be started", function()
  t.natively("is an error at once, with nothing left behind", function()
    local all = failures()
    collectgarbage()
    collectgarbage "stop" -- nothing may be left to the collector
    local before = descriptors()
    local ok, problem = pcall(function()
      for _, case in ipairs(all) do
        local argv, options, name, words = table.unpack(case)
        for _, ends in ipairs {{}, {stderr = "pipe"}} do
          local message =
            t.refused(name, process.spawn(argv, with(options, ends)))
          assert.truthy(not words or message:find(words, 1, true), message)
          assert.equal("", read_all "/proc/thread-self/children")
          assert.equal(before, descriptors(), message)
        end
      end
    end)
    collectgarbage "restart"
    assert.is_true(ok, problem)
  end)

  it("closes the pipes that were made for it", function()
    collectgarbage()
    collectgarbage "stop"
    local before = descriptors()
    local r, message, number = process.spawn({"nonexistent_program"},
      {stdin = "pipe", stdout = "pipe", stderr = "pipe"})
    local after = descriptors()
    collectgarbage "restart"
    t.refused("ENOENT", r, message, number)
    assert.equal(before, after)
  end)

  it("for lack of descriptors is EMFILE, and later it can", function()
    local path = names.file [[
      local ipc = require "unixipc"
      local pipe, process, errno = ipc.pipe, ipc.process, ipc.errno
      local kept = {}
      while true do
        local r, w = pipe.open()
        if not r then break end
        kept[#kept + 1] = {r, w}
      end
      local refused = 0
      while #kept > 0 do
        local child, message, number = process.spawn({"true"},
          {stdin = "pipe", stdout = "pipe", stderr = "pipe"})
        if child then print(refused > 0, child:wait(5)) break end
        if number ~= errno.EMFILE then print(message) end
        refused = refused + 1
        local pair = table.remove(kept)
        for _, s in pairs(pair) do s:close() end
      end
    ]]
    local result = children.run(nil, {command = {"sh", "-c",
      'ulimit -n 32; exec "$@"', "sh", os.getenv "LUA" or "lua5.4", path}})
    assert.equal("true\texit\t0\n", result.out, result.err)
  end)
end)

describe("Of this process a program gets", function()
  it("the environment, or the one in `env` instead", function()
    assert.truthy(sh("echo $HOME"):find(os.getenv "HOME", 1, true))
    assert.equal("A=1\n", output({"env"}, {env = {A = 1}}))
    assert.equal("", output({"env"}, {env = {}}))
    local out = output({"env"}, {env = {A = "x y", B = "", C = "=\n"}})
    local lines = {}
    for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
    table.sort(lines)
    assert.same({"A=x y", "B=", "C=="}, lines)
  end)

  it("the directory, or the one in `cwd` instead", function()
    assert.equal(lfs.currentdir() .. "\n", sh "pwd -P")
    assert.equal("/\n", sh("pwd -P", {cwd = "/"}))
  end)

  it("the group and the session", function()
    local child = assert(process.spawn {"sleep", "1000"})
    assert.equal(process.group(), process.group(child.pid))
    assert.equal(process.session(), process.session(child.pid))
    child:kill()
    child:wait(SOON)
  end)

  it("a group of its own or another's with `pgroup`", function()
    local leader = assert(process.spawn({"sleep", "1000"}, {pgroup = true}))
    local member =
      assert(process.spawn({"sleep", "1000"}, {pgroup = leader.pid}))
    local other = assert(process.spawn({"sleep", "1000"}, {pgroup = false}))
    assert.equal(leader.pid, process.group(leader.pid))
    assert.equal(leader.pid, process.group(member.pid))
    assert.equal(process.group(), process.group(other.pid))
    assert.equal(process.session(), process.session(member.pid))
    for _, child in ipairs {leader, member, other} do
      child:kill()
      child:wait(SOON)
    end
  end)

  it("a session of its own with `setsid`", function()
    local child = assert(process.spawn({"sleep", "1000"}, {setsid = true}))
    assert.equal(child.pid, process.session(child.pid))
    assert.equal(child.pid, process.group(child.pid))
    child:kill()
    child:wait(SOON)
  end)

  it("the mask of signals and what is ignored, and no handler", function()
    local function signals(text)
      return text:match "SigBlk:%s*(%x+)", text:match "SigIgn:%s*(%x+)"
    end
    local text = output {"cat", "/proc/self/status"}
    assert.same({signals(read_all "/proc/self/status")}, {signals(text)})
    assert.equal("0000000000000000", text:match "SigCgt:%s*(%x+)")
  end)
end)

describe("A thousand programs", function()
  it("leave nothing behind", function()
    local before = descriptors()
    for i = 1, 100 do
      local list = {}
      for j = 1, 10 do
        list[j] = assert(process.spawn({"true"}, {stdin = "pipe"}))
      end
      for _, child in ipairs(list) do
        assert.same({"exit", 0}, {child:wait(SOON)})
        child.stdin:close()
        child:close()
      end
      assert.equal(before, descriptors(), "after " .. i * 10)
    end
  end)
end)
