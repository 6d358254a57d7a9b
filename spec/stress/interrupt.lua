-- Ctrl-C in every call that can block, at random moments around the one when
-- it falls asleep: each must break it, soon. ROUNDS, from the environment, is
-- how many there are for each call. The output is a table, a row a call:
--
--   Stream:read              1000 of 1000   slowest 0.4 ms
--   Stream:read at the prompt  50 of 50     slowest 0.3 ms
local t = require "support"
local blocking = require "support.blocking"
local ipc = require "unixipc"

local pipe, process = ipc.pipe, ipc.process

local ROUNDS = tonumber(os.getenv "ROUNDS") or 1000
local REPL_ROUNDS = math.max(1, ROUNDS // 20)
local SOON = 1 * t.slow
local PATIENCE = 10 * t.slow -- for everything else

math.randomseed(os.time())

-- Both sides take a moment between "ready" and what they do then, so that the
-- signal comes before the call, as it falls asleep, and after it.
local function random_delay()
  local longest = ({10e-6, 10e-6, 30e-6, 200e-6, 2e-3})[math.random(5)]
  return math.random() * longest
end

-- A sleep would not come back in time for the shortest.
local function spin(seconds)
  local finish = process.now() + seconds
  while process.now() < finish do end
end

-- Does not sleep either: waking up takes longer than most calls need.
local function await_ready(ready)
  local finish = process.now() + PATIENCE
  repeat
    local byte = ready:read(1, 0)
  until byte or process.now() > finish
end

local Tally = {}
Tally.__index = Tally

local function new_tally(name, rounds)
  return setmetatable({name = name, rounds = rounds, broken = 0, slowest = 0,
    problems = {}}, Tally)
end

-- One round: seconds until the break was seen, or nil and what was seen.
function Tally:add(seconds, problem)
  if seconds then
    self.broken = self.broken + 1
    self.slowest = math.max(self.slowest, seconds)
  else
    table.insert(self.problems, tostring(problem))
  end
end

function Tally:finish()
  print(("%-36s %4d of %4d   slowest %.1f ms"):format(self.name, self.broken,
    self.rounds, self.slowest * 1000))
  assert.equal(self.rounds, self.broken, self.problems[1])
end

-- ---- the mass: forks, which have the handler of the lua5.4 they come from --

-- What a child does: says ready, blocks, reports what ended that.
local function block(case, is_coroutine, delay, ready, report)
  local function enter_call()
    ready:write "."
    spin(delay)
    return case.call()
  end
  case.enter()
  local call = is_coroutine and coroutine.wrap(enter_call) or enter_call
  local _, message = pcall(call)
  report:send(tostring(message))
end

local function interrupt_fork(name, is_coroutine, ends)
  local case <close> = blocking.new(name)
  local child = assert(process.fork(block, case, is_coroutine, random_delay(),
    ends.ready_w, ends.report_w))
  await_ready(ends.ready_r)
  spin(random_delay())
  local start = process.now()
  child:kill "SIGINT"
  local message, problem = ends.report_r:receive(SOON)
  local seconds = process.now() - start
  child:kill "SIGKILL" -- what it keeps back for a full pipe would keep it
  child:wait(PATIENCE)
  if message and message:find "interrupted!$" then return seconds end
  return nil, message or problem
end

describe("SIGINT in a script breaks", function()
  for _, name in ipairs(blocking.names) do
    it(name, function()
      local ends = {}
      ends.ready_r, ends.ready_w = assert(pipe.open())
      ends.report_r, ends.report_w = assert(pipe.open())
      local tally = new_tally(name, ROUNDS)
      for i = 1, ROUNDS do
        tally:add(interrupt_fork(name, i % 2 == 0, ends))
      end
      for _, stream in pairs(ends) do stream:close() end
      tally:finish()
    end)
  end
end)

-- ---- the real thing: lines typed at the prompt of one lua5.4 ---------------

local function start_repl()
  local ready, w = assert(pipe.open())
  local repl = assert(process.spawn({os.getenv "LUA" or "lua5.4", "-i"},
    {stdin = "pipe", stdout = "null", stderr = "null", fds = {[3] = w}}))
  w:close()
  repl.stdin:write "ready = require 'unixipc.stream'.from(3)\n"
  repl.stdin:write "blocking = require 'support.blocking'\n"
  repl.stdin:write "now = require 'unixipc.process'.now\n"
  repl.stdin:write("function spin(seconds) local finish = now() + seconds "
    .. "while now() < finish do end end\n")
  return repl, ready
end

local function interrupt_line(repl, ready, name)
  repl.stdin:write(("case = blocking.new(%q) case.enter()\n"):format(name))
  repl.stdin:write(("ready:write '.' spin(%.9f) case.call()\n")
    :format(random_delay()))
  await_ready(ready)
  spin(random_delay())
  local start = process.now()
  repl:kill "SIGINT"
  repl.stdin:write "ready:write '+'\n" -- the next line is read
  local sign, problem = ready:read(1, SOON)
  local seconds = process.now() - start
  repl.stdin:write "case.close()\n"
  if sign == "+" then return seconds end
  return nil, problem or sign or "the interpreter has ended"
end

describe("SIGINT at the prompt breaks", function()
  for _, name in ipairs(blocking.names) do
    it(name, function()
      local tally = new_tally(name .. " at the prompt", REPL_ROUNDS)
      local repl, ready = start_repl()
      for _ = 1, REPL_ROUNDS do
        tally:add(interrupt_line(repl, ready, name))
        if #tally.problems > 0 then break end -- the next would say nothing
      end
      repl.stdin:close()
      if #tally.problems > 0 then repl:kill "SIGKILL" end
      local how, code = repl:wait(PATIENCE)
      ready:close()
      tally:finish()
      assert.same({"exit", 0}, {how, code})
    end)
  end
end)
