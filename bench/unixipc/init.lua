-- load: what `require "unixipc"` adds to the start of a program.
local bench = require "bench"

local function load()
  local start = bench.now()
  require "unixipc"
  print(bench.now() - start)
end

-- use: the same, and the first use of a sub-module.
local function use()
  local start = bench.now()
  assert(require("unixipc").pipe)
  print(bench.now() - start)
end

bench.main{load = load, use = use}
