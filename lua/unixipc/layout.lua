-- The functions are in csrc/layout.c, and so is their documentation.
return require("unixipc.core").layout
