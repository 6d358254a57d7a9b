/***
System V semaphores: sets of counters that processes wait on, several at once
if need be. Semaphores of a set count from 1.

    local ipc = require "unixipc"
    local key = assert(ipc.sysv.ftok("/tmp", "s"))
    local set = assert(ipc.sysv_sem.get(key, 1, {create = true, initial = {1}}))
    do
      local lock <close> = assert(set:lock(1, 0.5))
      -- nobody else is here
    end
    set:remove()
@module unixipc.sysv_sem
*/
#include "base/error.h"
#include "base/modules.h"
#include "sysv_sem_init.h"
#include "sysv_sem_set.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <string.h>

static int fail(lua_State *L, const struct ux_sem_set *s, int err,
                const char *call) {
  return ux_sysv_fail(L, err, call, s->sysv.id);
}

/* ---- values ------------------------------------------------------------ */

static int push_control(lua_State *L, int command) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  int value = semctl(s->sysv.id, ux_check_sem_number(L, 2, 2, s), command);
  if (value < 0) return fail(L, s, errno, "semctl");
  lua_pushinteger(L, value);
  return 1;
}

/***
The value of one.
@function SemaphoreSet:value
@tparam[opt=1] integer i
@treturn[1] integer
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES, EINVAL or EIDRM (no such set)
@see semctl(2)
*/
static int l_value(lua_State *L) {
  return push_control(L, GETVAL);
}

/***
The process that last changed one, or waited for it to be 0.
@function SemaphoreSet:last_pid
@tparam[opt=1] integer i
@treturn[1] integer pid; 0: nobody yet
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES, EINVAL or EIDRM (no such set)
@see semctl(2)
*/
static int l_last_pid(lua_State *L) {
  return push_control(L, GETPID);
}

/***
How many processes wait for one.
@function SemaphoreSet:waiting
@tparam[opt=1] integer i
@treturn[1] integer those that wait to take
@treturn[1] integer those that wait for 0
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES, EINVAL or EIDRM (no such set)
@see semctl(2)
*/
static int l_waiting(lua_State *L) {
  int results = push_control(L, GETNCNT);
  if (results != 1) return results;
  results = push_control(L, GETZCNT);
  return results == 1 ? 2 : results;
}

/* How many values GETALL may write. Whoever owns the set could remove it, and
   make a larger one with its id; so there is room for the largest. */
static int most_values(int count) {
#ifdef __linux__
  struct seminfo info = {.semmsl = 0};
  union semun arg = {.info = &info};
  if (semctl(0, 0, IPC_INFO, arg) >= 0 && info.semmsl > count)
    return info.semmsl;
#endif
  return count;
}

/* Room for values, as a userdata on the stack. */
static unsigned short *new_values(lua_State *L, int count) {
  size_t size = ((size_t)count + 1) * sizeof(unsigned short);
  return memset(lua_newuserdatauv(L, size, 0), 0, size);
}

/***
The values of all, read at one moment.
@function SemaphoreSet:values
@treturn[1] table a list of integers
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES, EINVAL or EIDRM (no such set)
@see semctl(2)
*/
static int l_values(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  int count, err = ux_sem_set_count(s, &count);
  union semun arg = {.array = new_values(L, most_values(count))};
  if (err == 0 && semctl(s->sysv.id, 0, GETALL, arg) < 0) err = errno;
  if (err != 0) return fail(L, s, err, "semctl");
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_pushinteger(L, arg.array[i]);
    lua_seti(L, -2, i + 1);
  }
  return 1;
}

/* The value at the top of the stack; what is none the kernel is to refuse. */
static unsigned short to_value(lua_State *L, int arg) {
  int is_integer;
  lua_Integer n = lua_tointegerx(L, -1, &is_integer);
  luaL_argcheck(L, is_integer, arg, "values are integers");
  return n < 0 || n > UX_SEM_MOST_VALUE ? USHRT_MAX : (unsigned short)n;
}

static void read_values(lua_State *L, int arg, int index,
                        unsigned short *values, int count) {
  for (int i = 0; i < count; i++) {
    lua_geti(L, index, i + 1);
    values[i] = to_value(L, arg);
    lua_pop(L, 1);
  }
}

/***
Sets the values of all, at one moment.
@function SemaphoreSet:set_values
@tparam table list of as many integers as there are semaphores
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ERANGE (below 0 or over 32767), EACCES, EINVAL or
EIDRM (no such set)
@see semctl(2)
*/
static int l_set_values(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  int count, err = ux_sem_set_count(s, &count);
  union semun arg = {.array = new_values(L, count)};
  if (err != 0) return fail(L, s, err, "semctl");
  luaL_argcheck(
    L, luaL_len(L, 2) == count, 2, "a value for each semaphore expected");
  read_values(L, 2, 2, arg.array, count);
  if (semctl(s->sysv.id, 0, SETALL, arg) < 0) err = errno;
  return ux_sysv_result(L, err, "semctl", s->sysv.id);
}

