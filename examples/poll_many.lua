-- Several programs at once: their output as it comes, and who ends when.
--
--   lua5.4 examples/poll_many.lua
local ipc = require "unixipc"

-- Anything with a descriptor can be in a Poller. A Stream is ready when there
-- is something to read, a Process when it has ended.
local poller <close> = assert(ipc.poll.new())
local handlers = {} -- by object: what to do when it is ready

local function watch(object, handler)
  assert(poller:add(object))
  handlers[object] = handler
end

local function forget(object)
  assert(poller:remove(object))
  handlers[object] = nil
  object:close()
end

local function start(name, script)
  local child = assert(ipc.process.spawn({"sh", "-c", script},
    {stdin = "null", stdout = "pipe"}))
  watch(child.stdout, function(stdout)
    local bytes = stdout:read_some() -- there is some: this does not wait
    if bytes then
      for line in bytes:gmatch "[^\n]+" do
        print(("%-8s says %s"):format(name, line))
      end
    else -- nil: the end of file
      forget(stdout)
    end
  end)
  watch(child, function()
    print(("%-8s has ended: %s %s"):format(name, child:wait()))
    forget(child)
  end)
end

start("quick", "echo one; echo two")
start("slow", "echo begin; sleep 0.3; echo end")
start("failing", "sleep 0.1; exit 3")
start("stuck", "echo ready; exec sleep 60")

while #poller > 0 do
  local ready, message = poller:wait(0.6)
  if ready then
    for _, object in ipairs(ready) do handlers[object](object) end
  else -- "timeout": nothing happened for so long
    print(message .. ": stopping the rest")
    for object in pairs(handlers) do
      if object.kill then assert(object:kill()) end
    end
  end
end
