-- The functions are in csrc/sysv_msg.c, and so is their documentation.
return require("unixipc.core").sysv_msg
