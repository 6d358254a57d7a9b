-- Participants of rings killed at any moment, again and again. (Longer, and at
-- each step: make kill.)
local t = require "support"

describe("csrc/lib/ring", function()
  it("outlives 1000 kills in each mode", function()
    assert.is_true(os.execute(t.program "ring_storm" .. " 1000"))
  end)
end)
