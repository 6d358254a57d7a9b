/* Who this process is, and what it and its children used. */
#ifndef UX_PROCESS_SELF_H
#define UX_PROCESS_SELF_H

#include "lib/feature.h"

#include <lauxlib.h>
#include <lua.h>
#include <sys/resource.h>
#include <sys/types.h>

extern const luaL_Reg ux_process_self_functions[];

/* ux_fail of a call about a process; 0 is this one, which needs no name. */
int ux_process_fail(lua_State *L, int err, const char *call, pid_t pid);

/* Pushes a table. Returns 1. */
int ux_push_usage(lua_State *L, const struct rusage *usage);

#endif
