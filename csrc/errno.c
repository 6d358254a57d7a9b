/***
Error numbers by name. `errno.ENOENT` is the number, as a field.
@module unixipc.errno
*/
#include "base/constants.h"
#include "base/error.h"
#include "base/modules.h"
#include "base/options.h"

#include <lauxlib.h>
#include <limits.h>
#include <string.h>

/***
The name of an error number. Where two names share a number it is the one of
POSIX's oldest edition: EAGAIN, not EWOULDBLOCK.
@function name
@tparam integer errno
@treturn string|nil name, nil for a number that has none
@see errno(3)
*/
static int l_name(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  const char *name = NULL;
  if (n >= 0 && n <= INT_MAX) name = ux_constant_name(ux_errnos, (int)n);
  lua_pushstring(L, name);
  return 1;
}

/***
The number of an error's name.
@function number
@tparam string name such as `"ENOENT"`
@treturn integer|nil number, nil for a name that this system does not have
@see errno(3)
*/
static int l_number(lua_State *L) {
  size_t len;
  const char *name = luaL_checklstring(L, 1, &len);
  int n = ux_constant_value(ux_errnos, name);
  if (n < 0 || strlen(name) != len)
    lua_pushnil(L);
  else
    lua_pushinteger(L, n);
  return 1;
}

static int check_errno(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TNUMBER) {
    lua_Integer n = luaL_checkinteger(L, arg);
    luaL_argcheck(L, n >= 0 && n <= INT_MAX, arg, "no error number");
    return (int)n;
  }
  const char *name = ux_check_cstring(L, arg);
  int n = ux_constant_value(ux_errnos, name);
  if (n < 0)
    luaL_argerror(L, arg, lua_pushfstring(L, "unknown error '%s'", name));
  return n;
}

/***
What the system says of an error.
@function strerror
@tparam integer|string errno number or name
@treturn string words
@see strerror(3)
*/
static int l_strerror(lua_State *L) {
  char buf[128];
  int err = check_errno(L, 1);
  lua_pushstring(L, ux_strerror(err, buf, sizeof buf));
  return 1;
}

static const luaL_Reg functions[] = {
  {"name", l_name},
  {"number", l_number},
  {"strerror", l_strerror},
  {NULL, NULL},
};

int ux_open_errno(lua_State *L) {
  luaL_newlib(L, functions);
  for (const struct ux_constant *c = ux_errnos; c->name != NULL; c++) {
    lua_pushinteger(L, c->value);
    lua_setfield(L, -2, c->name);
  }
  return 1;
}
