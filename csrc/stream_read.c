/***
@module unixipc.stream
*/
#include "base/error.h"
#include "base/interrupt.h"
#include "base/wait.h"
#include "stream.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#define MOST_ROOM 65536

/* ---- filling the buffer ------------------------------------------------ */

/* How much a call got. */
enum { FILL_OK = 0, FILL_EOF = -1 };

/* A read into the room at the end of the buffer. */
struct reading {
  struct ux_stream *s;
  size_t room;
  ssize_t got;
};

static char *room_of(const struct ux_stream *s) {
  return s->in.data + s->in.end;
}

static int receive_blocking(void *arg) {
  struct reading *r = arg;
  r->got = recv(r->s->rfd, room_of(r->s), r->room, 0);
  return r->got >= 0 ? 0 : errno;
}

/* 0 or an errno: EAGAIN also when it is not worth it. */
static int try_to_read(struct reading *r, const struct ux_deadline *deadline) {
  struct ux_stream *s = r->s;
  if (!ux_habit_tries(&s->habit, deadline)) return EAGAIN;
  r->got = ux_rawio_read(s->rfd, &s->rhow, room_of(s), r->room);
  int err = r->got >= 0 ? 0 : errno;
  ux_habit_learn(&s->habit, err == EAGAIN && s->rhow == UX_RAWIO_SOCKET);
  return err;
}

/* Sleeps until there is input: 0 when it was read already, EAGAIN when not. A
   pipe is as fast with poll. What was written and kept back goes out first: the
   other side may be waiting for it before it answers. */
static int wait_for_input(lua_State *L, struct reading *r,
                          struct ux_deadline *deadline) {
  struct ux_stream *s = r->s;
  if (ux_buffer_length(&s->out) > 0) {
    int err = ux_stream_flush(L, s, deadline);
    if (err != 0) return err;
    return EAGAIN; /* that may have taken a while */
  }
  if (s->rhow == UX_RAWIO_SOCKET)
    return ux_wait_fd_call(L, receive_blocking, r, s->rfd, POLLIN, deadline);
  int err = ux_wait_fd(L, s->rfd, POLLIN, deadline);
  return err == 0 ? EAGAIN : err;
}

/* A read that filled its room asks for twice as much the next time. */
static void received(struct ux_stream *s, size_t n, size_t room) {
  s->in.end += n;
  if (n == room && s->room < MOST_ROOM) s->room *= 2;
}

/* Adds what is there to the buffer, at least a byte. FILL_OK, FILL_EOF or an
   errno. A handler may have closed the stream, or read from it, whenever this
   comes back from waiting. */
static int fill(lua_State *L, struct ux_stream *s,
                struct ux_deadline *deadline) {
  size_t before = ux_buffer_length(&s->in);
  unsigned takes = s->takes;
  for (;;) {
    if (!s->head.open) ux_closed_error(L, s->head.class);
    if (s->rfd < 0) return EBADF;
    ux_buffer_reserve(L, &s->in, s->room);
    struct reading r = {.s = s, .room = s->in.size - s->in.end};
    int err = try_to_read(&r, deadline);
    if (err == EAGAIN || err == EWOULDBLOCK)
      err = wait_for_input(L, &r, deadline);
    else if (err == EINTR)
      ux_interrupt_run(L);
    if (err == 0 && r.got == 0) return FILL_EOF;
    if (err == 0) {
      received(s, (size_t)r.got, r.room);
      return FILL_OK;
    }
    if (err != EINTR && err != EAGAIN) return err;
    /* A handler read: what it left may be what the caller wants. */
    if (s->takes != takes || ux_buffer_length(&s->in) != before)
      return FILL_OK;
  }
}

/* Fills until n bytes are there, or the end or an error came. */
static int fill_to(lua_State *L, struct ux_stream *s, size_t n,
                   struct ux_deadline *deadline) {
  int err = FILL_OK;
  while (err == FILL_OK && ux_buffer_length(&s->in) < n)
    err = fill(L, s, deadline);
  return err;
}

static const char *input(const struct ux_stream *s) {
  return s->in.data + s->in.start;
}

