/***
Locks on files, which end with the process that holds them. Three kinds:

  - `"flock"`: the whole file. Belongs to the open file description: a child
    that inherits the descriptor shares it, whoever opens the file anew does
    not.
  - `"fcntl"`: a range of bytes. Belongs to the process: children inherit
    none, two Locks in one process never conflict, and the first time the
    process closes any descriptor of the file, all its locks on it are gone.
  - `"ofd"`: a range of bytes, belongs to the open file description like flock.
    The one to choose when in doubt.

What is locked is a path, or anything with a descriptor: an object of ours, a
Lua file, an integer. A path is opened, and closed with the Lock; a descriptor
stays its owner's, and must stay open as long as the Lock is used.

All are advisory: they bind only who asks. flock and the other two do not see
each other; fcntl and ofd locks do.
@module unixipc.lock
*/
#include "base/class.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/options.h"
#include "base/process_id.h"
#include "base/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum kind { KIND_FLOCK, KIND_FCNTL, KIND_OFD };

static const char *const kinds[] = {"flock", "fcntl", "ofd", NULL};

struct range {
  off_t start, length; /* length 0: to the end, however far it grows */
  short whence;
};

struct lock {
  struct ux_object head;
  enum kind kind;
  int fd;       /* -1: that of the user value TARGET */
  pid_t holder; /* the process that took it; 0 when nobody did */
  short held;   /* as what: F_RDLCK or F_WRLCK */
  struct range range;
};

/* User value: the path, or what has the descriptor. */
enum { TARGET = 1 };

static const struct ux_class lock_class;

/* ---- the system calls: 0 or an errno ----------------------------------- */

static const struct {
  int test, try, wait;
} commands[] = {
  [KIND_FCNTL] = {F_GETLK, F_SETLK, F_SETLKW},
#ifdef F_OFD_SETLK
  [KIND_OFD] = {F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW},
#endif
};

static struct flock to_flock(const struct range *r, short type) {
  return (struct flock){.l_type = type,
                        .l_whence = r->whence,
                        .l_start = r->start,
                        .l_len = r->length};
}

static int flock_operation(short type) {
  if (type == F_UNLCK) return LOCK_UN;
  return type == F_RDLCK ? LOCK_SH : LOCK_EX;
}

/* What is asked of the system; `type` is F_RDLCK, F_WRLCK or F_UNLCK. */
struct request {
  enum kind kind;
  int fd;
  short type;
  struct range range;
};

/* Another's lock is in the way: EAGAIN, whatever the system calls it. */
static int try_lock(const struct request *r) {
  int failed;
  if (r->kind == KIND_FLOCK) {
    failed = flock(r->fd, flock_operation(r->type) | LOCK_NB);
  } else {
    struct flock fl = to_flock(&r->range, r->type);
    failed = fcntl(r->fd, commands[r->kind].try, &fl);
  }
  if (failed == 0) return 0;
  bool is_taken =
    errno == EWOULDBLOCK || (errno == EACCES && r->kind != KIND_FLOCK);
  return is_taken ? EAGAIN : errno;
}

static int lock_blocking(void *arg) {
  const struct request *r = arg;
  if (r->kind == KIND_FLOCK)
    return flock(r->fd, flock_operation(r->type)) == 0 ? 0 : errno;
  struct flock fl = to_flock(&r->range, r->type);
  return fcntl(r->fd, commands[r->kind].wait, &fl) == 0 ? 0 : errno;
}

/* ---- the object -------------------------------------------------------- */

/* A descriptor that is not ours is looked up each time: its owner may have
   closed it, and the number may be another file's now. */
static int fd_of_target(lua_State *L, int index) {
  const char *why;
  lua_getiuservalue(L, index, TARGET);
  int fd = ux_to_fd(L, -1, &why);
  lua_pop(L, 1);
  if (fd < 0) luaL_error(L, "cannot lock: %s", why);
  return fd;
}

static struct lock *check_lock(lua_State *L) {
  return ux_check_open(L, 1, &lock_class);
}

static struct request request_of(lua_State *L, const struct lock *l,
                                 short type) {
  return (struct request){
    .kind = l->kind,
    .fd = l->fd >= 0 ? l->fd : fd_of_target(L, 1),
    .type = type,
    .range = l->range,
  };
}

/* Pushes what messages call it: the path, or nothing. */
static const char *name_of(lua_State *L, int index) {
  lua_getiuservalue(L, index, TARGET);
  return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
}

static const char *call_of(enum kind kind) {
  return kind == KIND_FLOCK ? "flock" : "fcntl";
}

