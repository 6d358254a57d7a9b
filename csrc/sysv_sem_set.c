/***
@module unixipc.sysv_sem
*/
/* The object of `sysv_sem`: how it is found, counted and closed. */
#include "sysv_sem_set.h"

#include "base/fd.h"
#include "sysv_sem_init.h"

#include <errno.h>
#include <limits.h>

/* ---- what is asked for ------------------------------------------------- */

struct ux_sem_set *ux_check_sem_set(lua_State *L) {
  return ux_check_open(L, 1, &ux_sem_set_class);
}

unsigned short ux_check_sem_number(lua_State *L, int arg, int index,
                                   const struct ux_sem_set *s) {
  int is_integer = 1, count = s->count > 0 ? s->count : USHRT_MAX;
  lua_Integer i =
    lua_isnoneornil(L, index) ? 1 : lua_tointegerx(L, index, &is_integer);
  if (!is_integer || i < 1 || i > count)
    luaL_argerror(
      L, arg, lua_pushfstring(L, "semaphores are from 1 to %d", count));
  return (unsigned short)(i - 1);
}

/* ---- the set in the kernel --------------------------------------------- */

int ux_sem_set_stat(int id, struct semid_ds *ds) {
  union semun arg = {.buf = ds};
  int err = semctl(id, 0, IPC_STAT, arg) < 0 ? errno : 0;
#ifdef SEM_STAT_ANY
  if (err == EACCES && semctl(ux_sysv_index(id), 0, SEM_STAT_ANY, arg) == id)
    err = 0;
#endif
  return err;
}

int ux_sem_set_count(const struct ux_sem_set *s, int *count) {
  struct semid_ds ds = {.sem_otime = 0};
  *count = s->count;
  if (*count > 0) return 0;
  int err = ux_sem_set_stat(s->sysv.id, &ds);
  if (err != 0) return err;
  *count = (int)ds.sem_nsems;
  return 0;
}

/* ---- the object -------------------------------------------------------- */

struct ux_sem_set *ux_sem_set_new(lua_State *L) {
  struct ux_sem_set *s = ux_new(L, &ux_sem_set_class);
  s->lock_fd = -1;
  return s;
}

void ux_sem_set_open(struct ux_sem_set *s, int id, key_t key,
                     bool is_temporary) {
  ux_sysv_set(&s->sysv, UX_SYSV_SEM, id, key, is_temporary);
  s->count = 0;
  ux_sem_set_count(s, &s->count);
}

/***
Lets go of the set; a temporary one is removed, by the process that made it.
Also what `<close>` and the collector do.
@function SemaphoreSet:close
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (a temporary one that changed its owner)
*/
static int l_close(lua_State *L) {
  struct ux_sem_set *s = ux_check(L, 1, &ux_sem_set_class);
  ux_fd_close(&s->lock_fd);
  int err = ux_sysv_close(&s->sysv);
  return ux_sysv_result(L, err, "semctl", s->sysv.id);
}

static void describe(lua_State *L, const void *self) {
  ux_sysv_describe(L, "sysv_sem set", self);
}

static int l_len(lua_State *L) {
  const struct ux_sem_set *s = ux_check_sem_set(L);
  int count;
  ux_sem_set_count(s, &count);
  lua_pushinteger(L, count);
  return 1;
}

static const luaL_Reg metamethods[] = {
  {"__len", l_len},
  {NULL, NULL},
};

const struct ux_class ux_sem_set_class = {
  .name = "sysv_sem set",
  .size = sizeof(struct ux_sem_set),
  .methods = metamethods,
  .close = l_close,
  .describe = describe,
};
