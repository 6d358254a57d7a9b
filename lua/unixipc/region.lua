-- The functions are in csrc/region.c, and so is their documentation.
return require("unixipc.core").region
