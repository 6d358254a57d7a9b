/***
@module unixipc.socket
*/
#include "base/fd.h"
#include "base/options.h"
#include "base/wait.h"
#include "socket_object.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct options {
  lua_Integer offset, count;
};

static const struct ux_option schema[] = {
  {"offset",
   UX_OPT_INTEGER,
   offsetof(struct options, offset),
   0,
   LUA_MAXINTEGER,
   NULL},
  {"count",
   UX_OPT_INTEGER,
   offsetof(struct options, count),
   0,
   LUA_MAXINTEGER,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

#define CHUNK ((lua_Integer)262144)

/* Reads a part of the file and sends what there is room for. 0 or an errno;
   *n is how much went, -1 at the end of the file. The file is read again each
   time: while this waited, a handler may have used the scratch. */
static int send_part(int file, int fd, char *scratch, lua_Integer offset,
                     lua_Integer most, ssize_t *n, const char **call) {
  *call = "pread";
  ssize_t have =
    pread(file, scratch, (size_t)(most < CHUNK ? most : CHUNK), offset);
  *n = -1;
  if (have <= 0) return have == 0 ? 0 : errno;
  *call = "send";
  *n = send(fd, scratch, (size_t)have, MSG_DONTWAIT | MSG_NOSIGNAL);
  return *n >= 0 ? 0 : errno;
}

/* The file is at index 2: a handler may have closed it. */
static int send_all(lua_State *L, struct ux_stream *s, const struct options *o,
                    lua_Integer *done, const char **call,
                    struct ux_deadline *deadline) {
  char *scratch = ux_push_scratch(L);
  while (*done < o->count) {
    ssize_t n;
    int file = ux_check_fd(L, 2); /* may call somebody's fileno */
    if (!s->head.open) ux_closed_error(L, s->head.class);
    int err = send_part(
      file, s->wfd, scratch, o->offset + *done, o->count - *done, &n, call);
    if (err == 0 && n < 0) return 0;
    if (err == 0)
      *done += n;
    else
      err = ux_socket_again(L, &s->head, s->wfd, err, POLLOUT, deadline);
    if (err != 0) return err;
  }
  return 0;
}

/* Puts a stream on the file in the place of its path. */
static int open_path(lua_State *L, struct ux_stream **own) {
  const char *path = ux_check_cstring(L, 2);
  struct ux_stream *file = ux_stream_new(L, "file stream", 2);
  /* O_NONBLOCK: a FIFO is not waited for, but refused. */
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return errno;
  ux_stream_set(file, fd, -1, UX_RAWIO_FILE);
  lua_replace(L, 2);
  *own = file;
  return 0;
}

/***
Sends a file, or a part of one, over a stream. What is kept back goes first. The
position of an open file stays where it is.

Options: `offset`, where to begin (0); `count`, how many bytes at most (all).
@function Stream:send_file
@tparam string|file|object|integer file its path, or open for reading
@tparam[opt] table options
@tparam[opt] number timeout seconds
@treturn[1] integer bytes sent
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES, EISDIR, ESPIPE (not a file), EPIPE,
ECONNRESET, ETIMEDOUT, ENOTSOCK
@treturn[2] integer bytes sent before
@see sendfile(2)
*/
static int l_send_file(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  struct options o = {0, LUA_MAXINTEGER};
  struct ux_deadline deadline = ux_stream_deadline(L, 4, s);
  const char *call = "open";
  struct ux_stream *own = NULL;
  lua_Integer done = 0;
  lua_settop(L, 3);
  ux_check_options(L, 3, schema, &o);
  int err = lua_type(L, 2) == LUA_TSTRING ? open_path(L, &own) : 0;
  if (o.count > LUA_MAXINTEGER - o.offset) o.count = LUA_MAXINTEGER - o.offset;
  if (err == 0) err = ux_stream_flush(L, s, &deadline);
  if (err == 0 && s->wfd < 0) err = EBADF;
  if (err == 0) err = send_all(L, s, &o, &done, &call, &deadline);
  if (own != NULL) {
    own->head.open = false;
    ux_fd_close(&own->rfd);
  }
  lua_pushinteger(L, done);
  if (err == 0) return 1;
  int results = ux_socket_fail(L, err, call);
  lua_pushinteger(L, done);
  return results + 1;
}

const luaL_Reg ux_socket_file_methods[] = {
  {"send_file", l_send_file},
  {NULL, NULL},
};
