---
-- @module unixipc.socket

-- The common server: one listener, processes that share it, one client at a
-- time in each. Returns what socket.lua makes `socket.server` of.
local core = require "unixipc.core"

local errno, pipe, poll = core.errno, core.pipe, core.poll
local process, signal, socket = core.process, core.signal, core.socket

local Server = {}
Server.__index = Server
Server.__name = "socket server"

-- What the server takes itself; the rest are options of listen.
local OWN = {
  address = "any", handler = "function", workers = "number", start = "function",
  drain = "number", log = "function", listener = "userdata",
}
local OWN_NAMES = "address, handler, workers, start, drain, log, listener"

-- A worker that ends sooner than this is started again only after it.
local SHORT_LIFE = 1.0
-- A listener that is out of descriptors is left alone for so long. So often is
-- looked whether a worker has ended, where a process has no descriptor.
local PAUSE = 0.05
local STOPPING = { "SIGTERM", "SIGINT" }

local function log_to_stderr(message)
  io.stderr:write("socket server: ", message, "\n")
end

local function check_options(options)
  if type(options) ~= "table" then
    error("bad argument #1 to 'server' (table expected, got " .. type(options)
      .. ")", 3)
  end
  local own, rest = { workers = 1, drain = 30, log = log_to_stderr }, {}
  for name, value in pairs(options) do
    local wanted = OWN[name]
    if wanted and wanted ~= "any" and type(value) ~= wanted then
      error(("bad argument #1 to 'server' (option '%s': %s expected, got %s)")
        :format(name, wanted, type(value)), 3)
    end
    local place = wanted and own or rest
    place[name] = value
  end
  if not own.handler then
    error("bad argument #1 to 'server' (no handler)", 3)
  end
  if own.workers < 1 or own.workers % 1 ~= 0 then
    error("bad argument #1 to 'server' (option 'workers': a count from 1 "
      .. "expected)", 3)
  end
  if own.listener and next(rest) ~= nil then
    error(("bad argument #1 to 'server' (option '%s': the listener is made "
      .. "already)"):format(next(rest)), 3)
  end
  return own, rest
end

-- Mistakes in the options are those of server's caller, who may give ours too.
local function listen(address, options)
  local ok, listener, message, code = pcall(socket.listen, address, options)
  if ok then return listener, message, code end
  if type(listener) ~= "string" then error(listener, 0) end
  error(listener:gsub("^.-bad argument #%d+ to '[^']*'",
    "bad argument #1 to 'server'"):gsub("; known: ", "%0" .. OWN_NAMES .. ", "),
    3)
end

--- A server for the common case: some processes share a listener, and each
-- serves one client at a time. One that dies is started again. On SIGTERM or
-- SIGINT no more clients come in, those that are served are served to their
-- end, and then `run` returns.
--
-- Options beside those of `listen`: `handler`, a function that gets each client
-- (a Stream or a Packet, closed when it returns) and the server; an error in it
-- is logged and ends that client only. `workers`: how many processes (1).
-- `start`: a function that each calls first. `drain`: how many seconds clients
-- may take to end (30); then workers are killed. `log`: a function that gets
-- messages, which go to stderr otherwise. `listener`: one that is there
-- already, in the place of `address`; it stays open.
-- @function server
-- @tparam table options
-- @treturn[1] Server which listens already: `server.listener`
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer errno: as `listen`
-- @see Server:run
local function server(options)
  local own, rest = check_options(options)
  own.is_given = own.listener ~= nil
  if not own.is_given then
    local listener, message, code = listen(own.address, rest)
    if not listener then return nil, message, code end
    own.listener = listener
  end
  own.children, own.restart_at = {}, {}
  return setmetatable(own, Server)
end

-- ---- signals that stop us --------------------------------------------------

-- A pipe that is readable from the first such signal on; the handlers that
-- were there before come back when it is closed.
local function watch_signals()
  local r, w = assert(pipe.open())
  local before = {}
  for _, name in ipairs(STOPPING) do
    before[name] = signal.handle(name, function() w:write_some("x", 0) end)
  end
  local function close()
    for name, action in pairs(before) do signal.handle(name, action) end
    r:close()
    w:close()
  end
  return setmetatable({ reader = r, writer = w }, { __close = close })
end

local function path_of(listener)
  local address = listener:local_address()
  local is_path = type(address) == "string" and address:find "^[^@]"
  return is_path and address
end

-- Is its file gone, or another's? Then no more clients can come in. Who asks
-- sees it in the error: a datagram socket never gets in anywhere.
local function is_closed(self)
  local path = path_of(self.listener)
  if not path then return false end
  local probe, _, code = socket.connect(path, { type = "datagram" }, 0)
  if probe then probe:close() end
  return code == errno.ENOENT
