/***
@module unixipc.channel
*/
/* Sending and receiving. */
#include "channel_object.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "codec.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define INBOX_KEPT ((size_t)1 << 20) /* bytes; more is given back at once */
#define CHUNK 64                     /* messages sent at once */
#define LONG 4096                    /* bytes; such strings are copied once */

/* ---- bytes ------------------------------------------------------------- */

#define MOST ((size_t)1 << 30) /* bytes of a value; more raises at once */

/* What was too long for the ring was encoded too, and is not kept. */
static void shrink_encoded(lua_State *L, struct ux_channel *c,
                           const struct ux_ring *ring) {
  if (c->encoded.end == 0 && c->encoded.size > INBOX_KEPT &&
      c->encoded.size / 2 > ux_ring_limit(ring))
    ux_buffer_free(L, &c->encoded);
}

struct ux_channel_bytes ux_channel_encode(lua_State *L, struct ux_channel *c,
                                          int arg,
                                          const struct ux_ring *ring) {
  struct ux_channel_bytes b = {.mark = UX_CHANNEL_BYTES};
  if (lua_type(L, arg) == LUA_TSTRING) {
    b.data = lua_tolstring(L, arg, &b.length);
    return b;
  }
  luaL_checkany(L, arg);
  shrink_encoded(L, c, ring);
  size_t base = c->encoded.end;
  b.mark = UX_CHANNEL_VALUE;
  ux_codec_encode(L, arg, &c->encoded, MOST);
  ux_channel_check_still(L, c);
  b.data = c->encoded.data + base;
  b.length = c->encoded.end - base;
  c->encoded.end = base; /* nobody writes there before Lua is called */
  return b;
}

void ux_channel_settle(lua_State *L, struct ux_channel_bytes *b) {
  if (b->mark == UX_CHANNEL_BYTES)
    lua_pushnil(L); /* is an argument already */
  else
    b->data = lua_pushlstring(L, b->data, b->length);
}

int ux_channel_pcall(lua_State *L, struct ux_channel *c, int args,
                     int results) {
  c->is_giving = true;
  ux_interrupt_hold();
  int status = lua_pcall(L, args, results, 0);
  c->is_giving = false;
  ux_interrupt_release(L);
  return status;
}

bool ux_channel_push(lua_State *L, const char *data, size_t length,
                     unsigned mark) {
  if (mark != UX_CHANNEL_VALUE) {
    lua_pushlstring(L, data, length);
    return true;
  }
  if (ux_codec_decode(L, data, length) == length) return true;
  lua_pop(L, 1);
  return false;
}

/* ---- send -------------------------------------------------------------- */

struct sending {
  struct ux_channel_call call;
  struct ux_channel_bytes bytes;
};

static int attempt_put(struct ux_channel_call *call) {
  const struct sending *s = (const struct sending *)call;
  return ux_ring_put(
    call->ring, s->bytes.data, s->bytes.length, s->bytes.mark);
}

#define LOAN_NS 10000000 /* between two looks, if it was no subscriber */

/* Subscribers that leave no room have a while, then they are thrown out. */
static int wait_evicting(lua_State *L, struct ux_channel_call *call,
                         struct ux_deadline *deadline, const size_t *length) {
  struct ux_channel *c = call->channel;
  uint32_t evicted = 1;
  ux_deadline_start(deadline);
  for (;;) {
    struct ux_deadline patience = {.left = c->evict_after};
    if (evicted == 0 && patience.left < LOAN_NS) patience.left = LOAN_NS;
    ux_deadline_start(&patience);
    if (deadline->left != UX_FOREVER && deadline->at < patience.at)
      patience.at = deadline->at;
    int err = ux_channel_wait(L, call, &patience);
    if (err != ETIMEDOUT) return err;
    if (ux_deadline_passed(deadline)) return ETIMEDOUT;
    err = ux_ring_evict(c->out, *length, &evicted);
    if (err != 0 && err != EBUSY) return err;
  }
}

int ux_channel_wait_for_room(lua_State *L, struct ux_channel_call *call,
                             struct ux_deadline *deadline,
                             const size_t *length) {
  const struct ux_channel *c = call->channel;
  bool can_evict = c->segment.options.kind == UX_SEGMENT_BROADCAST &&
                   c->segment.options.policy == UX_SEGMENT_EVICT &&
                   deadline->left > c->evict_after;
  return can_evict ? wait_evicting(L, call, deadline, length)
                   : ux_channel_wait(L, call, deadline);
}

