/* The monotonic clock for benchmark programs: stock Lua has none. */
#include <time.h>

#include <lauxlib.h>
#include <lua.h>

/* now() -> integer nanoseconds, comparable within one machine only. */
static int l_now(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushinteger(L, (lua_Integer)t.tv_sec * 1000000000 + t.tv_nsec);
  return 1;
}

int luaopen_bench_clock(lua_State *L);

int luaopen_bench_clock(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_now);
  lua_setfield(L, -2, "now");
  return 1;
}
