-- MessagePack by lua-messagepack, which is in Lua; compare
-- bench/unixipc/codec.lua.
local mp = require "MessagePack"

require "codec_rows"(mp.pack, mp.unpack)
