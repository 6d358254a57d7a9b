/***
@module unixipc.channel
*/
/* Services: requests, and the replies to those who asked. */
#include "channel_object.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

/* What the bytes of a reply are, besides those of any message. */
enum { REFUSAL = 2 };

struct request {
  struct ux_object head;
  struct ux_channel *channel; /* kept alive by the user value */
  struct ux_service_request request;
  struct ux_ring replies;
};

static struct ux_channel *check_service(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  if (c->is_giving) luaL_error(L, "attempt to call while a value is decoded");
  return c;
}

static bool is_service(const struct ux_channel *c) {
  return c->segment.options.kind == UX_SEGMENT_SERVICE;
}

/* ---- one message out --------------------------------------------------- */

struct asking {
  struct ux_channel_call call;
  struct ux_channel_bytes bytes;
  uint64_t id;
  struct request *request; /* of a reply */
};

static struct iovec piece_of(const struct asking *a) {
  return (struct iovec){(void *)(uintptr_t)a->bytes.data, a->bytes.length};
}

static int attempt_ask(struct ux_channel_call *call) {
  const struct asking *a = (const struct asking *)call;
  struct iovec iov = piece_of(a);
  return ux_service_ask(call->ring, &iov, 1, a->bytes.mark, a->id);
}

/* The first try is made while the bytes are where they were encoded. */
static int send_bytes(lua_State *L, struct asking *a,
                      struct ux_deadline *deadline) {
  int err = a->call.attempt(&a->call);
  if (err != EAGAIN && err != EBUSY) return err;
  ux_channel_settle(L, a->call.channel, &a->bytes);
  err = ux_channel_wait(L, &a->call, deadline);
  lua_pop(L, 1);
  return err;
}

/* ---- one message in ---------------------------------------------------- */

struct taking {
  struct ux_channel_call call;
  struct ux_ring_message message;
  uint64_t id;
  struct request *request; /* of a server */
  uint64_t stored;         /* replies that others took for us: look again */
  bool has_failed;
};

static int attempt_collect(struct ux_channel_call *call) {
  struct taking *t = (struct taking *)call;
  struct ux_channel *c = call->channel;
  if (c->stored != t->stored) return ESTALE;
  t->message.length = 0;
  int err = ux_service_collect(
    call->ring, c->inbox.data, c->inbox.size, &t->message, &t->id);
  t->has_failed = err == ECANCELED;
  return t->has_failed ? 0 : err;
}

static int attempt_take(struct ux_channel_call *call) {
  struct taking *t = (struct taking *)call;
  struct ux_channel *c = call->channel;
  struct request *r = t->request;
  int err =
    ux_service_take(call->ring, c->inbox.data, c->inbox.size, &r->request);
  t->message = r->request.message;
  return err;
}

/* The bytes are in the inbox then, until anything is called that may call
   something of this channel. */
static int take_bytes(lua_State *L, struct taking *t,
                      struct ux_deadline *deadline) {
  struct ux_channel *c = t->call.channel;
  if (c->inbox.size == 0) ux_buffer_reserve(L, &c->inbox, UX_SERVICE_HEAD);
  for (;;) {
    int err = ux_channel_wait(L, &t->call, deadline);
    if (err != ERANGE) return err;
    ux_buffer_reserve(L, &c->inbox, t->message.length);
  }
}

/* Under pcall, with the message. */
static int l_decode(lua_State *L) {
  const struct ux_ring_message *m = lua_touserdata(L, 1);
  bool is_value = ux_channel_push(L, m->data, m->length, m->mark);
  return is_value ? 1 : 0;
}

/* Pushes the value: 1; or 0, nothing. */
static int push_value(lua_State *L, struct ux_channel *c,
                      const struct ux_ring_message *m) {
  int top = lua_gettop(L);
  lua_pushcfunction(L, l_decode);
  lua_pushlightuserdata(L, (void *)(uintptr_t)m);
  c->is_giving = true;
  int status = lua_pcall(L, 1, LUA_MULTRET, 0);
  c->is_giving = false;
  if (status != LUA_OK) lua_error(L);
  return lua_gettop(L) - top;
}

/* ---- clients ----------------------------------------------------------- */

/* Pushes the table of replies by id: false for those that are waited for; a
   table of one's results once it is here. */
static void push_replies(lua_State *L) {
  if (lua_getiuservalue(L, 1, UX_CHANNEL_REPLIES) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, UX_CHANNEL_REPLIES);
}

static void set_reply(lua_State *L, int replies, uint64_t id) {
  lua_rawseti(L, replies, (lua_Integer)id);
}

