-- The functions are in csrc/channel*.c, and so is their documentation.
return require("unixipc.core").channel
