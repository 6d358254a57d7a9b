local t = require "support"
local ipc = require "unixipc"

local pipe, process = ipc.pipe, ipc.process
local children, names = t.children, t.names

local SOON = 20 * t.slow

-- A shell script with all three streams; descriptor 3 is a gate that opens
-- when something is written to the second result.
local function start(script, options)
  local r, w = assert(pipe.open())
  options = options or {stdin = "pipe", stdout = "pipe", stderr = "pipe"}
  options.fds = {[3] = r}
  local child = assert(process.spawn({"sh", "-c", script}, options))
  r:close()
  return child, w
end

local function run(script, input, options)
  local child, gate = start(script, options)
  local results = table.pack(child:communicate(input, SOON))
  gate:close()
  return table.unpack(results, 1, results.n)
end

-- Bytes without a period that a fault could hide in.
local function noise(count)
  local parts, state = {}, 1
  for i = 1, count // 8 + 1 do
    state = state * 6364136223846793005 + 1442695040888963407
    parts[i] = string.pack("<i8", state)
  end
  return table.concat(parts):sub(1, count)
end

describe("Process:communicate", function()
  it("gives input, takes output and errors, and the status", function()
    assert.same({"out x", "err\n", "exit", 3},
      {run("printf 'out '; cat; echo err >&2; exit 3", "x")})
  end)

  it("tells the signal that ended the child", function()
    assert.same({"x", "", "signal", "SIGKILL"},
      {run("printf x; kill -KILL $$", "")})
  end)

  it("ends the child's input when there is none", function()
    assert.same({"", "", "exit", 0}, {run("cat", nil)})
    assert.same({"", "", "exit", 0}, {run("cat", "")})
  end)

  it("gives nil for what is no pipe", function()
    local results = table.pack(run("echo x >&2", nil, {stderr = "pipe"}))
    assert.same({nil, "x\n", "exit", 0, n = 4}, results)
    results = table.pack(run("echo x", nil, {stdout = "pipe"}))
    assert.same({"x\n", nil, "exit", 0, n = 4}, results)
    results = table.pack(run("exit 5", nil, {}))
    assert.same({nil, nil, "exit", 5, n = 4}, results)
  end)

  it("gives input when nothing else is a pipe", function()
    local path = names.path()
    run("cat >" .. path, "bytes", {stdin = "pipe"})
    local file <close> = assert(io.open(path))
    assert.equal("bytes", file:read "a")
  end)

  it("says the same again, and keeps nothing from the collector", function()
    local child, gate = start "echo x"
    for _ = 1, 3 do
      assert.same({"x\n", "", "exit", 0}, {child:communicate(nil, SOON)})
    end
    gate:close()
    local weak = setmetatable({child}, {__mode = "v"})
    child = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("closes the streams", function()
    local child, gate = start "cat"
    child:communicate("x", SOON)
    gate:close()
    for _, name in ipairs {"stdin", "stdout", "stderr"} do
      assert.equal("pipe stream (closed)", tostring(child[name]))
    end
  end)

  it("moves ten million bytes both ways", function()
    local bytes = noise(10 * 1000 * 1000)
    local out, err, how, code = run("cat", bytes)
    assert.equal(#bytes, #out)
    assert.is_true(out == bytes)
    assert.same({"", "exit", 0}, {err, how, code})
  end)

  it("moves all three streams at a time", function()
    local bytes = noise(3 * 1000 * 1000)
    local out, err, how, code = run("tee /dev/stderr", bytes)
    assert.is_true(out == bytes)
    assert.is_true(err == bytes)
    assert.same({"exit", 0}, {how, code})
  end)

  it("takes much output before the child has read a byte", function()
    local bytes = noise(1000 * 1000)
    local out, err, how, code = run(
      "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; cat", bytes)
    assert.is_true(out == ("\0"):rep(1000000) .. bytes)
    assert.is_true(err == ("\0"):rep(1000000))
    assert.same({"exit", 0}, {how, code})
  end)

  it("does not mind a child that wants no more input", function()
    local bytes = noise(1000 * 1000)
    assert.same({bytes:sub(1, 5), "", "exit", 0}, {run("head -c 5", bytes)})
    assert.same({"", "", "exit", 0}, {run("exec <&-; exit 0", bytes)})
    assert.same({"", "", "exit", 1}, {run("exit 1", bytes)})
    assert.same({"late\n", "", "exit", 0},
      {run("exec <&-; sleep 0.01; echo late", bytes)})
  end)

  it("waits for a child that has closed its streams", function()
    local child, gate = start "exec >&- 2>&- <&-; read x <&3; exit 4"
    t.timed_out(child:communicate("x", 0.05))
    gate:write "\n"
    assert.same({"", "", "exit", 4}, {child:communicate(nil, SOON)})
    gate:close()
  end)

  it("takes what was read ahead, and input that was given before", function()
    local child, gate = start "echo one; echo two; cat"
    child.stdin:write "before,"
    assert.equal("one", child.stdout:read("l", SOON))
    assert.same({"two\nbefore,after", "", "exit", 0},
      {child:communicate("after", SOON)})
    gate:close()
  end)

  it("does not mind input that was closed before", function()
    local child, gate = start "cat; echo end"
    child.stdin:close()
    assert.same({"end\n", "", "exit", 0}, {child:communicate(nil, SOON)})
    gate:close()
  end)

  it("gives what its input Stream keeps back first", function()
    local child, gate = start "cat"
    child.stdin:setvbuf "full"
    child.stdin:write "kept,"
    assert.same({"kept,given", "", "exit", 0},
      {child:communicate("given", SOON)})
    gate:close()
  end)

  it("has no deadlock with a great deal kept back", function()
    local result = children.run([[
      local process = require "unixipc.process"
      local child = process.spawn({"cat"}, {stdin = "pipe", stdout = "pipe"})
      child.stdin:setvbuf("full", 1 << 20)
      child.stdin:write(("x"):rep((1 << 20) - 1))
      local out, _, how, code = child:communicate(nil, 5)
      print(out and #out, how, code)
    ]], {timeout = 3 * t.slow})
    assert.is_false(result.timed_out)
    assert.equal("1048575\texit\t0\n", result.out, result.err)
  end)

  it("that has run out of time goes on when it is called again", function()
    local child, gate = start "echo early; read x <&3; echo late; cat"
    local seconds, value, message, number =
      t.took(child.communicate, child, "input", 0.05)
    t.timed_out(value, message, number)
    assert.is_true(seconds >= 0.05)
    assert.is_true(seconds < 0.05 + SOON)
    t.timed_out(child:communicate(nil, 0))
    gate:write "\n"
    assert.same({"early\nlate\ninput", "", "exit", 0},
      {child:communicate(nil, SOON)})
    gate:close()
  end)

  it("that has run out of time loses nothing of a large input", function()
    local bytes = noise(1000 * 1000)
    local child, gate = start "read x <&3; cat"
    for _ = 1, 5 do t.timed_out(child:communicate(bytes, 0.001)) end
    gate:write "\n"
    repeat -- many small steps
      local out, err, how, code = child:communicate(nil, 0.001)
      if out then
        assert.is_true(out == bytes)
        assert.same({"", "exit", 0}, {err, how, code})
      else
        t.timed_out(out, err, how)
      end
    until out
    gate:close()
  end)

  it("that has run out of time leaves the child to be killed", function()
    local child, gate = start "echo x; read x <&3"
    t.timed_out(child:communicate(nil, 0.02))
    child:kill "KILL"
    assert.same({"x\n", "", "signal", "SIGKILL"},
      {child:communicate(nil, SOON)})
    gate:close()
  end)

  it("with a timeout of 0 takes what is there", function()
    local child, gate = start "read x; echo \"$x\"; read x <&3"
    t.timed_out(child:communicate("word\n", 0))
    gate:write "\n"
    assert.same({"word\n", "", "exit", 0}, {child:communicate(nil, SOON)})
    gate:close()
  end)

  it("talks to several children in turn", function()
    local list = {}
    for i = 1, 20 do
      list[i] = assert(process.spawn({"cat"},
        {stdin = "pipe", stdout = "pipe"}))
    end
    for i, child in ipairs(list) do
      assert.same({"child " .. i, nil, "exit", 0},
        {child:communicate("child " .. i, SOON)})
    end
  end)

  it("works with a forked child, which has no streams", function()
    local child = assert(process.fork(function() return 7 end))
    assert.same({n = 4, nil, nil, "exit", 7},
      table.pack(child:communicate(nil, SOON)))
  end)

  it("refuses input that is no string, and is none the worse", function()
    local child, gate = start "cat"
    for _, bad in ipairs {true, {}, io.stdout} do
      t.raises("bad argument #1 to 'communicate'", function()
        child:communicate(bad, SOON)
      end)
    end
    assert.same({"good", "", "exit", 0}, {child:communicate("good", SOON)})
    gate:close()
  end)

  it("refuses a timeout that makes no sense, and is none the worse", function()
    local child, gate = start "cat"
    for _, bad in ipairs {-1, 0 / 0, "soon", {}} do
      t.raises("bad argument #2 to 'communicate'", function()
        child:communicate("x", bad)
      end)
    end
    assert.same({"x", "", "exit", 0}, {child:communicate("x", SOON)})
    gate:close()
  end)

  it("refuses a closed Process", function()
    local child, gate = start "cat"
    child:close()
    t.raises("closed", child.communicate, child, "x", SOON)
    for _, name in ipairs {"stdin", "stdout", "stderr"} do
      child[name]:close()
    end
    gate:close()
    while true do -- the next start or close takes the zombie
      local other = assert(process.spawn {"true"})
      other:wait(SOON)
      local file <close> = assert(io.open "/proc/thread-self/children")
      if file:read "a" == "" then break end
    end
  end)
end)
