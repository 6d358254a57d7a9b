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
  ux_channel_settle(L, &a->bytes);
  err = ux_channel_wait(L, &a->call, deadline);
  lua_pop(L, 1);
  return err;
}

/* ---- one message in ---------------------------------------------------- */

struct taking {
  struct ux_channel_call call;
  size_t needed;           /* bytes of the inbox, after ERANGE */
  struct request *request; /* of a server */
  uint64_t stored;         /* replies that others took for us: look again */
};

/* One that is still there is for somebody, too. */
static int attempt_collect(struct ux_channel_call *call) {
  struct taking *t = (struct taking *)call;
  struct ux_channel *c = call->channel;
  struct ux_channel_reply *r = &c->reply;
  if (c->stored != t->stored) return ESTALE;
  if (r->is_there) return 0;
  r->message.length = 0;
  int err = ux_service_collect(
    call->ring, c->inbox.data, c->inbox.size, &r->message, &r->id);
  t->needed = r->message.length;
  r->has_failed = err == ECANCELED;
  r->is_there = err == 0 || r->has_failed;
  return r->is_there ? 0 : err;
}

static int attempt_take(struct ux_channel_call *call) {
  struct taking *t = (struct taking *)call;
  struct ux_channel *c = call->channel;
  struct ux_service_request *q = &t->request->request;
  int err = ux_service_take(call->ring, c->inbox.data, c->inbox.size, q);
  t->needed = q->message.length;
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
    ux_buffer_reserve(L, &c->inbox, t->needed);
  }
}

/* Under pcall, with the message. */
static int l_decode(lua_State *L) {
  const struct ux_ring_message *m = lua_touserdata(L, 1);
  bool is_value = ux_channel_push(L, m->data, m->length, m->mark);
  return is_value ? 1 : 0;
}

/* Pushes the value, or nothing if it is none; or an error and its status. */
static int decode(lua_State *L, struct ux_channel *c,
                  const struct ux_ring_message *m) {
  lua_pushcfunction(L, l_decode);
  lua_pushlightuserdata(L, (void *)(uintptr_t)m);
  return ux_channel_pcall(L, c, 1, LUA_MULTRET);
}

/* ---- clients ----------------------------------------------------------- */

/* Pushes the table of replies by id: for each call that waits a table of its
   own, which `store` fills. It is weak: of calls that ended by an error nothing
   is left. */
static void push_replies(lua_State *L) {
  if (lua_getiuservalue(L, 1, UX_CHANNEL_REPLIES) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, UX_CHANNEL_REPLIES);
}

static void set_reply(lua_State *L, int replies, uint64_t id) {
  lua_rawseti(L, replies, (lua_Integer)id);
}

/* Pushes the results of a call, and returns how many. */
static int push_results(lua_State *L, struct ux_channel *c,
                        const struct ux_channel_reply *r) {
  int top = lua_gettop(L);
  if (r->has_failed) return ux_channel_fail(L, c, ECANCELED, "call");
  if (r->message.mark == REFUSAL) {
    lua_pushnil(L);
    lua_pushlstring(L, r->message.data, r->message.length);
    lua_pushinteger(L, EREMOTEIO);
    return 3;
  }
  if (decode(L, c, &r->message) != LUA_OK) return lua_error(L);
  return lua_gettop(L) > top ? 1 : ux_channel_fail(L, c, EILSEQ, "call");
}

/* Finalizers may run in between, and see to it themselves. */
static bool is_there(const struct ux_channel *c, uint64_t id) {
  return c->reply.is_there && c->reply.id == id;
}

/* What is kept of a reply, in the table of its call. */
enum { STORED_BYTES = 1, STORED_MARK, STORED_FAILURE };

/* The reply that is there is for another call of this channel, of a handler or
   a coroutine; one for which nobody waits any more is dropped. It is there
   until it is stored. */
static void store(lua_State *L, struct ux_channel *c, int replies) {
  const struct ux_channel_reply *r = &c->reply;
  uint64_t id = r->id;
  if (lua_rawgeti(L, replies, (lua_Integer)id) == LUA_TTABLE) {
    size_t length = r->has_failed ? 0 : r->message.length;
    int call = lua_gettop(L);
    lua_pushlstring(L, r->message.data, length);
    if (is_there(c, id)) {
      lua_pushboolean(L, r->has_failed);
      lua_rawseti(L, call, STORED_FAILURE);
      lua_pushinteger(L, r->message.mark);
      lua_rawseti(L, call, STORED_MARK);
      lua_rawseti(L, call, STORED_BYTES);
      c->stored++;
    }
    lua_settop(L, call);
  }
  if (is_there(c, id)) c->reply.is_there = false;
  lua_pop(L, 1);
}

