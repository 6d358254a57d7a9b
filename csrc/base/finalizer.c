#include "base/finalizer.h"

#include <lauxlib.h>

void ux_set_finalizer(lua_State *L, const char *name, lua_CFunction gc) {
  if (luaL_getmetatable(L, name) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, name);
  }
  lua_setmetatable(L, -2);
}
