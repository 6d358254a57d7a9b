--- Inter-process communication for Lua: every Unix way for processes to talk.
--
--    local ipc = require "unixipc"
--    local r, w = assert(ipc.pipe.open())
--
-- Each field is the module of that name, loaded when it is first used:
-- `ipc.pipe` is `require "unixipc.pipe"`.
-- @module unixipc

local ipc = {
  --- The version of this package.
  _VERSION = "unixipc scm",
}

local core = require "unixipc.core"

-- The library in C knows which modules there are.
local function load_module(self, name)
  if core[name] == nil then return nil end
  local module = require("unixipc." .. name)
  self[name] = module
  return module
end

return setmetatable(ipc, { __index = load_module })
