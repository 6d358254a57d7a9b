/* Names of numbers, as tables; and signals by name. */
#ifndef UX_BASE_CONSTANTS_H
#define UX_BASE_CONSTANTS_H

#include "lib/feature.h"

#include <lua.h>

struct ux_constant {
  const char *name; /* NULL ends a table */
  int value;
};

extern const struct ux_constant ux_signals[];
extern const struct ux_constant ux_errnos[];

/* The first name of a value, or NULL; the value of a name, or -1. */
const char *ux_constant_name(const struct ux_constant *table, int value);
int ux_constant_value(const struct ux_constant *table, const char *name);

/* "SIGTERM", "SIGRTMIN+3", or "signal 99" for what has no name. */
void ux_push_signal(lua_State *L, int sig);

/* The signal at arg: "SIGTERM", "TERM", "SIGRTMIN+3", "SIGRTMAX-1" or a
   number, which is left to the system to judge. An unknown name raises. */
int ux_check_signal(lua_State *L, int arg);

/* The one at the index, which is in the argument. */
int ux_check_signal_in(lua_State *L, int index, int arg);

#endif
