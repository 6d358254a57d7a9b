-- Storms of signals, and signals at random moments around the one when a call
-- falls asleep. From the environment: ROUNDS, how many are aimed at each call
-- (10,000); STORM, how many a storm has (ten times as many). The output is a
-- table, a row a call; the times are those from the sending to the handler:
--
--   Stream:read           10000 of 10000   median 0.01  99 % 0.2  most 1.4 ms
local t = require "support"
local blocking = require "support.blocking"
local ipc = require "unixipc"

local pipe, process, signal = ipc.pipe, ipc.process, ipc.signal
local fifo, poll = ipc.fifo, ipc.poll

local ROUNDS = tonumber(os.getenv "ROUNDS") or 10000
local STORM = tonumber(os.getenv "STORM") or ROUNDS * 10
local SOON = 1 * t.slow -- seconds
local PATIENCE = 60 * t.slow -- for everything else

-- ---- times, as values of signals -------------------------------------------

local WRAP <const> = 1 << 31

local function microseconds()
  return math.floor(process.now() * 1e6) % WRAP
end

local function seconds_since(value)
  return (microseconds() - value) % WRAP / 1e6
end

local function row(name, count, wanted, delays)
  table.sort(delays)
  local function at(part)
    return (delays[math.max(1, math.ceil(part * #delays))] or 0) * 1000
  end
  print(("%-28s %6d of %6d   median %.3f  99 %% %.3f  most %.1f ms"):format(
    name, count, wanted, at(0.5), at(0.99), at(1)))
  return delays[#delays] or 0
end

local function unpack_delays(bytes)
  local delays = {}
  for position = 1, #bytes, 4 do
    table.insert(delays, (string.unpack("f", bytes, position)))
  end
  return delays
end

-- ---- aimed at each call ----------------------------------------------------

-- Both sides take a moment between "ready" and what they do then, so that the
-- signal comes before the call, as it falls asleep, and after it.
local function random_delay()
  local longest = ({10e-6, 10e-6, 30e-6, 100e-6, 500e-6})[math.random(5)]
  return math.random() * longest
end

-- A sleep would not come back in time for the shortest.
local function spin(seconds)
  local finish = process.now() + seconds
  while process.now() < finish do end
end

-- Does not sleep at first: waking up takes longer than most calls need.
local function await_ready(ready)
  local finish = process.now() + 0.002
  repeat
    local byte = ready:read(1, 0)
    if byte then return byte end
  until process.now() > finish
  return ready:read(1, SOON)
end

local extra = {}

-- Others are handled while one waits for a signal.
extra["signal.wait"] = function()
  signal.block "SIGUSR2"
  return {call = function() return signal.wait "SIGUSR2" end}
end

extra["SignalFd:read"] = function()
  local object = assert(signal.fd "SIGUSR2")
  return {objects = {object}, call = function() return object:read() end}
end

extra["TimerFd:read"] = function()
  local object = assert(signal.timerfd {})
  return {objects = {object}, call = function() return object:read() end}
end

-- The one that is aimed is waited for: value is what came with it.
extra["signal.wait for it"] = function()
  signal.block "SIGRTMIN"
  return {call = function()
    local _, info = signal.wait "SIGRTMIN"
    error(info.value, 0)
  end}
end

extra["SignalFd:read of it"] = function()
  local object = assert(signal.fd "SIGRTMIN")
  return {objects = {object}, call = function()
    local _, info = object:read()
    error(info.value, 0)
  end}
end

-- In Lua code that calls nothing.
extra["a loop"] = function()
  return {call = function() while true do end end}
end

local function new_case(name)
  if not extra[name] then return blocking.new(name) end
  local case = extra[name]()
  case.enter = function() end
  return setmetatable(case, {__close = function()
    for _, object in ipairs(case.objects or {}) do object:close() end
  end})
end

-- One round: the seconds that the signal took, or nil and what else ended it.
local function be_hit(name, is_coroutine, ready)
  local case <close> = new_case(name)
  local delay, seconds = random_delay(), nil
  local function enter_call()
    ready:write "."
    spin(delay)
    return case.call()
  end
  signal.handle("SIGRTMIN", function(_, info)
    seconds = seconds_since(info.value)
    error(tostring(info.value), 0)
  end)
  case.enter()
  local ok, value = pcall(is_coroutine and coroutine.wrap(enter_call)
    or enter_call)
  local sent = not ok and math.tointeger(tonumber(value))
  if not sent then return nil, value end
  return seconds or seconds_since(sent)
end

-- The process that is aimed at.
local function target(name, rounds, ready, report)
  math.randomseed(process.pid())
  local delays = {}
  for i = 1, rounds do
    local seconds, problem = be_hit(name, i % 2 == 0, ready)
    if not seconds then
      report:send(("round %d: %s"):format(i, problem))
      return false
    end
    delays[i] = string.pack("f", seconds)
  end
  report:send(table.concat(delays))
end

local function aim(name, rounds)
  local ready_r, ready_w = assert(pipe.open())
  local report_r, report_w = assert(pipe.open())
  local child = assert(process.fork(target, name, rounds, ready_w, report_w))
  local sent = 0
  report_w:close()
  for _ = 1, rounds do
    if not await_ready(ready_r) then break end
    spin(random_delay())
    assert(signal.queue(child.pid, "SIGRTMIN", microseconds()))
    sent = sent + 1
  end
  local report, problem = report_r:receive(SOON)
  child:kill "SIGKILL"
  child:wait(PATIENCE)
  for _, stream in ipairs {ready_r, ready_w, report_r} do stream:close() end
  if sent < rounds then
    problem = ("number %d did not get through"):format(sent)
  end
  return sent == rounds and report or nil, report or problem
end

local function hits_all(name)
  local report, problem = aim(name, ROUNDS)
  assert(report and not report:find "^round", problem)
  local delays = unpack_delays(report)
  local most = row(name, #delays, ROUNDS, delays)
  assert.equal(ROUNDS, #delays)
  assert.is_true(most < SOON, "the slowest took " .. most .. " s")
end

local call_names = {table.unpack(blocking.names)}
for name in pairs(extra) do table.insert(call_names, name) end
table.sort(call_names)

describe("Of signals aimed at it none is lost by", function()
  for _, name in ipairs(call_names) do
    it(name, function() hits_all(name) end)
  end
end)

-- ---- storms ----------------------------------------------------------------

local QUEUED = {"SIGRTMIN", "SIGRTMIN+1", "SIGRTMIN+7", "SIGRTMAX-2"}
local PLAIN = {"SIGUSR1", "SIGUSR2", "SIGHUP", "SIGURG", "SIGWINCH"}
local SENDERS <const> = 4

-- valgrind does not let a handler leave its signal blocked (uc_sigmask), so
-- there is only the room that the library has.
local BURST <const> = t.under_valgrind and 20 or 100
local PAUSE <const> = t.under_valgrind and 0.2 or 0.01

-- When the kernel's queue is full (EAGAIN) others have to be taken first.
local function queue(pid, name, value)
  repeat
    local ok, _, code = signal.queue(pid, name, value)
    if not ok then
      assert(code == ipc.errno.EAGAIN)
      process.sleep(0.001)
    end
  until ok
end

-- Queued ones are numbered, each name by itself; one in three is not queued.
local function send_storm(pid, count)
  local numbers = {}
  math.randomseed(process.pid())
  for i = 1, count do
    if i % 3 == 0 then
      signal.send(pid, PLAIN[math.random(#PLAIN)])
    else
      local name = QUEUED[math.random(#QUEUED)]
      numbers[name] = (numbers[name] or 0) + 1
      queue(pid, name, numbers[name])
    end
    if i % BURST == 0 then process.sleep(math.random() * PAUSE) end
  end
end

-- What the process does meanwhile, over and over.
local works = {}

function works.fork()
  local child <close> = assert(process.fork(function() return 7 end))
  local how, code = child:wait(PATIENCE)
  assert(how == "exit" and code == 7, how)
end

function works.spawn()
  local child <close> = assert(process.spawn({"cat"},
    {stdin = "pipe", stdout = "pipe"}))
  local text = ("x"):rep(5000)
  assert(child:communicate(text, PATIENCE) == text)
end

function works.read()
  local r, w = assert(pipe.open())
  local child <close> = assert(process.fork(function()
    for i = 1, 200 do w:write(i, "\n") end
  end))
  w:close()
  local i = 0
  for line in r:lines() do
    i = i + 1
    assert(line == tostring(i), line)
  end
  assert(i == 200)
  child:wait()
  r:close()
end

function works.wait()
  local r <close>, w = assert(pipe.open())
  assert(not r:read(1, 0.001))
  assert(select(3, poll.wait({r}, 0.001)) == ipc.errno.ETIMEDOUT)
  w:close()
  process.sleep(0.001)
end

function works.open()
  local path = t.names.path ".fifo"
  assert(fifo.create(path))
  assert(not fifo.open(path, "r", nil, 0.002))
  assert(fifo.unlink(path))
end

function works.collect()
  local list = {}
  for i = 1, 1000 do list[i] = setmetatable({}, {__gc = function() end}) end
  collectgarbage()
  return list
end

function works.coroutines()
  local function count(n)
    if n == 0 then return process.now() end
    return coroutine.wrap(count)(n - 1)
  end
  for _ = 1, 50 do count(5) end
end

local work_names = {}
for name in pairs(works) do table.insert(work_names, name) end
table.sort(work_names)

-- Sets the handlers. Returns what they count.
local function listen()
  local seen = {queued = 0, plain = 0, disorder = 0}
  local last = {}
  for _, name in ipairs(QUEUED) do
    signal.handle(name, function(_, info)
      local key = name .. info.pid
      seen.queued = seen.queued + 1
      if info.value ~= (last[key] or 0) + 1 then
        seen.disorder = seen.disorder + 1
      end
      last[key] = info.value
      if seen.queued % 100 == 0 then collectgarbage "step" end
    end)
  end
  for _, name in ipairs(PLAIN) do
    signal.handle(name, function(got)
      assert(got == name)
      seen.plain = seen.plain + 1
    end)
  end
  return seen
end

local function start_senders(go_r, go_w)
  local pid, senders = process.pid(), {}
  for i = 1, SENDERS do
    senders[i] = assert(process.fork(function()
      go_w:close()
      go_r:read(1, PATIENCE) -- nothing comes: its end is the word
      send_storm(pid, STORM // SENDERS)
    end))
  end
  return senders
end

-- The process that the storm is sent to.
local function weather(report)
  local go_r, go_w = assert(pipe.open())
  local senders, i = start_senders(go_r, go_w), 0
  local seen = listen()
  local wanted = STORM // SENDERS - STORM // SENDERS // 3
  go_w:close()
  local finish = process.now() + PATIENCE
  while seen.queued < SENDERS * wanted and process.now() < finish do
    i = i + 1
    works[work_names[i % #work_names + 1]]()
  end
  for _, sender in ipairs(senders) do assert(sender:wait(SOON) == "exit") end
  process.sleep(0.01)
  report:send(("%d %d %d %d %d %d"):format(seen.queued, SENDERS * wanted,
    seen.disorder, seen.plain, i, #signal.mask()))
end

it("A storm loses no queued signal and keeps their order", function()
  local r, w = assert(pipe.open())
  local start = process.now()
  local child = assert(process.fork(weather, w))
  w:close()
  local report, problem = r:receive(2 * PATIENCE)
  if not report then child:kill "SIGKILL" end
  local how, code = child:wait(PATIENCE)
  r:close()
  assert(report, problem)
  local queued, wanted, disorder, plain, pieces, blocked =
    table.unpack(load("return {" .. report:gsub(" ", ",") .. "}")())
  print(("storm: %d of %d queued, %d others, %d pieces of work, %.1f s")
    :format(queued, wanted, plain, pieces, process.now() - start))
  assert.same({wanted, 0, 0}, {queued, disorder, blocked})
  assert.is_true(plain > 0)
  assert.same({"exit", 0}, {how, code})
end)

-- ---- storms at a process that cannot take them at once ---------------------

-- Runs it in a process of its own, where it may set handlers and raise.
local function apart(fn)
  local child = assert(process.fork(fn))
  local how, code = child:wait(PATIENCE)
  if how ~= "exit" then child:kill "SIGKILL" child:wait() end
  assert.same({"exit", 0}, {how, code})
end

local function check(ok, message)
  if not ok then error(message, 2) end
end

local function in_order(list, count)
  check(#list == count, ("%d of %d"):format(#list, count))
  for i = 1, count do
    check(list[i] == i, ("number %d is %d"):format(i, list[i]))
  end
end

-- Waits until there are that many in the list, then a little for more.
local function await(list, count)
  local finish = process.now() + PATIENCE / 2
  while #list < count and process.now() < finish do process.sleep(0.01) end
  process.sleep(0.01)
end

it("Ten thousand queued during a long call in C all arrive", function()
  apart(function()
    local list, pid = {}, process.pid()
    signal.handle("SIGRTMIN", function(_, info)
      list[#list + 1] = info.value
    end)
    local child = assert(process.fork(function()
      for i = 1, ROUNDS do queue(pid, "SIGRTMIN", i) end
    end))
    local start, text = process.now(), ("a"):rep(20000)
    repeat text:find "^.-.-b" until process.now() > start + 0.5
    await(list, ROUNDS)
    in_order(list, ROUNDS)
    assert(child:wait() == "exit")
  end)
end)

t.natively("A handler that blocks loses neither its own nor others", function()
  apart(function()
    local lists, pid = {{}, {}}, process.pid()
    local names = {"SIGRTMIN", "SIGRTMIN+1"}
    for i, name in ipairs(names) do
      signal.handle(name, function(_, info)
        table.insert(lists[i], info.value)
        if i == 1 and #lists[1] == 1 then process.sleep(1) end
      end)
    end
    local child = assert(process.fork(function()
      for i = 1, 2000 do queue(pid, names[1], i) end
      for i = 1, 600 do
        queue(pid, names[2], i)
        process.sleep(0.0005)
      end
    end))
    await(lists[2], 600)
    await(lists[1], 2000)
    in_order(lists[2], 600)
    in_order(lists[1], 2000)
    assert(child:wait() == "exit")
  end)
end)

it("Handlers that raise lose none after them", function()
  apart(function()
    local list, raised, errors, pid = {}, 0, 0, process.pid()
    local r, w = assert(pipe.open())
    local is_inside = false
    signal.handle("SIGRTMIN", function(_, info)
      list[#list + 1] = info.value
      if not is_inside then return end
      is_inside, raised = false, raised + 1
      error("raised", 0)
    end)
    local child = assert(process.fork(function()
      for i = 1, ROUNDS do
        queue(pid, "SIGRTMIN", i)
        if i % 50 == 1 then process.sleep(0.005) end -- let it sleep again
      end
    end))
    local finish = process.now() + PATIENCE / 2
    local function read_on()
      is_inside = true
      r:read(1, 0.1)
      is_inside = false
    end
    while #list < ROUNDS and process.now() < finish do
      if not pcall(read_on) then errors = errors + 1 end
    end
    signal.handle("SIGRTMIN", "ignore")
    w:close()
    in_order(list, ROUNDS)
    check(raised == errors and errors > 0,
      ("raised %d times, seen %d"):format(raised, errors))
    assert(child:wait() == "exit")
  end)
end)
