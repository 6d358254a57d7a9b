-- Hello over a pipe: the child writes, the parent reads.
--
--   lua5.4 examples/pipe_hello.lua
local ipc = require "unixipc"

-- A pipe has two ends. What is written into w is read from r.
local r, w = assert(ipc.pipe.open())

-- fork makes a second process, a copy of this one. The function is all that
-- it does; what the function returns is its exit code, nothing means 0.
local child <close> = assert(ipc.process.fork(function()
  r:close()
  w:write("hello from process ", ipc.process.pid(), "\n")
end))

-- Both processes have both ends now. The reader sees the end of file when the
-- last copy of w is closed, so this process lets go of its own.
w:close()

print("process " .. ipc.process.pid() .. " reads:")
print(r:read("l", 2.5)) -- one line, waiting at most 2.5 seconds
print(r:read("l", 2.5)) --> nil, the end of file
print(child:wait(1.0)) --> exit 0
r:close()
