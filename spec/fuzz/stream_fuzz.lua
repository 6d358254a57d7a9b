-- Any bytes of a stream: messages as they are framed, values, and formats
-- as Lua's own io library reads them.
local host = ...
local input = require "fuzz.input"
local same = require "fuzz.same"
local pipe = require "unixipc.pipe"

local MOST <const> = 40000 -- less than a pipe takes at once
local LIMIT <const> = 1000

-- ---- messages --------------------------------------------------------------

-- What `receive` has to give: the messages, and why it ends.
local function unframe(bytes)
  local list, at = {}, 1
  while #bytes - at >= 3 do
    local length = string.unpack(">I4", bytes, at)
    if length > LIMIT then return list, 90 end -- EMSGSIZE
    if #bytes - at - 3 < length then return list, 74 end
    list[#list + 1] = bytes:sub(at + 4, at + 3 + length)
    at = at + 4 + length
  end
  return list, at <= #bytes and 74 or nil -- EBADMSG
end

local function receive_all(r)
  local list = {}
  for _ = 1, MOST do
    local message, why, errno = r:receive(1)
    if not message then return list, errno, why end
    list[#list + 1] = message
  end
  error "it does not end"
end

local function try_messages(r, bytes)
  r:set_limit(LIMIT)
  local list, errno = unframe(bytes)
  local ok, got, number = host.limited(200000 + 100 * #bytes, receive_all, r)
  assert(ok, got)
  assert(same(list, got) and errno == number, number)
end

-- ---- formats ---------------------------------------------------------------

local formats = {"l", "L", "n", "a", 0, 1, 7, 300}

local function try_formats(r, bytes, i)
  local file <close> = assert(io.tmpfile())
  file:write(bytes)
  file:seek "set"
  for _ = 1, 40 do
    local format = i:one_of(formats)
    local expected, got = file:read(format), r:read(format, 1)
    assert(same(expected, got), ("%s: %s is not %s"):format(format,
      tostring(got), tostring(expected)))
    if expected == nil and format ~= "n" then break end
  end
end

local function try_some(r, bytes, i)
  local parts = {}
  repeat
    local part, why = r:read_some(i:byte() + 1, 1)
    assert(why == nil, why)
    parts[#parts + 1] = part
  until part == nil
  assert(table.concat(parts) == bytes)
end

local ways = {try_messages, try_formats, try_some, function(r, bytes)
  local lines = {}
  for line in r:lines "L" do lines[#lines + 1] = line end
  assert(table.concat(lines) == bytes)
end}

local function run(bytes)
  local i = input.new(bytes)
  local way, choices = i:one_of(ways), input.new(i:string())
  bytes = i:rest():sub(1, MOST)
  local r, w = assert(pipe.open())
  assert(w:write(bytes))
  w:close()
  way(r, bytes, choices)
  r:close()
end

local seeds = {
  "\0\0\0\0\0\3abc\0\0\0\0\0\0\0\1x", "\0\0\xff\xff\xff\xff", "\0\0\0\0\3\xe8",
  "\0\0\0\0\0\5abc", "\0\0\0\0", "\2\3\1\2\3some bytes", "\3\0a\nb\n\n\0c",
  "\1\5\0\1\2\3\5line\nnext\n12 and 0x1p4", "\1\3\2\2\2 -0x.8p+2,1e5 .5e",
  "\1\2\2\0nan 0x\n1e+\n99999999999999999999", "\1\1\3",
}
for _, numeral in ipairs {"0x1.8p-3", "1e", "-.", "0x", "12345678901234567890",
    ("1"):rep(250), "  +5", "1e5000", "0xffffffffffffffffff", "1.5.2"} do
  seeds[#seeds + 1] = "\1\4\2\1\2\0" .. numeral .. " rest\n"
end

return {run = run, seeds = seeds}