/* ---- control ----------------------------------------------------------- */

static int set_value(lua_State *L, const struct ux_sem_set *s) {
  unsigned short number = ux_check_sem_number(L, 2, 2, s);
  luaL_checkinteger(L, 3);
  lua_settop(L, 3);
  union semun arg = {.val = to_value(L, 3)};
  int err = semctl(s->sysv.id, number, SETVAL, arg) < 0 ? errno : 0;
  return ux_sysv_result(L, err, "semctl", s->sysv.id);
}

static const struct ux_option set_schema[] = {
  UX_SYSV_PERM_OPTIONS,
  {NULL, 0, 0, 0, 0, NULL},
};

/***
Sets the value of one, `set(i, value)`; or, with a table, changes `mode`, `uid`
or `gid`.
@function SemaphoreSet:set
@tparam integer|table i or options: what is left out stays as it is
@tparam[opt] integer value
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ERANGE (below 0 or over 32767), EPERM (not the
owner), EACCES, EINVAL or EIDRM (no such set)
@see semctl(2)
*/
static int l_set(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  struct ux_sysv_perm perm = UX_SYSV_PERM_DEFAULTS;
  struct semid_ds ds = {.sem_otime = 0};
  union semun arg = {.buf = &ds};
  if (lua_type(L, 2) == LUA_TNUMBER) return set_value(L, s);
  luaL_checktype(L, 2, LUA_TTABLE);
  ux_check_options(L, 2, set_schema, &perm);
  int err = ux_sem_set_stat(s->sysv.id, &ds);
  ux_sysv_apply_perm(&perm, &ds.sem_perm);
  if (err == 0 && semctl(s->sysv.id, 0, IPC_SET, arg) < 0) err = errno;
  return ux_sysv_result(L, err, "semctl", s->sysv.id);
}

/***
What is known about it: `id`, `key`, `mode` (nine letters, as `ls` has), `uid`,
`gid`, `creator_uid`, `creator_gid`; `count` of semaphores; `operated_at` and
`changed_at`, as `os.time` gives. 0 is never.
@function SemaphoreSet:stat
@treturn[1] table
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES, EINVAL or EIDRM (no such set)
@see semctl(2)
*/
static int l_stat(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  struct semid_ds ds = {.sem_otime = 0};
  union semun arg = {.buf = &ds};
  if (semctl(s->sysv.id, 0, IPC_STAT, arg) < 0)
    return fail(L, s, errno, "semctl");
  lua_createtable(L, 0, 10);
  ux_sysv_add_perm(L, s->sysv.id, &ds.sem_perm);
  ux_sysv_add(L, "count", (lua_Integer)ds.sem_nsems);
  ux_sysv_add(L, "operated_at", ds.sem_otime);
  ux_sysv_add(L, "changed_at", ds.sem_ctime);
  return 1;
}

/***
Removes the set. Who waits on it gets EIDRM.
@function SemaphoreSet:remove
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM, EINVAL or EIDRM (no such set)
@see semctl(2)
*/
static int l_remove(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  int err = ux_sysv_remove(UX_SYSV_SEM, s->sysv.id);
  return ux_sysv_result(L, err, "semctl", s->sysv.id);
}

/***
The id, which leads to it in every process: `sysv_sem.from_id(id)`.
@function SemaphoreSet:id
@treturn integer 0 is an id
*/
static int l_id(lua_State *L) {
  lua_pushinteger(L, ux_check_sem_set(L)->sysv.id);
  return 1;
}

/***
The key.
@function SemaphoreSet:key
@treturn integer 0 when it has none
*/
static int l_key(lua_State *L) {
  lua_pushinteger(L, ux_check_sem_set(L)->sysv.key);
  return 1;
}

static const luaL_Reg methods[] = {
  {"value", l_value},
  {"values", l_values},
  {"last_pid", l_last_pid},
  {"waiting", l_waiting},
  {"set", l_set},
  {"set_values", l_set_values},
  {"stat", l_stat},
  {"remove", l_remove},
  {"id", l_id},
  {"key", l_key},
  {NULL, NULL},
};

/* ---- opening ----------------------------------------------------------- */

struct get_options {
  struct ux_sysv_options sysv;
  bool undo;
  int initial; /* stack index; 0: not given */
};

#define UNDO_OPTION \
  { "undo", UX_OPT_BOOLEAN, offsetof(struct get_options, undo), 0, 0, NULL }

