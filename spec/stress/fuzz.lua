-- The targets of make fuzz, where there is no libFuzzer: blindly, FUZZ_SECONDS
-- for each.
require "support"
local fuzz = require "support.fuzz"

local SECONDS <const> = tonumber(os.getenv "FUZZ_SECONDS") or 60

describe("Hostile bytes", function()
  for stem, path in pairs(fuzz.targets()) do
    it("are an error or a value: " .. stem, function()
      local start = os.time()
      fuzz.run(fuzz.load(path), function()
        return os.difftime(os.time(), start) >= SECONDS
      end)
    end)
  end
end)