static void take_input(struct ux_stream *s, size_t n) {
  ux_buffer_take(&s->in, n);
  s->takes++;
  s->insufficient = 0;
}

/* Pushes the first n bytes, less `cut` at their end, and forgets them. */
static void push_input(lua_State *L, struct ux_stream *s, size_t n,
                       size_t cut) {
  lua_pushlstring(L, n > cut ? input(s) : "", n - cut);
  take_input(s, n);
}

/* ---- formats: each pushes its value, or returns FILL_EOF or an errno --- */

static int read_line(lua_State *L, struct ux_stream *s, size_t cut,
                     struct ux_deadline *deadline) {
  unsigned takes = s->takes;
  for (size_t seen = 0;;) {
    size_t have = ux_buffer_length(&s->in);
    if (s->takes != takes) seen = 0; /* a handler took some */
    takes = s->takes;
    const char *end =
      have > seen ? memchr(input(s) + seen, '\n', have - seen) : NULL;
    if (end != NULL) {
      push_input(L, s, (size_t)(end - input(s)) + 1, cut);
      return FILL_OK;
    }
    seen = have;
    int err = fill(L, s, deadline);
    if (err == FILL_EOF && ux_buffer_length(&s->in) > 0) {
      push_input(L, s, ux_buffer_length(&s->in), 0);
      return FILL_OK;
    }
    if (err != FILL_OK) return err;
  }
}

static int read_count(lua_State *L, struct ux_stream *s, size_t n,
                      struct ux_deadline *deadline) {
  int err = fill_to(L, s, n > 0 ? n : 1, deadline);
  size_t have = ux_buffer_length(&s->in);
  if (err != FILL_OK && (err != FILL_EOF || have == 0)) return err;
  push_input(L, s, have < n ? have : n, 0);
  return FILL_OK;
}

static int read_all(lua_State *L, struct ux_stream *s,
                    struct ux_deadline *deadline) {
  int err;
  do {
    err = fill(L, s, deadline);
  } while (err == FILL_OK);
  if (err != FILL_EOF) return err;
  push_input(L, s, ux_buffer_length(&s->in), 0);
  return FILL_OK;
}

/* A numeral is scanned in the buffer and taken when it is known to end.
   As in Lua's io library: at most so many characters. */
#define NUMERAL_MAX 200

/* No errno: a handler read what was scanned. */
#define ERR_STALE (-2)

struct numeral {
  lua_State *L;
  struct ux_stream *s;
  struct ux_deadline *deadline;
  size_t length;  /* scanned so far */
  unsigned takes; /* of the stream, when the scan began */
  bool is_too_long;
  int err; /* an errno that stopped the scan */
};

static int numeral_peek(struct numeral *n) {
  if (n->err != 0 || n->is_too_long) return EOF;
  int err = fill_to(n->L, n->s, n->length + 1, n->deadline);
  if (n->s->takes != n->takes) err = n->err = ERR_STALE;
  if (err > 0) n->err = err;
  return err == FILL_OK ? (unsigned char)input(n->s)[n->length] : EOF;
}

static void numeral_take(struct numeral *n) {
  if (n->length < NUMERAL_MAX)
    n->length++;
  else
    n->is_too_long = true;
}

static bool numeral_accept(struct numeral *n, const char *set) {
  int c = numeral_peek(n);
  if (c == EOF || c == '\0' || strchr(set, c) == NULL) return false;
  numeral_take(n);
  return true;
}

static int numeral_digits(struct numeral *n, bool is_hex) {
  int count = 0;
  for (int c = numeral_peek(n);
       c != EOF && (is_hex ? isxdigit(c) : isdigit(c));
       c = numeral_peek(n)) {
    numeral_take(n);
    count++;
  }
  return count;
}

static void scan_numeral(struct numeral *n) {
  bool is_hex = false;
  int count = 0;
  numeral_accept(n, "+-");
  if (numeral_accept(n, "0")) {
    if (numeral_accept(n, "xX"))
      is_hex = true;
    else
      count = 1;
  }
  count += numeral_digits(n, is_hex);
  if (numeral_accept(n, ".")) count += numeral_digits(n, is_hex);
  if (count > 0 && numeral_accept(n, is_hex ? "pP" : "eE")) {
    numeral_accept(n, "+-");
    numeral_digits(n, false);
  }
}

