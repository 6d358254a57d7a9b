/***
Pipes: two streams, what is written into the one is read from the other.
@module unixipc.pipe
*/
#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/options.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

struct open_options {
  lua_Integer capacity;
  bool packet;
};

static const struct ux_option open_schema[] = {
  {"capacity",
   UX_OPT_INTEGER,
   offsetof(struct open_options, capacity),
   1,
   INT_MAX,
   NULL},
  {"packet",
   UX_OPT_BOOLEAN,
   offsetof(struct open_options, packet),
   0,
   0,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

/* Packet mode: each write is read by a read of its own. */
static int packet_flag(bool packet, int *flag) {
  *flag = 0;
#ifdef O_DIRECT
  if (packet) *flag = O_DIRECT;
  return 0;
#else
  return packet ? ENOTSUP : 0;
#endif
}

static int close_both(struct ux_stream *r, struct ux_stream *w) {
  r->head.open = w->head.open = false;
  ux_fd_close(&r->rfd);
  ux_fd_close(&w->wfd);
  return 0;
}

/***
Makes a pipe.

Options: `capacity`: how many bytes it holds at least (65536 if the system is
not asked; it rounds up); `packet`: each write of up to PIPE_BUF bytes is one
packet, and `read_some` reads one.
@function open
@tparam[opt] table options
@treturn[1] Stream to read from
@treturn[1] Stream to write to
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EMFILE, ENFILE, EPERM (capacity over the system's
limit), EBUSY, ENOTSUP (no packet mode here)
@see pipe2(2)
@see fcntl(2)
*/
static int l_open(lua_State *L) {
  struct open_options o = {.capacity = 0};
  int flag, fds[2];
  ux_check_options(L, 1, open_schema, &o);
  int err = packet_flag(o.packet, &flag);
  struct ux_stream *r = ux_stream_new(L, "pipe stream", 0);
  struct ux_stream *w = ux_stream_new(L, "pipe stream", 0);
  if (err == 0) err = ux_fd_pipe(fds, O_NONBLOCK | flag);
  if (err != 0) return ux_fail(L, err, "pipe2", NULL);
  ux_stream_set(r, fds[0], -1, UX_RAWIO_NONBLOCK);
  ux_stream_set(w, -1, fds[1], UX_RAWIO_NONBLOCK);
  if (o.capacity == 0 || ux_stream_set_capacity(fds[1], o.capacity) >= 0)
    return 2;
  err = errno;
  close_both(r, w);
  return ux_fail(L, err, "fcntl", NULL);
}

static const luaL_Reg functions[] = {
  {"open", l_open},
  {NULL, NULL},
};

int ux_open_pipe(lua_State *L) {
  ux_stream_open(L);
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
