-- The functions are in csrc/lock.c, and so is their documentation.
return require("unixipc.core").lock
