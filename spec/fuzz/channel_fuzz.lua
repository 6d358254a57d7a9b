-- Any byte of a segment may be anything, before it is opened and after: calls
-- give a value or an error in words, and end.
local input = require "fuzz.input"
local channel = require "unixipc.channel"
local mmap = require "unixipc.mmap"
local process = require "unixipc.process"

local NAME <const> = "/fuzz" .. process.pid()

local kinds = {
  function() return channel.queue(nil, {capacity = 1024, slots = 4}) end,
  function()
    return channel.queue(nil, {capacity = 1024, slots = 4, single = true,
      overflow = "fail"})
  end,
  function()
    return channel.queue(nil, {capacity = 1024, slots = 4,
      overflow = "drop_oldest"})
  end,
  function()
    return channel.broadcast(nil, {capacity = 1024, slots = 4,
      subscribe = "new"})
  end,
  function()
    return channel.broadcast(nil, {capacity = 1024, slots = 4,
      policy = "drop", subscribe = "oldest"})
  end,
  function()
    return channel.broadcast(nil, {capacity = 1024, slots = 4,
      policy = "evict", evict_after = 0, subscribe = 2})
  end,
  function() return channel.duplex(nil, {capacity = 1024, slots = 4}) end,
  function()
    return channel.service(nil, {capacity = 1024, slots = 4,
      reply_capacity = 1024, retry = true})
  end,
  function()
    return channel.queue(NAME, {capacity = 1024, slots = 4, create = true,
      temporary = true})
  end,
}

-- Now and then it sleeps, and looks who is dead.
local function timeout(i)
  return i:byte() == 0xff and 0.001 or 0
end

-- Each call leaves what it returns to check_results.
local calls = {
  function(ch, i) return ch:receive(timeout(i)) end,
  function(ch, i) return ch:receive_many(5, timeout(i)) end,
  function(ch, i) return ch:send(i:string(), timeout(i)) end,
  function(ch, i) return ch:send({i:byte(), i:string()}, 0) end,
  function(ch, i) return ch:send_many({i:byte(), i:string(), nil}, 0) end,
  function(ch, _, state)
    local view, why, errno = ch:peek(0)
    if not view then return nil, why, errno end
    state.views[#state.views + 1] = view
    assert(#view:read() == #view)
    return view
  end,
  function(ch, i, state)
    local view = i:one_of(state.views)
    if view and view:is_open() then return ch:release(view) end
  end,
  function(ch, i, state)
    local view = i:one_of(state.views)
    if view and view:is_open() then return ch:give_back(view) end
  end,
  function(ch, i)
    local loan, why, errno = ch:reserve(i:byte(), 0)
    if not loan then return nil, why, errno end
    loan:fill(0, #loan, "y")
    if i:byte() % 2 == 0 then return ch:abort(loan) end
    return ch:commit(loan, #loan // 2)
  end,
  function(ch) return ch:stats() end,
  function(ch) return ch:participants() end,
  function(ch) return #ch, tostring(ch), ch:limit(), ch:lost() end,
  function(ch, i)
    return ch:subscribe(i:one_of {"new", "oldest", 3})
  end,
  function(ch) return ch:unsubscribe() end,
  function(ch, i)
    local request, value, errno = ch:accept(timeout(i))
    if not request then return nil, value, errno end
    if i:byte() % 4 == 0 then return request:refuse("no", timeout(i)) end
    return request:reply(value, timeout(i))
  end,
  function(ch, i) return ch:call("question", timeout(i)) end,
  function(ch) return ch:sender()("x", 0) end,
  function(ch) return ch:receiver()(0) end,
  function(ch) return ch:fileno() and true end,
  function(ch) return ch:shutdown() end,
}

-- nil, a message and a number; all that is raised is that a view is none of the
-- channel.
local function check_results(ok, value, message, number)
  if not ok then
    return assert(value:find "no loan of this channel", value)
  end
  if value == nil and message ~= nil then
    assert(type(message) == "string" and math.type(number) == "integer",
      message)
  end
end

local function damage(memory, i, most)
  for _ = 1, i:byte() % most do
    local place = i:integer() % #memory
    if i:byte() % 4 == 0 then place = place % 512 end
    local bytes = i:take(i:choice(8))
    memory:write(place, bytes:sub(1, #memory - place))
  end
end

local function use(ch, i, memory)
  local state = {views = {}}
  for _ = 1, 24 do
    if i:is_done() then break end
    local kind = i:byte()
    if kind >= 240 then
      damage(memory, i, 4)
    else
      check_results(pcall(calls[kind % #calls + 1], ch, i, state))
    end
  end
end

-- What stands in it before it is damaged.
local function fill(ch, i)
  for _ = 1, i:byte() % 8 do
    local call = i:one_of {calls[3], calls[4], calls[9], calls[6], calls[1]}
    call(ch, i, {views = {}})
  end
end

-- A file of the same bytes, of any length.
local function copy_of(memory, i)
  local file = assert(io.tmpfile())
  local bytes = memory:read()
  if i:byte() % 8 == 0 then bytes = bytes:sub(1, i:integer() % #bytes) end
  file:write(bytes)
  file:flush()
  return file
end

local function open_copy(memory, i)
  local file <close> = copy_of(memory, i)
  local ch, message, errno = channel.from(file)
  if not ch then return assert(message and math.type(errno) == "integer") end
  use(ch, i, memory)
  ch:close()
end

local function find(list, name)
  for _, entry in ipairs(list) do
    if (entry.name or entry) == name then return entry end
  end
end

-- One with a name, where others see it. Those of others are left alone.
local function look(i)
  local list = assert(channel.list())
  local entry = assert(find(list, NAME), "it is not listed")
  assert(entry.kind or entry.problem)
  local ch, message, errno = channel.queue(NAME)
  assert(ch or message and math.type(errno) == "integer")
  if ch then ch:close() end
  if #list == 1 and i:byte() % 2 == 0 then
    assert(channel.reap())
    channel.unlink(NAME)
  end
end

local function run(bytes)
  local i = input.new(bytes)
  local ch, other = assert(i:one_of(kinds)())
  local has_name = tostring(ch):find(NAME, 1, true)
  fill(ch, i)
  local memory = assert(mmap.map {file = ch:descriptor()})
  damage(memory, i, 8)
  if has_name then look(i) end
  if i:byte() % 4 == 0 then
    open_copy(memory, i)
  else
    use(ch, i, memory)
  end
  if other then use(other, i, memory) other:close() end
  ch:close()
  memory:close()
end

local seeds = {}
for kind = 0, #kinds - 1 do
  for call = 0, #calls - 1 do
    seeds[#seeds + 1] = string.char(kind, 3, 0, 3, 97, 98, 99, 1, 7, 2, 120,
      121, 0, 2, 99, 99, call % 3, 9 * call, 1, 0, 0, 0, 0, 0, 0, 1, 3, 255,
      255, call % 5, call, call, call + 1, 5, call, 2, 3, 65, 66, 67, 0, 241, 1,
      call, 0, 0, 0, 0, 0, 0, 0, 1, 2, 8, 8, 5, 6, 0, 0, call, 255, call, 255)
  end
end

return {run = run, seeds = seeds}
