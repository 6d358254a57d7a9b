#include "base/signal_set.h"

#include "base/constants.h"
#include "base/options.h"
#include "base/region.h"

#include <lauxlib.h>
#include <string.h>

int ux_check_user_signal(lua_State *L, int index, int arg) {
  int sig = ux_check_signal_in(L, index, arg);
  if (sig == UX_SIGNAL_TICK)
    luaL_argerror(L, arg, "SIGRTMAX-1 is the library's own signal");
  return sig;
}

/* The signal at the top of the stack, popped. */
static void add_signal(lua_State *L, int arg, sigset_t *set) {
  int sig = ux_check_user_signal(L, lua_gettop(L), arg);
  if (sigaddset(set, sig) != 0)
    luaL_argerror(L, arg, lua_pushfstring(L, "no signal %d", sig));
  lua_pop(L, 1);
}

void ux_check_signal_set(lua_State *L, int index, int arg, sigset_t *set) {
  sigemptyset(set);
  if (lua_type(L, index) == LUA_TSTRING &&
      strcmp(lua_tostring(L, index), "all") == 0) {
    sigfillset(set);
    sigdelset(set, UX_SIGNAL_TICK);
    return;
  }
  if (lua_type(L, index) != LUA_TTABLE) {
    lua_pushvalue(L, index);
    add_signal(L, arg, set);
    return;
  }
  lua_Integer count = ux_check_list(L, index, arg);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_geti(L, index, i);
    add_signal(L, arg, set);
  }
}

void ux_push_signal_set(lua_State *L, const sigset_t *set) {
  lua_Integer n = 0;
  lua_newtable(L);
  for (int sig = 1; sig <= SIGRTMAX; sig++) {
    if (sigismember(set, sig) != 1 || sig == UX_SIGNAL_TICK) continue;
    if (sig >= 32 && sig < SIGRTMIN) continue; /* the C library's own */
    ux_push_signal(L, sig);
    lua_rawseti(L, -2, ++n);
  }
}
