-- The functions are in csrc/sync.c and csrc/sync_many.c, and so is their
-- documentation.
return require("unixipc.core").sync
