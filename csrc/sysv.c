/***
System V objects in general: keys, what there is, the system's limits. Queues,
semaphores and segments have modules of their own.

A key is an integer that processes have agreed on, or that each of them makes
of the same path with `ftok`; nil makes a new object without a key, whose id
others have to be told.
@module unixipc.sysv
*/
#include "sysv.h"

#include "base/error.h"
#include "base/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

union semun { /* the caller has to declare it, says semctl(2) */
  int val;
  struct semid_ds *buf;
  unsigned short *array;
  void *info;
};

/* ---- errors, with the limit that was met ------------------------------- */

#define KERNEL "/proc/sys/kernel/"

#ifdef __linux__

static bool has_most_sets(void) {
  struct seminfo most = {.semmni = 0}, now = {.semusz = 0};
  union semun arg = {.info = &most};
  if (semctl(0, 0, IPC_INFO, arg) < 0) return false;
  arg.info = &now;
  return semctl(0, 0, SEM_INFO, arg) >= 0 && now.semusz >= most.semmni;
}

static bool has_most_segments(void) {
  struct shminfo most = {.shmmni = 0};
  struct shm_info now = {.used_ids = 0};
  return shmctl(0, IPC_INFO, (struct shmid_ds *)&most) >= 0 &&
         shmctl(0, SHM_INFO, (struct shmid_ds *)&now) >= 0 &&
         (unsigned long)now.used_ids >= most.shmmni;
}

#else

static bool has_most_sets(void) {
  return true;
}

#define has_most_segments has_most_sets

#endif

/* Several for one error: the first that is so, as far as can be told. */
static const struct hint {
  const char *call;
  int err;
  const char *words;
  const char *path; /* of the limit; its contents are shown */
  bool (*is_met)(void);
} hints[] = {
  {"msgget", ENOSPC, "the limit of queues", KERNEL "msgmni", NULL},
  {"msgsnd",
   EINVAL,
   "no such queue, a type below 1, or longer than the limit of a message",
   KERNEL "msgmax",
   NULL},
  {"msgrcv",
   E2BIG,
   "longer than asked for; it stays in the queue",
   NULL,
   NULL},
  {"msgctl",
   EPERM,
   "not its owner, or more than an ordinary user may have in a queue",
   KERNEL "msgmnb",
   NULL},
  {"semget",
   ENOSPC,
   "the limit of sets, the fourth number",
   KERNEL "sem",
   has_most_sets},
  {"semget",
   ENOSPC,
   "the limit of semaphores in all sets, the second number",
   KERNEL "sem",
   NULL},
  {"semget",
   EINVAL,
   "none, more than the set has, or than the limit of a set, the first number",
   KERNEL "sem",
   NULL},
  {"semop",
   E2BIG,
   "the limit of operations at once, the third number",
   KERNEL "sem",
   NULL},
  {"semop", EINVAL, "no such set, or no operations", NULL, NULL},
  {"semop", ERANGE, "the limit of a value is 32767", NULL, NULL},
  {"msgctl", EINVAL, "no such queue", NULL, NULL},
  {"semctl", EINVAL, "no such set", NULL, NULL},
  {"shmctl", EINVAL, "no such segment", NULL, NULL},
  {"semctl", ERANGE, "values are from 0 to 32767", NULL, NULL},
  {"shmget",
   ENOSPC,
   "the limit of segments",
   KERNEL "shmmni",
   has_most_segments},
  {"shmget",
   ENOSPC,
   "the limit of pages in all segments",
   KERNEL "shmall",
   NULL},
  {"shmget",
   EINVAL,
   "no bytes, more than the segment has, or than the limit of a segment",
   KERNEL "shmmax",
   NULL},
  {"shmget",
   EPERM,
   "huge pages are for root and for one group",
   "/proc/sys/vm/hugetlb_shm_group",
   NULL},
  {"shmget",
   ENOMEM,
   "no memory; for huge pages, their number",
   "/proc/sys/vm/nr_hugepages",
   NULL},
  {"shmat",
   EINVAL,
   "no such segment, or the address is taken, or not the start of a page",
   NULL,
   NULL},
  {"shmctl", ENOMEM, "the limit of locked memory, RLIMIT_MEMLOCK", NULL, NULL},
  {NULL, 0, NULL, NULL, NULL},
};

static const struct hint *find_hint(const char *call, int err) {
  for (const struct hint *h = hints; h->call != NULL; h++)
    if (h->err == err && strcmp(h->call, call) == 0 &&
        (h->is_met == NULL || h->is_met()))
      return h;
  return NULL;
}

