/***
@module unixipc.codec
*/
/* Classes: whose objects travel, and as what. */
#include "codec_parts.h"

#include <lauxlib.h>

/* The table of this Lua state, in the registry: by metatable the id, by id
   `from`, and by id + TO `to`. */
static const char classes_key = 'c';

#define TO 1000

/* Pushes it; false, and nothing, if no class was registered. */
static bool push_classes(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key) == LUA_TTABLE)
    return true;
  lua_pop(L, 1);
  return false;
}

int ux_codec_push_to(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return -1;
  if (!push_classes(L)) {
    lua_pop(L, 1);
    return -1;
  }
  lua_insert(L, -2);
  int id = lua_rawget(L, -2) == LUA_TNUMBER ? (int)lua_tointeger(L, -1) : -1;
  lua_pop(L, 1);
  if (id >= 0) lua_rawgeti(L, -1, id + TO);
  lua_remove(L, id >= 0 ? -2 : -1);
  return id;
}

bool ux_codec_push_from(lua_State *L, int id) {
  if (!push_classes(L)) return false;
  bool is_there = lua_rawgeti(L, -1, id) == LUA_TFUNCTION;
  lua_remove(L, -2);
  if (!is_there) lua_pop(L, 1);
  return is_there;
}

static void push_or_make_classes(lua_State *L) {
  if (push_classes(L)) return;
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &classes_key);
}

/***
From now on objects with this metatable travel. All who exchange them register
them with the same number.
@function register
@tparam integer id 0 to 127
@tparam table|userdata metatable the one of the objects; of userdata any object
@tparam function to gets an object, returns a value that travels
@tparam function from gets that value, returns an object
*/
int ux_codec_register(lua_State *L) {
  lua_Integer id = luaL_checkinteger(L, 1);
  luaL_argcheck(L, id >= 0 && id <= UX_CODEC_MAX_ID, 1, "0 to 127 expected");
  luaL_checktype(L, 3, LUA_TFUNCTION);
  luaL_checktype(L, 4, LUA_TFUNCTION);
  lua_settop(L, 4);
  if (lua_type(L, 2) == LUA_TUSERDATA && lua_getmetatable(L, 2))
    lua_replace(L, 2);
  luaL_checktype(L, 2, LUA_TTABLE);
  push_or_make_classes(L);
  lua_pushvalue(L, 4);
  lua_rawseti(L, 5, id);
  lua_pushvalue(L, 3);
  lua_rawseti(L, 5, id + TO);
  lua_pushvalue(L, 2);
  lua_pushinteger(L, id);
  lua_rawset(L, 5);
  return 0;
}
