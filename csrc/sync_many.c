/***
@module unixipc.sync
*/
#include "sync_object.h"

#include "base/error.h"

#include <errno.h>
#include <stdint.h>

#define COUNT offsetof(struct ux_sync_options, count)
#define CREATE offsetof(struct ux_sync_options, create)

static void describe(lua_State *L, const void *self) {
  const struct ux_sync *o = self;
  static const char *const states[] = {
    "", " (reading)", " (writing)", " (waiting)"};
  lua_pushfstring(
    L, "%s%s", o->head.class->name, states[ux_sync_held_by_us(o)]);
}

/* ---- RWLock ------------------------------------------------------------ */

static const struct ux_option rwlock_schema[] = {
  {"create", UX_OPT_BOOLEAN, CREATE, 0, 0, NULL},
  {"readers", UX_OPT_INTEGER, COUNT, 1, 4096, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

#define READERS 64

static const struct ux_class rwlock_class;

static struct ux_sync *check_rwlock(lua_State *L) {
  return ux_sync_check(L, &rwlock_class);
}

/* A handler that ran while we waited may have taken it. */
static int attempt_read(struct ux_sync_wait *w) {
  struct ux_sync *o = w->o;
  if (ux_sync_held_by_us(o) != UX_SYNC_FREE) return EDEADLK;
  return ux_rwlock_read_try(o->at, o->count, &o->slot, w->waited);
}

static int sleep_to_read(void *arg) {
  const struct ux_sync_wait *w = arg;
  if (w->err == EBUSY) return ux_rwlock_gate_sleep(w->o->at, 0);
  return ux_rwlock_slot_sleep(w->o->at, w->o->slot, 0);
}

static int lock_to_read(lua_State *L, struct ux_sync *o,
                        struct ux_deadline *deadline) {
  struct ux_sync_wait w = {
    .o = o,
    .deadline = deadline,
    .attempt = attempt_read,
    .sleep = sleep_to_read,
  };
  w.err = attempt_read(&w);
  int err = ux_sync_wait(L, &w);
  if (ux_sync_is_taken(err)) ux_sync_set_held(o, UX_SYNC_READING);
  return err;
}

/***
Lets this process read, together with others. Waits while somebody writes or
waits to write.
@function RWLock:read_lock
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[1] string|nil `"recovered"`: a writer died, and no other one came yet
to make its work good
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EDEADLK (this process has it)
*/
static int l_read_lock(lua_State *L) {
  struct ux_sync *o = check_rwlock(L);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  return ux_sync_result(L, lock_to_read(L, o, &deadline), "rwlock read_lock");
}

static int attempt_gate(struct ux_sync_wait *w) {
  return ux_rwlock_gate_try(w->o->at, w->waited);
}

static int sleep_at_gate(void *arg) {
  const struct ux_sync_wait *w = arg;
  return ux_rwlock_gate_sleep(w->o->at, 0);
}

static int attempt_write(struct ux_sync_wait *w) {
  struct ux_sync *o = w->o;
  return ux_rwlock_write_try(o->at, o->count, &o->slot);
}

static int sleep_for_reader(void *arg) {
  const struct ux_sync_wait *w = arg;
  return ux_rwlock_slot_sleep(w->o->at, w->o->slot, 0);
}

/* Behind the gate nobody else comes in; whatever happens while we wait for the
   readers that are there, we must leave it or write. A handler cannot unlock
   what is only waited for. */
static int write_behind_gate(lua_State *L, struct ux_sync *o,
                             struct ux_deadline *deadline) {
  struct ux_sync_wait w = {
    .o = o,
    .deadline = deadline,
    .attempt = attempt_write,
    .sleep = sleep_for_reader,
  };
  ux_sync_set_held(o, UX_SYNC_WAITING);
  w.err = attempt_write(&w);
  bool is_well = ux_sync_try_wait(L, &w);
  bool is_in = is_well && ux_sync_is_taken(w.err);
  if (!is_in) ux_rwlock_leave(o->at);
  ux_sync_set_held(o, is_in ? UX_SYNC_WRITING : UX_SYNC_FREE);
  return is_well ? w.err : lua_error(L);
}

static int lock_to_write(lua_State *L, struct ux_sync *o,
                         struct ux_deadline *deadline) {
  struct ux_sync_wait w = {
    .o = o,
    .deadline = deadline,
    .attempt = attempt_gate,
    .sleep = sleep_at_gate,
  };
  bool is_mine = ux_sync_held_by_us(o) != UX_SYNC_FREE;
  w.err = is_mine ? EDEADLK : attempt_gate(&w);
  int err = ux_sync_wait(L, &w);
  return err == 0 ? write_behind_gate(L, o, deadline) : err;
}

/***
Lets this process write, alone. Waits while others read or write; those that
come to read after it wait.
@function RWLock:write_lock
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[1] string|nil `"recovered"`: a writer died, its work may be half done
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EDEADLK (this process has it)
*/
static int l_write_lock(lua_State *L) {
  struct ux_sync *o = check_rwlock(L);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  return ux_sync_result(
    L, lock_to_write(L, o, &deadline), "rwlock write_lock");
}

static int unlock_rwlock(struct ux_sync *o) {
  int err = EPERM;
  switch (ux_sync_held_by_us(o)) {
    case UX_SYNC_READING: err = ux_rwlock_read_unlock(o->at, o->slot); break;
    case UX_SYNC_WRITING: err = ux_rwlock_write_unlock(o->at); break;
    case UX_SYNC_FREE:
    case UX_SYNC_WAITING: break;
  }
  if (err == 0) ux_sync_set_held(o, UX_SYNC_FREE);
  return err;
}

/***
Lets it go, to read or to write.
@function RWLock:unlock
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (this process does not have it)
*/
static int l_unlock(lua_State *L) {
  return ux_sync_result(L, unlock_rwlock(check_rwlock(L)), "rwlock unlock");
}

/***
Lets this process read for a block, however that ends.
@function RWLock:read_guard
@tparam[opt] number timeout seconds
@treturn[1] Guard
@treturn[1] string|nil `"recovered"`, as `read_lock`
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: as `read_lock`
@see RWLock:read_lock
@see Guard:close
*/
static int l_read_guard(lua_State *L) {
  return ux_sync_guard(
    L, check_rwlock(L), lock_to_read, unlock_rwlock, "rwlock read_lock");
}

/***
Lets this process write for a block, however that ends.
@function RWLock:write_guard
@tparam[opt] number timeout seconds
@treturn[1] Guard
@treturn[1] string|nil `"recovered"`, as `write_lock`
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: as `write_lock`
@see RWLock:write_lock
@see Guard:close
*/
static int l_write_guard(lua_State *L) {
  return ux_sync_guard(
    L, check_rwlock(L), lock_to_write, unlock_rwlock, "rwlock write_lock");
}

/***
Lets it go if this process has it. Also what `<close>` and the collector do.
@function RWLock:close
@treturn boolean true
*/
static int l_rwlock_close(lua_State *L) {
  struct ux_sync *o = ux_check(L, 1, &rwlock_class);
  bool waits = ux_sync_held_by_us(o) == UX_SYNC_WAITING;
  if (o->head.open) unlock_rwlock(o);
  if (!waits) ux_sync_set_held(o, UX_SYNC_FREE);
  o->head.open = false;
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg rwlock_methods[] = {
  {"read_lock", l_read_lock},
  {"write_lock", l_write_lock},
  {"unlock", l_unlock},
  {"read_guard", l_read_guard},
  {"write_guard", l_write_guard},
  {NULL, NULL},
};

static const struct ux_class rwlock_class = {
  .name = "sync rwlock",
  .size = sizeof(struct ux_sync),
  .uservalues = 1,
  .methods = rwlock_methods,
  .close = l_rwlock_close,
  .describe = describe,
};

/***
A lock for one writer or many readers. Writers go first.
@function rwlock
@tparam[opt] Region region
@tparam[opt=0] integer offset
@tparam[opt] table options `create`; `readers`: how many at once, 64 by default
@treturn[1] RWLock
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (there is none)
*/
int ux_sync_rwlock(lua_State *L) {
  return ux_sync_construct(
    L, &rwlock_class, UX_PSYNC_RWLOCK, rwlock_schema, READERS);
}

/* ---- Condition --------------------------------------------------------- */

static const struct ux_option condition_schema[] = {
  {"create", UX_OPT_BOOLEAN, CREATE, 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_class condition_class;

static int attempt_condition(struct ux_sync_wait *w) {
  return ux_condition_is_over(w->o->at, w->ticket) ? 0 : EAGAIN;
}

static int sleep_on_condition(void *arg) {
  const struct ux_sync_wait *w = arg;
  return ux_condition_sleep(w->o->at, w->ticket, 0);
}

/***
Lets the mutex go, waits to be notified, and takes the mutex again. It may wake
for no reason: ask again what was waited for. The mutex is taken again too when
time is up or a handler raises; that may take longer than the timeout.
@function Condition:wait
@tparam Mutex mutex which this process has
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[1] string|nil `"recovered"` when an owner of the mutex died
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT (the mutex is held again), EPERM (this
process does not have the mutex), ENOTRECOVERABLE
*/
static int l_condition_wait(lua_State *L) {
  struct ux_sync *o = ux_sync_check(L, &condition_class);
  struct ux_sync *mutex = ux_check(L, 2, &ux_sync_mutex_class);
  ux_sync_check_usable(L, mutex);
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  struct ux_deadline forever = {UX_FOREVER, 0};
  struct ux_sync_wait w = {
    .o = o,
    .deadline = &deadline,
    .attempt = attempt_condition,
    .sleep = sleep_on_condition,
    .ticket = ux_condition_prepare(o->at),
    .err = EAGAIN,
  };
  uint64_t guard = mutex->guard;
  int err = ux_mutex_unlock(mutex->at);
  if (err != 0) return ux_sync_result(L, err, "condition wait");
  ux_sync_set_held(mutex, UX_SYNC_FREE);
  bool is_well = ux_sync_try_wait(L, &w);
  if (ux_region_is_open(mutex->region)) { /* a handler may have closed it */
    err = ux_sync_lock_mutex(L, mutex, &forever);
    if (ux_sync_is_taken(err)) mutex->guard = guard;
  }
  if (!is_well) return lua_error(L);
  if (err == 0 || (err == EOWNERDEAD && w.err != 0)) err = w.err;
  return ux_sync_result(L, err, "condition wait");
}

/***
Wakes one that waits, if there is one. Who changes what is waited for should
have the mutex.
@function Condition:notify
@treturn boolean true
*/
static int l_notify(lua_State *L) {
  ux_condition_notify_one(ux_sync_check(L, &condition_class)->at);
  lua_pushboolean(L, 1);
  return 1;
}

/***
Wakes all that wait.
@function Condition:notify_all
@treturn boolean true
*/
static int l_notify_all(lua_State *L) {
  ux_condition_notify_all(ux_sync_check(L, &condition_class)->at);
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg condition_methods[] = {
  {"wait", l_condition_wait},
  {"notify", l_notify},
  {"notify_all", l_notify_all},
  {NULL, NULL},
};

static const struct ux_class condition_class = {
  .name = "sync condition",
  .size = sizeof(struct ux_sync),
  .uservalues = 1,
  .methods = condition_methods,
  .close = ux_sync_close,
  .describe = describe,
};

/***
A condition variable: waits, with a mutex let go, for others to say that
something changed.
@function condition
@tparam[opt] Region region
@tparam[opt=0] integer offset
@tparam[opt] table options `create`
@treturn[1] Condition
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (there is none)
*/
int ux_sync_condition(lua_State *L) {
  return ux_sync_construct(
    L, &condition_class, UX_PSYNC_CONDITION, condition_schema, 0);
}

/* ---- Barrier ----------------------------------------------------------- */

static const struct ux_option barrier_schema[] = {
  {"create", UX_OPT_BOOLEAN, CREATE, 0, 0, NULL},
  {"parties", UX_OPT_INTEGER, COUNT, 1, 4096, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_class barrier_class;

static int attempt_arrival(struct ux_sync_wait *w) {
  return ux_barrier_arrive(w->o->at, w->o->count, &w->arrival, w->waited);
}

/* Without a slot: until those of the last time have left. */
static int sleep_to_arrive(void *arg) {
  const struct ux_sync_wait *w = arg;
  if (w->err == EBUSY) return ux_barrier_lock_sleep(w->o->at, 0);
  return ux_barrier_slot_sleep(w->o->at, w->arrival.slot, 0);
}

static int attempt_barrier(struct ux_sync_wait *w) {
  return ux_barrier_is_over(w->o->at, &w->arrival) ? 0 : EAGAIN;
}

static int sleep_at_barrier(void *arg) {
  const struct ux_sync_wait *w = arg;
  return ux_barrier_sleep(w->o->at, &w->arrival, 0);
}

/* From arriving to leaving a slot is held. A handler may wait here too. */
static int wait_for_others(lua_State *L, struct ux_sync_wait *w) {
  struct ux_sync *o = w->o;
  enum ux_sync_held before = ux_sync_held_by_us(o);
  w->attempt = attempt_barrier;
  w->sleep = sleep_at_barrier;
  w->err = EAGAIN;
  ux_sync_set_held(o, UX_SYNC_WAITING);
  bool is_well = ux_sync_try_wait(L, w);
  bool is_over = ux_barrier_leave(o->at, &w->arrival);
  ux_sync_set_held(o, before);
  if (!is_well) return lua_error(L);
  return is_over ? 0 : w->err;
}

/***
Waits until so many processes wait here as the barrier has parties; then all go
on, and it begins anew. One that is killed while it waits, whose time is up or
whose handler raises has not come: another one may, in its place.
@function Barrier:wait
@tparam[opt] number timeout seconds
@treturn[1] boolean true: was the last to come; false: for the others
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT
*/
static int l_barrier_wait(lua_State *L) {
  struct ux_sync *o = ux_sync_check(L, &barrier_class);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  struct ux_sync_wait w = {
    .o = o,
    .deadline = &deadline,
    .attempt = attempt_arrival,
    .sleep = sleep_to_arrive,
  };
  w.err = attempt_arrival(&w);
  int err = ux_sync_wait(L, &w);
  bool is_last = err == 0;
  if (err == EINPROGRESS) err = wait_for_others(L, &w);
  if (err != 0) return ux_fail(L, err, "barrier wait", NULL);
  lua_pushboolean(L, is_last);
  return 1;
}

static const luaL_Reg barrier_methods[] = {
  {"wait", l_barrier_wait},
  {NULL, NULL},
};

static const struct ux_class barrier_class = {
  .name = "sync barrier",
  .size = sizeof(struct ux_sync),
  .uservalues = 1,
  .methods = barrier_methods,
  .close = ux_sync_close,
  .describe = describe,
};

/***
A barrier: nobody goes on before all have come.
@function barrier
@tparam[opt] Region region
@tparam[opt=0] integer offset
@tparam[opt] table options `create`; `parties`, 2 by default
@treturn[1] Barrier
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (there is none)
*/
int ux_sync_barrier(lua_State *L) {
  return ux_sync_construct(
    L, &barrier_class, UX_PSYNC_BARRIER, barrier_schema, 2);
}

void ux_sync_open_many(lua_State *L) {
  ux_class_open(L, &rwlock_class);
  ux_class_open(L, &condition_class);
  ux_class_open(L, &barrier_class);
  lua_pop(L, 3);
}
