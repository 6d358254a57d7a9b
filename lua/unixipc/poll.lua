-- The functions are in csrc/poll.c, and so is their documentation.
return require("unixipc.core").poll