/* Pushes the results of a call, and returns how many. */
static int push_results(lua_State *L, const struct taking *t) {
  if (t->has_failed) return ux_channel_fail(L, ECANCELED, "call");
  if (t->message.mark == REFUSAL) {
    lua_pushnil(L);
    lua_pushlstring(L, t->message.data, t->message.length);
    lua_pushinteger(L, EREMOTEIO);
    return 3;
  }
  if (push_value(L, t->call.channel, &t->message)) return 1;
  return ux_channel_fail(L, EILSEQ, "call");
}

/* For another call of this channel, of a handler or a coroutine; one for
   which nobody waits any more is dropped. */
static void store(lua_State *L, const struct taking *t, int replies) {
  bool is_waited_for =
    lua_rawgeti(L, replies, (lua_Integer)t->id) == LUA_TBOOLEAN;
  lua_pop(L, 1);
  if (!is_waited_for) return;
  lua_createtable(L, 3, 1);
  int list = lua_gettop(L), n = push_results(L, t);
  for (int i = n; i > 0; i--) lua_rawseti(L, list, i);
  lua_pushinteger(L, n);
  lua_setfield(L, list, "n");
  set_reply(L, replies, t->id);
  t->call.channel->stored++;
}

/* Pushes the results that others stored, if they did. */
static int take_stored(lua_State *L, int replies, uint64_t id) {
  if (lua_rawgeti(L, replies, (lua_Integer)id) != LUA_TTABLE) {
    lua_pop(L, 1);
    return 0;
  }
  int list = lua_gettop(L);
  lua_getfield(L, list, "n");
  int n = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  for (int i = 1; i <= n; i++) lua_rawgeti(L, list, i);
  return n;
}

/* Pushes the results of the call, once they are here. */
static int await_reply(lua_State *L, struct ux_channel *c, uint64_t id,
                       int replies, struct ux_deadline *deadline) {
  struct taking t = {
    .call = {c, &c->rings[1], UX_RING_GET, attempt_collect},
  };
  for (;;) {
    t.stored = c->stored;
    int n = take_stored(L, replies, id);
    if (n > 0) return n;
    int err = take_bytes(L, &t, deadline);
    if (err == ESTALE) continue;
    if (err != 0) return ux_channel_fail(L, err, "call");
    if (t.id == id) return push_results(L, &t);
    store(L, &t, replies);
  }
}

static void forget(lua_State *L, int replies, uint64_t id) {
  lua_pushnil(L);
  set_reply(L, replies, id);
}

/***
Sends a request to whichever server is free, and waits for its reply.
@function Channel:call
@param value the request, as for `send`
@tparam[opt] number timeout seconds, for all of it; the reply of one that has
timed out is dropped
@treturn[1] any what the server replied
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, ECANCELED (the server died with it; not
if the service has `retry`), EREMOTEIO (the server refused it, and the message
is the server's), EPIPE, EMSGSIZE, EILSEQ, ENOTSUP
*/
static int l_call(lua_State *L) {
  struct ux_channel *c = check_service(L);
  luaL_checkany(L, 2);
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  if (!is_service(c)) return ux_channel_fail(L, ENOTSUP, "call");
  lua_settop(L, 3);
  uint64_t id = ++c->last_id;
  push_replies(L);
  int replies = lua_gettop(L);
  lua_pushboolean(L, 0);
  set_reply(L, replies, id);
  struct asking a = {
    .call = {c, &c->rings[0], UX_RING_PUT, attempt_ask},
    .bytes = ux_channel_encode(L, c, 2, &c->rings[0]),
    .id = id,
  };
  int err = send_bytes(L, &a, &deadline);
  int n = err == 0 ? await_reply(L, c, id, replies, &deadline)
                   : ux_channel_fail(L, err, "call");
  forget(L, replies, id);
  return n;
}

/* ---- servers ----------------------------------------------------------- */

static const struct ux_class request_class;

static struct request *check_request(lua_State *L) {
  struct request *r = ux_check_open(L, 1, &request_class);
  if (!r->channel->head.open) ux_closed_error(L, &ux_channel_class);
  return r;
}

static int attempt_reply(struct ux_channel_call *call) {
  const struct asking *a = (const struct asking *)call;
  struct request *r = a->request;
  struct iovec iov = piece_of(a);
  return ux_service_reply(&call->channel->rings[0],
                          &r->replies,
                          &r->request,
                          &iov,
                          1,
                          a->bytes.mark);
}