/* The first try found no room. */
static int put_slowly(lua_State *L, struct sending *s, int timeout_arg) {
  ux_channel_settle(L, &s->bytes);
  struct ux_deadline deadline = ux_check_deadline(L, timeout_arg);
  return ux_channel_wait_for_room(L, &s->call, &deadline, &s->bytes.length);
}

static int put(lua_State *L, struct sending *s, int timeout_arg) {
  struct ux_channel *c = s->call.channel;
  int err = ux_channel_begin(c);
  if (err != 0) return err;
  err = attempt_put(&s->call);
  if (err != EAGAIN && !ux_channel_is_moment(&s->call, err)) return err;
  if (err == EAGAIN && c->overflow == UX_CHANNEL_FAIL) return EAGAIN;
  return put_slowly(L, s, timeout_arg);
}

static int send_value(lua_State *L, struct ux_channel *c, int arg) {
  luaL_checkany(L, arg);
  if (c->out == NULL) return ux_channel_fail(L, c, ENOTSUP, "send");
  if (lua_gettop(L) > arg) ux_check_deadline(L, arg + 1);
  lua_settop(L, arg + 1);
  struct sending s = {
    .call = {c, c->out, UX_RING_PUT, attempt_put},
    .bytes = ux_channel_encode(L, c, arg, c->out),
  };
  int err = put(L, &s, arg + 1);
  if (err != 0)
    return ux_channel_fail_message(L, c, err, "send", s.bytes.length, c->out);
  lua_pushboolean(L, 1);
  return 1;
}

/***
Sends a value: a string as its bytes, all else that `codec` can encode; nil and
false too. When there is no room it does what the channel's `overflow` says.
@function Channel:send
@param value
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EAGAIN (`overflow` is `"fail"`), EPIPE
(closed; the other end is gone), EMSGSIZE (longer than the channel takes), EBUSY
(`single`: there is another sender), EDEADLK (`single` and duplex: a loan of
this channel is open), ENOTSUP (a service), EBADMSG (the segment is damaged)
*/
static int l_send(lua_State *L) {
  return send_value(L, ux_check_channel(L, 1), 2);
}

/* ---- send_many --------------------------------------------------------- */

struct sending_many {
  struct ux_channel_call call;
  struct ux_ring_item items[CHUNK];
  size_t first, count;
  size_t length; /* of the one that there is no room for */
};

static int attempt_put_many(struct ux_channel_call *call) {
  struct sending_many *s = (struct sending_many *)call;
  int err = 0;
  while (err == 0 && s->first < s->count) {
    size_t done;
    err = ux_ring_put_many(
      call->ring, s->items + s->first, s->count - s->first, &done);
    s->first += done;
  }
  if (s->first < s->count) s->length = s->items[s->first].length;
  return err;
}

/* The strings stay on the stack, where nobody takes them away. */
static void load(lua_State *L, struct sending_many *s, lua_Integer from,
                 lua_Integer most) {
  struct ux_channel *c = s->call.channel;
  s->first = s->count = 0;
  while (s->count < CHUNK && from + (lua_Integer)s->count <= most) {
    lua_geti(L, 2, from + (lua_Integer)s->count);
    struct ux_channel_bytes b = ux_channel_encode(L, c, lua_gettop(L), c->out);
    ux_channel_settle(L, &b);
    s->items[s->count++] = (struct ux_ring_item){b.data, b.length, b.mark};
  }
}

/***
Sends the values of a sequence, in their order, with as few steps as can be:
others see many of them at once. When there is no room it waits, or drops if
`overflow` says so.
@function Channel:send_many
@tparam table values
@tparam[opt] number timeout seconds
@treturn[1] integer how many, all of them
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno, as of `send`
@treturn[2] integer how many were sent
*/
static int l_send_many(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 3);
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  lua_Integer most = ux_check_list(L, 2, 2), sent = 0;
  if (c->out == NULL) return ux_channel_fail(L, c, ENOTSUP, "send_many");
  luaL_checkstack(L, 2 * CHUNK + LUA_MINSTACK, NULL);
  int err = 0;
  while (err == 0 && sent < most) {
    struct sending_many s = {
      .call = {c, c->out, UX_RING_PUT, attempt_put_many}};
    load(L, &s, sent + 1, most);
    err = ux_channel_wait_for_room(L, &s.call, &deadline, &s.length);
    sent += (lua_Integer)s.first;
    lua_settop(L, 3);
  }
  int results = err == 0 ? 0 : ux_channel_fail(L, c, err, "send_many");
  lua_pushinteger(L, sent);
  return results + 1;
}

