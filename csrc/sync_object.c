/***
@module unixipc.sync
*/
/* The objects of `sync`: where they stand, how they wait; and the mutex, which
   conditions take too. */
#include "sync_object.h"

#include "base/error.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

/* ---- making ------------------------------------------------------------ */

static int release_memory(struct ux_region *r) {
  return munmap(r->base, r->length) == 0 ? 0 : errno;
}

/* Without a region: memory of its own, shared with the children. Replaces arg
   1. 0 or an errno. */
static int make_region(lua_State *L, size_t size) {
  ux_region_open(L);
  struct ux_region *r = ux_region_new(L, "sync", release_memory);
  void *base = mmap(
    NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return errno;
  ux_region_set(r, base, size, false);
  lua_replace(L, 1);
  lua_pop(L, 1);
  return 0;
}

static char *check_place(lua_State *L, size_t *room) {
  struct ux_region *r = ux_check_region(L, 1);
  ux_region_check_writable(L, r);
  size_t offset = ux_check_region_offset(L, 2, r);
  char *place = r->base + offset;
  *room = r->length - offset;
  luaL_argcheck(L,
                (uintptr_t)place % UX_PSYNC_ALIGN == 0,
                2,
                "offset is not a multiple of 16");
  return place;
}

int ux_sync_construct(lua_State *L, const struct ux_class *class,
                      enum ux_psync_kind kind, const struct ux_option *schema,
                      lua_Integer count) {
  struct ux_sync_options o = {.count = count};
  size_t room;
  lua_settop(L, 3);
  ux_check_options(L, 3, schema, &o);
  uint32_t n = (uint32_t)o.count;
  if (lua_isnil(L, 1)) {
    o.create = true;
    int err = make_region(L, ux_psync_size(kind, n));
    if (err != 0) return ux_fail(L, err, "mmap", NULL);
  }
  char *place = check_place(L, &room);
  struct ux_sync *s = ux_new(L, class);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  s->region = lua_touserdata(L, 1);
  s->at = place;
  if (o.create && room < ux_psync_size(kind, n))
    luaL_argerror(L, 2, "out of bounds: there is no room for it");
  int err = o.create ? ux_psync_init(place, room, kind, n) : 0;
  if (err != 0) return ux_fail(L, err, class->name, NULL);
  err = ux_psync_check(place, room, kind, &s->count);
  if (err != 0)
    return ux_fail_words(L, err, class->name, "there is none at this place");
  s->head.open = true;
  return 1;
}

void ux_sync_unusable(lua_State *L, const struct ux_sync *o) {
  if (!o->head.open) ux_closed_error(L, o->head.class);
  ux_region_check_writable(L, o->region->root);
  ux_region_check_open(L, o->region);
}

int ux_sync_close(lua_State *L) {
  struct ux_object *o = ux_test_any(L, 1);
  if (o == NULL || o->class->close != ux_sync_close)
    return luaL_typeerror(L, 1, "sync object");
  o->open = false;
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- waiting ----------------------------------------------------------- */

int ux_sync_wait(lua_State *L, struct ux_sync_wait *w) {
  while (w->err == EBUSY || w->err == EAGAIN) {
    if (w->deadline->left == 0) return ETIMEDOUT;
    int err = ux_wait_call(L, w->sleep, w, w->deadline);
    ux_sync_check_usable(L, w->o);
    if (err != 0 && err != EINTR) return err;
    w->waited = true;
    w->err = w->attempt(w);
  }
  return w->err;
}

static int l_wait(lua_State *L) {
  struct ux_sync_wait *w = lua_touserdata(L, 1);
  w->err = ux_sync_wait(L, w);
  return 0;
}

bool ux_sync_try_wait(lua_State *L, struct ux_sync_wait *w) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushcfunction(L, l_wait);
  lua_pushlightuserdata(L, w);
  return lua_pcall(L, 1, 0, 0) == LUA_OK;
}

int ux_sync_result(lua_State *L, int err, const char *what) {
  if (err != 0 && err != EOWNERDEAD) return ux_fail(L, err, what, NULL);
  lua_pushboolean(L, 1);
  if (err == 0) return 1;
  lua_pushliteral(L, "recovered");
  return 2;
}

/* ---- Mutex ------------------------------------------------------------- */

static int attempt_mutex(struct ux_sync_wait *w) {
  return ux_mutex_try(w->o->at, w->waited);
}

static int sleep_mutex(void *arg) {
  const struct ux_sync_wait *w = arg;
  return ux_mutex_sleep(w->o->at, 0);
}

int ux_sync_lock_mutex(lua_State *L, struct ux_sync *o,
                       struct ux_deadline *deadline) {
  struct ux_sync_wait w = {
    .o = o,
    .deadline = deadline,
    .attempt = attempt_mutex,
    .sleep = sleep_mutex,
  };
  ux_sync_check_usable(L, o);
  w.err = ux_mutex_try_first(o->at);
  int err = ux_sync_wait(L, &w);
  if (ux_sync_is_taken(err)) ux_sync_set_held(o, UX_SYNC_WRITING);
  return err;
}

/***
Lets it go if this process has it. Also what `<close>` and the collector do.
@function Mutex:close
@treturn boolean true
*/
static int l_mutex_close(lua_State *L) {
  struct ux_sync *o = ux_check(L, 1, &ux_sync_mutex_class);
  if (o->head.open && ux_sync_held_by_us(o) != UX_SYNC_FREE) {
    ux_mutex_unlock(o->at);
    ux_sync_set_held(o, UX_SYNC_FREE); /* also if another object let it go */
  }
  o->head.open = false;
  lua_pushboolean(L, 1);
  return 1;
}

static void describe_mutex(lua_State *L, const void *self) {
  bool is_held = ux_sync_held_by_us(self) != UX_SYNC_FREE;
  lua_pushstring(L, is_held ? "sync mutex (held)" : "sync mutex");
}

const struct ux_class ux_sync_mutex_class = {
  .name = "sync mutex",
  .size = sizeof(struct ux_sync),
  .uservalues = 1,
  .close = l_mutex_close,
  .describe = describe_mutex,
};