/* What the file says, in one line; "" if it cannot be read. */
static const char *read_limit(const char *path, char *buf, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : 0;
  if (fd >= 0) close(fd);
  buf[n > 0 ? n : 0] = '\0';
  buf[strcspn(buf, "\n")] = '\0';
  for (char *c = buf; *c != '\0'; c++)
    if (*c == '\t') *c = ' ';
  return buf;
}

static int push_hint(lua_State *L, const struct hint *h) {
  char limit[128];
  if (h->path == NULL) return lua_pushfstring(L, " (%s)", h->words) != NULL;
  lua_pushfstring(L,
                  " (%s, %s: %s)",
                  h->words,
                  h->path,
                  read_limit(h->path, limit, sizeof limit));
  return 1;
}

static int fail(lua_State *L, int err, const char *call, const char *name) {
  const struct hint *h = find_hint(call, err);
  int count = ux_fail(L, err, call, name);
  if (h == NULL) return count;
  lua_pushvalue(L, -2);
  push_hint(L, h);
  lua_concat(L, 2);
  lua_replace(L, -3);
  return count;
}

int ux_sysv_fail_key(lua_State *L, int err, const char *call, key_t key) {
  char name[sizeof "key 0x" + 2 * sizeof key];
  snprintf(name, sizeof name, "key 0x%08x", (unsigned)key);
  return fail(L, err, call, key == IPC_PRIVATE ? NULL : name);
}

int ux_sysv_fail(lua_State *L, int err, const char *call, int id) {
  char name[sizeof "id " + 3 * sizeof id];
  snprintf(name, sizeof name, "id %d", id);
  return fail(L, err, call, name);
}

