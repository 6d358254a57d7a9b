-- Tables of options, as every function that takes one reads it; and modes.
local t = require "support"
local ipc = require "unixipc"

local fifo, pipe, poll, process = ipc.fifo, ipc.pipe, ipc.poll, ipc.process
local stream, names = ipc.stream, t.names

-- Functions that take options, by name, and one to call in the end.
local function takers()
  local path = names.path()
  local r, w = assert(pipe.open())
  local poller = assert(poll.new())
  local list = {
    ["pipe.open"] = pipe.open,
    ["pipe.popen"] = function(o) return pipe.popen({"true"}, "r", o) end,
    ["fifo.create"] = function(o) return fifo.create(path, o) end,
    ["fifo.open"] = function(o) return fifo.open(path, "rw", o, 0) end,
    ["stream.from"] = function(o) return stream.from(r, o) end,
    ["process.spawn"] = function(o) return process.spawn({"true"}, o) end,
    ["Poller:add"] = function(o) return poller:add(r, "r", o) end,
    ["Poller:modify"] = function(o) return poller:modify(r, "r", o) end,
  }
  return list, function()
    for _, object in ipairs {r, w, poller} do object:close() end
  end
end

describe("Options", function()
  local list, finish

  before_each(function() list, finish = takers() end)
  after_each(function() finish() end)

  it("that are unknown raise, by name", function()
    for name, taker in pairs(list) do
      local message = t.raises("unknown option 'exlusive'", taker,
        {exlusive = true})
      assert.truthy(message:find "bad argument #%d to '", name .. message)
    end
  end)

  it("are told which there are", function()
    local message = t.raises("bad argument #2 to 'unixipc.fifo.create' "
      .. "(unknown option 'exlusive'; known: exclusive, mode)", fifo.create,
      "x", {exlusive = true})
    assert.falsy(message:find "\n", message)
  end)

  it("do not pass for one that they only begin with", function()
    t.raises("unknown option 'mode'", fifo.create, "x", {["mode\0x"] = "0600"})
  end)

  it("say which argument they are", function()
    t.raises("bad argument #1 to", pipe.open, {exlusive = true})
    t.raises("bad argument #2 to", fifo.create, "x", {exlusive = true})
    t.raises("bad argument #3 to", fifo.open, "x", "r", {exlusive = true})
    t.raises("bad argument #2 to", stream.from, 0, {exlusive = true})
    t.raises("bad argument #2 to", process.spawn, {"true"}, {exlusive = true})
  end)

  it("without a name raise", function()
    for _, taker in pairs(list) do
      t.raises("options must have names", taker, {"exclusive"})
      t.raises("options must have names", taker, {[true] = true})
    end
  end)

  it("that are no table raise", function()
    for _, taker in pairs(list) do
      for _, bad in ipairs {true, 1, "exclusive", print} do
        assert.is_false((pcall(taker, bad)))
      end
    end
  end)

  it("may be left out, or be nil", function()
    local r, w = assert(pipe.open(nil))
    stream.from(r, nil):close()
    r:close()
    w:close()
    r, w = assert(pipe.open {capacity = nil})
    r:close()
    w:close()
  end)

  it("are not changed", function()
    local options = {capacity = 4096, packet = false}
    local r, w = assert(pipe.open(options))
    assert.same({capacity = 4096, packet = false}, options)
    r:close()
    w:close()
  end)

  it("may come from a table with a metatable", function()
    local options = setmetatable({}, {__index = {mode = "w"}})
    local file = assert(io.open(names.path(), "w+"))
    local s = assert(stream.from(file, options))
    t.refused("EBADF", s:read_some(1, 0))
    s:close()
    file:close()
  end)
end)

describe("An option", function()
  it("that is a boolean is nothing else", function()
    for _, bad in ipairs {1, 0, "true", {}} do
      t.raises("option 'packet': boolean expected, got " .. type(bad),
        pipe.open, {packet = bad})
    end
  end)

  it("that is an integer has its limits", function()
    for _, bad in ipairs {0, -1, 1 << 31, 1.5, math.mininteger, 0 / 0} do
      t.raises("option 'capacity': integer from 1 to 2147483647 expected",
        pipe.open, {capacity = bad})
    end
    for _, bad in ipairs {"4096", true, {}} do
      t.raises("option 'capacity': integer expected, got " .. type(bad),
        pipe.open, {capacity = bad})
    end
    local r, w = assert(pipe.open {capacity = 4096.0})
    assert.equal(4096, r:capacity())
    r:close()
    w:close()
  end)

  it("that is a word is one of those there are", function()
    for _, bad in ipairs {"x", "", "R", "r\0", "rwx"} do
      t.raises("option 'mode'", stream.from, 0, {mode = bad})
    end
    t.raises("option 'mode': string expected, got number", stream.from, 0,
      {mode = 1})
    t.raises("(option 'mode': unknown word 'x'; known: r, w, rw)", stream.from,
      0, {mode = "x"})
  end)

  it("that is a word alone says which there are", function()
    t.raises("(invalid option 'a'; known: r, w, rw)",
      fifo.open, names.path(), "a")
    t.raises("(invalid option 'queue'; known: msg, sem, shm)",
      ipc.sysv.remove, "queue", 1)
    t.raises("(invalid option 'queue'; known: msg, sem, shm)",
      ipc.sysv.list, "queue")
    t.raises("string expected, got table", fifo.open, names.path(), {})
  end)

  it("that is a string has no zero in it", function()
    t.raises("option 'cwd': string contains an embedded zero", process.spawn,
      {"true"}, {cwd = "/\0"})
    t.raises("option 'cwd': string expected, got table", process.spawn,
      {"true"}, {cwd = {}})
  end)
end)

describe("A mode", function()
  local function mode_of(path)
    local stat <close> = assert(io.popen("stat -c %a " .. path))
    return stat:read "l"
  end

  for what, case in pairs {
    ["letters"] = {"rw-r-----", "640"}, ["all letters"] = {"rwxrwxrwx", "777"},
    ["no letters"] = {"---------", "0"}, ["digits"] = {"0640", "640"},
    ["three digits"] = {"666", "666"}, ["zeros"] = {"0000", "0"},
    ["an integer"] = {384, "600"}, ["integer zero"] = {0, "0"},
    ["the largest integer"] = {511, "777"},
  } do
    it("may be " .. what .. ", whatever the umask", function()
      local path = names.path()
      assert(fifo.create(path, {mode = case[1]}))
      assert.equal(case[2], mode_of(path))
      os.remove(path)
    end)
  end

  it("is for the owner only when it is left out", function()
    local path = names.path()
    assert(fifo.create(path))
    assert.equal("600", mode_of(path))
    os.remove(path)
  end)

  it("that is none raises", function()
    for _, bad in ipairs {"", "rw", "rw-rw-rw", "rw-rw-rw-r", "wr-------",
      "RW-------", "rws------", "8", "08", "0o640", "0888", "1777", "07777",
      "64", "00640", "0640\0", "rw-r----\0", " 640", "-640", 512, -1, 6.5,
      true, {}} do
      local message = t.raises("option 'mode'", fifo.create, names.path(),
        {mode = bad})
      assert.truthy(message:find("bad argument #2", 1, true), message)
    end
  end)
end)
