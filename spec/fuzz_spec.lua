-- The targets of make fuzz, each for a moment.
require "support"
local fuzz = require "support.fuzz"

local RUNS <const> = 300

describe("Hostile bytes", function()
  for stem, path in pairs(fuzz.targets()) do
    it("are an error or a value: " .. stem, function()
      local target = fuzz.load(path)
      assert.is_true(#target.seeds > 0)
      fuzz.run(target, function(runs)
        return runs >= RUNS + #target.seeds
      end)
    end)
  end
end)
