/***
@module unixipc.sync
*/
#include "sync_object.h"

#include "base/error.h"

/* One for each time it is taken: a guard that was closed early, and is closed
   again at the end of its block, must not let go what somebody took since. */
struct guard {
  struct ux_object head;
  struct ux_sync *o; /* the user value */
  int (*unlock)(struct ux_sync *o);
  uint64_t number; /* what o->guard is while it is ours to let go */
};

static void release(const struct guard *g) {
  struct ux_sync *o = g->o;
  if (o->guard != g->number || !ux_is_owner(&g->head)) return;
  if (ux_sync_held_by_us(o) != UX_SYNC_FREE) g->unlock(o);
}

static const struct ux_class guard_class;

/***
Lets go what it was made for, unless that was let go already. Also what
`<close>` and the collector do. A forked child's copy lets nothing go.
@function Guard:close
@treturn boolean true
*/
static int l_guard_close(lua_State *L) {
  struct guard *g = ux_check(L, 1, &guard_class);
  bool was_open = g->head.open;
  g->head.open = false;
  if (was_open) release(g);
  lua_pushboolean(L, 1);
  return 1;
}

static void describe(lua_State *L, const void *self) {
  const struct guard *g = self;
  lua_pushfstring(L, "sync guard of a %s", g->o->head.class->name);
}

static const struct ux_class guard_class = {
  .name = "sync guard",
  .size = sizeof(struct guard),
  .uservalues = 1,
  .close = l_guard_close,
  .describe = describe,
};

/* A closed one for the object at arg 1. */
static struct guard *new_guard(lua_State *L, struct ux_sync *o,
                               int (*unlock)(struct ux_sync *o)) {
  struct guard *g = ux_new(L, &guard_class);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  g->o = o;
  g->unlock = unlock;
  return g;
}

int ux_sync_guard(lua_State *L, struct ux_sync *o,
                  int (*lock)(lua_State *L, struct ux_sync *o,
                              struct ux_deadline *deadline),
                  int (*unlock)(struct ux_sync *o), const char *what) {
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  struct guard *g = new_guard(L, o, unlock);
  int err = lock(L, o, &deadline);
  if (!ux_sync_is_taken(err)) return ux_fail(L, err, what, NULL);
  g->number = ++o->guards;
  o->guard = g->number;
  g->head.open = true;
  if (err == 0) return 1;
  lua_pushliteral(L, "recovered");
  return 2;
}

void ux_sync_open_guard(lua_State *L) {
  ux_class_open(L, &guard_class);
  lua_pop(L, 1);
}
