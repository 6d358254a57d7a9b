/* The library that `require "unixipc.core"` loads: a table of subsystems,
   each opened when it is first asked for. */
#include "base/modules.h"

#include <lauxlib.h>
#include <lua.h>

static const luaL_Reg modules[] = {
#define UX_ENTRY(name) {#name, ux_open_##name},
  UX_MODULES(UX_ENTRY)
#undef UX_ENTRY
    {NULL, NULL},
};

/* Upvalue 1: the openers by name. */
static int open_module(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNIL) return 1;
  lua_call(L, 0, 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
int luaopen_unixipc_core(lua_State *L);

int luaopen_unixipc_core(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  luaL_newlib(L, modules);
  lua_pushcclosure(L, open_module, 1);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  return 1;
}
