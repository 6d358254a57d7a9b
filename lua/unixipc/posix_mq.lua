-- The functions are in csrc/posix_mq.c, and so is their documentation.
return require("unixipc.core").posix_mq
