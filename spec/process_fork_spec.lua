local t = require "support"
local ipc = require "unixipc"

local fifo, pipe, poll, process = ipc.fifo, ipc.pipe, ipc.poll, ipc.process
local children, names = t.children, t.names

local SOON = 10 * t.slow

-- Forks, and tells how the child ended.
local function run(fn, ...)
  return assert(process.fork(fn, ...)):wait(SOON)
end

local function read_all(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

local function exists(path)
  return os.rename(path, path) ~= nil
end

describe("process.fork", function()
  it("runs the function with its arguments in a process of its own", function()
    local r, w = assert(pipe.open())
    local child = assert(process.fork(function(...)
      w:write(process.pid(), " ", process.parent(), " ", select("#", ...),
        " ", table.concat({...}, ","))
    end, 1, "two", 3.5))
    w:close()
    assert.equal(("%d %d 3 1,two,3.5"):format(child.pid, process.pid()),
      r:read("a", SOON))
    assert.same({"exit", 0}, {child:wait(SOON)})
    r:close()
  end)

  it("passes nils on, at the end too", function()
    assert.same({"exit", 4}, {run(function(...)
      return select("#", ...)
    end, nil, 1, nil, nil)})
  end)

  it("passes more arguments on than a C function has room for", function()
    local many = {}
    for i = 1, 250 do many[i] = 1 end
    assert.same({"exit", 250}, {run(function(...)
      return select("#", ...)
    end, table.unpack(many))})
  end)

  for _, case in ipairs {
    {0}, {7, 7}, {255, 255}, {256, 0}, {-1, 255}, {true, 0}, {false, 1},
    {"text", 0}, {nil, 0},
  } do
    local value, code = case[1], case[2] or 0
    it(("makes the exit code %d of %s"):format(code, value), function()
      assert.same({"exit", code}, {run(function() return value end)})
    end)
  end

  it("makes the exit code 0 of no result", function()
    assert.same({"exit", 0}, {run(function() end)})
  end)

  it("makes the exit code 1 of nil and a message, and says it", function()
    local result = children.run([[
      local ipc = require "unixipc"
      local child = ipc.process.fork(function()
        return ipc.fifo.open("/no/such/fifo", "r")
      end)
      print(child:wait())
    ]])
    assert.equal("exit\t1\n", result.out)
    assert.truthy(result.err:find("/no/such/fifo", 1, true), result.err)
  end)

  it("makes the exit code of the first result", function()
    assert.same({"exit", 3}, {run(function() return 3, 4 end)})
  end)

  it("raises when it gets no function", function()
    t.raises("function expected", process.fork)
    t.raises("function expected", process.fork, "print(1)")
  end)

  it("tells a child that was killed", function()
    assert.same({"signal", "SIGKILL"}, {run(function()
      os.execute("kill -KILL " .. process.pid())
    end)})
  end)

  it("runs in a coroutine, and only the parent goes on", function()
    local result = children.run [[
      local process = require "unixipc.process"
      local thread = coroutine.wrap(function(n)
        local child = process.fork(function()
          local inner = coroutine.wrap(function() coroutine.yield(n + 1) end)
          return inner()
        end)
        coroutine.yield(child:wait(5))
        return "end"
      end)
      print(thread(4))
      print(thread())
    ]]
    assert.equal("exit\t5\nend\n", result.out, result.err)
  end)

  it("runs in a child of its own", function()
    assert.same({"exit", 34}, {run(function()
      local _, code = run(function()
        local _, code = run(function() return 32 end)
        return code + 1
      end)
      return code + 1
    end)})
  end)

  it("runs from a coroutine whose main thread waits for it", function()
    local r, w = assert(pipe.open())
    local child = coroutine.wrap(function()
      return process.fork(function() w:write "x" end)
    end)()
    assert.equal("x", r:read(1, SOON))
    assert.same({"exit", 0}, {child:wait(SOON)})
    r:close()
    w:close()
  end)

  it("makes two hundred children at a time", function()
    local r, w = assert(pipe.open())
    local list = {}
    for i = 1, 200 do
      list[i] = assert(process.fork(function()
        w:close()
        r:read "a"
        return i
      end))
    end
    r:close()
    w:close() -- all of them read the end of file now
    for i, child in ipairs(list) do
      assert.same({"exit", i}, {child:wait(SOON)})
    end
  end)
end)

describe("An error in a forked child", function()
  it("goes to standard error with its traceback, the code is 1", function()
    local result = children.run [[
      local process = require "unixipc.process"
      local function inner() error "went wrong" end
      local child = process.fork(function() inner() return 5 end)
      print(child:wait(5))
    ]]
    assert.equal("exit\t1\n", result.out)
    assert.truthy(result.err:find "script%.lua:2: went wrong\nstack traceback:")
    assert.truthy(result.err:find "inner")
    assert.equal(0, result.code)
  end)

  it("is shown by its __tostring", function()
    local result = children.run [[
      local process = require "unixipc.process"
      local object = setmetatable({}, {__tostring = function()
        return "object that went wrong"
      end})
      print(process.fork(error, object):wait(5))
    ]]
    assert.equal("exit\t1\n", result.out)
    assert.truthy(result.err:find "^object that went wrong\nstack traceback:")
  end)

  for what, value in pairs {
    ["a table"] = "{}", ["nil"] = "nil", ["false"] = "false",
    ["an object whose __tostring raises"] =
      "setmetatable({}, {__tostring = error})",
    ["an object whose __tostring returns no string"] =
      "setmetatable({}, {__tostring = function() end})",
  } do
    it("may be " .. what, function()
      local result = children.run([[
        local process = require "unixipc.process"
        print(process.fork(function() error(]] .. value .. [[) end):wait(5))
      ]])
      assert.equal("exit\t1\n", result.out)
      assert.not_equal("", result.err)
    end)
  end

  it("may be a stack overflow", function()
    local result = children.run [[
      local process = require "unixipc.process"
      local function deeper() return 1 + deeper() end
      print(process.fork(deeper):wait(5))
    ]]
    assert.equal("exit\t1\n", result.out)
    assert.truthy(result.err:find "stack overflow")
  end)

  it("does not run the rest of the parent's program", function()
    local result = children.run [[
      local process = require "unixipc.process"
      local ok, how, code = pcall(function()
        local child = process.fork(error, "for nobody to catch")
        return child:wait(5)
      end)
      print(ok, how, code)
    ]]
    assert.equal("true\texit\t1\n", result.out)
  end)
end)

describe("What a forked child prints", function()
  it("comes out once, and what the parent had printed too", function()
    local result = children.run [[
      local process = require "unixipc.process"
      io.stdout:setvbuf "full"
      io.write "before "
      local child = process.fork(function() io.write "child " end)
      child:wait(5)
      io.write "after\n"
    ]]
    assert.equal("before child after\n", result.out)
  end)

  it("does not end by process.exit with what is no code", function()
    for _, bad in ipairs {"1", {}, 1.5} do
      t.raises("integer or boolean expected", process.exit, bad)
    end
  end)

  it("comes out when it ends by an error or process.exit", function()
    local result = children.run [[
      local process = require "unixipc.process"
      io.stdout:setvbuf "full"
      process.fork(function() io.write "error " error() end):wait(5)
      process.fork(function() io.write "exit " process.exit(1) end):wait(5)
    ]]
    assert.equal("error exit ", result.out)
  end)

  it("into a file that the parent has written to comes after it", function()
    local path = names.path()
    local file = assert(io.open(path, "w"))
    file:setvbuf "full"
    file:write "parent,"
    run(function() file:write "child," end)
    file:write "parent again"
    file:close()
    assert.equal("parent,child,parent again", read_all(path))
  end)

  it("into a Stream that keeps it back comes out", function()
    local r, w = assert(pipe.open())
    w:setvbuf "full"
    run(function() w:write "returned," end)
    run(function() w:write "left," process.exit() end)
    w:close()
    assert.equal("returned,left,", r:read("a", SOON))
    r:close()
  end)

  it("is not what the parent keeps back in a Stream", function()
    local r, w = assert(pipe.open())
    w:setvbuf "full"
    w:write "parent,"
    run(function() end)
    run(function() w:write "child,":flush() end)
    run(function() w:close() end)
    w:write "parent again"
    w:close()
    assert.equal("child,parent,parent again", r:read("a", SOON))
    r:close()
  end)
end)

describe("A forked child leaves", function()
  it("without finalizers, however it ends", function()
    local path = names.path()
    local result = children.run([[
      local process = require "unixipc.process"
      local path = ...
      local function note()
        local file <close> = io.open(path, "a")
        file:write(process.pid(), "\n")
      end
      collected = setmetatable({}, {__gc = note})
      local closed <close> = setmetatable({}, {__close = note})
      process.fork(function() end):wait(5)
      process.fork(function() error "on purpose" end):wait(5)
      process.fork(function() process.exit(2) end):wait(5)
      process.fork(coroutine.wrap(function() process.exit() end)):wait(5)
      print(process.pid())
    ]], {args = {path}})
    assert.equal(result.out:rep(2), read_all(path))
  end)

  it("with the code that it gives os.exit", function()
    assert.same({"exit", 9}, {run(function() os.exit(9) end)})
  end)

  it("with the code that it gives process.exit", function()
    for _, case in ipairs {{nil, 0}, {0, 0}, {7, 7}, {true, 0}, {false, 1}} do
      assert.same({"exit", case[2]}, {run(function()
        pcall(coroutine.wrap(function() process.exit(case[1]) end))
        return 99
      end)})
    end
  end)
end)

describe("In a forked child the parent's objects", function()
  it("can be used", function()
    local r, w = assert(pipe.open())
    local poller = assert(poll.new())
    assert(poller:add(r))
    local file = assert(io.open(names.file "text"))
    w:write "bytes"
    assert.same({"exit", 0}, {run(function()
      assert(poller:wait(SOON)[1] == r)
      assert(r:read(5, SOON) == "bytes")
      assert(file:read "a" == "text")
      w:write "answer"
    end)})
    assert.equal("answer", r:read(6, SOON))
    for _, object in ipairs {r, w, poller, file} do object:close() end
  end)

  it("stay the parent's when the child closes them", function()
    local path = names.path ".fifo"
    local both = assert(fifo.open(path, "rw", {create = true,
      temporary = true}))
    local sibling = assert(process.fork(function() process.sleep(1e9) end))
    assert.same({"exit", 0}, {run(function()
      both:close()
      sibling:close()
    end)})
    both:write "still here"
    assert.equal("still here", both:read(10, SOON))
    assert.is_true(exists(path))
    assert.is_true(sibling:is_alive())
    both:close()
    assert.is_false(exists(path))
    sibling:kill()
    assert.same({"signal", "SIGTERM"}, {sibling:wait(SOON)})
  end)

  it("stay the parent's when the child collects them", function()
    local path = names.path ".fifo"
    local kept = {
      fifo.open(path, "rw", {create = true, temporary = true}),
      process.fork(function() process.sleep(1e9) end),
      process.fork(function() return 5 end),
    }
    t.await_exit(kept[3])
    assert.same({"exit", 0}, {run(function()
      kept = nil
      collectgarbage()
      collectgarbage()
      assert(process.fork(function() end)):close() -- reaps what was let go
    end)})
    assert.is_true(exists(path))
    assert.is_true(kept[2]:is_alive())
    assert.same({"exit", 5}, {kept[3]:wait(0)})
    kept[2]:kill()
    kept[2]:wait(SOON)
    kept[1]:close()
  end)

  it("are not its children: waiting is ECHILD", function()
    local sibling = assert(process.fork(function() process.sleep(1e9) end))
    assert.same({"exit", 0}, {run(function()
      t.refused("ECHILD", sibling:wait(SOON))
      t.refused("ECHILD", sibling:wait(0))
      t.refused("ECHILD", sibling:communicate(nil, SOON))
      assert(sibling:is_alive())
      assert(sibling:kill "SIGKILL")
    end)})
    assert.same({"signal", "SIGKILL"}, {sibling:wait(SOON)})
  end)

  t.natively("that have ended are not alive", function()
    local sibling = assert(process.fork(function() end))
    t.await_exit(sibling)
    assert.same({"exit", 0}, {run(function()
      return sibling:is_alive() and 1 or 0
    end)})
    assert.same({"exit", 0}, {sibling:wait(0)})
  end)

  it("whose end the parent has seen have ended there too", function()
    local sibling = assert(process.fork(function() return 6 end))
    sibling:wait(SOON)
    assert.same({"exit", 6}, {run(function()
      return select(2, sibling:wait(0))
    end)})
  end)
end)

describe("fork", function()
  it("leaves the mask and the dispositions of signals alone", function()
    local function signals()
      local status = read_all "/proc/self/status"
      return status:match "SigBlk.*SigCgt:\t%x+"
    end
    local r, w = assert(pipe.open())
    run(function() w:send(signals()) end)
    assert.equal(signals(), r:receive(SOON))
    r:close()
    w:close()
  end)

  t.natively("has a descriptor that no program inherits", function()
    local child = assert(process.fork(function() process.sleep(1e9) end))
    local info = read_all("/proc/self/fdinfo/" .. child:fileno())
    local flags = tonumber(info:match "flags:%s*(%d+)", 8)
    assert.not_equal(0, flags & tonumber("2000000", 8)) -- O_CLOEXEC
    child:kill "KILL"
    child:wait(SOON)
  end)
end)
