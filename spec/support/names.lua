-- Names that no other run uses: a directory of our own for paths, and a tag
-- for what has no directory.
local names = {}

local function outputOf(command)
  local pipe <close> = assert(io.popen(command))
  return (pipe:read "l")
end

-- The parent of the shell is this process.
local pid = outputOf "echo $PPID"
local count = 0

--- The beginning of all names of this process: "ux1234_".
names.tag = "ux" .. pid .. "_"

--- A name such as "ux1234_1": for abstract sockets, environment, anything.
function names.unique()
  count = count + 1
  return names.tag .. count
end

--- A name for shm_open, sem_open and mq_open: "/ux1234_1".
function names.posix()
  return "/" .. names.unique()
end

--- The path of nothing yet, short enough for a socket.
function names.path(suffix)
  return names.directory() .. "/" .. names.unique() .. (suffix or "")
end

--- A file with these bytes in it, its path.
function names.file(bytes)
  local path = names.path()
  local file <close> = assert(io.open(path, "wb"))
  file:write(bytes or "")
  return path
end

local directory

-- When the Lua state is closed; not by the finalizers of a forked child.
local function removeDirectory()
  os.execute("[ $PPID = " .. pid .. " ] && rm -rf '" .. directory .. "'")
end

--- The directory of this process, removed when the process ends.
function names.directory()
  if not directory then
    directory = assert(outputOf "mktemp -d ${TMPDIR:-/tmp}/ux.XXXXXX")
    setmetatable(names, {__gc = removeDirectory})
  end
  return directory
end

return names
