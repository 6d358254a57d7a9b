/* The one list of subsystems. A line here, csrc/<stem>.c with
   ux_open_<stem>, lua/unixipc/<stem>.lua, and it exists. */
#ifndef UX_BASE_MODULES_H
#define UX_BASE_MODULES_H

#include <lua.h>

#define UX_MODULES(X) \
  X(atomic) \
  X(channel) \
  X(codec) \
  X(errno) \
  X(fifo) \
  X(layout) \
  X(lock) \
  X(mmap) \
  X(pipe) \
  X(poll) \
  X(posix_mq) \
  X(posix_sem) \
  X(posix_shm) \
  X(process) \
  X(region) \
  X(signal) \
  X(socket) \
  X(stream) \
  X(sync) \
  X(sysv) \
  X(sysv_msg) \
  X(sysv_sem) \
  X(sysv_shm)

#define UX_DECLARE_OPEN(name) int ux_open_##name(lua_State *L);
UX_MODULES(UX_DECLARE_OPEN)
#undef UX_DECLARE_OPEN

#endif
