/***
Streams: what pipes, FIFOs, `popen` and sockets give you. One class for
everything that reads and writes bytes.
@module unixipc.stream
*/
#include "stream.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/options.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- methods ----------------------------------------------------------- */

/***
How many bytes can be read now: those in the buffer and those in the kernel.
@function Stream:available
@treturn[1] integer bytes
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADF (not open for reading), ENOTTY
@see ioctl_tty(2)
*/
static int l_available(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  int queued = 0;
  if (ioctl(s->rfd, FIONREAD, &queued) != 0)
    return ux_stream_fail(L, errno, "ioctl");
  lua_pushinteger(L, queued + (lua_Integer)ux_buffer_length(&s->in));
  return 1;
}

/***
Sets how long calls wait that are not told: `write`, `lines`, and all those
whose timeout is left out.
@function Stream:set_timeout
@tparam[opt] number timeout seconds; nil is for ever, as at first
@treturn Stream the stream
*/
static int l_set_timeout(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  s->timeout = ux_check_deadline(L, 2).left;
  lua_settop(L, 1);
  return 1;
}

static int shut_socket(struct ux_stream *s, bool is_read, bool is_write) {
  int how = !is_write ? SHUT_RD : !is_read ? SHUT_WR : SHUT_RDWR;
  return shutdown(s->rfd, how) == 0 ? 0 : errno;
}

static int shut_ends(struct ux_stream *s, bool is_read, bool is_write) {
  if (is_read != is_write && (is_read ? s->rfd : s->wfd) < 0) return EBADF;
  int err = is_read ? ux_fd_close(&s->rfd) : 0;
  int err2 = is_write ? ux_fd_close(&s->wfd) : 0;
  return err != 0 ? err : err2;
}

static int get_capacity(int fd) {
#ifdef F_GETPIPE_SZ
  return fcntl(fd, F_GETPIPE_SZ);
#else
  (void)fd;
  errno = ENOTSUP;
  return -1;
#endif
}

int ux_stream_set_capacity(int fd, lua_Integer bytes) {
#ifdef F_SETPIPE_SZ
  return fcntl(fd, F_SETPIPE_SZ, (int)bytes);
#else
  (void)fd, (void)bytes;
  errno = ENOTSUP;
  return -1;
#endif
}

/***
How many bytes the pipe or FIFO holds.
@function Stream:capacity
@treturn[1] integer bytes
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADF (not a pipe), ENOTSUP
@see fcntl(2)
*/
static int l_capacity(lua_State *L) {
  const struct ux_stream *s = ux_check_stream(L);
  int bytes = get_capacity(s->head.class->fileno(s));
  if (bytes < 0) return ux_stream_fail(L, errno, "fcntl");
  lua_pushinteger(L, bytes);
  return 1;
}

/***
Sets how many bytes the pipe or FIFO holds; the system rounds up.
@function Stream:set_capacity
@tparam integer bytes
@treturn[1] integer bytes it holds now
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (over the system's limit), EBUSY (more than
that is in it), EBADF (not a pipe), ENOTSUP
@see fcntl(2)
*/
static int l_set_capacity(lua_State *L) {
  const struct ux_stream *s = ux_check_stream(L);
  lua_Integer bytes = luaL_checkinteger(L, 2);
  luaL_argcheck(L,
                bytes >= 0 && bytes <= INT_MAX,
                2,
                "capacity must be a number of bytes");
  int now = ux_stream_set_capacity(s->head.class->fileno(s), bytes);
  if (now < 0) return ux_stream_fail(L, errno, "fcntl");
  lua_pushinteger(L, now);
  return 1;
}

