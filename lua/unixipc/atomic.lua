-- The functions are in csrc/atomic.c, and so is their documentation.
return require("unixipc.core").atomic
