/* The two ways a call ends badly: what the system refuses is returned as
   nil, message, errno; a programmer's mistake is raised (luaL_argerror). */
#ifndef UX_BASE_ERROR_H
#define UX_BASE_ERROR_H

#include "lib/feature.h"

#include <lua.h>

/* Pushes nil, "call: name: strerror", err. `name` may be NULL. ETIMEDOUT
   gives "timeout" alone, the same for all mechanisms. Returns 3. */
int ux_fail(lua_State *L, int err, const char *call, const char *name);

/* The same with words of our own in place of strerror's. */
int ux_fail_words(lua_State *L, int err, const char *call, const char *words);

/* true, or what ux_fail gives, for a call that returned 0 or an errno. */
int ux_result(lua_State *L, int err, const char *call, const char *name);

/* strerror into the caller's buffer; thread-safe on every system. */
const char *ux_strerror(int err, char *buf, size_t size);

#endif
