/***
Synchronisation of processes by shared memory, which survives the death of any
of them at any moment: what a killed process held is let go, and nobody waits
for it.

Every constructor takes a Region, an offset, a multiple of 16, and options.
`create` makes a new one there, which nobody may be using; without it the one
that is there is opened (EINVAL if there is none). Without a region it stands
in memory of its own, shared with the children of this process. `size` tells
how many bytes each takes. All processes that use the memory are trusted.

What a process holds it holds once: to take it again is EDEADLK. A forked child
holds nothing. A region in which something is held cannot be closed (EBUSY).
@module unixipc.sync
*/
#include "sync_object.h"

#include "base/error.h"
#include "base/modules.h"

#include <errno.h>
#include <stdint.h>

/* ---- Mutex ------------------------------------------------------------- */

static const struct ux_option mutex_schema[] = {
  {"create",
   UX_OPT_BOOLEAN,
   offsetof(struct ux_sync_options, create),
   0,
   0,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static struct ux_sync *check_mutex(lua_State *L) {
  return ux_sync_check(L, &ux_sync_mutex_class);
}

static int lock(lua_State *L, struct ux_sync *o, int timeout_arg) {
  struct ux_deadline deadline = ux_sync_deadline(L, timeout_arg);
  int err = ux_mutex_try_first(o->at);
  if (err == 0) {
    ux_sync_set_held(o, UX_SYNC_WRITING);
    lua_pushboolean(L, 1);
    return 1;
  }
  if (err == EOWNERDEAD)
    ux_sync_set_held(o, UX_SYNC_WRITING);
  else if (err == EBUSY)
    err = ux_sync_lock_mutex(L, o, &deadline);
  return ux_sync_result(L, err, "mutex lock");
}

static int unlock_mutex(struct ux_sync *o) {
  int err = ux_mutex_unlock(o->at);
  if (err == 0) ux_sync_set_held(o, UX_SYNC_FREE);
  return err;
}

static int unlock(lua_State *L, struct ux_sync *o) {
  int err = unlock_mutex(o);
  if (err != 0) return ux_sync_result(L, err, "mutex unlock");
  lua_pushboolean(L, 1);
  return 1;
}

/***
Takes the mutex. If its owner died, what it guards may be half changed: the
second result says so. Make it good, and call `consistent`; if it is unlocked
without that nobody can take it any more (ENOTRECOVERABLE).
@function Mutex:lock
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[1] string|nil `"recovered"` when its owner died
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EDEADLK (this process has it),
ENOTRECOVERABLE
@see pthread_mutexattr_setrobust(3)
*/
static int l_lock(lua_State *L) {
  return lock(L, check_mutex(L), 2);
}

/***
Lets the mutex go.
@function Mutex:unlock
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (this process does not have it)
*/
static int l_unlock(lua_State *L) {
  return unlock(L, check_mutex(L));
}

/***
Takes the mutex for a block, however that ends, by an error too:

    local guard <close>, recovered = assert(mutex:guard(2.5))

In a block that `"recovered"` it, call `consistent` when what it guards is good:
an error before that leaves it unlocked for nobody (ENOTRECOVERABLE).
@function Mutex:guard
@tparam[opt] number timeout seconds
@treturn[1] Guard
@treturn[1] string|nil `"recovered"` when its owner died
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: as `lock`
@see Mutex:lock
@see Guard:close
*/
static int l_guard(lua_State *L) {
  return ux_sync_guard(
    L, check_mutex(L), ux_sync_lock_mutex, unlock_mutex, "mutex lock");
}

/***
What the mutex guards is good again, after `"recovered"`.
@function Mutex:consistent
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (this process has not recovered it)
@see pthread_mutex_consistent(3)
*/
static int l_consistent(lua_State *L) {
  const struct ux_sync *o = check_mutex(L);
  return ux_sync_result(L, ux_mutex_consistent(o->at), "mutex consistent");
}

static inline struct ux_sync *bound(lua_State *L) {
  struct ux_sync *o = lua_touserdata(L, lua_upvalueindex(1));
  ux_sync_check_usable(L, o);
  return o;
}

static int l_bound_lock(lua_State *L) {
  return lock(L, bound(L), 1);
}

static int l_bound_unlock(lua_State *L) {
  return unlock(L, bound(L));
}

static int bind(lua_State *L, lua_CFunction one, lua_CFunction two) {
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, one, 1);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, two, 1);
  return 2;
}

/***
Two functions that do the same for this mutex, faster:
`local lock, unlock = mutex:bind()`.
@function Mutex:bind
@treturn function `lock([timeout])`
@treturn function `unlock()`
*/
static int l_mutex_bind(lua_State *L) {
  check_mutex(L);
  return bind(L, l_bound_lock, l_bound_unlock);
}