/* Pushes the results that others stored, if they did. */
static int take_stored(lua_State *L, struct ux_channel *c, int call) {
  struct ux_channel_reply r = {.is_there = true};
  if (lua_rawgeti(L, call, STORED_BYTES) == LUA_TNIL) {
    lua_pop(L, 1);
    return 0;
  }
  r.message.data = lua_tolstring(L, -1, &r.message.length);
  lua_rawgeti(L, call, STORED_FAILURE);
  r.has_failed = lua_toboolean(L, -1);
  lua_rawgeti(L, call, STORED_MARK);
  r.message.mark = (unsigned)lua_tointeger(L, -1);
  return push_results(L, c, &r);
}

/* Pushes the results of the call, once they are here. Its table is above that
   of all. */
static int await_reply(lua_State *L, struct ux_channel *c, uint64_t id,
                       int replies, struct ux_deadline *deadline) {
  struct taking t = {
    .call = {c, &c->rings[1], UX_RING_GET, attempt_collect},
  };
  for (;;) {
    t.stored = c->stored;
    int n = take_stored(L, c, replies + 1);
    if (n > 0) return n;
    int err = take_bytes(L, &t, deadline);
    if (err == ESTALE) continue;
    if (err != 0) return ux_channel_fail(L, c, err, "call");
    if (c->reply.id == id) {
      struct ux_channel_reply r = c->reply;
      c->reply.is_there = false;
      return push_results(L, c, &r);
    }
    store(L, c, replies);
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
  if (!is_service(c)) return ux_channel_fail(L, c, ENOTSUP, "call");
  lua_settop(L, 3);
  uint64_t id = ++c->last_id;
  push_replies(L);
  int replies = lua_gettop(L);
  lua_createtable(L, STORED_FAILURE, 0);
  lua_pushvalue(L, -1);
  set_reply(L, replies, id);
  struct asking a = {
    .call = {c, &c->rings[0], UX_RING_PUT, attempt_ask},
    .bytes = ux_channel_encode(L, c, 2, &c->rings[0]),
    .id = id,
  };
  int err = send_bytes(L, &a, &deadline);
  int n = err == 0 ? await_reply(L, c, id, replies, &deadline)
                   : ux_channel_fail_message(
                       L, c, err, "call", a.bytes.length, &c->rings[0]);
  forget(L, replies, id);
  return n;
}

/* ---- servers ----------------------------------------------------------- */

static const struct ux_class request_class;

static struct request *check_request(lua_State *L) {
  struct request *r = ux_check_open(L, 1, &request_class);
  ux_channel_check_still(L, r->channel);
  luaL_argcheck(
    L, ux_is_owner(&r->head), 1, "a request that the parent process accepted");
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
  if (err != 0)
    return ux_channel_fail_message(
      L, c, err, "reply", a.bytes.length, &c->rings[1]);
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

static void give_back(struct request *r) {
  r->head.open = false;
  ux_channel_untake(&r->channel->rings[0], r->request.message.position);
}

/***
Gives the request back, if there was no reply: the next server gets it. Also
what `<close>` and the collector do.
@function Request:close
@treturn boolean true
*/
static int l_request_close(lua_State *L) {
  struct request *r = ux_check(L, 1, &request_class);
  if (r->head.open && r->channel->head.open && ux_is_owner(&r->head))
    give_back(r);
  r->head.open = false;
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
static void refuse_nonsense(lua_State *L, struct request *r) {
  struct ux_channel *c = r->channel;
  static const char words[] = "the request is no value";
  struct asking a = {
    .call = {c, &r->replies, UX_RING_PUT, attempt_reply},
    .bytes = {.data = words, .length = sizeof words - 1, .mark = REFUSAL},
    .request = r,
  };
  struct ux_deadline deadline = ux_deadline_in(1);
  r->head.open = false;
  if (ux_channel_wait(L, &a.call, &deadline) != ETIMEDOUT) return;
  lua_Integer mark = (lua_Integer)r->request.message.position + 1;
  ux_channel_let_go(L, c, &c->rings[0], &mark, ux_ring_release);
}

/* Pushes the value: of the request at the top. When memory is short the request
   goes back. */
static int push_request_value(lua_State *L, struct request *r) {
  struct ux_ring_message m = r->request.message;
  int top = lua_gettop(L), status = decode(L, r->channel, &m);
  if (status == LUA_OK && lua_gettop(L) > top) return 2;
  if (status == LUA_ERRMEM)
    give_back(r);
  else
    refuse_nonsense(L, r);
  if (status != LUA_OK) return lua_error(L);
  return ux_channel_fail(L, r->channel, EILSEQ, "accept");
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
  if (!is_service(c)) return ux_channel_fail(L, c, ENOTSUP, "accept");
  struct request *r = push_request(L, c);
  struct taking t = {
    .call = {c, &c->rings[0], UX_RING_GET, attempt_take},
    .request = r,
  };
  if (c->reply.is_there) {
    push_replies(L);
    store(L, c, lua_gettop(L));
    lua_pop(L, 1);
  }
  int err = take_bytes(L, &t, &deadline);
  if (err != 0) return ux_channel_fail(L, c, err, "accept");
  r->head.open = true;
  return push_request_value(L, r);
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
