-- A thousand processes killed at each of the primitives of csrc/lib/psync.
local t = require "support"

describe("csrc/lib/psync", function()
  it("outlives 1000 killed processes of each kind", function()
    assert.is_true(os.execute(t.program "psync_test" .. " 1000"))
  end)
end)