/***
Ends one way or both: the peer sees the end of file, or EPIPE. On a socket
this is shutdown(2); of a pipe that end is closed. What is kept back is written
first.
@function Stream:shutdown
@tparam[opt="both"] string how `"read"`, `"write"` or `"both"`
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADF (no such way), ENOTCONN, ENOTSOCK (a FIFO open
both ways by one descriptor), as `write`
@see shutdown(2)
*/
static int l_shutdown(lua_State *L) {
  static const char *const words[] = {"read", "write", "both", NULL};
  struct ux_stream *s = ux_check_stream(L);
  int how = ux_check_word(L, 2, "both", words), err = 0;
  bool is_read = how != 1, is_write = how != 0;
  struct ux_deadline deadline = {.left = s->timeout};
  if (is_write && s->wfd >= 0) err = ux_stream_flush(L, s, &deadline);
  if (err == 0)
    err = s->rfd == s->wfd ? shut_socket(s, is_read, is_write)
                           : shut_ends(s, is_read, is_write);
  return err == 0 ? ux_result(L, 0, NULL, NULL)
                  : ux_stream_fail(L, err, "shutdown");
}

/* ---- to and from Lua's files and integers ------------------------------ */

static int close_file(lua_State *L) {
  luaL_Stream *file = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  return luaL_fileresult(L, fclose(file->f) == 0, NULL);
}

static int to_file(lua_State *L, int fd, const char *mode) {
  luaL_Stream *file = lua_newuserdatauv(L, sizeof *file, 0);
  file->closef = NULL;
  luaL_setmetatable(L, LUA_FILEHANDLE);
  int own = ux_fd_dup_blocking(fd);
  if (own < 0) return ux_stream_fail(L, errno, "dup");
  file->f = fdopen(own, mode);
  if (file->f == NULL) {
    int err = errno;
    close(own);
    return ux_stream_fail(L, err, "fdopen");
  }
  file->closef = close_file;
  return 1;
}

/***
A Lua file on a descriptor of its own, for code that wants one. What is kept
back is written first. Input that is already in the stream's buffer cannot go
along: that is EBUSY.
@function Stream:to_file
@tparam[opt] string mode `"r"`, `"w"` or `"r+"`; by default what the stream can
@treturn[1] file a Lua file
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBUSY, EMFILE, EINVAL, as `write`
@see fdopen(3)
*/
static int l_to_file(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  const char *def = s->rfd < 0 ? "w" : s->rfd == s->wfd ? "r+" : "r";
  const char *mode = luaL_optstring(L, 2, def);
  luaL_argcheck(L, *mode == 'r' || *mode == 'w', 2, "invalid mode");
  struct ux_deadline deadline = {.left = s->timeout};
  int fd = *mode == 'r' ? s->rfd : s->wfd;
  int err = fd < 0 ? EBADF : 0;
  if (*mode == 'r' && ux_buffer_length(&s->in) > 0) err = EBUSY;
  if (err == 0 && s->wfd >= 0) err = ux_stream_flush(L, s, &deadline);
  if (err != 0) return ux_stream_fail(L, err, "fdopen");
  return to_file(L, fd, mode);
}

struct from_options {
  int mode; /* a word, or -1: as the descriptor is open */
  bool adopt;
};

static const char *const mode_words[] = {"r", "w", "rw", NULL};