/* ---- receive ----------------------------------------------------------- */

struct receiving {
  struct ux_channel_call call;
  size_t max;
  size_t needed; /* bytes of the buffer, after ERANGE */
};

/* Into the inbox, as ux_ring_get_many does it; it does not count yet. */
static void put_in(struct ux_channel *c, const struct ux_ring_message *m,
                   const void *data) {
  struct ux_ring_packed head = {
    .length = (uint32_t)m->length, .mark = m->mark, .from = m->from};
  memcpy(c->inbox.data, &head, sizeof head);
  if (data != NULL) memcpy(c->inbox.data + sizeof head, data, m->length);
  c->inbox_at = 0;
}

/* Those that lap or evict can't be held. */
static bool is_long(const struct ux_channel *c,
                    const struct ux_ring_message *m) {
  bool can_hold = c->segment.options.kind != UX_SEGMENT_BROADCAST ||
                  c->segment.options.policy == UX_SEGMENT_GATE;
  return can_hold && m->mark == UX_CHANNEL_BYTES && m->length >= LONG;
}

static int hold(struct ux_channel *c) {
  int err = ux_ring_peek(c->in, &c->held);
  c->held_mark = err == 0 ? (lua_Integer)c->held.position + 1 : 0;
  return err;
}

static int attempt_get(struct ux_channel_call *call) {
  struct receiving *g = (struct receiving *)call;
  struct ux_channel *c = call->channel;
  struct ux_ring_message m;
  const size_t head = sizeof(struct ux_ring_packed);
  if (c->inbox.size <= head) {
    g->needed = head + LONG;
    return ERANGE;
  }
  size_t size = c->inbox.size - head;
  if (size > LONG && g->needed <= head + LONG) size = LONG;
  int err = ux_ring_get(call->ring, c->inbox.data + head, size, &m);
  if (err == ERANGE && is_long(c, &m)) return hold(c);
  if (err == ERANGE) g->needed = head + m.length;
  if (err != 0) return err;
  put_in(c, &m, NULL);
  c->inbox_count = 1;
  c->lost += m.lost;
  return 0;
}

/* What was lost before each of those in the inbox. */
static void count_lost(struct ux_channel *c) {
  const char *at = c->inbox.data;
  struct ux_ring_packed head;
  if (c->segment.options.policy != UX_SEGMENT_LAP) return;
  for (size_t i = 0; i < c->inbox_count; i++) {
    ux_ring_packed_next(&at, &head);
    c->lost += head.lost;
  }
}

static int attempt_get_many(struct ux_channel_call *call) {
  struct receiving *g = (struct receiving *)call;
  struct ux_channel *c = call->channel;
  size_t count = 0, needed = 0;
  int err = ux_ring_get_many(
    call->ring, c->inbox.data, c->inbox.size, g->max, &count, &needed);
  if (err == ERANGE) g->needed = needed;
  if (err != 0) return err;
  c->inbox_at = 0;
  c->inbox_count = count;
  count_lost(c);
  return 0;
}

/* ---- long strings ------------------------------------------------------ */

/* Pushes what is held, copied from the ring: true. Or it is another message
   than was expected, since there are other receivers, and is in the inbox. */
static bool push_held(lua_State *L, struct ux_channel *c,
                      const struct ux_ring_message *m) {
  if (is_long(c, m)) {
    lua_pushlstring(L, m->data, m->length);
    return true;
  }
  ux_buffer_reserve(L, &c->inbox, ux_ring_packed_size(m->length));
  put_in(c, m, m->data);
  return false;
}

/* 0 with the string; or nothing is pushed: ECANCELED, try again; an error. What
   is in the inbox counts once it was let go: handlers that receive meanwhile
   put what is held back. */
static int give_held(lua_State *L, struct ux_channel *c) {
  struct ux_ring_message m = c->held;
  bool is_pushed = push_held(L, c, &m);
  ux_channel_check_still(L, c);
  int err = c->held_mark != (lua_Integer)m.position + 1
              ? ECANCELED /* a finalizer took it */
              : ux_channel_let_go(L, c, c->in, &c->held_mark, ux_ring_release);
  if (is_pushed && err != 0) lua_pop(L, 1);
  if (is_pushed) return err;
  if (err != 0) return err;
  c->inbox_count = 1;
  return ECANCELED;
}

