local ipc = require "unixipc"
local mmap, process = ipc.mmap, ipc.process

local RECORD = "<i4 z" -- how many, and of what
local SIZE = 32

return {
  title = "A mapped file as a tiny database",
  text = [[
Records of 32 bytes in a file that is mapped: to change one is to write to
memory. Another process has the same memory, and the file has it all when the
program has ended.]],
  play = function(scene)
    local path = scene.path "stock"
    -- show
    local stock <close> = assert(mmap.map {
      file = path, size = 10 * SIZE, create = true})
    local function put(i, count, name)
      stock:pack(RECORD, (i - 1) * SIZE, count, name)
    end
    local function get(i) return stock:unpack(RECORD, (i - 1) * SIZE) end

    put(1, 12, "apples")
    put(2, 7, "pears")
    local child <close> = assert(process.fork(function()
      local count, name = get(1)
      put(1, count - 2, name)
    end))
    child:wait(5)
    local count, name = get(1)
    assert(stock:sync())
    -- end
    scene.expect("left", count, 10)
    scene.expect("of", name, "apples")
    local file <close> = assert(io.open(path, "rb"))
    scene.expect("in the file", file:read(10), "\10\0\0\0apples")
    os.remove(path)
  end,
}
