-- The functions are in csrc/stream.c, and so is their documentation.
return require("unixipc.core").stream