static int skip_space(lua_State *L, struct ux_stream *s,
                      struct ux_deadline *deadline) {
  for (;;) {
    int err = fill_to(L, s, 1, deadline);
    if (err != FILL_OK) return err;
    if (!isspace((unsigned char)*input(s))) return FILL_OK;
    take_input(s, 1);
  }
}

static int read_number(lua_State *L, struct ux_stream *s,
                       struct ux_deadline *deadline) {
  char text[NUMERAL_MAX + 1];
  struct numeral n;
  do {
    int err = skip_space(L, s, deadline);
    if (err != FILL_OK) return err;
    n = (struct numeral){
      .L = L, .s = s, .deadline = deadline, .takes = s->takes};
    scan_numeral(&n);
  } while (n.err == ERR_STALE);
  if (n.err != 0) return n.err;
  memcpy(text, input(s), n.length);
  text[n.length] = '\0';
  take_input(s, n.length);
  bool is_number = !n.is_too_long && lua_stringtonumber(L, text) != 0;
  return is_number ? FILL_OK : FILL_EOF;
}

static int read_word(lua_State *L, struct ux_stream *s, int arg,
                     struct ux_deadline *deadline) {
  const char *format = luaL_checkstring(L, arg);
  if (*format == '*') format++; /* as older Lua programs write it */
  switch (*format) {
    case 'l': return read_line(L, s, 1, deadline);
    case 'L': return read_line(L, s, 0, deadline);
    case 'a': return read_all(L, s, deadline);
    case 'n': return read_number(L, s, deadline);
    default: return luaL_argerror(L, arg, "invalid format");
  }
}

static int read_format(lua_State *L, struct ux_stream *s, int arg,
                       struct ux_deadline *deadline) {
  if (lua_type(L, arg) != LUA_TNUMBER) return read_word(L, s, arg, deadline);
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n >= 0, arg, "count must not be negative");
  return read_count(L, s, (size_t)n, deadline);
}

/* ---- methods ----------------------------------------------------------- */

/* What a call that stopped returns after the `done` values it pushed: nil at
   the end; nil, message, errno, bytes in the buffer at an error. */
static int stopped(lua_State *L, struct ux_stream *s, int err, int done,
                   const char *call) {
  if (err == FILL_EOF) {
    lua_pushnil(L);
    return done + 1;
  }
  /* Pollers are not to call it ready before more has come. */
  if (err == ETIMEDOUT) s->insufficient = ux_buffer_length(&s->in);
  int pushed = ux_stream_fail(L, err, call);
  lua_pushinteger(L, (lua_Integer)ux_buffer_length(&s->in));
  return done + pushed + 1;
}

/* Reads by the formats at arg .. last. Leaves why it stopped in *err. */
static int read_formats(lua_State *L, struct ux_stream *s, int arg, int last,
                        struct ux_deadline *deadline, int *err) {
  int done = 0;
  luaL_checkstack(L, last - arg + LUA_MINSTACK, "too many arguments");
  for (; arg <= last; arg++, done++) {
    *err = read_format(L, s, arg, deadline);
    if (*err != FILL_OK) return stopped(L, s, *err, done, "read");
  }
  return done;
}

