-- A filter in both directions: words go to sort's input, its output comes back
-- on the same stream.
--
--   lua5.4 examples/pipe_filter.lua pear apple fig
local ipc = require "unixipc"

local words = arg
if #words == 0 then words = {"pear", "apple", "fig", "apple"} end

-- A table is a program and its arguments; no shell sees them, so there is
-- nothing to quote. A program that is not there is an error of this call.
local filter, child = assert(ipc.pipe.popen({"sort", "-u"}, "rw"))

for _, word in ipairs(words) do
  assert(filter:write(word, "\n"))
end
-- sort prints nothing before it has seen the end of its input: here it is.
assert(filter:shutdown "write")

for line in filter:lines() do
  print(line)
end
filter:close()

local how, code = assert(child:wait(5))
assert(how == "exit" and code == 0, "sort failed")

-- This is enough for programs that read all before they write, as sort does,
-- or that answer each line at once. A program that writes while it still has
-- much to read could block, and so could we: see Process:communicate, which
-- reads and writes as there is room.
