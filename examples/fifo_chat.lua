-- A chat between two terminals of a user. Either side may type at any time;
-- Ctrl-D or Ctrl-C leaves.
--
--   lua5.4 examples/fifo_chat.lua /tmp/chat alice      in one terminal
--   lua5.4 examples/fifo_chat.lua /tmp/chat bob        in another
--
-- Two FIFOs, one for each way. Who comes first makes PATH.1 and reads from it;
-- the second finds it, and reads from PATH.2. As soon as both have both open
-- the names go. The FIFOs work on until they are closed, but nobody can come
-- in between, and whatever happens now, no file is left behind.
local ipc = require "unixipc"
local errno, fifo, poll = ipc.errno, ipc.fifo, ipc.poll

local path, name = arg[1], arg[2]
if not name then
  io.stderr:write "usage: lua5.4 examples/fifo_chat.lua PATH NAME\n"
  os.exit(2)
end
io.stdout:setvbuf "line"

local keyboard = assert(ipc.stream.from(io.stdin)) -- what poll can wait for
local typed = "" -- the beginning of a line
local unsent = {} -- lines for somebody who is not here yet
local bell, inbox, outbox -- Streams
local partner -- a name

-- ---- meeting ---------------------------------------------------------------

local function remove(file)
  local ok, message, code = fifo.unlink(file)
  assert(ok or code == errno.ENOENT, message)
end

-- If somebody waits, PATH.1 has a reader, and opening it to write succeeds.
local function join_first()
  local stream, message, code = fifo.open(path .. ".1", "w", nil, 0.5)
  outbox = stream
  if outbox then
    assert(outbox:set_timeout(5):send(name)) -- rings the bell
    inbox = assert(fifo.open(path .. ".2", "r",
      {create = true, temporary = true}, 5))
  elseif code == errno.ETIMEDOUT then -- of one who was killed while waiting
    remove(path .. ".1")
  else
    assert(code == errno.ENOENT, message)
  end
  return outbox ~= nil
end

-- "rw" waits for nobody. But with it we are a writer too and would see no end
-- of file: it is only there to be rung.
local function wait_as_first()
  local message, code
  bell, message, code = fifo.open(path .. ".1", "rw",
    {create = true, exclusive = true, temporary = true})
  assert(bell or code == errno.EEXIST, message)
  if bell then print("* waiting for somebody at " .. path) end
  return bell ~= nil
end

-- The bell rang: the second has PATH.1 open to write, and opens PATH.2.
local function let_in_second()
  inbox = assert(fifo.open(path .. ".1", "r", nil, 5))
  outbox = assert(fifo.open(path .. ".2", "w", {create = true}, 5))
  bell:close() -- is temporary: PATH.1 goes
  bell = nil
  remove(path .. ".2")
  assert(outbox:set_timeout(5):send(name))
  for _, line in ipairs(unsent) do assert(outbox:send(line)) end
end

-- ---- talking: each of these returns false when the chat is over ------------

local function say(line)
  if not outbox then
    unsent[#unsent + 1] = line
    return true
  end
  local ok, message = outbox:send(line)
  if not ok then print("* cannot reach " .. (partner or "them") .. ": "
    .. message) end
  return ok ~= nil
end

-- Takes what there is, which need not be a line: to wait for the end of a line
-- here would keep us from hearing the other.
local function hear_keyboard()
  local bytes = keyboard:read_some()
  if not bytes then
    print "* you have left"
    return false
  end
  typed = typed .. bytes
  for line in typed:gmatch "([^\n]*)\n" do
    if not say(line) then return false end
  end
  typed = typed:match "[^\n]*$"
  return true
end

-- The first message is a name, each other a line.
local function hear_partner()
  local message, why = inbox:receive()
  if not message then
    print("* " .. (partner or "somebody") .. " has left"
      .. (why and ": " .. why or ""))
    return false
  elseif partner then
    print(partner .. ": " .. message)
  else
    partner = message
    print("* " .. partner .. " is here")
  end
  return true
end

local function take_turn(ready)
  if ready == keyboard then return hear_keyboard() end
  if ready == inbox then return hear_partner() end
  let_in_second()
  return true
end

local function chat()
  -- Both may start at the same moment: one of them makes PATH.1.
  while not (join_first() or wait_as_first()) do end
  while true do
    for _, ready in ipairs(assert(poll.wait {keyboard, inbox or bell})) do
      if not take_turn(ready) then return end
    end
  end
end

-- Ctrl-C raises "interrupted!" out of whatever call is blocked.
local ok, message = pcall(chat)
for _, stream in pairs {bell = bell, inbox = inbox, outbox = outbox} do
  stream:close()
end
if not ok then
  local is_ctrl_c = tostring(message):find "interrupted!$"
  io.stderr:write(is_ctrl_c and "* you have left" or tostring(message), "\n")
  os.exit(is_ctrl_c and 130 or 1, true)
end
