-- Loaded by busted before the spec file: nothing may leak from any test.
require("support.leaks").install()
