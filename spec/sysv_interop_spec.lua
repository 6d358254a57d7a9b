-- Other programs at the other end: C, the shell's tools, Python, Perl.
local t = require "support"
local ipc = require "unixipc"
local sysv, sysv_msg, sysv_sem = ipc.sysv, ipc.sysv_msg, ipc.sysv_sem
local sysv_shm, process = ipc.sysv_shm, ipc.process

local NEW = {create = true, temporary = true}

local function new_key()
  local path = t.names.file ""
  return assert(sysv.ftok(path, 65)), path
end

-- What a command prints, and how it ended.
local function run(command)
  local pipe <close> = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read "a"
  local _, _, code = pipe:close()
  return output, code
end

local function quote(text)
  return "'" .. text:gsub("'", [['\'']]) .. "'"
end

local function peer(...)
  local words = {t.program "sysv_peer"}
  for _, word in ipairs {...} do words[#words + 1] = quote(tostring(word)) end
  local output, code = run(table.concat(words, " "))
  assert.equal(0, code, output)
  return output
end

local function start_peer(...)
  local words = {t.program "sysv_peer"}
  for _, word in ipairs {...} do words[#words + 1] = tostring(word) end
  return assert(process.spawn(words))
end

local function finish(child)
  assert.same({"exit", 0}, {child:wait(10 * t.slow)})
  child:close()
end

describe("C programs", function()
  it("receive the bytes that were sent, no more, no less", function()
    local key = new_key()
    local q <close> = assert(sysv_msg.get(key, NEW))
    q:send("hello", 7)
    assert.equal("7 5 hello\n", peer("receive", key, 7))
    q:send("", 1)
    assert.equal("1 0 \n", peer("receive", key, 0))
  end)

  it("send what is received", function()
    local key = new_key()
    local q <close> = assert(sysv_msg.get(key, NEW))
    peer("send", key, 9, "from C")
    assert.same({"from C", 9}, {q:receive()})
  end)

  it("answer over the same queue", function()
    local key = new_key()
    local q <close> = assert(sysv_msg.get(key, NEW))
    local child = start_peer("echo", key, 200)
    for i = 1, 200 do
      local body = ("x\0"):rep(i * 20)
      q:send(body, 1)
      assert.equal(body, (q:receive(2, 10)))
    end
    finish(child)
  end)

  it("wait for our semaphores, and we for theirs", function()
    local key = new_key()
    local s <close> = assert(sysv_sem.get(key, 2, {create = true,
      temporary = true, initial = {0, 0}}))
    local child = start_peer("acquire", key, 1)
    while s:waiting(2) == 0 do process.sleep(0.001) end
    s:release(2)
    finish(child)
    child = start_peer("release", key, 0)
    assert.is_true(s:acquire(1, 1, 10))
    finish(child)
  end)

  it("that wait for sem_otime find our values", function()
    local key = new_key()
    local child = assert(process.spawn({t.program "sysv_peer", "await",
      tostring(key)}, {stdout = "pipe"}))
    child:kill "SIGSTOP"
    local s <close> = assert(sysv_sem.get(key, 1, {create = true,
      temporary = true, initial = 9}))
    child:kill "SIGCONT"
    local output = child:communicate(nil, 10)
    if output ~= "" then assert.equal("9\n", output) end
    assert.equal(9, s:value())
    assert.equal("9\n", peer("await", key))
  end)

  it("make sets that we take as they are", function()
    local key = new_key()
    peer("create", key, 3)
    local s <close> = assert(sysv_sem.get(key, 3, {create = true,
      initial = 1}))
    assert.same({5, 5, 5}, s:values())
    assert.is_true(s:remove())
  end)

  it("read and write the same segment", function()
    local key = new_key()
    local m <close> = assert(sysv_shm.get(key, 4096, NEW))
    local r <close> = assert(m:attach())
    r:write(0, "to C\0")
    assert.equal("to C\n", peer("read", key))
    peer("write", key, "and back")
    assert.equal("and back", r:cstring())
  end)
end)

describe("The calculator of the examples", function()
  local LUA = os.getenv "LUA" or "lua5.4"
  local CLIENT = LUA .. " examples/sysv_shm_calculator_client.lua "

  local servers = {
    ["in C"] = {t.program "calculator_server"},
    ["in Lua"] = {LUA, "examples/sysv_shm_calculator_server.lua"},
  }
  for language, argv in pairs(servers) do
    it("serves many clients at once: " .. language, function()
      local path = t.names.file ""
      local server = assert(process.spawn({argv[1], argv[2] or path, path},
        {stdout = "pipe"}))
      assert.truthy(server.stdout:read("l", 10 * t.slow):find "^ready")
      local clients, expected = {}, {}
      for i = 1, 5 do
        local lines = {}
        for n = 1, 20 do lines[n] = i * 1000 .. " + " .. n end
        clients[i] = assert(process.spawn({"sh", "-c", CLIENT .. path},
          {stdin = "pipe", stdout = "pipe"}))
        clients[i].stdin:write(table.concat(lines, "\n"), "\n")
        clients[i].stdin:close()
        for n = 1, 20 do
          lines[n] = lines[n] .. " = " .. i * 1000 + n .. "\n"
        end
        expected[i] = table.concat(lines)
      end
      for i, client in ipairs(clients) do
        assert.equal(expected[i], (client:communicate(nil, 20 * t.slow)))
        client:close()
      end
      local last <close> = assert(process.spawn(
        {"sh", "-c", CLIENT .. path}, {stdin = "pipe", stdout = "pipe"}))
      local output = last:communicate("-7 / 2\n5*-3\n1 / 0\n2 % 3\n"
        .. "2147483647 + 1\nq\n", 20 * t.slow)
      assert.equal("-7 / 2 = -3\n5*-3 = -15\n1 / 0 = division by zero\n"
        .. "2 % 3 = unknown operator\n2147483647 + 1 = overflow\n", output)
      server.stdout:read "a"
      finish(server)
      server.stdout:close()
      t.refused("ENOENT", sysv_shm.get(sysv.ftok(path, "c")))
    end)

    it("starts again after a kill -9, and but once: " .. language, function()
      local path = t.names.file ""
      local command = {argv[1], argv[2] or path, path}
      local first <close> = assert(process.spawn(command, {stdout = "pipe"}))
      assert.truthy(first.stdout:read("l", 10 * t.slow):find "^ready")
      local too_many <close> = assert(process.spawn(command,
        {stderr = "pipe"}))
      local _, why, how, code = too_many:communicate(nil, 10 * t.slow)
      assert.same({"exit", 1}, {how, code})
      assert.truthy(why:find(path, 1, true), why)
      first:kill "SIGKILL"
      first:wait(10 * t.slow)
      local second <close> = assert(process.spawn(command, {stdout = "pipe"}))
      assert.truthy(second.stdout:read("l", 10 * t.slow):find "^ready")
      local client <close> = assert(process.spawn({"sh", "-c",
        CLIENT .. path}, {stdin = "pipe", stdout = "pipe"}))
      assert.equal("6 * 7 = 42\n",
        (client:communicate("6 * 7\nq\n", 20 * t.slow)))
      second.stdout:read "a"
      finish(second)
    end)
  end
end)

describe("The shell's tools", function()
  local has_ipcs = os.execute "ipcs -l >/dev/null 2>&1"
  local it_runs = has_ipcs and it or pending

  it_runs("ipcs shows our objects", function()
    local key = new_key()
    local q <close> = assert(sysv_msg.get(key, NEW))
    local s <close> = assert(sysv_sem.get(key, 4, NEW))
    local m <close> = assert(sysv_shm.get(key, 3333, NEW))
    q:send("12345", 1)
    local hex = ("0x%08x"):format(key & 0xffffffff)
    assert.truthy(run "ipcs -q":find(hex .. "%s+" .. q:id()
      .. "%s+%S+%s+600%s+5%s+1"))
    assert.truthy(run "ipcs -s":find(hex .. "%s+" .. s:id()
      .. "%s+%S+%s+600%s+4"))
    assert.truthy(run "ipcs -m":find(hex .. "%s+" .. m:id()
      .. "%s+%S+%s+600%s+3333%s+0"))
  end)

  -- Until the process that started the shell sleeps in its call.
  local AWAIT_SLEEP =
    "until grep -q '^State:.S' /proc/$PPID/status; do :; done; "

  it_runs("ipcrm removes them while we wait: EIDRM", function()
    local q <close> = assert(sysv_msg.get(nil, NEW))
    local child <close> = assert(process.spawn {"sh", "-c",
      AWAIT_SLEEP .. "ipcrm -q " .. q:id()})
    t.refused("EIDRM", q:receive(0, 10))
    child:wait()
    local s <close> = assert(sysv_sem.get(nil, 1, NEW))
    local other <close> = assert(process.spawn {"sh", "-c",
      AWAIT_SLEEP .. "ipcrm -s " .. s:id()})
    t.refused("EIDRM", s:acquire(1, 1, 10))
    other:wait()
  end)

  it_runs("ipcmk makes what we use", function()
    local function made(options)
      return math.tointeger(run("ipcmk " .. options):match "(%d+)\n?$")
    end
    local q <close> = assert(sysv_msg.from_id(made "-Q"))
    assert.is_true(q:send("x", 1))
    assert.is_true(q:remove())
    local s <close> = assert(sysv_sem.from_id(made "-S 2"))
    assert.equal(0, s:stat().operated_at)
    assert.is_true(s:release(2))
    assert.is_true(s:remove())
    local m <close> = assert(sysv_shm.from_id(made "-M 5000"))
    local r <close> = assert(m:attach())
    assert.equal(5000, #r)
    assert.is_true(sysv.remove("shm", m:id()))
    t.refused("ENOENT", sysv_shm.get(m:key()))
  end)

  it_runs("ipcmk's fresh set is opened by its key, with its zeros", function()
    local id = math.tointeger(run "ipcmk -S 1":match "(%d+)\n?$")
    local key = sysv_sem.from_id(id):key()
    local s <close> = assert(sysv_sem.get(key))
    assert.equal(0, s:value())
    assert.is_true(s:remove())
  end)
end)

-- A script for another language, with the key as its first argument.
local function run_script(command, script, ...)
  local words = {command, t.names.file(script)}
  for _, word in ipairs {...} do words[#words + 1] = quote(tostring(word)) end
  local output, code = run(table.concat(words, " "))
  assert.equal(0, code, output)
  return output
end

describe("Python's sysv_ipc", function()
  local PYTHON = "/usr/bin/python3"
  local it_runs = os.execute(PYTHON .. " -c 'import sysv_ipc' 2>/dev/null")
    and it or pending

  it_runs("makes the same keys, and exchanges messages", function()
    local key, path = new_key()
    local q <close> = assert(sysv_msg.get(key, NEW))
    q:send("to Python\0!", 3)
    assert.equal("b'to Python\\x00!' 3\n", run_script(PYTHON, [[
import sys, sysv_ipc
key = sysv_ipc.ftok(sys.argv[1], 65, True)
assert key == int(sys.argv[2]), (key, sys.argv[2])
q = sysv_ipc.MessageQueue(key)
body, kind = q.receive(type=-5)
print(body, kind)
q.send(b"from\0Python", type=4)
]], path, key))
    assert.same({"from\0Python", 4}, {q:receive(4, 0)})
  end)

  it_runs("shares semaphores", function()
    local key = new_key()
    local s <close> = assert(sysv_sem.get(key, 1, {create = true,
      temporary = true, initial = 2}))
    assert.equal("2 1\n", run_script(PYTHON, [[
import sys, sysv_ipc
s = sysv_ipc.Semaphore(int(sys.argv[1]))
before = s.value
s.acquire(1)
print(before, s.value)
]], key))
    assert.equal(1, s:value())
    assert.is_true(s:remove())
    run_script(PYTHON, [[
import sys, sysv_ipc
sysv_ipc.Semaphore(int(sys.argv[1]), sysv_ipc.IPC_CREX, initial_value=6)
]], key)
    local theirs <close> = assert(sysv_sem.get(key, 1, {create = true,
      initial = 1}))
    assert.equal(6, theirs:value())
    assert.is_true(theirs:remove())
  end)

  it_runs("shares memory", function()
    local key = new_key()
    local m <close> = assert(sysv_shm.get(key, 100, NEW))
    local r <close> = assert(m:attach())
    r:write(3, "from Lua")
    assert.equal("b'from Lua'\n", run_script(PYTHON, [[
import sys, sysv_ipc
m = sysv_ipc.SharedMemory(int(sys.argv[1]))
print(m.read(8, 3))
m.write(b"from\0Python", 50)
]], key))
    assert.equal("from\0Python", r:read(50, 11))
  end)
end)

describe("Perl's IPC::SysV", function()
  local it_runs = os.execute "perl -MIPC::SysV -e 1 2>/dev/null" and it
    or pending

  it_runs("makes the same keys, and exchanges messages", function()
    local key, path = new_key()
    local q <close> = assert(sysv_msg.get(key, NEW))
    q:send("to Perl", 3)
    assert.equal("3 to Perl\n", run_script("perl", [[
use strict; use IPC::SysV qw(ftok); use IPC::Msg;
my $key = ftok($ARGV[0], 65);
die "$key" unless ($key & 0xffffffff) == ($ARGV[1] & 0xffffffff);
my $q = IPC::Msg->new($key, 0) or die $!;
my $type = $q->rcv(my $body, 100, -5) or die $!;
print "$type $body\n";
$q->snd(4, "from Perl\0\xff") or die $!;
]], path, key))
    assert.same({"from Perl\0\255", 4}, {q:receive(4, 0)})
  end)

  it_runs("shares semaphores", function()
    local key = new_key()
    local s <close> = assert(sysv_sem.get(key, 3, {create = true,
      temporary = true, initial = {1, 2, 3}}))
    assert.equal("1 2 3\n", run_script("perl", [[
use strict; use IPC::Semaphore;
my $s = IPC::Semaphore->new($ARGV[0], 3, 0) or die $!;
print join(" ", $s->getall), "\n";
$s->op(2, -3, 0, 0, 4, 0) or die $!;
]], key))
    assert.same({5, 2, 0}, s:values())
  end)

  it_runs("shares memory", function()
    local key = new_key()
    local m <close> = assert(sysv_shm.get(key, 100, NEW))
    local r <close> = assert(m:attach())
    r:write(10, "from Lua")
    assert.equal("from Lua\n", run_script("perl", [[
use strict;
my $id = shmget($ARGV[0], 0, 0); defined $id or die $!;
shmread($id, my $got, 10, 8) or die $!;
print "$got\n";
shmwrite($id, "from Perl", 30, 9) or die $!;
]], key))
    assert.equal("from Perl", r:read(30, 9))
  end)
end)
