-- Anybody's bytes are a value or an error, take no more memory than a multiple
-- of their length, and a value travels again.
local host = ...
local codec = require "unixipc.codec"
local same = require "fuzz.same"

-- A table of one byte has 72 bytes, in an array.
local FACTOR <const>, CONSTANT <const> = 100, 20000

local Object, Bad, Gone = {}, {}, {}

local function content(object) return object.content end

codec.register(1, Object, content, function(value)
  return setmetatable({content = value}, Object)
end)
codec.register(2, Bad, content, function() error("no from", 0) end)
codec.register(3, Gone, content, function() end)

local function decode(bytes)
  return host.limited(FACTOR * #bytes + CONSTANT, codec.decode, bytes)
end

local function run(bytes)
  local ok, value, place, errno = decode(bytes)
  if not ok then return assert(value == "no from", value) end
  if errno then
    return assert(value == nil and errno == 74 and type(place) == "string")
  end
  local again = codec.encode(value)
  local back, after = codec.decode(again)
  assert(place >= 2 and place <= #bytes + 1 and after == #again + 1)
  assert(same(value, back), "it has changed on the way")
  ok, value, place, errno = decode(bytes:sub(1, place - 2))
  assert(ok and value == nil and errno == 74, place)
end

local seeds = {
  "\xdd\xff\xff\xff\xff\x01", "\xdf\x7f\xff\xff\xff\x01\x01", "\xc1",
  "\xc6\xff\xff\xff\xff", "\xd4\x02\x00", "\xd5\x03\x91\x01",
  "\xc7\x03\x01\x92\x01\xc0", "\xc8\x00\x01\x01\xc0", "\xd6\xff\0\0\0\5",
  "\xd7\xff\0\0\0\4\0\0\0\1", "\xc7\x0c\xff\0\0\0\1\0\0\0\0\0\0\0\1",
  "\xca\x3f\xc0\0\0", "\x82\x01\x02\xcb\x3f\xf0\0\0\0\0\0\0\x02",
  ("\x91"):rep(99) .. "\x90", ("\x81\x01"):rep(100) .. "\x80",
  ("\xc7\x03\x01"):rep(30), ("\x90"):rep(100),
  "\xdc\0\xff" .. ("\x90"):rep(255), "\xde\0\x02\xa1a\x01\xa1b\xc3",
}
for _, value in ipairs {
  1, -1, 128, 65536, 1 << 40, -200, -70000, -1 << 40, 1.5, true, "abc",
  ("x"):rep(40), ("x"):rep(300), "\xff\xfe", {}, {1, 2.5, "x", {false}},
  {id = 7, name = "name", price = 1.5, ok = true}, {[10] = {{{}}}},
  setmetatable({content = {1, "x"}}, Object),
} do
  seeds[#seeds + 1] = codec.encode(value)
end

return {run = run, seeds = seeds}
