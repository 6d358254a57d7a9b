-- Receives what examples/sysv_msg_sender.lua sends, urgent messages first, and
-- answers each one over the same queue, until it is told to end or Ctrl-C.
--
--   lua5.4 examples/sysv_msg_receiver.lua [path]              in one terminal
--   lua5.4 examples/sysv_msg_sender.lua [path] word...        in another
--
-- Both make the key of the same file, which the receiver makes and locks. The
-- lock ends with it, also by kill -9: so who gets the lock is the only one, and
-- what it finds under the key is left over.
--
-- The type says whom a message is for:
--
--   1     urgent, for the receiver
--   2     for the receiver
--   pid   the answer, for the sender that has this pid
--
-- The body of a request is the sender's pid, a space, and the text. Who asks
-- for the end says with an empty message that it has its answers: they would go
-- with the queue.
local ipc = require "unixipc"

local ORDINARY = 2 -- and 1, urgent

local path = arg[1] or "/tmp/unixipc.messages"
io.stdout:setvbuf "line"

local function answer(queue, request)
  local pid, text = request:match "^(%d+) (.*)$"
  if not pid then return print("not a request: " .. request) end
  print(("from %s: %s"):format(pid, text))
  -- A timeout: if the queue is full of answers that nobody takes, we go on.
  local ok, message = queue:send(text:reverse(), tonumber(pid), 1)
  if not ok then print("no answer to " .. pid .. ": " .. message) end
  return text
end

-- SIGTERM as Ctrl-C: else it would end this process with nothing removed.
ipc.signal.handle("SIGTERM", function() error("interrupted!", 0) end)

local function serve()
  local lock <close>, why = ipc.lock.flock(path, {create = true}, 0)
  if not lock then error(path .. ": " .. why .. ". Is one running?", 0) end
  local key = assert(ipc.sysv.ftok(path, "q"))
  local left_over = ipc.sysv_msg.get(key)
  if left_over then assert(left_over:remove()) end
  -- "temporary": the queue goes when this process ends, also by an error.
  local queue <close> = assert(ipc.sysv_msg.get(key,
    {create = true, temporary = true}))
  print("listening, " .. tostring(queue))
  repeat
    -- Below 0: the lowest type that there is, up to 2. So urgent ones first,
    -- and never an answer.
    local request = assert(queue:receive(-ORDINARY))
    local text = answer(queue, request)
  until text == "quit"
  queue:receive(-ORDINARY, 1)
end

local ok, message = pcall(serve)
if not ok and not tostring(message):find "interrupted!$" then
  io.stderr:write(tostring(message), "\n")
  os.exit(1, true)
end
print "stopped"