/* The Lock is at index 1. */
static int fail(lua_State *L, const struct lock *l, int err) {
  return ux_fail(L, err, call_of(l->kind), name_of(L, 1));
}

/* Waiting calls handlers, which may close the Lock or its file: each time the
   descriptor is asked for anew. */
static int acquire(lua_State *L, const struct lock *l, struct request *r,
                   struct ux_deadline *deadline) {
  int err = try_lock(r);
  while (err == EAGAIN || err == EINTR) {
    if (deadline->left == 0) return ETIMEDOUT;
    err = ux_wait_call(L, lock_blocking, r, deadline);
    if (err != EINTR) return err;
    check_lock(L);
    if (l->fd < 0) r->fd = fd_of_target(L, 1);
  }
  return err;
}

/* In a child of the process that took it a Lock is not held. */
static bool is_held(const struct lock *l) {
  return l->holder != 0 && l->holder == ux_process_id();
}

static int hold(struct lock *l, short type, int err) {
  if (err != 0) return err;
  l->holder = ux_process_id();
  l->held = type;
  return 0;
}

/* Without raising if it is gone: for close, which the collector calls. */
static void release_target(lua_State *L, const struct lock *l) {
  const char *why;
  lua_getiuservalue(L, 1, TARGET);
  struct request r = {l->kind, ux_to_fd(L, -1, &why), F_UNLCK, l->range};
  if (r.fd >= 0) try_lock(&r);
}

/***
Releases the lock and closes what was opened for it. Also what `<close>` and
the collector do. In a forked child nothing is released that the parent holds.
@function Lock:close
@treturn boolean true
*/
static int l_close(lua_State *L) {
  struct lock *l = ux_check(L, 1, &lock_class);
  bool releases = l->head.open && is_held(l);
  if (releases && l->fd < 0) release_target(L, l);
  if (releases && l->fd >= 0) {
    struct request r = {l->kind, l->fd, F_UNLCK, l->range};
    try_lock(&r);
  }
  l->head.open = false;
  l->holder = 0;
  ux_fd_close(&l->fd);
  lua_pushboolean(L, 1);
  return 1;
}

static void describe(lua_State *L, const void *self) {
  const struct lock *l = self;
  const char *name = name_of(L, 1);
  lua_pushfstring(L,
                  "%s lock%s%s%s",
                  kinds[l->kind],
                  name != NULL ? " " : "",
                  name != NULL ? name : "",
                  is_held(l) ? " (held)" : "");
}

static const char *kind_of(const void *self) {
  const struct lock *l = self;
  static const char *const names[] = {"flock lock", "fcntl lock", "ofd lock"};
  return names[l->kind];
}

/* ---- opening ----------------------------------------------------------- */

struct open_options {
  int kind, whence;
  bool create, shared;
  mode_t mode;
  lua_Integer start, length;
};

#define MEMBER(name) offsetof(struct open_options, name)

static const char *const whences[] = {"set", "current", "end", NULL};

static const struct ux_option open_schema[] = {
  {"kind", UX_OPT_WORD, MEMBER(kind), 0, 0, kinds},
  {"create", UX_OPT_BOOLEAN, MEMBER(create), 0, 0, NULL},
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {"start", UX_OPT_INTEGER, MEMBER(start), INT64_MIN, INT64_MAX, NULL},
  {"length", UX_OPT_INTEGER, MEMBER(length), INT64_MIN, INT64_MAX, NULL},
  {"whence", UX_OPT_WORD, MEMBER(whence), 0, 0, whences},
  {NULL, 0, 0, 0, 0, NULL},
};

/* Of the functions that take the lock at once. */
static const struct ux_option take_schema[] = {
  {"shared", UX_OPT_BOOLEAN, MEMBER(shared), 0, 0, NULL},
  {"create", UX_OPT_BOOLEAN, MEMBER(create), 0, 0, NULL},
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {"start", UX_OPT_INTEGER, MEMBER(start), INT64_MIN, INT64_MAX, NULL},
  {"length", UX_OPT_INTEGER, MEMBER(length), INT64_MIN, INT64_MAX, NULL},
  {"whence", UX_OPT_WORD, MEMBER(whence), 0, 0, whences},
  {NULL, 0, 0, 0, 0, NULL},
};

static int open_path(const char *path, const struct open_options *o) {
  const int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  int fd = -1;
  if (o->create) fd = open(path, flags | O_RDWR | O_CREAT | O_EXCL, o->mode);
  if (fd >= 0) {
    fchmod(fd, o->mode); /* the umask cut it; if it cannot be had, no harm */
    return fd;
  }
  if (o->create && errno != EEXIST) return -1;
  fd = open(path, flags | O_RDWR);
  bool is_read_only = errno == EACCES || errno == EROFS || errno == EISDIR;
  return fd < 0 && is_read_only ? open(path, flags | O_RDONLY) : fd;
}