end

-- ---- in a worker -----------------------------------------------------------

local function serve(self, client)
  local ok, problem = xpcall(self.handler, debug.traceback, client, self)
  client:close()
  if not ok then self.log("a client was given up: " .. tostring(problem)) end
end

-- Takes one client, if there is one. False when there is none.
local function serve_next(self)
  local client, message, code = self.listener:accept(0)
  if client then
    serve(self, client)
    return true
  end
  if code == errno.ETIMEDOUT then return false end
  self.log(message)
  collectgarbage() -- what nobody closed may be what there is too much of
  process.sleep(PAUSE)
  return true
end

-- `alive` ends when the parent does, however it ends.
local function work(self, alive, mask)
  local stop <close> = watch_signals()
  signal.set_mask(mask)
  local waiting = { self.listener, stop.reader, alive }
  if self.start then self.start(self) end
  local is_stopping = false
  while not is_stopping do
    for _, object in ipairs(assert((poll.wait(waiting)))) do
      if object ~= self.listener then is_stopping = true end
    end
    if not is_stopping then serve_next(self) end
  end
  -- Nobody can connect to a file that is gone: those who did are served.
  while is_closed(self) and serve_next(self) do collectgarbage "step" end
end

-- ---- in the parent ---------------------------------------------------------

local function start_worker(self, i, alive, keep)
  -- A signal that comes before the worker has its own handlers has to wait.
  local mask = signal.block(STOPPING)
  local child, message = process.fork(function()
    keep:close()
    work(self, alive, mask)
  end)
  signal.set_mask(mask)
  if not child then
    self.log("no worker: " .. message)
    self.restart_at[i] = process.now() + SHORT_LIFE
    return
  end
  self.children[i] = child
  self.restart_at[i] = process.now() + SHORT_LIFE
end

-- Starts those that are due; returns the seconds until the next one is.
local function start_workers(self, alive, keep)
  local soonest
  for i = 1, self.workers do
    local left = (self.restart_at[i] or 0) - process.now()
    if not self.children[i] and left <= 0 then
      start_worker(self, i, alive, keep)
    elseif not self.children[i] then
      soonest = math.min(soonest or left, left)
    end
  end
  return soonest
end

-- Takes the status of those that ended.
local function reap(self)
  for i = 1, self.workers do
    local child = self.children[i]
    local how, status = nil, nil
    if child then how, status = child:wait(0) end
    if how then
      child:close()
      self.children[i] = nil
      if not self.is_stopping then
        self.log(("worker %d ended: %s %s"):format(child.pid, how, status))
      end
    end
  end
end

-- Sleeps until a worker has ended, or is to be looked at, or all are to stop:
-- then it returns true.
local function wait_for_workers(self, stop, timeout)
  local list = { stop and stop.reader }
  for i = 1, self.workers do
    local child = self.children[i]
    if child and child:fileno() >= 0 then
      list[#list + 1] = child
    elseif child then
      timeout = math.min(timeout or PAUSE, PAUSE)
    end
  end
  local ready = poll.wait(list, timeout)
  return stop and ready and ready[1] == stop.reader
end

local function supervise(self, stop, alive, keep)
  while not self.is_stopping do
    local soonest = start_workers(self, alive, keep)
    self.is_stopping = wait_for_workers(self, stop, soonest)
    reap(self)
  end
end

local function kill_all(self, name)
  for i = 1, self.workers do
    if self.children[i] then self.children[i]:kill(name) end
  end
end

local function drain(self)
  local deadline = process.now() + self.drain
  local path = not self.is_given and path_of(self.listener)
  if path then os.remove(path) end
  kill_all(self, "SIGTERM")
  while next(self.children) do
    local left = deadline - process.now()
    if left <= 0 then
      self.log "workers that did not end are killed"
      kill_all(self, "SIGKILL")
      left = nil
    end
    wait_for_workers(self, nil, left)
    reap(self)
  end
end

--- Starts the workers, and returns when the server was stopped and they have
-- ended. In the worker itself it does not return.
-- @function Server:run
-- @treturn boolean true
function Server:run()
  local reader, writer = assert(pipe.open())
  local alive <close> = reader
  local keep <close> = writer
  local stop <close> = watch_signals()
  self.is_stopping = false
  self.wake = stop.writer
  supervise(self, stop, alive, keep)
  drain(self)
  self.wake = nil
  if not self.is_given then self.listener:close() end
  return true
end

--- Makes `run` stop, as SIGTERM does: for a handler of another signal or a
-- timer.
-- @function Server:stop
function Server:stop()
  if self.wake then self.wake:write_some("x", 0) end
end

return server
