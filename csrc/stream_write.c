/***
@module unixipc.stream
*/
#include "base/error.h"
#include "base/fd.h"
#include "base/options.h"
#include "stream_output.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define HEADER_SIZE 4

/* ---- putting bytes into the descriptor --------------------------------- */

/* Writes some of iov, which must stay what it is while handlers run: at least
   a byte, unless there is none. 0 or an errno. */
static int put_some(lua_State *L, struct ux_stream *s, const struct iovec *iov,
                    int count, size_t *put, struct ux_deadline *deadline) {
  for (;;) {
    int err = ux_stream_put(L, s, iov, count, put);
    if (err == 0) return 0;
    err = ux_stream_try_again(L, s, err, deadline);
    if (err != 0) return err;
  }
}

/* Leaves in iov what is to be written after n bytes went out. */
static void advance(struct iovec **iov, int *count, size_t n) {
  while (*count > 0 && n >= (*iov)->iov_len) {
    n -= (*iov)->iov_len;
    ++*iov;
    --*count;
  }
  if (*count > 0) {
    (*iov)->iov_base = (char *)(*iov)->iov_base + n;
    (*iov)->iov_len -= n;
  }
}

/* Writes all of iov; *done grows by what went out. */
static int put_all(lua_State *L, struct ux_stream *s, struct iovec *iov,
                   int count, size_t *done, struct ux_deadline *deadline) {
  for (advance(&iov, &count, 0); count > 0;) {
    size_t n;
    int err = ux_stream_put(L, s, iov, count, &n);
    if (err == 0) {
      *done += n;
      advance(&iov, &count, n);
    } else {
      err = ux_stream_try_again(L, s, err, deadline);
      if (err != 0) return err;
    }
  }
  return 0;
}

/* ---- what is kept back ------------------------------------------------- */

static void keep(struct ux_stream *s, const void *bytes, size_t n) {
  if (n == 0) return;
  memcpy(s->out.data + s->out.end, bytes, n);
  s->out.end += n;
}

static bool fits(const struct ux_stream *s, size_t n) {
  return n <= s->out_size && ux_buffer_length(&s->out) <= s->out_size - n;
}

/* Keeps n bytes back, after making room for them. False: they are too many
   for the buffer, which is empty now, and have to go straight out. */
static bool try_keep(lua_State *L, struct ux_stream *s, const void *bytes,
                     size_t n, struct ux_deadline *deadline, int *err) {
  *err = fits(s, n) ? 0 : ux_stream_flush(L, s, deadline);
  if (*err != 0) return true;
  if (n > s->out_size) return false;
  ux_buffer_reserve(L, &s->out, n);
  keep(s, bytes, n);
  return true;
}

/* ---- methods ----------------------------------------------------------- */

static int stream_itself(lua_State *L) {
  lua_settop(L, 1);
  return 1;
}

/* nil, message, errno, bytes done. */
static int stopped(lua_State *L, int err, size_t done, const char *call) {
  int pushed = ux_stream_fail(L, err, call);
  lua_pushinteger(L, (lua_Integer)done);
  return pushed + 1;
}

/* The arguments go out together, so that up to PIPE_BUF bytes of one call
   are never mixed with another writer's. */
#define IOV_MOST 16

static int write_straight(lua_State *L, struct ux_stream *s, int arg, int last,
                          size_t *done, struct ux_deadline *deadline) {
  int err = ux_stream_has_output(s) ? ux_stream_flush(L, s, deadline) : 0;
  while (err == 0 && arg <= last) {
    struct iovec iov[IOV_MOST];
    int count = 0;
    for (; arg <= last && count < IOV_MOST; arg++, count++) {
      iov[count].iov_base =
        (void *)(uintptr_t)lua_tolstring(L, arg, &iov[count].iov_len);
    }
    err = put_all(L, s, iov, count, done, deadline);
  }
  return err;
}

static int write_buffered(lua_State *L, struct ux_stream *s, int arg, int last,
                          size_t *done, struct ux_deadline *deadline) {
  bool has_line = false;
  int err = 0;
  ux_stream_disown(s);
  for (; arg <= last && err == 0; arg++) {
    size_t len;
    const char *bytes = lua_tolstring(L, arg, &len);
    if (try_keep(L, s, bytes, len, deadline, &err)) {
      if (err == 0) *done += len;
    } else {
      struct iovec iov = {(void *)(uintptr_t)bytes, len};
      err = put_all(L, s, &iov, 1, done, deadline);
    }
    if (s->mode == UX_STREAM_LINE && memchr(bytes, '\n', len) != NULL)
      has_line = true;
  }
  if (err == 0 && has_line) err = ux_stream_flush(L, s, deadline);
  return err;
}

