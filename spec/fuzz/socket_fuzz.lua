-- Any address is one or an error; messages arrive as they were sent, with as
-- many descriptors as there is room for, and none is left open.
local input = require "fuzz.input"
local pipe = require "unixipc.pipe"
local socket = require "unixipc.socket"

local function close_all(list)
  for _, object in ipairs(list) do object:close() end
end

-- The number that the next descriptor will have.
local function lowest()
  local ends = {pipe.open()}
  local fd = ends[1]:fileno()
  close_all(ends)
  return fd
end

local function refused(value, message, errno)
  return value == nil and type(message) == "string"
    and math.type(errno) == "integer"
end

-- ---- addresses -------------------------------------------------------------

-- No names that a server would be asked for; no paths to be made.
local addresses = {
  function(i) return "@" .. i:string() end,
  function(i) return {host = ("%d.%d.%d.%d"):format(127, i:byte() % 4,
    i:byte(), i:byte()), port = i:byte() << 8 | i:byte()} end,
  function(i) return {host = "127.0.0.1", port = i:integer()} end,
  function(i) return {[i:string()] = i:string(), host = "::1", port = 1} end,
  function(i) return i:integer() end,
  function() return "" end,
}

local function try_address(i)
  local address = i:one_of(addresses)(i)
  local ok, d, message, errno = pcall(socket.datagram, address)
  if not ok then return assert(d:find "bad argument", d) end
  if not d then return assert(refused(d, message, errno)) end
  local here <close> = d
  local bound = here:local_address()
  if type(address) == "string" and address ~= "" and address ~= "@" then
    assert(bound == address, "bound to another name")
  end
  local sender <close> = assert(socket.datagram(
    type(bound) == "table" and {host = "127.0.0.1", port = 0} or nil))
  local sent, why, number = sender:send_to("x", bound, 1)
  if not sent then return assert(refused(sent, why, number)) end
  local bytes, from = here:receive_from(1)
  assert(bytes == "x" and from ~= nil)
end

-- A path that nobody has: never made, an error or a mistake.
local function try_path(i)
  local sender <close> = assert(socket.datagram())
  local path = i:string()
  local ok, sent, why, errno = pcall(sender.send_to, sender, "x", path, 0)
  assert(ok and refused(sent, why, errno) or sent:find "bad argument", sent)
end

-- ---- messages --------------------------------------------------------------

local function check_packet(b, bytes, i)
  local max = i:byte() % 2 == 0 and i:byte() or nil
  local got, length, third = b:receive(1, max)
  assert(third == nil, length)
  if bytes == "" and got == nil then return end
  local most = max or 1 << 20
  assert(got == bytes:sub(1, most), "another message")
  assert(length == (#bytes > most and #bytes or nil))
end

local function try_packets(i)
  local a, b = assert(socket.pair(i:one_of {"seqpacket", "datagram"}))
  for _ = 1, 4 do
    local bytes = i:string()
    assert(a:send(bytes, 1))
    check_packet(b, bytes, i)
  end
  close_all {a, b}
end

-- ---- descriptors -----------------------------------------------------------

local function check_message(b, bytes, count, options)
  local m, why = b:receive_message(options, 1)
  assert(m, why)
  local most = options.max_fds or 253
  assert(#m.fds == math.min(count, most) and m.cut == (count > most))
  close_all(m.fds)
  assert(m.bytes == bytes:sub(1, options.max))
  return #m.bytes
end

local function try_descriptors(i, kind, a, b, r, w)
  assert(b:set_option("passcred", i:byte() % 2 == 0))
  local list = {}
  for place = 1, i:byte() do list[place] = place % 2 == 0 and r or w end
  local bytes = "x" .. i:string()
  local sent, why, errno = a:send_fds(bytes, list, 1)
  if not sent then return assert(refused(sent, why, errno)) end
  local options = {max = i:byte() + 1, peek = i:byte() % 4 == 0}
  if i:byte() % 2 == 0 then options.max_fds = i:byte() % 254 end
  local taken = check_message(b, bytes, #list, options)
  if options.peek then
    options.peek = false
    check_message(b, bytes, #list, options)
  elseif kind == "stream" and taken < #bytes then
    assert(b:read(#bytes - taken, 1) == bytes:sub(taken + 1))
  end
end

local function with_descriptors(i)
  local kind = i:one_of {"stream", "seqpacket", "datagram"}
  local a, b = assert(socket.pair(kind))
  local r, w = assert(pipe.open())
  try_descriptors(i, kind, a, b, r, w)
  close_all {a, b, r, w}
end

local ways = {try_address, try_path, try_packets, with_descriptors}
local free = lowest()

local function run(bytes)
  local i = input.new(bytes)
  for _ = 1, 4 do
    if i:is_done() then break end
    i:one_of(ways)(i)
  end
  assert(lowest() <= free, "a descriptor is left open")
end

local seeds = {
  "\0\0\4name", "\0\1\0\0\1\0\0", "\0\2\1\2\3\4\5\6\7\8", "\0\3\4port\1x",
  "\0\4\1", "\0\5", "\1\9/dev/null", "\1\5/\0abc", "\2\0\3abc\1\0\2xy\0\1\0",
  "\2\1\5abcde\0\2", "\3\0\0\2\4word\255\1\1", "\3\1\1\200\4word\2\1\0\7",
  "\3\2\0\254\0\9\0\1", "\0\0\108" .. ("n"):rep(108),
  "\3\0\0\253\4word\1\0\0\100",
}

return {run = run, seeds = seeds}
