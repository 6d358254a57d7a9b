/***
@module unixipc.channel
*/
/* Loans: messages that are written and read where they stand in the memory,
   without a copy. A loan is a Region; its position in the ring, plus 1, is the
   region's `detail`. */
#include "channel_object.h"

#include "base/error.h"
#include "region.h"

#include <errno.h>

/* Compared by address: a part of a loan is none. */
static const char reserved[] = "channel loan", peeked[] = "channel message";

/* Pushes the region of the whole segment, closed with the channel. */
static void push_root(lua_State *L, struct ux_channel *c) {
  if (lua_getiuservalue(L, 1, UX_CHANNEL_REGION) == LUA_TUSERDATA) return;
  lua_pop(L, 1);
  struct ux_region *r = ux_region_new(L, "channel", NULL);
  ux_region_set(r, c->segment.at, c->segment.size, false);
  r->detail = (lua_Integer)(intptr_t)c; /* as long as it is open */
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, UX_CHANNEL_REGION);
}

static uint64_t position_of(const struct ux_region *r) {
  return (uint64_t)(r->detail - 1);
}

static struct ux_ring_loan loan_of(const struct ux_region *r) {
  return (struct ux_ring_loan){
    .data = r->base, .length = r->length, .position = position_of(r)};
}

/* Of a view that is closed or collected: nobody else could end the loan, and
   what comes after it would wait. */
static int abandon(struct ux_region *r) {
  if (!r->root->head.open || !ux_is_owner(&r->head)) return 0;
  struct ux_channel *c = (struct ux_channel *)(intptr_t)r->root->detail;
  if (r->kind == peeked) {
    ux_channel_untake(c->in, position_of(r));
  } else {
    struct ux_ring_loan loan = loan_of(r);
    ux_ring_abort(c->out, &loan);
  }
  return 0;
}

/* Made before there is a loan that could be lost. */
static struct ux_region *push_view(lua_State *L, struct ux_channel *c,
                                   const char *kind) {
  push_root(L, c);
  struct ux_region *r = ux_region_new_part(L, lua_gettop(L), 0, 0);
  r->kind = kind;
  r->release = abandon;
  r->head.open = false;
  return r;
}

static void open_view(struct ux_region *r, const void *data, size_t length,
                      uint64_t position) {
  r->detail = (lua_Integer)position + 1;
  ux_region_set(r, (void *)(uintptr_t)data, length, r->kind == peeked);
}

static struct ux_region *check_view(lua_State *L, const char *kind) {
  struct ux_region *r = ux_check_region(L, 2);
  lua_getiuservalue(L, 1, UX_CHANNEL_REGION);
  bool is_ours = lua_touserdata(L, -1) == r->root;
  lua_pop(L, 1);
  luaL_argcheck(L,
                is_ours && r->kind == kind && r->detail != 0,
                2,
                "no loan of this channel");
  luaL_argcheck(L, ux_is_owner(&r->head), 2, "a loan of the parent process");
  return r;
}

