-- The functions are in csrc/mmap.c, and so is their documentation.
return require("unixipc.core").mmap