/***
Writes strings and numbers, a float as `tostring` has it. Without buffering
(see `setvbuf`) they are in the kernel when the call returns, all of one call
together: up to PIPE_BUF bytes are not mixed with what other processes write. A
reader that went away is EPIPE, never a signal. How long it waits for room says
`set_timeout`.
@function Stream:write
@tparam string|number ...
@treturn[1] Stream the stream
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPIPE, ETIMEDOUT, EBADF (not open for writing),
ECONNRESET, ENOSPC, EIO
@treturn[2] integer bytes of this call that were taken
@see write(2)
*/
static int l_write(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  int last = lua_gettop(L);
  for (int arg = 2; arg <= last; arg++)
    if (!lua_isstring(L, arg)) luaL_checkstring(L, arg); /* raises */
  struct ux_deadline deadline = {.left = s->timeout};
  size_t done = 0;
  int err = s->wfd < 0 ? EBADF
            : s->mode == UX_STREAM_NO
              ? write_straight(L, s, 2, last, &done, &deadline)
              : write_buffered(L, s, 2, last, &done, &deadline);
  return err == 0 ? stream_itself(L) : stopped(L, err, done, "write");
}

/***
Writes as much as there is room for: at least a byte. What is kept back goes
out first.
@function Stream:write_some
@tparam string bytes
@tparam[opt] number timeout seconds
@treturn[1] integer how many bytes were taken
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: as `write`
@see write(2)
*/
static int l_write_some(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  size_t len, put = 0;
  const char *bytes = luaL_checklstring(L, 2, &len);
  struct ux_deadline deadline = ux_stream_deadline(L, 3, s);
  int err = ux_stream_flush(L, s, &deadline);
  if (err == 0 && len > 0) {
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    err = put_some(L, s, &iov, 1, &put, &deadline);
  }
  if (err != 0) return ux_stream_fail(L, err, "write");
  lua_pushinteger(L, (lua_Integer)put);
  return 1;
}

/***
Writes out what is kept back.
@function Stream:flush
@tparam[opt] number timeout seconds
@treturn[1] Stream the stream
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: as `write`; what did not go out is still kept
@treturn[2] integer bytes that went out
@see write(2)
*/
static int l_flush(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  struct ux_deadline deadline = ux_stream_deadline(L, 2, s);
  ux_stream_disown(s);
  size_t before = ux_buffer_length(&s->out);
  int err = ux_stream_flush(L, s, &deadline);
  if (err == 0) return stream_itself(L);
  return stopped(L, err, before - ux_buffer_length(&s->out), "write");
}

/***
Says how much of what is written is kept back, as `file:setvbuf` does: `"no"`
nothing (the default), `"full"` until the buffer is full, `"line"` also until
a line ends. What is kept back now goes out first. As with Lua's files, closing
a stream writes what it keeps back and waits for room, also when the collector
closes it: `flush` and `close` say when.
@function Stream:setvbuf
@tparam string mode `"no"`, `"line"` or `"full"`
@tparam[opt=65536] integer size bytes
@treturn[1] Stream the stream
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: as `write`
@see setvbuf(3)
*/
static int l_setvbuf(lua_State *L) {
  static const char *const modes[] = {"no", "line", "full", NULL};
  struct ux_stream *s = ux_check_stream(L);
  int mode = ux_check_word(L, 2, NULL, modes);
  lua_Integer size = luaL_optinteger(L, 3, 65536);
  luaL_argcheck(L,
                size > 0 && size <= INT32_MAX,
                3,
                "size must be from 1 to 2147483647 bytes");
  struct ux_deadline deadline = {.left = s->timeout};
  int err = ux_stream_flush(L, s, &deadline);
  if (err != 0) return ux_stream_fail(L, err, "write");
  s->mode = (enum ux_stream_mode)mode;
  s->out_size = (size_t)size;
  ux_stream_note_output(L, 1);
  return stream_itself(L);
}

/* ---- messages ---------------------------------------------------------- */

