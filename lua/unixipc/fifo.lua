-- The functions are in csrc/fifo.c, and so is their documentation.
return require("unixipc.core").fifo
