/***
FIFOs: pipes with a name in the file system.
@module unixipc.fifo
*/
#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/options.h"
#include "base/wait.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct options {
  bool create, exclusive, temporary;
  mode_t mode;
};

#define MEMBER(name) offsetof(struct options, name)

static const struct ux_option create_schema[] = {
  {"exclusive", UX_OPT_BOOLEAN, MEMBER(exclusive), 0, 0, NULL},
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option open_schema[] = {
  {"create", UX_OPT_BOOLEAN, MEMBER(create), 0, 0, NULL},
  {"exclusive", UX_OPT_BOOLEAN, MEMBER(exclusive), 0, 0, NULL},
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {"temporary", UX_OPT_BOOLEAN, MEMBER(temporary), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

/* EINVAL is what check_is_fifo says; strerror would not tell of what. */
static int fail(lua_State *L, int err, const char *call, const char *path) {
  if (err != EINVAL) return ux_fail(L, err, call, path);
  return ux_fail_words(
    L, err, call, lua_pushfstring(L, "%s: not a FIFO", path));
}

static int check_is_fifo(const char *path, struct stat *st) {
  if (stat(path, st) != 0) return errno;
  if (S_ISDIR(st->st_mode)) return EISDIR;
  return S_ISFIFO(st->st_mode) ? 0 : EINVAL;
}

/* The umask cuts the mode; what was asked for is set again. Nobody has it
   open yet, or only with less. *is_new tells whether we made it. */
static int make(const char *path, const struct options *o, bool *is_new) {
  struct stat st;
  *is_new = mkfifo(path, o->mode) == 0;
  if (*is_new) {
    if (stat(path, &st) == 0 && (st.st_mode & 0777) == o->mode) return 0;
    return chmod(path, o->mode) == 0 ? 0 : errno;
  }
  int err = errno;
  if (err != EEXIST || o->exclusive) return err;
  return check_is_fifo(path, &st) == 0 ? 0 : EEXIST;
}

/* Without exclusive a FIFO would have done. */
static int fail_make(lua_State *L, int err, const char *path,
                     const struct options *o) {
  if (err != EEXIST || o->exclusive) return ux_fail(L, err, "mkfifo", path);
  return ux_fail_words(
    L,
    err,
    "mkfifo",
    lua_pushfstring(L, "%s: File exists, and is no FIFO", path));
}

/***
Makes a FIFO. One that exists already will do, unless `exclusive`.

Options: `mode`: the nine letters of `ls`, `"0660"` or an integer, owner only by
default, whatever the umask; `exclusive`: boolean.
@function create
@tparam string path
@tparam[opt] table options
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EEXIST (with `exclusive`, or something else is
there), ENOENT, EACCES, ENAMETOOLONG, ENOSPC, EROFS
@see mkfifo(3)
*/
static int l_create(lua_State *L) {
  struct options o = {.mode = UX_DEFAULT_MODE};
  const char *path = ux_check_cstring(L, 1);
  bool is_new;
  ux_check_options(L, 2, create_schema, &o);
  int err = make(path, &o, &is_new);
  if (err != 0) return fail_make(L, err, path, &o);
  lua_pushboolean(L, 1);
  return 1;
}

/***
Removes the name. Who has it open keeps it.
@function unlink
@tparam string path
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES, EPERM, EINVAL (not a FIFO), EISDIR
@see unlink(2)
*/
static int l_unlink(lua_State *L) {
  const char *path = ux_check_cstring(L, 1);
  struct stat st;
  int err = check_is_fifo(path, &st);
  if (err == 0 && unlink(path) != 0) err = errno;
  if (err != 0) return fail(L, err, "unlink", path);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- opening ----------------------------------------------------------- */

enum way { WAY_R, WAY_W, WAY_RW };

struct opening {
  const char *path;
  int flags;
  int *fd;
};

/* Sleeps until the other side opens it too. */
static int open_blocking(void *arg) {
  struct opening *o = arg;
  *o->fd = open(o->path, o->flags | O_CLOEXEC);
  return *o->fd >= 0 ? 0 : errno;
}

/* A writer can ask whether there is a reader; a reader would get in at once,
   but learn nothing about writers. Both ways at once never sleeps on Linux. */
static int open_at_once(struct opening *o, enum way way) {
  if (way == WAY_R) return EAGAIN;
  *o->fd = open(o->path, o->flags | O_CLOEXEC | O_NONBLOCK);
  if (*o->fd >= 0) return 0;
  return errno == ENXIO ? EAGAIN : errno;
}

static int open_way(lua_State *L, const char *path, enum way way, int *fd,
                    struct ux_deadline *deadline) {
  static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR};
  struct opening o = {path, flags[way], fd};
  int err = open_at_once(&o, way);
  while (err == EAGAIN || err == EINTR)
    err = ux_wait_call(L, open_blocking, &o, deadline);
  if (err != 0) return err;
  return fcntl(*fd, F_SETFL, flags[way] | O_NONBLOCK) == 0 ? 0 : errno;
}

/* It may have been replaced between the look at the path and opening it. */
static int check_opened(int fd, struct stat *st) {
  if (fstat(fd, st) != 0) return errno;
  return S_ISFIFO(st->st_mode) ? 0 : EINVAL;
}

static void set_ways(struct ux_stream *s, int fd, enum way way) {
  ux_stream_set(
    s, way == WAY_W ? -1 : fd, way == WAY_R ? -1 : fd, UX_RAWIO_NONBLOCK);
}

/***
Opens a FIFO. To read waits for a writer, to write for a reader; both at once
waits for nobody.

Options: `create`: make it if it is not there; `exclusive` with `create`: it
must not be there; `mode`: as `create` takes it; `temporary`: remove the name
when this process closes the stream, or when opening fails, if this call made
it.
@function open
@tparam string path
@tparam[opt="r"] string way `"r"`, `"w"` or `"rw"`
@tparam[opt] table options
@tparam[opt] number timeout seconds to wait for the other side
@treturn[1] Stream
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, ENOENT, EEXIST, EACCES, EISDIR, EINVAL
(not a FIFO), ENAMETOOLONG, EMFILE
@see fifo(7)
@see open(2)
*/
static int l_open(lua_State *L) {
  static const char *const ways[] = {"r", "w", "rw", NULL};
  struct options o = {.mode = UX_DEFAULT_MODE};
  const char *path = ux_check_cstring(L, 1);
  enum way way = (enum way)ux_check_word(L, 2, "r", ways);
  ux_check_options(L, 3, open_schema, &o);
  struct ux_deadline deadline = ux_check_deadline(L, 4);
  struct stat st;
  bool is_new = false;
  struct ux_stream *s = ux_stream_new(L, "fifo stream", 1);
  int err = o.create ? make(path, &o, &is_new) : 0;
  if (err != 0) return fail_make(L, err, path, &o);
  err = check_is_fifo(path, &st);
  if (err != 0) return fail(L, err, "open", path);
  s->is_temporary = o.temporary && is_new;
  s->dev = st.st_dev;
  s->ino = st.st_ino;
  s->head.open = true; /* so that the name goes, whatever happens now */
  err = open_way(L, path, way, &s->rfd, &deadline);
  if (err == 0) err = check_opened(s->rfd, &st);
  if (err == 0) {
    set_ways(s, s->rfd, way);
    return 1;
  }
  lua_pushcfunction(L, ux_stream_class.close);
  lua_pushvalue(L, -2);
  lua_call(L, 1, 0);
  return fail(L, err, "open", path);
}

static const luaL_Reg functions[] = {
  {"create", l_create},
  {"open", l_open},
  {"unlink", l_unlink},
  {NULL, NULL},
};

int ux_open_fifo(lua_State *L) {
  ux_stream_open(L);
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
