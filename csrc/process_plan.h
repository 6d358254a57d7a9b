/* What process.spawn was asked for, read from Lua into a struct ux_spawn.
   Everything that has to be freed is in the plan, a userdata. */
#ifndef UX_PROCESS_PLAN_H
#define UX_PROCESS_PLAN_H

#include "base/class.h"
#include "lib/spawn.h"

/* Reads the argument table at arg and the options at arg + 1. Pushes the plan,
   and then what the caller is to have: a table of the streams that lead to
   the child, under "stdin", "stdout" and "stderr". Returns the plan, or NULL
   after pushing nil, message, errno for a file that could not be opened. */
struct ux_spawn *ux_process_plan(lua_State *L, int arg);

/* Closes the descriptors that were meant for the child. The plan is at the
   given stack index. */
void ux_process_plan_close(lua_State *L, int index);

/* Closes the streams in the table at the given index: there is no child. */
void ux_process_plan_close_streams(lua_State *L, int index);

#endif
