/***
@module unixipc.sysv_sem
*/
#include "base/error.h"
#include "base/wait.h"
#include "sysv_sem_set.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <sys/sem.h>
#include <time.h>

/* ---- operations -------------------------------------------------------- */

/* Stays on the C stack for one operation, in a userdata for more. */
struct operation {
  int id;
  struct sembuf *ops;
  size_t count;
  struct ux_deadline *deadline;
};

#ifdef __linux__

/* The kernel's own timeout is as good as the tick, and costs nothing. */
static int semop_call(void *arg) {
  const struct operation *o = arg;
  struct timespec store, *left = ux_deadline_left(o->deadline, &store);
  return semtimedop(o->id, o->ops, o->count, left) == 0 ? 0 : errno;
}

/* Without waiting. */
static int try_semop(const struct operation *o) {
  struct timespec none = {0, 0};
  return semtimedop(o->id, o->ops, o->count, &none) == 0 ? 0 : errno;
}

static int sleep_in_semop(lua_State *L, struct operation *o) {
  struct ux_deadline forever = {UX_FOREVER, 0};
  return ux_wait_call(L, semop_call, o, &forever);
}

#else

static int semop_call(void *arg) {
  const struct operation *o = arg;
  return semop(o->id, o->ops, o->count) == 0 ? 0 : errno;
}

/* It could, but for flags that are the caller's: so it waits, maybe for the
   first tick only. */
static int try_semop(const struct operation *o) {
  (void)o;
  return EINTR;
}

static int sleep_in_semop(lua_State *L, struct operation *o) {
  return ux_wait_call(L, semop_call, o, o->deadline);
}

#endif

/* EAGAIN: time is up; or an operation of its own was not to wait. */
static int wait_semop(lua_State *L, struct operation *o, bool has_nowait) {
  ux_deadline_start(o->deadline);
  for (;;) {
    int err = sleep_in_semop(L, o);
    bool is_over = ux_deadline_passed(o->deadline);
    if (err == EAGAIN && is_over) return ETIMEDOUT;
    if (err == EAGAIN && has_nowait) return EAGAIN;
    if (err != EAGAIN && err != EINTR) return err;
    if (is_over) return ETIMEDOUT;
  }
}

/* One operation: first without waiting, and without reading the clock. */
static int operate(lua_State *L, int id, struct sembuf op,
                   struct ux_deadline *deadline) {
  op.sem_flg |= IPC_NOWAIT;
  if (semop(id, &op, 1) == 0) return 0;
  int err = errno;
  if (err != EAGAIN && err != EINTR) return err;
  if (deadline->left == 0) return ETIMEDOUT;
  op.sem_flg &= ~IPC_NOWAIT;
  struct operation o = {id, &op, 1, deadline};
  return wait_semop(L, &o, false);
}

static int operate_on(lua_State *L, const struct ux_sem_set *s,
                      struct sembuf op, int timeout_arg) {
  struct ux_deadline deadline = ux_check_deadline(L, timeout_arg);
  int id = s->sysv.id;
  return ux_sysv_result(L, operate(L, id, op, &deadline), "semop", id);
}

static short check_amount(lua_State *L, int arg) {
  lua_Integer n = luaL_optinteger(L, arg, 1);
  luaL_argcheck(
    L, n >= 1 && n <= UX_SEM_MOST_VALUE, arg, "1 to 32767 expected");
  return (short)n;
}

/***
Takes from a semaphore: waits until it has so much.
@function SemaphoreSet:acquire
@tparam[opt=1] integer i
@tparam[opt=1] integer amount
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EIDRM (removed meanwhile), EINVAL (no
such set), EACCES, ENOSPC or ENOMEM (no room for `undo`)
@see semop(2)
*/
static int l_acquire(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  struct sembuf op = {.sem_num = ux_check_sem_number(L, 2, 2, s),
                      .sem_op = (short)-check_amount(L, 3),
                      .sem_flg = s->undo ? SEM_UNDO : 0};
  return operate_on(L, s, op, 4);
}

/***
Gives to a semaphore. It never waits.
@function SemaphoreSet:release
@tparam[opt=1] integer i
@tparam[opt=1] integer amount
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ERANGE (the value would be over 32767), EINVAL or
EIDRM (no such set), EACCES, ENOSPC or ENOMEM (no room for `undo`)
@see semop(2)
*/
static int l_release(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  struct sembuf op = {.sem_num = ux_check_sem_number(L, 2, 2, s),
                      .sem_op = check_amount(L, 3),
                      .sem_flg = s->undo ? SEM_UNDO : 0};
  int err = semop(s->sysv.id, &op, 1) == 0 ? 0 : errno;
  return ux_sysv_result(L, err, "semop", s->sysv.id);
}

/***
Waits until a semaphore is 0.
@function SemaphoreSet:wait_zero
@tparam[opt=1] integer i
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EIDRM (removed meanwhile), EINVAL (no
such set), EACCES
@see semop(2)
*/
static int l_wait_zero(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  struct sembuf op = {.sem_num = ux_check_sem_number(L, 2, 2, s)};
  return operate_on(L, s, op, 3);
}

/* ---- several at once --------------------------------------------------- */

struct op_options {
  bool undo, nowait;
};