static int check_kind(lua_State *L, const struct open_options *o) {
#ifndef F_OFD_SETLK
  if (o->kind == KIND_OFD) return ENOTSUP;
#endif
  bool has_range = o->start != 0 || o->length != 0 || o->whence != 0;
  if (o->kind == KIND_FLOCK && has_range)
    luaL_argerror(L, 2, "flock locks the whole file, not a range");
  return 0;
}

/* Puts the new Lock in place of everything else on the stack. 0 or an errno;
   then the message's name is at index 1. */
static int new_lock(lua_State *L, const struct open_options *o,
                    struct lock **made) {
  static const short how[] = {SEEK_SET, SEEK_CUR, SEEK_END};
  bool is_path = lua_type(L, 1) == LUA_TSTRING;
  const char *path = is_path ? ux_check_cstring(L, 1) : NULL;
  if (!is_path) ux_check_fd(L, 1);
  int err = check_kind(L, o);
  struct lock *l = *made = ux_new(L, &lock_class);
  l->fd = -1;
  l->kind = (enum kind)o->kind;
  l->range = (struct range){(off_t)o->start, (off_t)o->length, how[o->whence]};
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, TARGET);
  if (err == 0 && is_path) {
    l->fd = open_path(path, o);
    if (l->fd < 0) err = errno;
  }
  if (err != 0) return err;
  l->head.open = true;
  lua_replace(L, 1);
  return 0;
}

/***
Makes a Lock, which is not taken yet.

Options: `kind`: `"ofd"` by default, `"fcntl"` or `"flock"`; `create`: make the
file of the path if it is not there; `mode`: of a new file, owner only by
default; and for a lock on a range of bytes `start`, 0 by default, `length`, 0
by default, which is to the end of the file however far it grows (a negative
one is what comes before `start`), and `whence`: `start` counts from `"set"`
the beginning, `"current"` the position, `"end"` the end of the file.
@function open
@tparam string|integer|object target a path, or what has a descriptor
@tparam[opt] table options
@treturn[1] Lock
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES, EMFILE, ENOTSUP (no ofd locks here)
@see fcntl_locking(2)
@see flock(2)
*/
static int l_open(lua_State *L) {
  struct open_options o = {.mode = UX_DEFAULT_MODE, .kind = KIND_OFD};
  struct lock *l;
  ux_check_options(L, 2, open_schema, &o);
  lua_settop(L, 2);
  int err = new_lock(L, &o, &l);
  lua_settop(L, 1);
  return err == 0 ? 1 : ux_fail(L, err, "open", lua_tostring(L, 1));
}

static int take(lua_State *L, enum kind kind) {
  struct open_options o = {.mode = UX_DEFAULT_MODE, .kind = kind};
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  struct lock *l;
  ux_check_options(L, 2, take_schema, &o);
  lua_settop(L, 2);
  int err = new_lock(L, &o, &l);
  if (err != 0) return ux_fail(L, err, "open", lua_tostring(L, 1));
  lua_settop(L, 1);
  struct request r = request_of(L, l, o.shared ? F_RDLCK : F_WRLCK);
  err = hold(l, r.type, acquire(L, l, &r, &deadline));
  if (err == 0) return 1;
  ux_fd_close(&l->fd);
  l->head.open = false;
  return fail(L, l, err);
}

/***
Locks a whole file: `local lock <close> = assert(lock.flock(path))`.

Options: `shared`; `create` and `mode` as `open` takes them.
@function flock
@tparam string|integer|object target
@tparam[opt] table options
@tparam[opt] number timeout seconds
@treturn[1] Lock held
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, ENOENT, EACCES, EBADF, ENOLCK
@see flock(2)
*/
static int l_flock(lua_State *L) {
  return take(L, KIND_FLOCK);
}

/***
Locks a range of bytes for this process.

Options: `shared`; `start`, `length`, `whence`, `create` and `mode` as `open`
takes them.
@function fcntl
@tparam string|integer|object target
@tparam[opt] table options
@tparam[opt] number timeout seconds
@treturn[1] Lock held
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, ENOENT, EACCES, EBADF (not open to write;
to read, if shared), EINVAL (the range; no locks on this kind of file),
EDEADLK, ENOLCK, EOVERFLOW
@see fcntl_locking(2)
*/
static int l_fcntl(lua_State *L) {
  return take(L, KIND_FCNTL);
}

