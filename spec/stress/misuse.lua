-- Every function and method, called with whatever there is: wrong types, huge
-- numbers, objects of other classes, closed ones. It may raise or fail; it may
-- not crash, and not hang. From the environment: ROUNDS, how many children do
-- 400 such calls each (300); SEED, of the first one. The message of a failure
-- ends with the calls that led to it.
local t = require "support"

local ROUNDS = tonumber(os.getenv "ROUNDS") or 300
local SEED = tonumber(os.getenv "SEED") or os.time()
local PATIENCE = 30 * t.slow -- seconds a child

-- In a world of its own: processes, kernel objects, files. Files have a limit,
-- lest a segment of very many bytes takes the machine's memory.
local ISOLATE = [[
  mount -t tmpfs tmpfs /dev/shm && mkdir /dev/shm/work && cd /dev/shm/work &&
  ulimit -f 200000 && exec "$@" ]]

describe("Any function", function()
  it("may get any arguments", function()
    local program = assert(package.searchpath("support.misuse", package.path))
    local result = t.children.run(nil, {
      command = {"unshare", "--ipc", "--mount", "--pid", "--fork",
        "--mount-proc", "sh", "-c", ISOLATE, "sh",
        os.getenv "LUA" or "lua5.4", program, SEED, ROUNDS, PATIENCE},
      timeout = ROUNDS * PATIENCE,
    })
    assert.equal(0, result.code, result.err)
    assert.truthy(result.out:find(("%d\n$"):format(ROUNDS)))
  end)
end)
