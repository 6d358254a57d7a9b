-- What a process may leave behind, before and after: descriptors, children,
-- kernel objects with a name or an id, signals blocked or ignored. Everything
-- is a line of text, so a leak is a line that was not there before.
local lfs = require "lfs"

local leaks = {}

local GRACE = 1.0 -- seconds for what ends by itself, as a child just killed

local function readAll(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

local function entries(directory)
  if lfs.attributes(directory, "mode") ~= "directory" then
    return function() end
  end
  return lfs.dir(directory)
end

-- Looking opens a descriptor too: the one of /proc/self/fd itself.
local function addDescriptors(found)
  for fd in entries "/proc/self/fd" do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. fd, "target")
    if target and not target:find "^/proc/%d+/fd$" then
      found["descriptor " .. fd .. " -> " .. target] = true
    end
  end
end

local function addChildren(found)
  for pid in readAll("/proc/thread-self/children"):gmatch "%d+" do
    local stat = readAll("/proc/" .. pid .. "/stat")
    local name, state = stat:match "%((.*)%) (%a)"
    if state then
      state = state == "Z" and "not waited for" or "running"
      found[("child %s (%s), %s"):format(pid, name, state)] = true
    end
  end
end

-- Files of shared memory and of message queues are there for all to see:
-- other users' do not count, nor do those named by another run of the specs.
local function addFiles(found, directory, own, tag)
  for name in entries(directory) do
    local path = directory .. "/" .. name
    local foreign = name:find "^%W*%a*%.?ux%d+_" and not name:find(tag, 1, true)
    if name:find "^[^.]" and not foreign
      and lfs.attributes(path, "uid") == own then
      found[path] = true
    end
  end
end

-- The columns have names in the first line: "key msqid perms … uid …".
local function addSysv(found, kind, own)
  local id, uid
  for line in readAll("/proc/sysvipc/" .. kind):gmatch "[^\n]+" do
    local fields = {}
    for field in line:gmatch "%S+" do
      fields[#fields + 1] = field
      if field:find "^%a+id$" and not id then id = #fields end
      if field == "uid" then uid = #fields end
    end
    if tonumber(fields[uid]) == own then
      found[("System V %s id %s"):format(kind, fields[id])] = true
    end
  end
end

local function addStatus(found)
  local status = readAll "/proc/self/status"
  for name, value in status:gmatch "(%w+):\t(%x+)\n" do
    if name == "SigBlk" or name == "SigIgn" then
      -- The two that the C library keeps for its threads are its own affair.
      local set = tonumber(value, 16) & ~(1 << 31 | 1 << 32)
      found[("%s %016x"):format(name, set)] = true
    elseif name == "Umask" then
      found[name .. " " .. value] = true
    end
  end
end

--- What there is now: a set of lines.
function leaks.snapshot()
  collectgarbage() -- what is only waiting for its finalizer is no leak
  local found = {}
  local own = lfs.attributes("/proc/self", "uid")
  local tag = require("support.names").tag
  addDescriptors(found)
  addChildren(found)
  addFiles(found, "/dev/shm", own, tag)
  addFiles(found, "/dev/mqueue", own, tag)
  for _, kind in ipairs {"msg", "sem", "shm"} do addSysv(found, kind, own) end
  addStatus(found)
  return found
end

--- A sorted list of the lines that are there now and were not `before`.
function leaks.since(before)
  local new = {}
  for line in pairs(leaks.snapshot()) do
    if not before[line] then new[#new + 1] = line end
  end
  table.sort(new)
  return new
end

-- A child that was let go is waited for when the next process is started.
local function startAnother()
  local process = package.loaded["unixipc.process"]
  local child <close> = process and process.spawn {"true"}
  if child then child:wait() end
end

--- Raises an error if anything of this process is left since `before`.
function leaks.check(before, name)
  local busted = require "busted"
  local new, start = leaks.since(before), busted.monotime()
  while #new > 0 and busted.monotime() - start < GRACE do
    busted.sleep(0.01)
    startAnother()
    new = leaks.since(before)
  end
  if #new > 0 then
    error(("left behind by %q:\n%s"):format(name, table.concat(new, "\n")), 0)
  end
end

--- Makes busted check after each test. A test that failed is not checked: what
-- it left is for the failed assertion to explain.
function leaks.install()
  local busted = require "busted"
  local before, name, status
  busted.subscribe({"test", "end"}, function(element, _, result)
    name, status = element.name, result
    return nil, true
  end)
  busted.before_each(function() before = leaks.snapshot() end)
  busted.after_each(function()
    if status == "success" then leaks.check(before, name) end
  end)
end

return leaks
