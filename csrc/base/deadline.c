#include "base/deadline.h"

#include "lib/clock.h"

#include <lauxlib.h>

/* A century: beyond it a timeout is for ever, and sums cannot overflow. */
#define LONGEST_SECONDS (100.0 * 366 * 24 * 3600)

struct ux_deadline ux_deadline_in(lua_Number seconds) {
  if (seconds > LONGEST_SECONDS) return (struct ux_deadline){UX_FOREVER, 0};
  int64_t ns = (int64_t)(seconds * (lua_Number)UX_NS_PER_S);
  if (ns == 0 && seconds > 0) ns = 1; /* a tiny one is not "only try" */
  return (struct ux_deadline){ns, 0};
}

struct ux_deadline ux_check_deadline(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return (struct ux_deadline){UX_FOREVER, 0};
  lua_Number seconds = luaL_checknumber(L, arg);
  if (!(seconds >= 0)) /* NaN too */
    luaL_argerror(L, arg, "timeout must be a number of seconds >= 0");
  return ux_deadline_in(seconds);
}

void ux_deadline_start(struct ux_deadline *d) {
  if (d->left != UX_FOREVER && d->at == 0) d->at = ux_clock_now() + d->left;
}

bool ux_deadline_passed(struct ux_deadline *d) {
  if (d->left == UX_FOREVER) return false;
  if (d->left == 0) return true;
  ux_deadline_start(d);
  return ux_clock_now() >= d->at;
}

struct timespec *ux_deadline_left(struct ux_deadline *d,
                                  struct timespec *store) {
  if (d->left == UX_FOREVER) return NULL;
  ux_deadline_start(d);
  int64_t left = d->left == 0 ? 0 : d->at - ux_clock_now();
  *store = ux_clock_timespec(left > 0 ? left : 0);
  return store;
}
