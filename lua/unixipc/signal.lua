-- The functions are in csrc/signal.c and csrc/signal_timer.c, and so is their
-- documentation.
return require("unixipc.core").signal
