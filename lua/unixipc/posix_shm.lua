-- The functions are in csrc/posix_shm.c, and so is their documentation. What
-- regions of pages can do besides comes with mmap.
local core = require "unixipc.core"
assert(core.mmap)
return core.posix_shm
