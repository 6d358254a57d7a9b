/* Finalizers of userdata that are no objects of a class. */
#ifndef UX_BASE_FINALIZER_H
#define UX_BASE_FINALIZER_H

#include "lib/feature.h"

#include <lua.h>

/* Gives the userdata at the top of the stack, which no Lua code will see, a
   finalizer. It is set for all of this name, or for none: short of memory
   nothing half made stays behind. */
void ux_set_finalizer(lua_State *L, const char *name, lua_CFunction gc);

#endif
