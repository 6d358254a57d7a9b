-- The functions are in csrc/sysv_shm.c, and so is their documentation. What
-- regions of pages can do besides comes with mmap.
local core = require "unixipc.core"
assert(core.mmap)
return core.sysv_shm
