-- Participants of rings killed at any moment, again and again. (Longer, and at
-- each step: make kill.)
local t = require "support"

describe("csrc/lib/ring", function()
  it("outlives 500 kills in each mode", function()
    assert.is_true(os.execute(t.program "ring_storm" .. " 500"))
  end)
end)
