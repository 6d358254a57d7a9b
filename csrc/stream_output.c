/* What goes out of a stream: at once, or later when it is kept back. */
#include "stream_output.h"

#include "base/interrupt.h"
#include "base/wait.h"

#include <errno.h>

int ux_stream_try_again(lua_State *L, struct ux_stream *s, int err,
                        struct ux_deadline *deadline) {
  if (err == EAGAIN || err == EWOULDBLOCK)
    err = ux_wait_fd(L, s->wfd, POLLOUT, deadline);
  else if (err == EINTR)
    ux_interrupt_run(L);
  return err == EINTR ? 0 : err;
}

/* The buffer is looked at anew after each wait: a handler may have written. */
int ux_stream_flush(lua_State *L, struct ux_stream *s,
                    struct ux_deadline *deadline) {
  ux_stream_disown(s);
  while (ux_buffer_length(&s->out) > 0) {
    size_t n;
    struct iovec iov = {s->out.data + s->out.start, ux_buffer_length(&s->out)};
    int err = ux_stream_put(L, s, &iov, 1, &n);
    if (err == 0)
      ux_buffer_take(&s->out, n);
    else
      err = ux_stream_try_again(L, s, err, deadline);
    if (err != 0) return err;
    if (!s->head.open) ux_closed_error(L, s->head.class);
  }
  return 0;
}

/* Streams that keep something back, for ux_stream_flush_all: a weak table. */
static const char buffered_key = 'b';

static void push_buffered(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &buffered_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &buffered_key);
}

void ux_stream_note_output(lua_State *L, int index) {
  lua_pushvalue(L, index);
  push_buffered(L);
  lua_insert(L, -2);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

void ux_stream_flush_all(lua_State *L) {
  push_buffered(L);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    struct ux_stream *s = lua_touserdata(L, -2);
    struct ux_deadline deadline = {.left = s->timeout};
    if (s->head.open) ux_stream_flush(L, s, &deadline);
  }
  lua_pop(L, 1);
}