static const luaL_Reg mutex_methods[] = {
  {"lock", l_lock},
  {"unlock", l_unlock},
  {"guard", l_guard},
  {"consistent", l_consistent},
  {"bind", l_mutex_bind},
  {NULL, NULL},
};

/***
A mutex: one at a time.
@function mutex
@tparam[opt] Region region
@tparam[opt=0] integer offset
@tparam[opt] table options `create`
@treturn[1] Mutex
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (there is none)
*/
static int l_mutex(lua_State *L) {
  return ux_sync_construct(
    L, &ux_sync_mutex_class, UX_PSYNC_MUTEX, mutex_schema, 0);
}

/* ---- Semaphore --------------------------------------------------------- */

static const struct ux_option semaphore_schema[] = {
  {"create",
   UX_OPT_BOOLEAN,
   offsetof(struct ux_sync_options, create),
   0,
   0,
   NULL},
  {"initial",
   UX_OPT_INTEGER,
   offsetof(struct ux_sync_options, count),
   0,
   UX_SEMAPHORE_MAX,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_class semaphore_class;

static struct ux_sync *check_semaphore(lua_State *L) {
  return ux_sync_check(L, &semaphore_class);
}

static int attempt_semaphore(struct ux_sync_wait *w) {
  return ux_semaphore_try(w->o->at, w->waited);
}

static int sleep_semaphore(void *arg) {
  const struct ux_sync_wait *w = arg;
  return ux_semaphore_sleep(w->o->at, 0);
}

static int wait_for(lua_State *L, struct ux_sync *o, int timeout_arg) {
  struct ux_deadline deadline = ux_sync_deadline(L, timeout_arg);
  int err = ux_semaphore_try(o->at, false);
  if (err != 0) {
    struct ux_sync_wait w = {
      .o = o,
      .deadline = &deadline,
      .attempt = attempt_semaphore,
      .sleep = sleep_semaphore,
      .err = err,
    };
    err = ux_sync_wait(L, &w);
  }
  return ux_sync_result(L, err, "semaphore wait");
}

static int post(lua_State *L, struct ux_sync *o, int arg) {
  lua_Integer n = lua_gettop(L) < arg ? 1 : luaL_optinteger(L, arg, 1);
  luaL_argcheck(
    L, n >= 0 && n <= UX_SEMAPHORE_MAX, arg, "a count >= 0 expected");
  int err = ux_semaphore_post(o->at, (uint32_t)n);
  return ux_sync_result(L, err, "semaphore post");
}

/***
Takes one, waiting while there is none. A process that is killed while it waits
takes none, and its wake-up is not lost.
@function Semaphore:wait
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT
*/
static int l_wait(lua_State *L) {
  return wait_for(L, check_semaphore(L), 2);
}

/***
Gives so many.
@function Semaphore:post
@tparam[opt=1] integer n
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EOVERFLOW (over 0x3fffffff; none was given)
*/
static int l_post(lua_State *L) {
  return post(L, check_semaphore(L), 2);
}

/***
How many there are.
@function Semaphore:value
@treturn integer
*/
static int l_value(lua_State *L) {
  lua_pushinteger(L, ux_semaphore_value(check_semaphore(L)->at));
  return 1;
}

static int l_bound_wait(lua_State *L) {
  return wait_for(L, bound(L), 1);
}

static int l_bound_post(lua_State *L) {
  return post(L, bound(L), 1);
}

/***
Two functions that do the same for this semaphore, faster:
`local wait, post = semaphore:bind()`.
@function Semaphore:bind
@treturn function `wait([timeout])`
@treturn function `post([n])`
*/
static int l_semaphore_bind(lua_State *L) {
  check_semaphore(L);
  return bind(L, l_bound_wait, l_bound_post);
}

static void describe(lua_State *L, const void *self) {
  const struct ux_sync *o = self;
  lua_pushstring(L, o->head.class->name);
}

static const luaL_Reg semaphore_methods[] = {
  {"wait", l_wait},
  {"post", l_post},
  {"value", l_value},
  {"bind", l_semaphore_bind},
  {NULL, NULL},
};

static const struct ux_class semaphore_class = {
  .name = "sync semaphore",
  .size = sizeof(struct ux_sync),
  .uservalues = 1,
  .methods = semaphore_methods,
  .close = ux_sync_close,
  .describe = describe,
};

/***
A semaphore: a count that waits below zero.
@function semaphore
@tparam[opt] Region region
@tparam[opt=0] integer offset
@tparam[opt] table options `create`; `initial`, 0 by default
@treturn[1] Semaphore
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (there is none)
*/
static int l_semaphore(lua_State *L) {
  return ux_sync_construct(
    L, &semaphore_class, UX_PSYNC_SEMAPHORE, semaphore_schema, 0);
}

/* ---- Once -------------------------------------------------------------- */

static const struct ux_class once_class;

static int attempt_once(struct ux_sync_wait *w) {
  return ux_once_begin(w->o->at, w->waited);
}

static int sleep_once(void *arg) {
  const struct ux_sync_wait *w = arg;
  struct ux_once *o = w->o->at;
  return ux_mutex_sleep(&o->lock, 0);
}

/***
Calls a function, unless one has been called to its end here before, by any
process. Others that come meanwhile wait. If the function raises, or its process
is killed, the next one that comes calls its own.
@function Once:call
@tparam function fn
@tparam[opt] number timeout seconds to wait for another one
@treturn[1] boolean true: it was called now; false: it had been
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EDEADLK (from inside the function)
*/
static int l_call(lua_State *L) {
  struct ux_sync *o = ux_sync_check(L, &once_class);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  struct ux_sync_wait w = {
    .o = o,
    .deadline = &deadline,
    .attempt = attempt_once,
    .sleep = sleep_once,
  };
  w.err = attempt_once(&w);
  int err = ux_sync_wait(L, &w);
  if (err == EALREADY) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (err != 0 && err != EOWNERDEAD) return ux_fail(L, err, "once", NULL);
  ux_sync_set_held(o, UX_SYNC_WRITING);
  lua_settop(L, 2);
  int status = lua_pcall(L, 0, 0, 0);
  if (ux_sync_held_by_us(o) != UX_SYNC_FREE) /* else fn forked: a child */
    ux_once_finish(o->at, status == LUA_OK);
  ux_sync_set_held(o, UX_SYNC_FREE);
  if (status != LUA_OK) return lua_error(L);
  lua_pushboolean(L, 1);
  return 1;
}

/***
Has it been done?
@function Once:is_done
@treturn boolean
*/
static int l_is_done(lua_State *L) {
  const struct ux_once *once = ux_sync_check(L, &once_class)->at;
  lua_pushboolean(L, once->is_done != 0);
  return 1;
}

static const luaL_Reg once_methods[] = {
  {"call", l_call},
  {"is_done", l_is_done},
  {NULL, NULL},
};

static const struct ux_class once_class = {
  .name = "sync once",
  .size = sizeof(struct ux_sync),
  .uservalues = 1,
  .methods = once_methods,
  .close = ux_sync_close,
  .describe = describe,
};

/***
Something that is to be done once among all processes.
@function once
@tparam[opt] Region region
@tparam[opt=0] integer offset
@tparam[opt] table options `create`
@treturn[1] Once
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (there is none)
*/
static int l_once(lua_State *L) {
  return ux_sync_construct(L, &once_class, UX_PSYNC_ONCE, mutex_schema, 0);
}

/* ---- the module -------------------------------------------------------- */

#define MOST_SLOTS 4096

/***
How many bytes one takes in a Region, rounded up so that the next may follow.
@function size
@tparam string kind `"mutex"`, `"rwlock"`, `"semaphore"`, `"condition"`,
`"barrier"`, `"once"`
@tparam[opt] integer n `readers` of a rwlock (64 by default), `parties` of a
barrier
@treturn integer
*/
static int l_size(lua_State *L) {
  static const char *const words[] = {
    "mutex", "rwlock", "semaphore", "condition", "barrier", "once", NULL};
  enum ux_psync_kind kind =
    (enum ux_psync_kind)ux_check_word(L, 1, NULL, words);
  lua_Integer n = luaL_optinteger(L, 2, 64);
  luaL_argcheck(L, n >= 1 && n <= MOST_SLOTS, 2, "1 to 4096 expected");
  size_t size = ux_psync_size(kind, (uint32_t)n);
  size = (size + 63) / 64 * 64;
  lua_pushinteger(L, (lua_Integer)size);
  return 1;
}

static const luaL_Reg functions[] = {
  {"mutex", l_mutex},
  {"rwlock", ux_sync_rwlock},
  {"semaphore", l_semaphore},
  {"condition", ux_sync_condition},
  {"barrier", ux_sync_barrier},
  {"once", l_once},
  {"size", l_size},
  {NULL, NULL},
};

int ux_open_sync(lua_State *L) {
  luaL_newlib(L, functions);
  ux_class_open(L, &ux_sync_mutex_class);
  luaL_setfuncs(L, mutex_methods, 0);
  ux_class_open(L, &semaphore_class);
  ux_class_open(L, &once_class);
  lua_pop(L, 3);
  ux_sync_open_many(L);
  ux_sync_open_guard(L);
  return 1;
}