struct message {
  unsigned char header[HEADER_SIZE];
  const char *bytes;
  size_t length;
};

static void encode_header(struct message *m) {
  m->header[0] = (unsigned char)(m->length >> 24);
  m->header[1] = (unsigned char)(m->length >> 16);
  m->header[2] = (unsigned char)(m->length >> 8);
  m->header[3] = (unsigned char)m->length;
}

/* Half a message went out. The rest must follow it whatever happens now, so it
   is kept back before anything can raise. With no memory even for that the
   stream cannot be used any more, and the peer is to see it. */
static void keep_rest(lua_State *L, struct ux_stream *s,
                      const struct iovec *iov, int count) {
  for (int i = 0; i < count; i++) {
    if (!ux_buffer_try_reserve(L, &s->out, iov[i].iov_len)) {
      if (s->wfd != s->rfd)
        ux_fd_close(&s->wfd);
      else
        shutdown(s->wfd, SHUT_WR);
      s->wfd = -1;
      luaL_error(L, "not enough memory");
    }
    keep(s, iov[i].iov_base, iov[i].iov_len);
  }
  ux_stream_note_output(L, 1);
}

static int send_straight(lua_State *L, struct ux_stream *s, struct message *m,
                         size_t *done, struct ux_deadline *deadline) {
  struct iovec both[2] = {{m->header, HEADER_SIZE},
                          {(void *)(uintptr_t)m->bytes, m->length}};
  struct iovec *iov = both;
  int count = 2, err;
  do { /* a handler may have left half a message of its own while this waited */
    err = ux_stream_flush(L, s, deadline);
    if (err != 0) return err;
    err = ux_stream_put(L, s, iov, count, done);
    if (err == 0) break;
    err = ux_stream_try_again(L, s, err, deadline);
  } while (err == 0);
  if (err != 0) return err;
  advance(&iov, &count, *done);
  if (count == 0) return 0;
  keep_rest(L, s, iov, count);
  err = ux_stream_flush(L, s, deadline);
  *done = HEADER_SIZE + m->length - ux_buffer_length(&s->out);
  return err;
}

static int send_buffered(lua_State *L, struct ux_stream *s, struct message *m,
                         size_t *done, struct ux_deadline *deadline) {
  size_t total = HEADER_SIZE + m->length;
  ux_stream_disown(s);
  if (!fits(s, total)) {
    int err = ux_stream_flush(L, s, deadline);
    if (err != 0) return err;
    if (total > s->out_size) return send_straight(L, s, m, done, deadline);
  }
  ux_buffer_reserve(L, &s->out, total);
  keep(s, m->header, HEADER_SIZE);
  keep(s, m->bytes, m->length);
  return 0;
}

/***
Sends a message that `receive` receives whole: its length as four bytes, the
highest first, then its bytes. With `setvbuf("full")` messages go out in
batches; `flush` sends what is left.
@function Stream:send
@tparam string message
@tparam[opt] number timeout seconds
@treturn[1] Stream the stream
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPIPE, ETIMEDOUT, EMSGSIZE (over the limit), EBADF,
ECONNRESET
@treturn[2] integer bytes that went out. When it is not 0 the rest is kept back
and goes first: `flush`, do not send the message again.
@see write(2)
*/
static int l_send(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  struct message m;
  size_t done = 0;
  m.bytes = luaL_checklstring(L, 2, &m.length);
  struct ux_deadline deadline = ux_stream_deadline(L, 3, s);
  if (m.length > s->limit)
    return ux_fail_words(
      L,
      EMSGSIZE,
      "send",
      lua_pushfstring(L,
                      "message of %I bytes is over the limit of %I",
                      (lua_Integer)m.length,
                      (lua_Integer)s->limit));
  encode_header(&m);
  int err = s->wfd < 0 ? EBADF
            : s->mode == UX_STREAM_NO
              ? send_straight(L, s, &m, &done, &deadline)
              : send_buffered(L, s, &m, &done, &deadline);
  return err == 0 ? stream_itself(L) : stopped(L, err, done, "send");
}

const luaL_Reg ux_stream_write_methods[] = {
  {"write", l_write},
  {"write_some", l_write_some},
  {"flush", l_flush},
  {"setvbuf", l_setvbuf},
  {"send", l_send},
  {NULL, NULL},
};
