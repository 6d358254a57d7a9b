-- What scripts/run-specs starts for one spec file: busted in this very Lua,
-- with a report that survives whatever the tests print.
-- usage: lua5.4 spec/support/run.lua spec/pipe_spec.lua
table.insert(arg, 1, "--helper=spec/support/helper.lua")
table.insert(arg, 1, "--output=spec/support/report.lua")
require "busted.runner" {standalone = false}
