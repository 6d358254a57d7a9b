-- Scripts run as another user: what a stranger may not do.
local children = require "support.children"

local nobody = {}

local UID = 65534

--- Can this process become somebody else?
function nobody.is_possible()
  local status <close> = assert(io.open "/proc/self/status")
  local uid = status:read("a"):match "Uid:%s+(%d+)"
  return uid == "0" and os.execute "command -v setpriv >/dev/null" == true
end

-- The tree may be where only root can read, and so may the directory of the
-- specs: the library is copied to where all can.
local function make_copy()
  local mktemp <close> =
    assert(io.popen "d=$(mktemp -d -p /tmp) && chmod 755 $d; echo $d")
  local copy = assert(mktemp:read "l")
  local core = assert(package.searchpath("unixipc.core", package.cpath))
  local init = assert(package.searchpath("unixipc", package.path))
  assert(os.execute(([[umask 022; mkdir -p '%s/unixipc' &&
    cp '%s'/*.lua '%s' '%s/unixipc']]):format(copy, init:match "^(.*)/", core,
    copy)))
  return copy
end

--- Runs a script as that user, and returns what it printed.
function nobody.run(script)
  local copy = make_copy()
  local result = children.run(nil, {
    command = {
      "setpriv", "--reuid=" .. UID, "--regid=" .. UID, "--clear-groups",
      os.getenv "LUA" or "lua5.4", "-e", script,
    },
    env = {
      LUA_PATH_5_4 = ("%s/?.lua;%s/?/init.lua"):format(copy, copy),
      LUA_CPATH_5_4 = copy .. "/?.so",
    },
  })
  assert(os.execute("rm -r " .. copy))
  return result.out .. result.err
end

return nobody
