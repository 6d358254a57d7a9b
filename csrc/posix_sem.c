/***
POSIX semaphores: a count that any process can raise, and that who wants to
lower it below zero waits for. Named ones live until their name is removed;
unnamed ones stand in shared memory.

The system's semaphores know no owners: one that a process took and died with
is gone, and a wake-up that went to a process which died that very moment is
lost. The semaphores of `unixipc.sync` do better.

Names are as for `posix_mq`, but up to 251 characters.
@module unixipc.posix_sem
*/
#include "base/class.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/modules.h"
#include "base/options.h"
#include "base/posix_name.h"
#include "base/wait.h"
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#ifndef SEM_VALUE_MAX
#define SEM_VALUE_MAX INT_MAX
#endif

/* The C library puts "sem." before the name. */
#define LONGEST_NAME (NAME_MAX - 4)

struct semaphore {
  struct ux_object head;
  sem_t *sem;
  const struct ux_region *region; /* it stands in, the user value; or NULL */
  bool is_temporary;
  char name[UX_POSIX_NAME_SIZE]; /* "" if it has none */
};

static const struct ux_class semaphore_class;

static void check_usable(lua_State *L, const struct semaphore *s) {
  if (!s->head.open) ux_closed_error(L, &semaphore_class);
  if (s->region == NULL) return;
  ux_region_check_open(L, s->region);
  ux_region_check_writable(L, s->region->root); /* even to wait writes */
}

static struct semaphore *check_semaphore(lua_State *L) {
  struct semaphore *s = ux_check(L, 1, &semaphore_class);
  check_usable(L, s);
  return s;
}

static int fail(lua_State *L, int err, const char *call,
                const struct semaphore *s) {
  return ux_posix_name_fail(L, err, call, s->name);
}

/* ---- named ------------------------------------------------------------- */

struct open_options {
  bool create, exclusive, temporary;
  mode_t mode;
  lua_Integer initial;
};

#define MEMBER(name) offsetof(struct open_options, name)