static const struct ux_option get_schema[] = {
  UX_SYSV_OPTIONS,
  UNDO_OPTION,
  {"initial", UX_OPT_VALUE, offsetof(struct get_options, initial), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option from_id_schema[] = {
  UNDO_OPTION,
  {NULL, 0, 0, 0, 0, NULL},
};

/* A list, or one integer for all; each from 0 to 32767. */
static void read_initial(lua_State *L, int index, unsigned short *values,
                         int count) {
  bool is_list = lua_istable(L, index);
  if (is_list && luaL_len(L, index) != count)
    luaL_argerror(L, 3, "option 'initial': a value for each expected");
  for (int i = 0; i < count; i++) {
    if (is_list)
      lua_geti(L, index, i + 1);
    else
      lua_pushvalue(L, index);
    if (!is_list && !lua_isinteger(L, -1))
      luaL_argerror(L, 3, "option 'initial': integer or list expected");
    if (!lua_isinteger(L, -1) || to_value(L, 3) == USHRT_MAX)
      luaL_argerror(L, 3, "option 'initial': values are from 0 to 32767");
    values[i] = to_value(L, 3);
    lua_pop(L, 1);
  }
}

/* More than any system has, so that it says which limit that is. */
#define MOST_SEMAPHORES INT_MAX

static int check_count(lua_State *L, int arg) {
  lua_Integer n = luaL_optinteger(L, arg, 0);
  luaL_argcheck(L, n >= INT_MIN && n <= MOST_SEMAPHORES, arg, "no count");
  return (int)n;
}

/***
Opens a set by its key, or makes one.

With `initial` no process that uses this library sees the set before it has
these values, whatever becomes of the one that makes it; and other programs that
wait until `sem_otime` is not 0, as they should, do not either.

Options: `create`: make it if it is not there; `exclusive` with `create`: it
must not be there; `initial`: values of a new one, a list or an integer for
all, 0 by default; `mode` of a new one, `"0600"` by default, and if given
for one that exists: the rights to be asked for; `temporary`: closing it
removes it, if this call made it; `undo`: what `acquire` and `release` did is
taken back when the process ends.
@function get
@tparam integer|nil key nil makes one that only its id leads to
@tparam[opt] integer count of semaphores; may be left out for one that exists
@tparam[opt] table options
@treturn[1] SemaphoreSet
@treturn[1] boolean whether this call made it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EEXIST (with `exclusive`), EINVAL (more than
the set has or may have, or none of a new one), EACCES, ENOSPC (the limit of
sets or semaphores), ENOMEM
@see semget(2)
*/
static int l_get(lua_State *L) {
  struct get_options o = {{.mode = UX_SYSV_NO_MODE}, false, 0};
  int err = 0;
  lua_settop(L, 3);
  int count = check_count(L, 2);
  ux_check_options(L, 3, get_schema, &o);
  key_t key = ux_sysv_check_key(L, 1, &o.sysv);
  struct sem_init init = {.key = key, .count = count, .options = &o.sysv};
  if (o.sysv.create && count > 0 && count <= USHRT_MAX) {
    init.values = new_values(L, count);
    init.is_given = o.initial != 0;
    if (init.is_given) read_initial(L, o.initial, init.values, count);
  }
  struct ux_sem_set *s = ux_sem_set_new(L);
  init.lock = &s->lock_fd;
  int id = ux_sysv_sem_init(L, &init, &err);
  if (id < 0) return ux_sysv_fail_key(L, err, "semget", key);
  ux_sem_set_open(s, id, key, o.sysv.temporary && init.is_new);
  s->undo = o.undo;
  lua_pushboolean(L, init.is_new);
  return 2;
}

/***
Opens a set by its id.

Options: `undo`, as `get` takes it.
@function from_id
@tparam integer id
@tparam[opt] table options
@treturn[1] SemaphoreSet
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (no such set)
@see semctl(2)
*/
static int l_from_id(lua_State *L) {
  struct get_options o = {{.mode = UX_SYSV_NO_MODE}, false, 0};
  int id = ux_sysv_check_id(L, 1);
  ux_check_options(L, 2, from_id_schema, &o);
  struct semid_ds ds = {.sem_otime = 0};
  struct ux_sem_set *s = ux_sem_set_new(L);
  int err = ux_sem_set_stat(id, &ds);
  if (err != 0 && err != EACCES) return ux_sysv_fail(L, err, "semctl", id);
  key_t key = IPC_PRIVATE;
#ifdef __linux__
  if (err == 0) key = ds.sem_perm.__key;
#endif
  ux_sem_set_open(s, id, key, false);
  s->undo = o.undo;
  return 1;
}

static const luaL_Reg functions[] = {
  {"get", l_get},
  {"from_id", l_from_id},
  {NULL, NULL},
};

int ux_open_sysv_sem(lua_State *L) {
  ux_sem_open_lock(L);
  ux_class_open(L, &ux_sem_set_class);
  luaL_setfuncs(L, methods, 0);
  luaL_setfuncs(L, ux_sem_op_methods, 0);
  luaL_newlib(L, functions);
  lua_insert(L, -2);
  lua_setfield(L, -2, "SemaphoreSet");
  return 1;
}
