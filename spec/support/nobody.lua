-- Lua scripts run by an ordinary user, uid 65534, who may read all files (the
-- library is somewhere in somebody's home) but has no other right.
--
--   nobody.run([[ print(require("unixipc.errno").EACCES) ]], args...)
local children = require "support.children"
local names = require "support.names"

local nobody = {}

local DROP = {
  "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
  "--inh-caps", "-all,+dac_read_search",
  "--ambient-caps", "-all,+dac_read_search",
}

local function words(...)
  local list = table.move(DROP, 1, #DROP, 1, {})
  return table.move({...}, 1, select("#", ...), #list + 1, list)
end

--- Can that be done here? It takes root, and setpriv(1).
function nobody.is_there()
  return os.execute(table.concat(words "true", " ") .. " 2>/dev/null")
end

--- The words of a command that runs the script so.
function nobody.command(script, ...)
  local file = names.file("local ipc = require 'unixipc'\n"
    .. "local function code(...)\n"
    .. "  return ipc.errno.name((select(3, ...))) or tostring((...))\n"
    .. "end\n" .. script)
  return words(os.getenv "LUA" or "lua5.4", file, ...)
end

--- What the script prints. A script that fails is an error here.
function nobody.run(script, ...)
  local result = children.run("", {command = nobody.command(script, ...)})
  if result.code ~= 0 then error(result.err, 2) end
  return (result.out:gsub("\t", " "):gsub("\n$", ""))
end

return nobody
