-- Locks on files with luaposix; compare bench/unixipc/lock.lua.
local bench = require "bench"
local fcntl = require "posix.fcntl"
local stdlib = require "posix.stdlib"

-- fcntl n: one byte locked and unlocked.
local function record(n)
  local fd, path = assert(stdlib.mkstemp "/tmp/bench-lock-XXXXXX")
  os.remove(path)
  local take = {l_type = fcntl.F_WRLCK, l_whence = fcntl.SEEK_SET,
    l_start = 0, l_len = 1}
  local give = {l_type = fcntl.F_UNLCK, l_whence = fcntl.SEEK_SET,
    l_start = 0, l_len = 1}
  bench.measure(n, function(count)
    for _ = 1, count do
      fcntl.fcntl(fd, fcntl.F_SETLKW, take)
      fcntl.fcntl(fd, fcntl.F_SETLKW, give)
    end
  end)
end

bench.main{fcntl = record}