int ux_sysv_result(lua_State *L, int err, const char *call, int id) {
  if (err != 0) return ux_sysv_fail(L, err, call, id);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- getting ----------------------------------------------------------- */

key_t ux_sysv_check_key(lua_State *L, int arg,
                        const struct ux_sysv_options *o) {
  lua_Integer key = luaL_optinteger(L, arg, IPC_PRIVATE);
  luaL_argcheck(
    L, key >= INT32_MIN && key <= UINT32_MAX, arg, "a key has 32 bits");
  if (key == IPC_PRIVATE) /* the system would make one in any case */
    luaL_argcheck(L, o->create, arg, "without a key it needs create = true");
  return (key_t)(uint32_t)key;
}

int ux_sysv_check_id(lua_State *L, int arg) {
  lua_Integer id = luaL_checkinteger(L, arg);
  luaL_argcheck(L, id >= INT_MIN && id <= INT_MAX, arg, "no id");
  return (int)id;
}

int ux_sysv_open_flags(const struct ux_sysv_options *o) {
  return o->mode == UX_SYSV_NO_MODE ? 0 : (int)o->mode;
}

static int create_flags(const struct ux_sysv_options *o) {
  mode_t mode = o->mode == UX_SYSV_NO_MODE ? UX_DEFAULT_MODE : o->mode;
  return IPC_CREAT | IPC_EXCL | (int)mode;
}

/* IPC_CREAT alone would not tell who made it. It may come and go between our
   two tries, so they go round. */
int ux_sysv_get(int (*get)(void *arg, key_t key, int flags), void *arg,
                key_t key, const struct ux_sysv_options *o, bool *is_new,
                int *err) {
  for (;;) {
    *is_new = false;
    if (o->create) {
      int id = get(arg, key, create_flags(o));
      *err = errno;
      *is_new = id >= 0;
      if (id >= 0 || *err != EEXIST || o->exclusive) return id;
    }
    int id = get(arg, key, ux_sysv_open_flags(o));
    *err = errno;
    if (id >= 0 || *err != ENOENT || !o->create) return id;
  }
}

void ux_sysv_set(struct ux_sysv *s, enum ux_sysv_kind kind, int id, key_t key,
                 bool is_temporary) {
  s->kind = kind;
  s->id = id;
  s->key = key;
  s->is_temporary = is_temporary;
  s->head.open = true;
}

int ux_sysv_remove(enum ux_sysv_kind kind, int id) {
  int result = 0;
  switch (kind) {
    case UX_SYSV_MSG: result = msgctl(id, IPC_RMID, NULL); break;
    case UX_SYSV_SEM: result = semctl(id, 0, IPC_RMID); break;
    case UX_SYSV_SHM: result = shmctl(id, IPC_RMID, NULL); break;
  }
  return result == 0 ? 0 : errno;
}

/* That somebody else was faster is no failure. */
int ux_sysv_close(struct ux_sysv *s) {
  bool is_last = s->head.open && s->is_temporary && ux_is_owner(&s->head);
  s->head.open = false;
  int err = is_last ? ux_sysv_remove(s->kind, s->id) : 0;
  return err == EINVAL || err == EIDRM ? 0 : err;
}

/* ---- telling ----------------------------------------------------------- */

void ux_sysv_add(lua_State *L, const char *name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

#ifdef __linux__

/* Where there is no limit the system says more than an integer of Lua holds. */
static void add_size(lua_State *L, const char *name, unsigned long value) {
  bool is_held = value <= (lua_Unsigned)LUA_MAXINTEGER;
  ux_sysv_add(L, name, is_held ? (lua_Integer)value : LUA_MAXINTEGER);
}

#endif

static void add_mode(lua_State *L, unsigned mode) {
  char letters[] = "rwxrwxrwx";
  for (int i = 0; i < 9; i++)
    if ((mode & (0400U >> i)) == 0) letters[i] = '-';
  lua_pushstring(L, letters);
  lua_setfield(L, -2, "mode");
}

void ux_sysv_add_perm(lua_State *L, int id, const struct ipc_perm *perm) {
  ux_sysv_add(L, "id", id);
#ifdef __linux__
  ux_sysv_add(L, "key", perm->__key);
#endif
  add_mode(L, perm->mode);
  ux_sysv_add(L, "uid", perm->uid);
  ux_sysv_add(L, "gid", perm->gid);
  ux_sysv_add(L, "creator_uid", perm->cuid);
  ux_sysv_add(L, "creator_gid", perm->cgid);
}

void ux_sysv_apply_perm(const struct ux_sysv_perm *given,
                        struct ipc_perm *perm) {
  if (given->mode != UX_SYSV_NO_MODE) perm->mode = (unsigned short)given->mode;
  if (given->uid >= 0) perm->uid = (uid_t)given->uid;
  if (given->gid >= 0) perm->gid = (gid_t)given->gid;
}

void ux_sysv_describe(lua_State *L, const char *name,
                      const struct ux_sysv *s) {
  char key[2 * sizeof s->key + 1];
  snprintf(key, sizeof key, "%08x", (unsigned)s->key);
  if (s->key == IPC_PRIVATE)
    lua_pushfstring(L, "%s id=%d", name, s->id);
  else
    lua_pushfstring(L, "%s id=%d key=0x%s", name, s->id, key);
}

/* ---- the module's own functions ---------------------------------------- */

/* ftok takes eight bits of it. A digit in a string is a character, too. */
static int check_project(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TSTRING) {
    size_t len;
    const char *s = lua_tolstring(L, arg, &len);
    luaL_argcheck(
      L, len == 1 && s[0] != '\0', arg, "string of one character expected");
    return (unsigned char)s[0];
  }
  lua_Integer n = luaL_optinteger(L, arg, 1);
  luaL_argcheck(
    L, n >= 1 && n <= UINT8_MAX, arg, "integer from 1 to 255 expected");
  return (int)n;
}

/***
Makes a key of a file that exists, which need be no special one: the same path
and id give the same key in every program. Two files may, rarely, give the same
key as well.
@function ftok
@tparam string path
@tparam[opt=1] integer|string id 1 to 255, or one character
@treturn[1] integer key
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES, ENOTDIR, ENAMETOOLONG
@see ftok(3)
*/
static int l_ftok(lua_State *L) {
  const char *path = ux_check_cstring(L, 1);
  int id = check_project(L, 2);
  errno = 0;
  key_t key = ftok(path, id);
  if (key == -1 && errno != 0) return ux_fail(L, errno, "ftok", path);
  lua_pushinteger(L, key);
  return 1;
}

/***
Removes an object, whoever made it, as `ipcrm` does.
@function remove
@tparam string kind `"msg"`, `"sem"` or `"shm"`
@tparam integer id
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (no such object), EPERM
@see msgctl(2)
@see semctl(2)
@see shmctl(2)
*/
static int l_remove(lua_State *L) {
  static const char *const words[] = {"msg", "sem", "shm", NULL};
  static const char *const calls[] = {"msgctl", "semctl", "shmctl"};
  int kind = ux_check_word(L, 1, NULL, words);
  int id = ux_sysv_check_id(L, 2);
  int err = ux_sysv_remove((enum ux_sysv_kind)kind, id);
  return ux_sysv_result(L, err, calls[kind], id);
}

#ifdef __linux__

static int get_info(int is_usage, struct msginfo *msg, struct seminfo *sem) {
  union semun arg = {.info = sem};
  if (msgctl(0, is_usage ? MSG_INFO : IPC_INFO, (struct msqid_ds *)msg) < 0 ||
      semctl(0, 0, is_usage ? SEM_INFO : IPC_INFO, arg) < 0)
    return errno;
  return 0;
}

static int push_limits(lua_State *L) {
  struct msginfo msg = {.msgmni = 0};
  struct seminfo sem = {.semmni = 0};
  struct shminfo shm = {.shmmni = 0};
  int err = get_info(0, &msg, &sem);
  if (err == 0 && shmctl(0, IPC_INFO, (struct shmid_ds *)&shm) < 0)
    err = errno;
  if (err != 0) return err;
  lua_createtable(L, 0, 3);
  lua_createtable(L, 0, 3);
  ux_sysv_add(L, "queues", msg.msgmni);
  ux_sysv_add(L, "message_bytes", msg.msgmax);
  ux_sysv_add(L, "queue_bytes", msg.msgmnb);
  lua_setfield(L, -2, "msg");
  lua_createtable(L, 0, 5);
  ux_sysv_add(L, "sets", sem.semmni);
  ux_sysv_add(L, "semaphores", sem.semmns);
  ux_sysv_add(L, "set_semaphores", sem.semmsl);
  ux_sysv_add(L, "operations", sem.semopm);
  ux_sysv_add(L, "value", sem.semvmx);
  lua_setfield(L, -2, "sem");
  lua_createtable(L, 0, 4);
  add_size(L, "segments", shm.shmmni);
  add_size(L, "segment_bytes", shm.shmmax);
  add_size(L, "least_bytes", shm.shmmin);
  add_size(L, "pages", shm.shmall);
  lua_setfield(L, -2, "shm");
  return 0;
}

static int push_usage(lua_State *L) {
  struct msginfo msg = {.msgmni = 0};
  struct seminfo sem = {.semmni = 0};
  struct shm_info shm = {.used_ids = 0};
  int err = get_info(1, &msg, &sem);
  if (err == 0 && shmctl(0, SHM_INFO, (struct shmid_ds *)&shm) < 0)
    err = errno;
  if (err != 0) return err;
  lua_createtable(L, 0, 3);
  lua_createtable(L, 0, 3);
  ux_sysv_add(L, "queues", msg.msgpool);
  ux_sysv_add(L, "messages", msg.msgmap);
  ux_sysv_add(L, "bytes", msg.msgtql);
  lua_setfield(L, -2, "msg");
  lua_createtable(L, 0, 2);
  ux_sysv_add(L, "sets", sem.semusz);
  ux_sysv_add(L, "semaphores", sem.semaem);
  lua_setfield(L, -2, "sem");
  lua_createtable(L, 0, 4);
  ux_sysv_add(L, "segments", shm.used_ids);
  add_size(L, "pages", shm.shm_tot);
  add_size(L, "resident_pages", shm.shm_rss);
  add_size(L, "swapped_pages", shm.shm_swp);
  lua_setfield(L, -2, "shm");
  return 0;
}

#else

static int push_limits(lua_State *L) {
  (void)L;
  return ENOTSUP;
}

static int push_usage(lua_State *L) {
  (void)L;
  return ENOTSUP;
}

#endif

/***
What the system allows: `msg` {`queues`, `message_bytes`, `queue_bytes`}, `sem`
{`sets`, `semaphores`, `set_semaphores`, `operations`, `value`}, `shm`
{`segments`, `segment_bytes`, `least_bytes`, `pages`}, as `ipcs -l` shows.
@function limits
@treturn[1] table
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOTSUP (not on this system)
@see msgctl(2)
@see semctl(2)
@see shmctl(2)
*/
static int l_limits(lua_State *L) {
  int err = push_limits(L);
  return err == 0 ? 1 : ux_fail(L, err, "limits", NULL);
}

/***
What is taken of it: `msg` {`queues`, `messages`, `bytes`}, `sem` {`sets`,
`semaphores`}, `shm` {`segments`, `pages`, `resident_pages`, `swapped_pages`},
as `ipcs -u` shows.
@function usage
@treturn[1] table
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOTSUP (not on this system)
@see msgctl(2)
@see semctl(2)
@see shmctl(2)
*/
static int l_usage(lua_State *L) {
  int err = push_usage(L);
  return err == 0 ? 1 : ux_fail(L, err, "usage", NULL);
}

static const luaL_Reg functions[] = {
  {"ftok", l_ftok},
  {"remove", l_remove},
  {"limits", l_limits},
  {"usage", l_usage},
  {NULL, NULL},
};

int ux_open_sysv(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
