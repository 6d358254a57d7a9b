-- The codec alone, in one process; the same values as in the other programs of
-- this name.
local codec = require "unixipc".codec

require "codec_rows"(codec.encode, codec.decode)
