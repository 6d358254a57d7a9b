-- What programs in C, and in C++, are told of csrc/lib/ring.h.
local t = require "support"
local ipc = require "unixipc"

local SOURCES <const> = "csrc/lib/ring*.c csrc/lib/segment*.c "
  .. "csrc/lib/futex.c csrc/lib/clock.c csrc/lib/memory.c"

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read "a"
  assert.is_true(pipe:close(), command .. "\n" .. output)
  return output
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

describe("A program in C", function()
  local directory

  before_each(function()
    directory = t.names.path()
    run("mkdir " .. directory)
  end)

  after_each(function() run("rm -r " .. directory) end)

  it("is built as its comment says, and takes part", function()
    local source = assert(io.open("examples/channel_peer.c")):read "a"
    local command = assert(source:match "(cc %-Icsrc.-) %*/")
      :gsub("\\\n", ""):gsub("channel_peer$", directory .. "/peer")
    assert.equal("", run(command))
    local name = t.names.posix()
    local queue <close> = assert(ipc.channel.queue(name,
      {create = true, temporary = true}))
    run(("echo hello | %s/peer send %s"):format(directory, name:sub(2)))
    assert.equal("hello", queue:receive(5 * t.slow))
  end)

  it("may be in C++", function()
    if not os.execute "command -v c++ >/dev/null" then
      pending "no C++ compiler"
    end
    write(directory .. "/main.cc", [[
      #include "lib/ring.h"
      int main() {
        ux_segment s;
        ux_ring r;
        ux_ring_message m;
        ux_segment_options o = ux_segment_options();
        char buffer[8];
        o.kind = UX_SEGMENT_QUEUE;
        if (ux_segment_create(&s, nullptr, 0600, &o) != 0) return 1;
        if (ux_ring_init(&r, &s, 0) != 0) return 2;
        if (ux_ring_send(&r, "hello", 5, -1) != 0) return 3;
        if (ux_ring_receive(&r, buffer, 8, &m, 0) != 0) return 4;
        ux_ring_done(&r);
        ux_segment_detach(&s);
        return m.length == 5 ? 0 : 5;
      }]])
    local warnings = "-Wall -Wextra -Wpedantic -Werror"
    run(([[d=%s && for f in %s; do
      cc -std=c11 %s -Icsrc -c $f -o $d/$(basename $f).o || exit 1; done &&
      c++ %s -Icsrc $d/main.cc $d/*.o -pthread -o $d/main && $d/main]]):format(
      directory, SOURCES, warnings, warnings))
  end)
end)