/***
Reads by the formats of Lua's io library: `"l"` a line without its end (the
default), `"L"` with it, `"a"` all up to the end, `"n"` a numeral, or a count
of bytes. What is kept back for writing on the same stream goes out before the
call sleeps. When a call runs out of time nothing is lost: what came so far
stays in the buffer for the next one.

When there is more than one argument and the last is a number or nil, it is
the timeout: `r:read("l", 2.5)`, `r:read(10)` reads ten bytes, `r:read(10, 2)`
ten bytes in at most two seconds, `r:read(4, 4, nil)` twice four.
@function Stream:read
@tparam[opt] string|integer ... formats
@tparam[opt] number timeout seconds
@treturn[1] string|number a value per format
@treturn[2] nil at the end of file, in the place of the value that was not there
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: ETIMEDOUT, EBADF (not open for reading), ECONNRESET,
EIO
@treturn[3] integer bytes in the buffer
@see read(2)
*/
static int l_read(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  int last = lua_gettop(L), timeout = 0;
  if (last > 2 && (lua_type(L, last) == LUA_TNUMBER || lua_isnil(L, last)))
    timeout = last--;
  struct ux_deadline deadline = ux_stream_deadline(L, timeout, s);
  int err;
  if (last > 2) return read_formats(L, s, 2, last, &deadline, &err);
  err = last == 2 ? read_format(L, s, 2, &deadline)
                  : read_line(L, s, 1, &deadline);
  return err == FILL_OK ? 1 : stopped(L, s, err, 0, "read");
}

/***
Reads what is there: at least one byte, at most max. In a packet pipe: one
packet.
@function Stream:read_some
@tparam[opt] integer max bytes; by default whatever one read brings
@tparam[opt] number timeout seconds
@treturn[1] string bytes
@treturn[2] nil at the end of file
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: ETIMEDOUT, EBADF, ECONNRESET, EIO
@see read(2)
*/
static int l_read_some(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  lua_Integer max = luaL_optinteger(L, 2, LUA_MAXINTEGER);
  luaL_argcheck(L, max > 0, 2, "count must be positive");
  struct ux_deadline deadline = ux_stream_deadline(L, 3, s);
  int err = fill_to(L, s, 1, &deadline);
  if (err != FILL_OK) return stopped(L, s, err, 0, "read");
  size_t have = ux_buffer_length(&s->in);
  push_input(L, s, have < (size_t)max ? have : (size_t)max, 0);
  return 1;
}

/***
Takes what is there into the stream's buffer, at least a byte, and leaves it
there for the next read: a program that waits for more than that, in a poller,
loses nothing whatever happens meanwhile.
@function Stream:fill
@tparam[opt] number timeout seconds
@treturn[1] integer bytes in the buffer
@treturn[2] nil at the end of file
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: ETIMEDOUT, EBADF, ECONNRESET, EIO
@see read(2)
*/
static int l_fill(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  struct ux_deadline deadline = ux_stream_deadline(L, 2, s);
  int err = fill(L, s, &deadline);
  if (err != FILL_OK) return stopped(L, s, err, 0, "read");
  s->insufficient = ux_buffer_length(&s->in);
  lua_pushinteger(L, (lua_Integer)s->insufficient);
  return 1;
}

/* What `stopped` left: nil, message, errno, bytes. */
static int raise_failure(lua_State *L) {
  return luaL_error(L, "%s", lua_tostring(L, -3));
}

static int next_line(lua_State *L) {
  struct ux_stream *s = lua_touserdata(L, lua_upvalueindex(1));
  if (!s->head.open) ux_closed_error(L, s->head.class);
  struct ux_deadline deadline = {.left = s->timeout};
  int err = read_line(L, s, 1, &deadline);
  if (err == FILL_OK) return 1;
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  int results = stopped(L, s, err, 0, "read");
  return err == FILL_EOF ? results : raise_failure(L);
}

/* Upvalues: the stream, how many formats, the formats. */
static int next_formats(lua_State *L) {
  struct ux_stream *s = lua_touserdata(L, lua_upvalueindex(1));
  int count = (int)lua_tointeger(L, lua_upvalueindex(2));
  if (!s->head.open) ux_closed_error(L, s->head.class);
  lua_settop(L, 0);
  luaL_checkstack(L, count + 1, "too many arguments");
  lua_pushvalue(L, lua_upvalueindex(1));
  for (int i = 1; i <= count; i++) lua_pushvalue(L, lua_upvalueindex(2 + i));
  struct ux_deadline deadline = {.left = s->timeout};
  int err = FILL_OK;
  int results = read_formats(L, s, 2, count + 1, &deadline, &err);
  return err > 0 ? raise_failure(L) : results;
}