static int result(lua_State *L, const struct ux_channel *c, int err,
                  const char *call) {
  if (err != 0) return ux_channel_fail(L, c, err, call);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- to send ----------------------------------------------------------- */

struct reserving {
  struct ux_channel_call call;
  size_t length;
  struct ux_ring_loan loan;
};

static int attempt_reserve(struct ux_channel_call *call) {
  struct reserving *s = (struct reserving *)call;
  return ux_ring_reserve(call->ring, s->length, &s->loan);
}

/***
A place in the channel's memory, to write a message of bytes into. Those sent
after it wait until it is committed or aborted; if this process dies, or the
region is closed or collected, it is aborted.
@function Channel:reserve
@tparam integer length in bytes
@tparam[opt] number timeout seconds
@treturn[1] Region the loan
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno, as of `send`
*/
static int l_reserve(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  lua_Integer length = luaL_checkinteger(L, 2);
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  luaL_argcheck(L, length >= 0, 2, "length must be >= 0");
  if (c->out == NULL) return ux_channel_fail(L, c, ENOTSUP, "reserve");
  struct ux_region *r = push_view(L, c, reserved);
  struct reserving s = {
    .call = {c, c->out, UX_RING_PUT, attempt_reserve},
    .length = (size_t)length,
  };
  int err = ux_channel_wait_for_room(L, &s.call, &deadline, &s.length);
  if (err != 0)
    return ux_channel_fail_message(L, c, err, "reserve", s.length, c->out);
  open_view(r, s.loan.data, s.loan.length, s.loan.position);
  return 1;
}

/***
Sends what was written into a loan, and closes it.
@function Channel:commit
@tparam Region loan
@tparam[opt] integer length if the message is shorter than the loan, in bytes
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPIPE, EBADMSG
*/
static int l_commit(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  struct ux_region *r = check_view(L, reserved);
  lua_Integer length = luaL_optinteger(L, 3, (lua_Integer)r->length);
  luaL_argcheck(L,
                length >= 0 && (size_t)length <= r->length,
                3,
                "more than was reserved");
  struct ux_ring_loan loan = loan_of(r);
  r->head.open = false;
  int err = ux_ring_commit(c->out, &loan, (size_t)length, UX_CHANNEL_BYTES);
  return result(L, c, err, "commit");
}

/***
Gives a loan back: nothing is sent.
@function Channel:abort
@tparam Region loan
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADMSG
*/
static int l_abort(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  struct ux_region *r = check_view(L, reserved);
  struct ux_ring_loan loan = loan_of(r);
  r->head.open = false;
  return result(L, c, ux_ring_abort(c->out, &loan), "abort");
}

/* ---- to receive -------------------------------------------------------- */

struct peeking {
  struct ux_channel_call call;
  struct ux_ring_message message;
};

static int attempt_peek(struct ux_channel_call *call) {
  struct peeking *g = (struct peeking *)call;
  return ux_ring_peek(call->ring, &g->message);
}

/***
The next message where it stands, to be read only: a string's bytes, of other
values those of `codec.encode`. No other receiver gets it; if this process dies
before the release, or the region is closed or collected, the next one does.
The sender could still write to it: do not check it first and use it then,
without a copy.
@function Channel:peek
@tparam[opt] number timeout seconds
@treturn[1] Region
@treturn[1] string `"bytes"` of a string, `"value"` of what `codec.decode` gives
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno, as of `receive`; ENOTSUP (a broadcast that drops or
evicts)
*/
static int l_peek(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  if (c->in == NULL) return ux_channel_fail(L, c, ENOTSUP, "peek");
  struct ux_region *r = push_view(L, c, peeked);
  int view = lua_gettop(L);
  lua_pushliteral(L, "bytes"); /* before anything is taken */
  lua_pushliteral(L, "value");
  struct peeking g = {.call = {c, c->in, UX_RING_GET, attempt_peek}};
  int err = ux_channel_wait(L, &g.call, &deadline);
  if (err != 0) return ux_channel_fail(L, c, err, "peek");
  c->lost += g.message.lost;
  open_view(r, g.message.data, g.message.length, g.message.position);
  if (g.message.mark != UX_CHANNEL_VALUE) lua_pop(L, 1);
  lua_pushvalue(L, view);
  lua_insert(L, -2);
  return 2;
}

/***
The message was received: its place may be used again. Closes the view.
@function Channel:release
@tparam Region message
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADMSG
*/
static int l_release(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  struct ux_region *r = check_view(L, peeked);
  int err = ux_channel_let_go(L, c, c->in, &r->detail, ux_ring_release);
  r->head.open = false;
  return result(L, c, err == ECANCELED ? EBADMSG : err, "release");
}

/***
The message was not received after all: the next receiver gets it. Closes the
view.
@function Channel:give_back
@tparam Region message
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADMSG, ENOTSUP (only queues)
*/
static int l_give_back(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  struct ux_region *r = check_view(L, peeked);
  if (c->segment.options.kind != UX_SEGMENT_QUEUE)
    return ux_channel_fail(L, c, ENOTSUP, "give_back");
  int err = ux_channel_let_go(L, c, c->in, &r->detail, ux_ring_untake);
  r->head.open = false;
  return result(L, c, err == ECANCELED ? EBADMSG : err, "give_back");
}

const luaL_Reg ux_channel_loan_methods[] = {
  {"reserve", l_reserve},
  {"commit", l_commit},
  {"abort", l_abort},
  {"peek", l_peek},
  {"release", l_release},
  {"give_back", l_give_back},
  {NULL, NULL},
};
