/* What the kernel tells about a signal, as a Lua table. */
#ifndef UX_BASE_SIGINFO_H
#define UX_BASE_SIGINFO_H

#include "lib/feature.h"

#include <lua.h>
#include <signal.h>

/* Pushes the table: `code`, and by what the code says `pid`, `uid`, `value`,
   `status`, `overrun`. */
void ux_push_siginfo(lua_State *L, const siginfo_t *info);

#endif
