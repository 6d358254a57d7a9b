#include "base/siginfo.h"

#include "base/constants.h"

#include <stdbool.h>

static const struct ux_constant codes[] = {
  {"user", SI_USER},
  {"queue", SI_QUEUE},
  {"timer", SI_TIMER},
  {"mesgq", SI_MESGQ},
  {"asyncio", SI_ASYNCIO},
#ifdef SI_TKILL
  {"tkill", SI_TKILL},
#endif
#ifdef SI_KERNEL
  {"kernel", SI_KERNEL},
#endif
  {NULL, 0},
};

static const struct ux_constant child_codes[] = {
  {"exited", CLD_EXITED},
  {"killed", CLD_KILLED},
  {"dumped", CLD_DUMPED},
  {"trapped", CLD_TRAPPED},
  {"stopped", CLD_STOPPED},
  {"continued", CLD_CONTINUED},
  {NULL, 0},
};

static void set_integer(lua_State *L, const char *name, lua_Integer n) {
  lua_pushinteger(L, n);
  lua_setfield(L, -2, name);
}

static void set_code(lua_State *L, const struct ux_constant *table, int code) {
  const char *name = ux_constant_name(table, code);
  if (name != NULL)
    lua_pushstring(L, name);
  else
    lua_pushinteger(L, code);
  lua_setfield(L, -2, "code");
}

static void set_sender(lua_State *L, const siginfo_t *info) {
  set_integer(L, "pid", info->si_pid);
  set_integer(L, "uid", info->si_uid);
}

/* An exit code, or what killed, stopped or continued the child. */
static void set_child(lua_State *L, const siginfo_t *info) {
  set_code(L, child_codes, info->si_code);
  set_sender(L, info);
  if (info->si_code == CLD_EXITED)
    lua_pushinteger(L, info->si_status);
  else
    ux_push_signal(L, info->si_status);
  lua_setfield(L, -2, "status");
}

static void set_timer(lua_State *L, const siginfo_t *info) {
  set_integer(L, "value", info->si_value.sival_int);
#ifdef __linux__
  set_integer(L, "overrun", info->si_overrun);
#endif
}

void ux_push_siginfo(lua_State *L, const siginfo_t *info) {
  lua_createtable(L, 0, 4);
  if (info->si_signo == SIGCHLD && info->si_code > 0) {
    set_child(L, info);
    return;
  }
  set_code(L, codes, info->si_code);
  if (info->si_code == SI_TIMER)
    set_timer(L, info);
  else if (info->si_code <= 0)
    set_sender(L, info);
  if (info->si_code == SI_QUEUE || info->si_code == SI_MESGQ)
    set_integer(L, "value", info->si_value.sival_int);
}
