---
-- @module unixipc.sysv

-- Most is in csrc/sysv.c; `list` reads what the kernel shows to everybody.
local sysv = require("unixipc.core").sysv

-- What the kernel calls the columns, and what they are called here.
local NAMES = {
  msqid = "id", semid = "id", shmid = "id",
  cuid = "creator_uid", cgid = "creator_gid", ctime = "changed_at",
  cbytes = "bytes", qnum = "messages", lspid = "last_sender",
  lrpid = "last_receiver", stime = "sent_at", rtime = "received_at",
  nsems = "count", otime = "operated_at",
  cpid = "creator", lpid = "last_user", nattch = "attached",
  atime = "attached_at", dtime = "detached_at", rss = "resident",
  swap = "swapped",
}

local KINDS = { "msg", "sem", "shm" }
local REMOVED, LOCKED = tonumber("1000", 8), tonumber("2000", 8)

local function mode_of(bits)
  local letters = {}
  for i = 0, 8 do
    local is_set = bits & (tonumber("400", 8) >> i) ~= 0
    letters[#letters + 1] = is_set and ("rwxrwxrwx"):sub(i + 1, i + 1) or "-"
  end
  return table.concat(letters)
end

local function set_mode(entry, kind, perms)
  local bits = tonumber(perms, 8)
  entry.mode = mode_of(bits)
  if kind == "shm" then
    entry.is_removed = bits & REMOVED ~= 0
    entry.is_locked = bits & LOCKED ~= 0
  end
end

-- The first line names the columns: "key msqid perms …".
local function read_kind(kind)
  local file <close>, message, code = io.open("/proc/sysvipc/" .. kind)
  if not file then return nil, message, code end
  local columns, list = {}, {}
  for name in (file:read "l" or ""):gmatch "%S+" do
    columns[#columns + 1] = name
  end
  for line in file:lines() do
    local entry, i = {}, 0
    for field in line:gmatch "%S+" do
      i = i + 1
      local name = columns[i]
      if name == "perms" then
        set_mode(entry, kind, field)
      else
        entry[NAMES[name] or name] = math.tointeger(tonumber(field))
      end
    end
    list[#list + 1] = entry
  end
  return list
end

--- What there is in the system, or in this process's IPC namespace, whoever
-- made it: what `ipcs` shows. Each entry is a table with the fields that
-- `stat` gives for that kind, without `max_bytes` of queues; segments have
-- `resident` and `swapped` bytes besides.
-- @function list
-- @tparam[opt] string kind `"msg"`, `"sem"` or `"shm"`
-- @treturn[1] table a list of entries; without a kind, a table of the three
-- lists, `msg`, `sem` and `shm`
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer errno: ENOENT (no /proc/sysvipc on this system)
-- @see sysvipc(7)
function sysv.list(kind)
  if kind ~= nil then
    if kind ~= "msg" and kind ~= "sem" and kind ~= "shm" then
      error(("bad argument #1 to 'list' (invalid option '%s'; "
        .. "known: msg, sem, shm)")
        :format(tostring(kind)), 2)
    end
    return read_kind(kind)
  end
  local all = {}
  for _, name in ipairs(KINDS) do
    local list, message, code = read_kind(name)
    if not list then return nil, message, code end
    all[name] = list
  end
  return all
end

return sysv
