/* Space for what is mapped: really there, so that the system says ENOSPC when
   it is asked for and not SIGBUS when it is used. */
#ifndef UX_BASE_SPACE_H
#define UX_BASE_SPACE_H

#include "lib/feature.h"

#include <lua.h>
#include <sys/types.h>

/* Makes the file so long, with zeros, if it is shorter. A signal interrupts it
   when the space is large: handlers run, and may raise. 0 or an errno, then
   the file is as it was. */
int ux_space_grow(lua_State *L, int fd, off_t size);

#endif