static int reply(lua_State *L, struct request *r, unsigned mark) {
  struct ux_channel *c = r->channel;
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  lua_settop(L, 3);
  struct asking a = {
    .call = {c, &r->replies, UX_RING_PUT, attempt_reply},
    .bytes = ux_channel_encode(L, c, 2, &c->rings[1]),
    .request = r,
  };
  if (mark == REFUSAL) a.bytes.mark = REFUSAL;
  if (!r->head.open) ux_closed_error(L, &request_class);
  int err = send_bytes(L, &a, &deadline);
  if (err == 0 || err == ECONNRESET) r->head.open = false;
  if (err != 0) return ux_channel_fail(L, err, "reply");
  lua_pushboolean(L, 1);
  return 1;
}

/***
Sends the reply, and ends the request.
@function Request:reply
@param value as for `send`
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ECONNRESET (the client has gone, as far as that was
seen; the request has ended), ETIMEDOUT (the client does not take its replies),
EMSGSIZE, EPIPE
*/
static int l_reply(lua_State *L) {
  struct request *r = check_request(L);
  luaL_checkany(L, 2);
  return reply(L, r, UX_CHANNEL_BYTES);
}

/***
Refuses the request: the client's call returns nil, this message, EREMOTEIO.
@function Request:refuse
@tparam string message
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno, as of `reply`
*/
static int l_refuse(lua_State *L) {
  struct request *r = check_request(L);
  luaL_checkstring(L, 2);
  return reply(L, r, REFUSAL);
}

/***
Gives the request back, if there was no reply: the next server gets it. Also
what `<close>` and the collector do.
@function Request:close
@treturn boolean true
*/
static int l_request_close(lua_State *L) {
  struct request *r = ux_check(L, 1, &request_class);
  bool is_ours = r->head.open && ux_is_owner(&r->head);
  r->head.open = false;
  if (is_ours && r->channel->head.open)
    ux_ring_untake(&r->channel->rings[0], r->request.message.position);
  lua_pushboolean(L, 1);
  return 1;
}

static void describe_request(lua_State *L, const void *self) {
  const struct request *r = self;
  lua_pushfstring(
    L, "channel request %I", (LUAI_UACINT)(lua_Integer)r->request.id);
}

static const luaL_Reg request_methods[] = {
  {"reply", l_reply},
  {"refuse", l_refuse},
  {NULL, NULL},
};

static const struct ux_class request_class = {
  .name = "channel request",
  .size = sizeof(struct request),
  .uservalues = 1,
  .methods = request_methods,
  .close = l_request_close,
  .describe = describe_request,
};

static struct request *push_request(lua_State *L, struct ux_channel *c) {
  struct request *r = ux_new(L, &request_class);
  r->channel = c;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return r;
}

/* What came is no value: the client is told, and waits no longer. */
static int refuse_nonsense(lua_State *L, struct request *r) {
  struct ux_channel *c = r->channel;
  static const char words[] = "the request is no value";
  struct asking a = {
    .call = {c, &r->replies, UX_RING_PUT, attempt_reply},
    .bytes = {.data = words, .length = sizeof words - 1, .mark = REFUSAL},
    .request = r,
  };
  struct ux_deadline deadline = ux_deadline_in(1);
  r->head.open = false;
  if (ux_channel_wait(L, &a.call, &deadline) == ETIMEDOUT)
    ux_ring_release(&c->rings[0], r->request.message.position);
  return ux_channel_fail(L, EILSEQ, "accept");
}

/***
Takes the next request. If this process dies before the reply it goes to the
next server, or fails, as the service was made.
@function Channel:accept
@tparam[opt] number timeout seconds
@treturn[1] Request to `reply` to
@treturn[1] any its value
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EPIPE, EILSEQ (what came is no value, and
was refused), ENOTSUP
*/
static int l_accept(lua_State *L) {
  struct ux_channel *c = check_service(L);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  if (!is_service(c)) return ux_channel_fail(L, ENOTSUP, "accept");
  struct request *r = push_request(L, c);
  struct taking t = {
    .call = {c, &c->rings[0], UX_RING_GET, attempt_take},
    .request = r,
  };
  int err = take_bytes(L, &t, &deadline);
  if (err != 0) return ux_channel_fail(L, err, "accept");
  r->head.open = true;
  return push_value(L, c, &t.message) ? 2 : refuse_nonsense(L, r);
}

const luaL_Reg ux_channel_service_methods[] = {
  {"call", l_call},
  {"accept", l_accept},
  {NULL, NULL},
};

void ux_channel_service_open(lua_State *L) {
  ux_class_open(L, &request_class);
  lua_pop(L, 1);
}
