-- The functions are in csrc/posix_sem.c, and so is their documentation.
return require("unixipc.core").posix_sem