/***
Locks a range of bytes for this open file description. Options and results as
`fcntl`, but never EDEADLK: the system does not look for it.
@function ofd
@tparam string|integer|object target
@tparam[opt] table options
@tparam[opt] number timeout seconds
@treturn[1] Lock held
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: as `fcntl`, and ENOTSUP
@see fcntl_locking(2)
*/
static int l_ofd(lua_State *L) {
  return take(L, KIND_OFD);
}

/* ---- Lock -------------------------------------------------------------- */

static short check_type(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return F_WRLCK;
  static const char *const words[] = {"exclusive", "shared", NULL};
  return ux_check_word(L, arg, NULL, words) == 0 ? F_WRLCK : F_RDLCK;
}

/* A range at arg and arg + 1, from the beginning of the file. */
static void check_range(lua_State *L, int arg, const struct lock *l,
                        struct range *r) {
  lua_Integer start = luaL_checkinteger(L, arg);
  lua_Integer length = luaL_checkinteger(L, arg + 1);
  if (l->kind == KIND_FLOCK)
    luaL_error(L, "flock locks the whole file, not a range");
  *r = (struct range){(off_t)start, (off_t)length, SEEK_SET};
}

static int result(lua_State *L, const struct lock *l, int err) {
  if (err != 0) return fail(L, l, err);
  lua_pushboolean(L, 1);
  return 1;
}

/***
Takes the lock. A lock that is held already is changed to the mode, or stays
what it is if that cannot be had. For flock that is not one step, another may
get in between: then it is held no longer, as `tostring` tells. Locks do not
count: one unlock releases it.
@function Lock:lock
@tparam[opt="exclusive"] string mode or `"shared"`
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EBADF (not open to write; to read, if
shared), EINVAL, EDEADLK (fcntl), ENOLCK, EOVERFLOW
@see fcntl_locking(2)
@see flock(2)
*/
static int l_lock(lua_State *L) {
  struct lock *l = check_lock(L);
  struct request r = request_of(L, l, check_type(L, 2));
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  bool is_lost = l->kind == KIND_FLOCK && is_held(l) && l->held != r.type;
  if (is_lost) l->holder = 0; /* to change it the system lets it go first */
  int err = hold(l, r.type, acquire(L, l, &r, &deadline));
  if (err != 0 && is_lost) {
    r.type = l->held;
    hold(l, l->held, try_lock(&r));
  }
  return result(L, l, err);
}

/***
Releases the lock; true also if it was not held.
@function Lock:unlock
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADF, ENOLCK
*/
static int l_unlock(lua_State *L) {
  struct lock *l = check_lock(L);
  struct request r = request_of(L, l, F_UNLCK);
  int err = try_lock(&r);
  if (err == 0) l->holder = 0;
  return result(L, l, err);
}

/***
Takes a lock on another range of the same file. Close releases the Lock's own
range; the others end with the file or with `unlock_range`.
@function Lock:lock_range
@tparam integer start from the beginning of the file
@tparam integer length 0: to the end
@tparam[opt="exclusive"] string mode or `"shared"`
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: as `lock`
*/
static int l_lock_range(lua_State *L) {
  const struct lock *l = check_lock(L);
  struct request r = request_of(L, l, check_type(L, 4));
  struct ux_deadline deadline = ux_check_deadline(L, 5);
  check_range(L, 2, l, &r.range);
  return result(L, l, acquire(L, l, &r, &deadline));
}

/***
Releases a range, which may be a part of what is held.
@function Lock:unlock_range
@tparam integer start from the beginning of the file
@tparam integer length 0: to the end
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADF, EINVAL, ENOLCK
*/
static int l_unlock_range(lua_State *L) {
  const struct lock *l = check_lock(L);
  struct request r = request_of(L, l, F_UNLCK);
  check_range(L, 2, l, &r.range);
  return result(L, l, try_lock(&r));
}

/* ---- who holds it ------------------------------------------------------ */

struct holder {
  bool is_shared;
  lua_Integer pid, start, length; /* pid 0: not known */
};

static int push_holder(lua_State *L, const struct holder *h) {
  lua_createtable(L, 0, 4);
  lua_pushstring(L, h->is_shared ? "shared" : "exclusive");
  lua_setfield(L, -2, "mode");
  if (h->pid > 0) {
    lua_pushinteger(L, h->pid);
    lua_setfield(L, -2, "pid");
  }
  lua_pushinteger(L, h->start);
  lua_setfield(L, -2, "start");
  lua_pushinteger(L, h->length);
  lua_setfield(L, -2, "length");
  return 1;
}

