/* Sets of signals as Lua gives them: a name, a number, a list of those, or
   "all". The library's own signal is refused, and not among all. */
#ifndef UX_BASE_SIGNAL_SET_H
#define UX_BASE_SIGNAL_SET_H

#include "lib/feature.h"

#include <lua.h>
#include <signal.h>

/* The signal at the index, which is in the argument, and which a user may
   have; others raise. */
int ux_check_user_signal(lua_State *L, int index, int arg);

/* The set at the index, which is in the argument. */
void ux_check_signal_set(lua_State *L, int index, int arg, sigset_t *set);

/* Pushes the list of names of what is in the set. */
void ux_push_signal_set(lua_State *L, const sigset_t *set);

#endif
