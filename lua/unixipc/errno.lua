-- The functions are in csrc/errno.c, and so is their documentation.
return require("unixipc.core").errno