static const struct ux_option from_schema[] = {
  {"mode", UX_OPT_WORD, offsetof(struct from_options, mode), 0, 0, mode_words},
  {"adopt", UX_OPT_BOOLEAN, offsetof(struct from_options, adopt), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

/* The word for how a descriptor is open, or an errno. */
static int mode_of(int fd, int *mode) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return errno;
  int access = flags & O_ACCMODE;
  *mode = access == O_RDONLY ? 0 : access == O_WRONLY ? 1 : 2;
  return 0;
}

static const char *kind_of_fd(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return "file stream";
  return S_ISSOCK(st.st_mode)   ? "socket stream"
         : S_ISFIFO(st.st_mode) ? "pipe stream"
         : S_ISCHR(st.st_mode)  ? "device stream"
                                : "file stream";
}

static void flush_file(lua_State *L, int arg) {
  const luaL_Stream *file = luaL_testudata(L, arg, LUA_FILEHANDLE);
  if (file != NULL && file->closef != NULL) fflush(file->f);
}

/***
A stream on any descriptor: an integer, a Lua file, another object. It gets a
duplicate, close-on-exec, so that each side closes its own; with `adopt` it
takes the integer itself. A Lua file is flushed first; what it has read ahead
from a pipe stays with it.
@function from
@tparam integer|file|object descriptor
@tparam[opt] table options `mode`: `"r"`, `"w"` or `"rw"`, by default as it is
open; `adopt`: boolean
@treturn[1] Stream
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADF (not open, or not that way), EMFILE
@see fcntl(2)
*/
static int l_from(lua_State *L) {
  struct from_options o = {.mode = -1};
  lua_settop(L, 2);
  int fd = ux_check_fd(L, 1);
  ux_check_options(L, 2, from_schema, &o);
  luaL_argcheck(
    L, !o.adopt || lua_isinteger(L, 1), 2, "only an integer can be adopted");
  flush_file(L, 1);
  int mode = 2;
  int err = mode_of(fd, &mode);
  if (err == 0 && o.mode >= 0 && mode != 2 && mode != o.mode) err = EBADF;
  if (err != 0) return ux_fail(L, err, "fcntl", NULL);
  if (o.mode >= 0) mode = o.mode;
  struct ux_stream *s = ux_stream_new(L, kind_of_fd(fd), 0);
  int own = o.adopt ? fd : ux_fd_dup(fd);
  if (own < 0) return ux_fail(L, errno, "fcntl", NULL);
  ux_stream_set(
    s, mode == 1 ? -1 : own, mode == 0 ? -1 : own, ux_rawio_classify(own));
  return 1;
}

/* The way of one stream, with its buffer, becomes the other's. */
static void move_reading(struct ux_stream *to, struct ux_stream *from) {
  to->rfd = from->rfd;
  to->rhow = from->rhow;
  to->in = from->in;
  from->rfd = -1;
  memset(&from->in, 0, sizeof from->in);
}

static void move_writing(struct ux_stream *to, struct ux_stream *from) {
  to->wfd = from->wfd;
  to->whow = from->whow;
  to->mode = from->mode;
  to->out = from->out;
  to->out_size = from->out_size;
  to->out_pid = from->out_pid;
  from->wfd = -1;
  memset(&from->out, 0, sizeof from->out);
}

/***
One stream of two: it reads from the first and writes to the second, which are
closed by this and live on in it.
@function join
@tparam Stream reading open for reading only; its timeout and limit hold on
@tparam Stream writing open for writing only
@tparam[opt] string name what `tostring` and messages call it
@treturn Stream
*/
static int l_join(lua_State *L) {
  struct ux_stream *r = ux_check_open(L, 1, &ux_stream_class);
  struct ux_stream *w = ux_check_open(L, 2, &ux_stream_class);
  luaL_argcheck(L, r->rfd >= 0 && r->wfd < 0, 1, "must be open for reading");
  luaL_argcheck(L, w->wfd >= 0 && w->rfd < 0, 2, "must be open for writing");
  luaL_argcheck(L, !r->is_temporary, 1, "must not be temporary");
  luaL_argcheck(L, !w->is_temporary, 2, "must not be temporary");
  luaL_optstring(L, 3, NULL);
  struct ux_stream *both =
    ux_stream_new(L, r->kind, lua_isnoneornil(L, 3) ? 0 : 3);
  both->timeout = r->timeout;
  both->limit = r->limit;
  move_reading(both, r);
  move_writing(both, w);
  both->head.open = true;
  ux_stream_note_output(L, lua_gettop(L));
  r->head.open = w->head.open = false;
  return 1;
}

/* ---- tables ------------------------------------------------------------ */

static const luaL_Reg methods[] = {
  {"available", l_available},
  {"capacity", l_capacity},
  {"set_capacity", l_set_capacity},
  {"set_timeout", l_set_timeout},
  {"shutdown", l_shutdown},
  {"to_file", l_to_file},
  {NULL, NULL},
};

static const luaL_Reg functions[] = {
  {"from", l_from},
  {"join", l_join},
  {NULL, NULL},
};

void ux_stream_open(lua_State *L) {
  ux_class_open(L, &ux_stream_class);
  luaL_setfuncs(L, methods, 0);
  luaL_setfuncs(L, ux_stream_read_methods, 0);
  luaL_setfuncs(L, ux_stream_write_methods, 0);
}

int ux_open_stream(lua_State *L) {
  ux_stream_open(L);
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