/* One entry, {i, change, undo =, nowait =}, is at the top of the stack. */
static struct sembuf read_operation(lua_State *L, const struct ux_sem_set *s) {
  int entry = lua_gettop(L), is_integer;
  if (!lua_istable(L, entry))
    luaL_argerror(L, 2, "each operation is a table {i, change}");
  lua_geti(L, entry, 1);
  lua_geti(L, entry, 2);
  lua_getfield(L, entry, "undo");
  lua_getfield(L, entry, "nowait");
  unsigned short number = ux_check_sem_number(L, 2, entry + 1, s);
  lua_Integer change = lua_tointegerx(L, entry + 2, &is_integer);
  if (!is_integer || change < -UX_SEM_MOST_VALUE || change > UX_SEM_MOST_VALUE)
    luaL_argerror(L, 2, "changes are from -32767 to 32767");
  bool undo = lua_isnil(L, entry + 3) ? s->undo : lua_toboolean(L, entry + 3);
  int flags =
    (undo ? SEM_UNDO : 0) | (lua_toboolean(L, entry + 4) ? IPC_NOWAIT : 0);
  lua_settop(L, entry);
  return (struct sembuf){number, (short)change, (short)flags};
}

/* The list at arg 2, as a userdata that stays on the stack. */
static struct operation read_operations(lua_State *L,
                                        const struct ux_sem_set *s,
                                        struct ux_deadline *deadline,
                                        bool *has_nowait) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer count = ux_check_list(L, 2, 2);
  luaL_argcheck(L, count >= 0 && count <= USHRT_MAX, 2, "too many");
  struct sembuf *ops =
    lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *ops, 0);
  *has_nowait = false;
  for (lua_Integer i = 0; i < count; i++) {
    lua_geti(L, 2, i + 1);
    ops[i] = read_operation(L, s);
    *has_nowait |= (ops[i].sem_flg & IPC_NOWAIT) != 0;
    lua_pop(L, 1);
  }
  return (struct operation){s->sysv.id, ops, (size_t)count, deadline};
}

/***
Makes several changes at once: all of them, as soon as all are possible, or
none. They are tried in their order, so that one may undo what the one before
it did.

    set:op({{1, -1}, {2, 1}}, 0.5)           -- take one there, give one here
    set:op {{1, 0}, {1, 1, undo = true}}     -- when it is 0, make it 1
@function SemaphoreSet:op
@tparam table list of {i, change, undo = boolean, nowait = boolean}: a negative
change waits until there is so much, 0 until there is nothing; `undo`: to be
taken back when the process ends, by default as `get` was told; `nowait`: do
not wait for this one, but give EAGAIN
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EAGAIN (of `nowait`), ERANGE (a value
would be over 32767), E2BIG (too many), EINVAL (none; or no such set), EIDRM
(removed meanwhile), EACCES, ENOSPC, ENOMEM
@see semtimedop(2)
*/
static int l_op(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  bool has_nowait;
  struct operation o = read_operations(L, s, &deadline, &has_nowait);
  int err = try_semop(&o);
  if (err == EAGAIN && deadline.left == 0)
    err = has_nowait ? EAGAIN : ETIMEDOUT;
  else if (err == EAGAIN || err == EINTR)
    err = wait_semop(L, &o, has_nowait);
  return ux_sysv_result(L, err, "semop", o.id);
}

/* ---- locks ------------------------------------------------------------- */

/* One taken with SEM_UNDO, by `lock`. It needs the set's id only. */
struct lock {
  struct ux_object head;
  int id;
  unsigned short number;
};

static const struct ux_class lock_class;

static int unlock(int id, unsigned short number) {
  struct sembuf op = {number, 1, SEM_UNDO | IPC_NOWAIT};
  return semop(id, &op, 1) == 0 ? 0 : errno;
}

/***
Gives back what `lock` took. Also what `<close>` and the collector do. A forked
child's copy gives back nothing.
@function Lock:close
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL or EIDRM (the set was removed), ERANGE
@see semop(2)
*/
static int l_unlock(lua_State *L) {
  struct lock *l = ux_check(L, 1, &lock_class);
  bool is_held = l->head.open && ux_is_owner(&l->head);
  l->head.open = false;
  int err = is_held ? unlock(l->id, l->number) : 0;
  return ux_sysv_result(L, err, "semop", l->id);
}

static void describe_lock(lua_State *L, const void *self) {
  const struct lock *l = self;
  lua_pushfstring(L, "sysv_sem lock id=%d semaphore=%d", l->id, l->number + 1);
}

static const struct ux_class lock_class = {
  .name = "sysv_sem lock",
  .size = sizeof(struct lock),
  .close = l_unlock,
  .describe = describe_lock,
};

/***
Takes one from a semaphore until the lock it gives is closed, or the process
ends, however that happens.

    local lock <close> = assert(set:lock(1))
@function SemaphoreSet:lock
@tparam[opt=1] integer i
@tparam[opt] number timeout seconds
@treturn[1] Lock
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EIDRM (removed meanwhile), EINVAL (no
such set), EACCES, ENOSPC or ENOMEM (no room to note it)
@see semop(2)
*/
static int l_lock(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  struct sembuf op = {ux_check_sem_number(L, 2, 2, s), -1, SEM_UNDO};
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  struct lock *l = ux_new(L, &lock_class);
  l->id = s->sysv.id;
  l->number = op.sem_num;
  int err = operate(L, l->id, op, &deadline);
  l->head.open = err == 0;
  return err == 0 ? 1 : ux_sysv_fail(L, err, "semop", l->id);
}

const luaL_Reg ux_sem_op_methods[] = {
  {"acquire", l_acquire},
  {"release", l_release},
  {"wait_zero", l_wait_zero},
  {"op", l_op},
  {"lock", l_lock},
  {NULL, NULL},
};

void ux_sem_open_lock(lua_State *L) {
  ux_class_open(L, &lock_class);
  lua_pop(L, 1);
}