/* ---- the inbox --------------------------------------------------------- */

/* Until something is in the inbox, or held. The buffer grows before anything
   is taken. */
static int fill(lua_State *L, struct receiving *g,
                struct ux_deadline *deadline) {
  struct ux_channel *c = g->call.channel;
  if (c->is_giving)
    luaL_error(L, "attempt to receive while a value is decoded");
  while (c->inbox_count == 0) {
    if (c->held_mark != 0)
      ux_channel_let_go(L, c, c->in, &c->held_mark, ux_ring_untake);
    int err = ux_channel_wait(L, &g->call, deadline);
    if (err == 0 || c->inbox_count > 0) return 0; /* by a handler */
    if (err != ERANGE) return err;
    ux_buffer_reserve(L, &c->inbox, g->needed);
  }
  return 0;
}

static void take_out(lua_State *L, struct ux_channel *c, const char *end,
                     size_t count) {
  c->inbox_at = (size_t)(end - c->inbox.data);
  c->inbox_count -= count;
  c->taken += count;
  if (c->inbox_count == 0 && c->inbox.size > INBOX_KEPT)
    ux_buffer_free(L, &c->inbox);
}

struct giving {
  struct ux_channel *channel;
  const char *end; /* of the last that is done */
  size_t max, done;
};

/* Under pcall: classes have functions that raise, and that may call anything.
   Pushes the value, or those up to max in a table. */
static int l_push(lua_State *L) {
  struct giving *g = lua_touserdata(L, 1);
  const char *at = g->end;
  bool is_list = lua_toboolean(L, 2);
  if (is_list) lua_createtable(L, (int)g->max, 1);
  while (g->done < g->max) {
    struct ux_ring_packed head;
    const void *data = ux_ring_packed_next(&at, &head);
    if (!ux_channel_push(L, data, head.length, head.mark)) break;
    g->end = at;
    g->done++;
    if (is_list) lua_rawseti(L, -2, (lua_Integer)g->done);
  }
  return g->done > 0 ? 1 : 0;
}

/* One that is no value is dropped; when memory is short all stay. */
static int drop_first(lua_State *L, struct ux_channel *c, int status) {
  const char *end = c->inbox.data + c->inbox_at;
  struct ux_ring_packed head;
  ux_ring_packed_next(&end, &head);
  if (status != LUA_ERRMEM) take_out(L, c, end, 1);
  if (status != LUA_OK) return lua_error(L);
  return ux_channel_fail(L, c, EILSEQ, "receive");
}

/* Those before one that cannot be given come first. */
static int give(lua_State *L, struct ux_channel *c, size_t max, bool is_list) {
  struct giving g = {.channel = c, .max = max};
  int status = LUA_OK;
  do {
    if (g.done > 0) g.max = g.done, lua_pop(L, 1);
    g.done = 0;
    g.end = c->inbox.data + c->inbox_at;
    lua_pushcfunction(L, l_push);
    lua_pushlightuserdata(L, &g);
    lua_pushboolean(L, is_list);
    status = ux_channel_pcall(L, c, 2, 1);
  } while (status != LUA_OK && status != LUA_ERRMEM && g.done > 0);
  if (status != LUA_OK || g.done == 0) return drop_first(L, c, status);
  take_out(L, c, g.end, g.done);
  if (!is_list) return 1;
  lua_pushinteger(L, (lua_Integer)g.done);
  lua_setfield(L, -2, "n");
  return 1;
}

/* Bytes do without pcall. A finalizer may run when the string is made, and
   take the message itself: false, and nothing is pushed. */
static bool give_bytes(lua_State *L, struct ux_channel *c) {
  const char *end = c->inbox.data + c->inbox_at;
  struct ux_ring_packed head;
  const char *data = ux_ring_packed_next(&end, &head);
  uint64_t taken = c->taken;
  lua_pushlstring(L, data, head.length);
  if (c->taken != taken) {
    lua_pop(L, 1);
    return false;
  }
  take_out(L, c, end, 1);
  return true;
}

static unsigned first_mark(const struct ux_channel *c) {
  struct ux_ring_packed head;
  memcpy(&head, c->inbox.data + c->inbox_at, sizeof head);
  return head.mark;
}