/***
An iterator that reads by the given formats (`"l"` without any) at each step
until the end of file. It waits as long as `set_timeout` says and raises at
any error, as `io.lines` does; the stream stays open after the loop.
@function Stream:lines
@tparam[opt] string|integer ... formats
@treturn function iterator
@see Stream:read
*/
static int l_lines(lua_State *L) {
  ux_check_stream(L);
  int count = lua_gettop(L) - 1;
  luaL_argcheck(L, count <= 250, 252, "too many arguments");
  if (count == 0) {
    lua_pushcclosure(L, next_line, 1);
    return 1;
  }
  lua_pushinteger(L, count);
  lua_insert(L, 2);
  lua_pushcclosure(L, next_formats, count + 2);
  return 1;
}

/* ---- messages ---------------------------------------------------------- */

#define HEADER_SIZE 4

static size_t decode_header(const char *p) {
  const unsigned char *u = (const unsigned char *)p;
  return (size_t)u[0] << 24 | (size_t)u[1] << 16 | (size_t)u[2] << 8 | u[3];
}

static int too_long(lua_State *L, size_t length, size_t limit) {
  const char *words =
    lua_pushfstring(L,
                    "message of %I bytes is over the limit of %I",
                    (lua_Integer)length,
                    (lua_Integer)limit);
  return ux_fail_words(L, EMSGSIZE, "receive", words);
}

/***
Receives a message that `send` sent: its length as four bytes, the highest
first, then its bytes.
@function Stream:receive
@tparam[opt] number timeout seconds
@treturn[1] string message
@treturn[2] nil at the end of file
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: ETIMEDOUT (what came stays in the buffer), EMSGSIZE
(over the limit: the message is not taken and nothing can follow it), EBADMSG
(the stream ended inside a message), EBADF, ECONNRESET
@see Stream:send
*/
static int l_receive(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  struct ux_deadline deadline = ux_stream_deadline(L, 2, s);
  size_t length = 0;
  int err = fill_to(L, s, HEADER_SIZE, &deadline);
  while (err == FILL_OK) {
    length = decode_header(input(s));
    if (length > s->limit) return too_long(L, length, s->limit);
    if (ux_buffer_length(&s->in) >= HEADER_SIZE + length) break;
    err = fill(L, s, &deadline);
    if (err == FILL_OK) err = fill_to(L, s, HEADER_SIZE, &deadline);
  }
  if (err == FILL_EOF && ux_buffer_length(&s->in) > 0) err = EBADMSG;
  if (err != FILL_OK) return stopped(L, s, err, 0, "receive");
  lua_pushlstring(L, input(s) + HEADER_SIZE, length);
  take_input(s, HEADER_SIZE + length);
  return 1;
}

/* Upvalue: the stream. */
static int next_message(lua_State *L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  int results = l_receive(L);
  return results <= 1 ? results
                      : luaL_error(L, "%s", lua_tostring(L, 1 - results));
}

/***
An iterator over the messages that `receive` receives, until the end of file.
It waits as long as `set_timeout` says and raises at any error.
@function Stream:messages
@treturn function iterator
@see Stream:receive
*/
static int l_messages(lua_State *L) {
  ux_check_stream(L);
  lua_settop(L, 1);
  lua_pushcclosure(L, next_message, 1);
  return 1;
}

/***
Sets the longest message that `send` and `receive` accept. 16 MiB at first.
@function Stream:set_limit
@tparam integer bytes 0 to 4294967295
@treturn Stream the stream
*/
static int l_set_limit(lua_State *L) {
  struct ux_stream *s = ux_check_stream(L);
  lua_Integer n = luaL_checkinteger(L, 2);
  luaL_argcheck(
    L, n >= 0 && n <= UINT32_MAX, 2, "limit must be from 0 to 4294967295");
  s->limit = (size_t)n;
  lua_settop(L, 1);
  return 1;
}

const luaL_Reg ux_stream_read_methods[] = {
  {"read", l_read},
  {"read_some", l_read_some},
  {"fill", l_fill},
  {"lines", l_lines},
  {"receive", l_receive},
  {"messages", l_messages},
  {"set_limit", l_set_limit},
  {NULL, NULL},
};
