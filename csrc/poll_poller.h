/* The Poller: many descriptors that are waited for again and again. */
#ifndef UX_POLL_POLLER_H
#define UX_POLL_POLLER_H

#include "lib/feature.h"

#include <lauxlib.h>

extern const luaL_Reg ux_poll_poller_functions[];

#endif
