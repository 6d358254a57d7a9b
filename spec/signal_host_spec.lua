-- Programs in C with Lua inside: spec/c/signal_host.c, which says what each of
-- these tests does.
local t = require "support"

local TESTS = {
  {"close", "lives when its state is closed while a process sends signals"},
  {"close_timers", "lives when its state is closed while timers send them"},
  {"close_thread", "lives when its state is closed while a thread sends them"},
  {"close_elsewhere", "lives when they are delivered to another thread"},
  {"close_pending", "has no signal left blocked when very many were pending"},
  {"restore", "has its own dispositions again when the state is closed"},
  {"original", "has one of them again when it is set to original"},
  {"changed_since", "keeps what it has set since"},
  {"two_states", "has signals in one state; the second one raises"},
  {"turns", "has them run by their state while others run, too"},
  {"other_thread", "has handlers run in the owner's thread only"},
  {"aimed", "wakes the owner's call from another thread, always"},
  {"many_threads", "gets signals after very many threads got theirs"},
  {"thread_after_thread", "can own signals in one thread after the other"},
  {"fork", "can fork, and the child has signals of its own"},
}

describe("A host of Lua", function()
  for _, test in ipairs(TESTS) do
    local name, what = table.unpack(test)
    it(what, function()
      local result = t.children.run(nil, {
        command = {t.program "signal_host", name, t.names.directory()},
        timeout = 30 * t.slow,
      })
      local message = result.timed_out and "no end" or result.err
      assert.equal("", result.out .. message)
      assert.is_nil(result.signal)
      assert.equal(0, result.code)
    end)
  end
end)