static int receive_value(lua_State *L, struct ux_channel *c, int timeout_arg) {
  if (c->in == NULL) return ux_channel_fail(L, c, ENOTSUP, "receive");
  struct ux_deadline deadline = {UX_FOREVER, 0};
  if (lua_gettop(L) >= timeout_arg)
    deadline = ux_check_deadline(L, timeout_arg);
  struct receiving g = {.call = {c, c->in, UX_RING_GET, attempt_get}};
  for (;;) {
    int err = fill(L, &g, &deadline);
    if (err == 0 && c->inbox_count == 0) {
      err = give_held(L, c);
      if (err == 0) return 1;
      if (err == ECANCELED) continue;
    }
    if (err != 0) return ux_channel_fail(L, c, err, "receive");
    if (first_mark(c) == UX_CHANNEL_VALUE) return give(L, c, 1, false);
    if (give_bytes(L, c)) return 1;
  }
}

/***
Receives a value. nil, false and the empty string are values: only when the
second result is not nil there was none.
@function Channel:receive
@tparam[opt] number timeout seconds
@treturn[1] any what was sent
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EPIPE (closed, or the other end is gone,
and nothing is left), ENOTCONN (a broadcast: not subscribed, or thrown out),
EBUSY (`single`: there is another receiver), EDEADLK (`single` and duplex: what
this channel has peeked at is not released), EILSEQ (what came is no value, and
is dropped), ENOTSUP, EBADMSG (the segment is damaged)
*/
static int l_receive(lua_State *L) {
  return receive_value(L, ux_check_channel(L, 1), 2);
}

/***
Receives all that is there, up to a number: waits for the first only. Values
that are nil leave holes, `n` says how many there are.
@function Channel:receive_many
@tparam[opt=64] integer max
@tparam[opt] number timeout seconds
@treturn[1] table values, with `n`
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno, as of `receive`
*/
static int l_receive_many(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  lua_Integer max = luaL_optinteger(L, 2, CHUNK);
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  luaL_argcheck(L, max > 0 && max <= INT_MAX, 2, "a count > 0 expected");
  if (c->in == NULL) return ux_channel_fail(L, c, ENOTSUP, "receive_many");
  struct receiving g = {
    .call = {c, c->in, UX_RING_GET, attempt_get_many},
    .max = (size_t)max,
  };
  int err = fill(L, &g, &deadline);
  if (err != 0) return ux_channel_fail(L, c, err, "receive_many");
  size_t count = c->inbox_count < g.max ? c->inbox_count : g.max;
  return give(L, c, count, true);
}

/* ---- bound functions --------------------------------------------------- */

static struct ux_channel *bound(lua_State *L) {
  struct ux_channel *c = lua_touserdata(L, lua_upvalueindex(1));
  ux_interrupt_enter(L);
  if (!c->head.open) ux_closed_error(L, &ux_channel_class);
  return c;
}

static int l_bound_send(lua_State *L) {
  return send_value(L, bound(L), 1);
}

/* Of a for loop, which calls it with two arguments, no error may look like the
   end. */
static int l_bound_receive(lua_State *L) {
  bool is_loop = lua_gettop(L) == 2 && lua_isnil(L, 1);
  int n = receive_value(L, bound(L), 1);
  if (!is_loop || n == 1 || lua_tointeger(L, -1) == EPIPE) return n;
  lua_pop(L, 1);
  return lua_error(L);
}

static int bind(lua_State *L, lua_CFunction fn) {
  ux_check_channel(L, 1);
  lua_settop(L, 1);
  lua_pushcclosure(L, fn, 1);
  return 1;
}

/***
A function that sends: `send(value, timeout)`, faster than the method.
@function Channel:sender
@treturn function
*/
static int l_sender(lua_State *L) {
  return bind(L, l_bound_send);
}

/***
A function that receives: `receive(timeout)`, faster than the method. A loop
`for value in ch:receiver()` ends at a nil that was sent, and when the channel
is shut down or the other end gone; any other error is raised.
@function Channel:receiver
@treturn function
*/
static int l_receiver(lua_State *L) {
  return bind(L, l_bound_receive);
}

const luaL_Reg ux_channel_message_methods[] = {
  {"send", l_send},
  {"receive", l_receive},
  {"send_many", l_send_many},
  {"receive_many", l_receive_many},
  {"sender", l_sender},
  {"receiver", l_receiver},
  {NULL, NULL},
};
