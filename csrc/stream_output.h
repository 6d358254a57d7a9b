/* Bytes that go out of a stream, for its own files; more of it in stream.h. */
#ifndef UX_STREAM_OUTPUT_H
#define UX_STREAM_OUTPUT_H

#include "base/process_id.h"
#include "stream.h"

#include <errno.h>

/* One write. 0 or an errno; *put is how much went out. A handler may have
   closed the stream since it was last looked at. */
static inline int ux_stream_put(lua_State *L, struct ux_stream *s,
                                const struct iovec *iov, int count,
                                size_t *put) {
  if (!s->head.open) ux_closed_error(L, s->head.class);
  if (s->wfd < 0) return EBADF;
  ssize_t n = ux_rawio_writev(s->wfd, &s->whow, iov, count);
  *put = n > 0 ? (size_t)n : 0;
  return n < 0 ? errno : 0;
}

/* After ux_stream_put said err: 0 when it is worth another try, or the
   errno. */
int ux_stream_try_again(lua_State *L, struct ux_stream *s, int err,
                        struct ux_deadline *deadline);

static inline bool ux_stream_has_output(const struct ux_stream *s) {
  return s->out.start != s->out.end;
}

/* What another process left here before it forked us is its own to write. */
static inline void ux_stream_disown(struct ux_stream *s) {
  if (s->out_pid == ux_process_id()) return;
  s->out.start = s->out.end = 0;
  s->out_pid = ux_process_id();
}

#endif
