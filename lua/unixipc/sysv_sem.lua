-- The functions are in csrc/sysv_sem.c, and so is their documentation.
return require("unixipc.core").sysv_sem
