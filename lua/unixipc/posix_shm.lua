-- The functions are in csrc/posix_shm.c, and so is their documentation.
return require("unixipc.core").posix_shm
