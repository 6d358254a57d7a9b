-- Values as JSON by lua-cjson, which is in C; compare bench/unixipc/codec.lua.
local cjson = require "cjson"

require "codec_rows"(cjson.encode, cjson.decode)