static const struct ux_option open_schema[] = {
  {"create", UX_OPT_BOOLEAN, MEMBER(create), 0, 0, NULL},
  {"exclusive", UX_OPT_BOOLEAN, MEMBER(exclusive), 0, 0, NULL},
  {"temporary", UX_OPT_BOOLEAN, MEMBER(temporary), 0, 0, NULL},
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {"initial", UX_OPT_INTEGER, MEMBER(initial), 0, LUA_MAXINTEGER, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

#define PATH_SIZE (sizeof "/dev/shm/sem." + UX_POSIX_NAME_SIZE)

/* Where the semaphore of a name stands. Only glibc's place is known: elsewhere
   this is false, and what needs it is left undone. */
static bool find_file(const char *name, char *path, struct stat *st) {
  snprintf(path, PATH_SIZE, "/dev/shm/sem.%s", name + 1);
  return lstat(path, st) == 0 && S_ISREG(st->st_mode);
}

/* The umask cut the mode. */
static void fix_mode(const char *name, mode_t mode) {
  char path[PATH_SIZE];
  struct stat st;
  if (find_file(name, path, &st) && (st.st_mode & 0777) != mode)
    chmod(path, mode);
}

/* A file that is too short for a semaphore: glibc maps it all the same, and the
   first look at it would be SIGBUS. */
static bool is_too_short(const char *name) {
  char path[PATH_SIZE];
  struct stat st;
  return find_file(name, path, &st) && st.st_size < (off_t)sizeof(sem_t);
}

/* Makes it, or opens what is there. *is_new tells which. */
static int open_named(struct semaphore *s, const struct open_options *o,
                      bool *is_new) {
  if (o->initial > SEM_VALUE_MAX) return EINVAL;
  for (;;) {
    if (o->create || o->exclusive) {
      s->sem =
        sem_open(s->name, O_CREAT | O_EXCL, o->mode, (unsigned)o->initial);
      *is_new = s->sem != SEM_FAILED;
      if (*is_new) return 0;
      if (errno != EEXIST || o->exclusive) return errno;
    }
    s->sem = sem_open(s->name, 0);
    if (s->sem != SEM_FAILED && !is_too_short(s->name)) return 0;
    if (s->sem != SEM_FAILED) {
      sem_close(s->sem);
      return EINVAL;
    }
    if (errno != ENOENT || !o->create) return errno; /* or removed just now */
  }
}

/***
Opens a semaphore.

Options: `create`: make it if it is not there; `exclusive`: it must not be
there; `initial`: the value of a new one, 0 by default; `mode`: of a new one,
owner only by default; `temporary`: remove the name when this process closes
the semaphore, if this call made it.

The same semaphore may be opened more than once; each is closed for itself.
@function open
@tparam string|nil name nil makes a new one with a name of its own
@tparam[opt] table options
@treturn[1] Semaphore
@treturn[1] boolean whether this call made it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EEXIST, EACCES (permissions; a second
slash), EINVAL (the name; initial over SEM_VALUE_MAX; what is there is none),
ENAMETOOLONG, EMFILE, ENFILE, ENOMEM, ENOSPC
@see sem_open(3)
@see sem_overview(7)
*/
static int l_open(lua_State *L) {
  struct open_options o = {.mode = UX_DEFAULT_MODE};
  bool is_new = false;
  int err;
  ux_check_options(L, 2, open_schema, &o);
  struct semaphore *s = ux_new(L, &semaphore_class);
  if (!ux_posix_name_check(L, 1, s->name, &err, LONGEST_NAME)) {
    ux_posix_name_make(s->name);
    o.exclusive = true;
  }
  if (err == 0) err = open_named(s, &o, &is_new);
  if (err != 0) return fail(L, err, "sem_open", s);
  s->head.open = true;
  s->is_temporary = o.temporary && is_new;
  if (is_new) fix_mode(s->name, o.mode);
  lua_pushboolean(L, is_new);
  return 2;
}

/***
Removes the name. Who has the semaphore open keeps it.
@function unlink
@tparam string name
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES, EINVAL, ENAMETOOLONG
@see sem_unlink(3)
*/
static int l_unlink(lua_State *L) {
  const char *name = ux_check_cstring(L, 1);
  int err = ux_posix_name_error(name, LONGEST_NAME);
  if (err == 0 && sem_unlink(name) != 0) err = errno;
  if (err == EPERM) err = EACCES; /* a file of another user's */
  return ux_result(L, err, "sem_unlink", name[0] != '\0' ? name : NULL);
}

/***
The names of all named semaphores, where the system shows them: on Linux in
/dev/shm.
@function list
@treturn[1] table names, in no order
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES
*/
static int l_list(lua_State *L) {
  int err = ux_posix_name_list(L, "/dev/shm", "sem.");
  return err == 0 ? 1 : ux_fail(L, err, "opendir", "/dev/shm");
}

/* ---- unnamed ----------------------------------------------------------- */

static const struct ux_option unnamed_schema[] = {
  {"create", UX_OPT_BOOLEAN, MEMBER(create), 0, 0, NULL},
  {"initial", UX_OPT_INTEGER, MEMBER(initial), 0, LUA_MAXINTEGER, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

/* The place for it at args 1 and 2. */
static sem_t *check_place(lua_State *L) {
  struct ux_region *r = ux_check_region(L, 1);
  ux_region_check_writable(L, r);
  size_t offset = ux_check_region_offset(L, 2, r);
  luaL_argcheck(L, r->length - offset >= sizeof(sem_t), 2, "out of bounds");
  char *place = r->base + offset;
  luaL_argcheck(
    L, (uintptr_t)place % alignof(sem_t) == 0, 2, "offset is not aligned");
  return (sem_t *)(void *)place;
}

/***
A semaphore in a Region: `posix_sem.size` bytes, aligned to 8, as a C program
has them by `sem_init`. It is there as long as the memory.

Options: `create`: make it; nobody may be using what is there. `initial`: its
value. Without `create` somebody has made it there: that cannot be checked.
@function unnamed
@tparam Region region shared memory
@tparam[opt=0] integer offset
@tparam[opt] table options
@treturn[1] Semaphore
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (initial over SEM_VALUE_MAX)
@see sem_init(3)
*/
static int l_unnamed(lua_State *L) {
  struct open_options o = {0};
  sem_t *place = check_place(L);
  ux_check_options(L, 3, unnamed_schema, &o);
  struct semaphore *s = ux_new(L, &semaphore_class);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  s->region = lua_touserdata(L, 1);
  s->sem = place;
  int err = o.initial > SEM_VALUE_MAX ? EINVAL : 0;
  if (err == 0 && o.create && sem_init(place, 1, (unsigned)o.initial) != 0)
    err = errno;
  if (err != 0) return ux_fail(L, err, "sem_init", NULL);
  s->head.open = true;
  return 1;
}

/* ---- Semaphore --------------------------------------------------------- */

/***
Closes it; the count stays. Also what `<close>` and the collector do. One that
stands in a Region is left as it is.
@function Semaphore:close
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno
@see sem_close(3)
*/
static int l_close(lua_State *L) {
  struct semaphore *s = ux_check(L, 1, &semaphore_class);
  int err = 0;
  if (s->head.open && s->name[0] != '\0') {
    if (s->is_temporary && ux_is_owner(&s->head)) sem_unlink(s->name);
    err = sem_close(s->sem) == 0 ? 0 : errno;
  }
  s->head.open = false;
  return ux_result(L, err, "sem_close", s->name);
}

static void describe(lua_State *L, const void *self) {
  const struct semaphore *s = self;
  if (s->name[0] != '\0')
    lua_pushfstring(L, "posix_sem semaphore %s", s->name);
  else
    lua_pushliteral(L, "posix_sem semaphore in a region");
}

static int wait_blocking(void *arg) {
  return sem_wait(arg) == 0 ? 0 : errno;
}

/* The semaphore is at index 1, or an upvalue that is there. */
static int wait_slowly(lua_State *L, struct semaphore *s,
                       struct ux_deadline *deadline) {
  int err;
  do {
    if (deadline->left == 0) return ETIMEDOUT;
    err = ux_wait_call(L, wait_blocking, s->sem, deadline);
    check_usable(L, s);
  } while (err == EINTR);
  return err;
}

/* An argument that is not there costs nothing; a bad one always raises. */
static int wait_for(lua_State *L, struct semaphore *s, int timeout_arg) {
  struct ux_deadline deadline = {UX_FOREVER, 0};
  if (lua_gettop(L) >= timeout_arg)
    deadline = ux_check_deadline(L, timeout_arg);
  int err = sem_trywait(s->sem) == 0 ? 0 : errno;
  if (err == EAGAIN || err == EINTR) err = wait_slowly(L, s, &deadline);
  if (err != 0) return fail(L, err, "sem_wait", s);
  lua_pushboolean(L, 1);
  return 1;
}

#define POSTS_AT_ONCE 65536 /* a fraction of a millisecond */

/* One by one, for there is no other way. Signals get through in between. */
static int post_many(lua_State *L, struct semaphore *s, lua_Integer n) {
  for (; n > 0; n--) {
    if (sem_post(s->sem) != 0) return errno;
    if (n % POSTS_AT_ONCE != 0 || !ux_interrupt_pending(L)) continue;
    ux_interrupt_run(L);
    if (!s->head.open) ux_closed_error(L, s->head.class);
  }
  return 0;
}

static int post(lua_State *L, struct semaphore *s, int arg) {
  lua_Integer n = lua_gettop(L) < arg ? 1 : luaL_optinteger(L, arg, 1);
  luaL_argcheck(L, n >= 0 && n <= INT_MAX, arg, "a count >= 0 expected");
  int err = post_many(L, s, n);
  if (err != 0) return fail(L, err, "sem_post", s);
  lua_pushboolean(L, 1);
  return 1;
}

/***
Takes one: lowers the count, waiting while it is 0.
@function Semaphore:wait
@tparam[opt] number timeout seconds, on the monotonic clock
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT
@see sem_wait(3)
*/
static int l_wait(lua_State *L) {
  return wait_for(L, check_semaphore(L), 2);
}

/***
Gives so many: raises the count, and lets as many go that wait.
@function Semaphore:post
@tparam[opt=1] integer n
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EOVERFLOW (SEM_VALUE_MAX; what fitted was given)
@see sem_post(3)
*/
static int l_post(lua_State *L) {
  return post(L, check_semaphore(L), 2);
}

/***
The count now.
@function Semaphore:value
@treturn integer
@see sem_getvalue(3)
*/
static int l_value(lua_State *L) {
  const struct semaphore *s = check_semaphore(L);
  int value = 0;
  sem_getvalue(s->sem, &value);
  lua_pushinteger(L, value);
  return 1;
}

/***
The name it was opened by; nil for one in a Region.
@function Semaphore:name
@treturn string|nil
*/
static int l_name(lua_State *L) {
  const struct semaphore *s = ux_check(L, 1, &semaphore_class);
  if (s->name[0] != '\0')
    lua_pushstring(L, s->name);
  else
    lua_pushnil(L);
  return 1;
}

/* ---- bound functions: the object is the first upvalue ------------------ */

static struct semaphore *bound(lua_State *L) {
  struct semaphore *s = lua_touserdata(L, lua_upvalueindex(1));
  check_usable(L, s);
  return s;
}

static int l_bound_wait(lua_State *L) {
  return wait_for(L, bound(L), 1);
}

static int l_bound_post(lua_State *L) {
  return post(L, bound(L), 1);
}

/***
Two functions, `wait` and `post`, that do the same as the methods for this
semaphore, faster: `local wait, post = sem:bind()`.
@function Semaphore:bind
@treturn function `wait([timeout])`
@treturn function `post([n])`
*/
static int l_bind(lua_State *L) {
  check_semaphore(L);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, l_bound_wait, 1);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, l_bound_post, 1);
  return 2;
}

static const luaL_Reg semaphore_methods[] = {
  {"wait", l_wait},
  {"post", l_post},
  {"value", l_value},
  {"name", l_name},
  {"bind", l_bind},
  {NULL, NULL},
};

static const struct ux_class semaphore_class = {
  .name = "posix_sem semaphore",
  .size = sizeof(struct semaphore),
  .uservalues = 1, /* the Region, which it keeps alive */
  .methods = semaphore_methods,
  .close = l_close,
  .describe = describe,
};

static const luaL_Reg functions[] = {
  {"open", l_open},
  {"unnamed", l_unnamed},
  {"unlink", l_unlink},
  {"list", l_list},
  {NULL, NULL},
};

int ux_open_posix_sem(lua_State *L) {
  luaL_newlib(L, functions);
  lua_pushinteger(L, sizeof(sem_t));
  lua_setfield(L, -2, "size");
  ux_class_open(L, &semaphore_class);
  lua_setfield(L, -2, "Semaphore");
  return 1;
}
