-- Tables through a pipe, as MessagePack: lua-messagepack, and luaposix for the
-- processes; Lua's own files, with full buffers. Compare
-- bench/unixipc/channel.lua.
local bench = require "bench"
local values = require "values"
local mp = require "MessagePack"
local stdio = require "posix.stdio"
local unistd = require "posix.unistd"
local wait = require("posix.sys.wait").wait

local function supply(fd, n)
  local out = stdio.fdopen(fd, "w")
  out:setvbuf("full")
  for _ = 1, n do
    local bytes = mp.pack(values.small)
    out:write((">I4"):pack(#bytes), bytes)
  end
  out:close()
end

-- tables n cpu: each behind its length.
local function tables(n, cpu)
  local r, w = unistd.pipe()
  local pid = assert(unistd.fork())
  if pid == 0 then
    unistd.close(r)
    supply(w, bench.total(n))
    unistd._exit(0)
  end
  unistd.close(w)
  bench.pin(pid, cpu)
  local inp, value = stdio.fdopen(r, "r"), nil
  bench.measure(n, function(count)
    for _ = 1, count do
      local length = (">I4"):unpack(inp:read(4))
      value = mp.unpack(inp:read(length))
    end
  end)
  assert(value.price == 1.5)
  wait(pid)
end

bench.main {tables = tables}