/* flock has no call that tells; /proc/locks does:
   "1: FLOCK  ADVISORY  WRITE 711 08:01:1234 0 EOF". Lines of those that only
   wait have an arrow. */
static bool find_flock(const struct stat *st, struct holder *h) {
  char line[256], mode[16];
  unsigned major_number, minor_number;
  unsigned long long ino;
  int pid;
  bool is_found = false;
  FILE *file = fopen("/proc/locks", "re");
  if (file == NULL) return false;
  while (!is_found && fgets(line, sizeof line, file) != NULL) {
    /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
    is_found = sscanf(line,
                      "%*u: FLOCK %*s %15s %d %x:%x:%llu",
                      mode,
                      &pid,
                      &major_number,
                      &minor_number,
                      &ino) == 5 &&
               ino == st->st_ino && major_number == major(st->st_dev) &&
               minor_number == minor(st->st_dev);
  }
  fclose(file);
  if (!is_found) return false;
  h->pid = pid;
  h->is_shared = strcmp(mode, "READ") == 0;
  return true;
}

/* Asks through a description of its own, so that ours counts too. 0, EAGAIN
   with the holder, or an errno. */
static int test_flock(const struct request *r, struct holder *h) {
  char path[32];
  struct stat st;
  snprintf(path, sizeof path, "/proc/self/fd/%d", r->fd);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno;
  struct request own = {KIND_FLOCK, fd, r->type, r->range};
  int err = try_lock(&own);
  close(fd);
  if (err == EAGAIN && fstat(r->fd, &st) == 0) find_flock(&st, h);
  return err;
}

static int test_range(const struct request *r, struct holder *h) {
  struct flock fl = to_flock(&r->range, r->type);
  if (fcntl(r->fd, commands[r->kind].test, &fl) != 0) return errno;
  if (fl.l_type == F_UNLCK) return 0;
  *h = (struct holder){fl.l_type == F_RDLCK, fl.l_pid, fl.l_start, fl.l_len};
  return EAGAIN;
}

static int test(lua_State *L, const struct lock *l, const struct request *r) {
  struct holder h = {0};
  int err = l->kind == KIND_FLOCK ? test_flock(r, &h) : test_range(r, &h);
  if (err == EAGAIN) return push_holder(L, &h);
  if (err != 0) return fail(L, l, err);
  lua_pushboolean(L, 0);
  return 1;
}

/***
Who is in the way? For fcntl and ofd one's own locks never are; for flock
this Lock, when it is held, is.

For flock the file is opened and closed once more: that ends the fcntl locks
that this process has on it, as any close does.
@function Lock:test
@tparam[opt="exclusive"] string mode or `"shared"`: what one would like to take
@treturn[1] boolean false: nobody
@treturn[2] table `mode`, `start`, `length` (0: to the end) and `pid` of a lock
that is in the way; no `pid` where the system does not say it: an ofd lock
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: EBADF, EINVAL, EOVERFLOW
*/
static int l_test(lua_State *L) {
  const struct lock *l = check_lock(L);
  struct request r = request_of(L, l, check_type(L, 2));
  return test(L, l, &r);
}

/***
The same for another range of the file.
@function Lock:test_range
@tparam integer start from the beginning of the file
@tparam integer length 0: to the end
@tparam[opt="exclusive"] string mode or `"shared"`
@treturn[1] boolean false: nobody
@treturn[2] table as `test`
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno
*/
static int l_test_range(lua_State *L) {
  const struct lock *l = check_lock(L);
  struct request r = request_of(L, l, check_type(L, 4));
  check_range(L, 2, l, &r.range);
  return test(L, l, &r);
}

static const luaL_Reg lock_methods[] = {
  {"lock", l_lock},
  {"unlock", l_unlock},
  {"test", l_test},
  {"lock_range", l_lock_range},
  {"unlock_range", l_unlock_range},
  {"test_range", l_test_range},
  {NULL, NULL},
};

static const struct ux_class lock_class = {
  .name = "lock",
  .size = sizeof(struct lock),
  .uservalues = 1,
  .methods = lock_methods,
  .close = l_close,
  .describe = describe,
  .kind = kind_of,
};

static const luaL_Reg functions[] = {
  {"open", l_open},
  {"flock", l_flock},
  {"fcntl", l_fcntl},
  {"ofd", l_ofd},
  {NULL, NULL},
};

int ux_open_lock(lua_State *L) {
  luaL_newlib(L, functions);
  ux_class_open(L, &lock_class);
  lua_setfield(L, -2, "Lock");
  return 1;
}
