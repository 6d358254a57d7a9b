/* Who this process is, and what it and its children used. */
#ifndef UX_PROCESS_SELF_H
#define UX_PROCESS_SELF_H

#include "lib/feature.h"

#include <lauxlib.h>
#include <lua.h>
#include <sys/resource.h>

extern const luaL_Reg ux_process_self_functions[];

/* Pushes a table. Returns 1. */
int ux_push_usage(lua_State *L, const struct rusage *usage);

#endif
