-- The functions are in csrc/codec.c, and so is their documentation.
return require("unixipc.core").codec
