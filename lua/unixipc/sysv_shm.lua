-- The functions are in csrc/sysv_shm.c, and so is their documentation.
return require("unixipc.core").sysv_shm
