/***
Channels: messages through shared memory, without a system call while both
sides are busy, and safe against the death of anybody at any moment.

 - `queue`: many senders, many receivers, each message to one of them.
 - `broadcast`: every subscriber gets every message.
 - `duplex`: two ends that are connected.
 - `service`: requests from many clients to many servers, and the replies.

What is sent is a string, as its bytes, or any value that `unixipc.codec`
can encode. A channel with a name is opened by others by that name, which is
like those of `posix_shm`: a slash and 1 to 246 other characters. One without
is inherited by forked children, or handed over as a descriptor.

Whoever is killed while it sends has not sent; who is killed while it receives
has either received, or the next receiver does. No lock stays taken.

Options of the constructors: `create`: make it if it is not there; `exclusive`:
it must not be there; `mode`: who may take part in a new one, by its name or its
descriptor, owner only by default; `temporary`: the name goes when this process
closes the channel, if this call made it. Of a new one: `capacity`, in bytes, of
each ring (1 MiB by default; the longest message is a little less than half of
it); `slots`: how many take part at once (64, at most 1024). Without a name one
is always made.
@module unixipc.channel
*/
#include "channel_object.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/options.h"
#include "region.h"

#include <errno.h>
#include <string.h>

/* ---- opening ----------------------------------------------------------- */

struct open_options {
  bool create, exclusive, temporary, single, retry;
  mode_t mode;
  lua_Integer capacity, reply_capacity, slots;
  int overflow, policy;       /* words */
  int evict_after, subscribe; /* stack indices */
};
#define MEMBER(name) offsetof(struct open_options, name)
#define MOST_BYTES ((lua_Integer)1 << 40)

static const char *const overflow_words[] = {
  "block", "fail", "drop_new", "drop_oldest", NULL};
/* Of whom nobody but the receiver may take anything. */
static const char *const other_overflow_words[] = {
  "block", "fail", "drop_new", NULL};
static const char *const policy_words[] = {"block", "drop", "evict", NULL};

#define COMMON \
  {"create", UX_OPT_BOOLEAN, MEMBER(create), 0, 0, NULL}, \
    {"exclusive", UX_OPT_BOOLEAN, MEMBER(exclusive), 0, 0, NULL}, \
    {"temporary", UX_OPT_BOOLEAN, MEMBER(temporary), 0, 0, NULL}, \
    {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL}, \
    {"capacity", UX_OPT_INTEGER, MEMBER(capacity), 1, MOST_BYTES, NULL}, { \
    "slots", UX_OPT_INTEGER, MEMBER(slots), 1, 1024, NULL \
  }
#define OVERFLOW(words) \
  { "overflow", UX_OPT_WORD, MEMBER(overflow), 0, 0, words }

static const struct ux_option queue_schema[] = {
  COMMON,
  OVERFLOW(overflow_words),
  {"single", UX_OPT_BOOLEAN, MEMBER(single), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option broadcast_schema[] = {
  COMMON,
  OVERFLOW(other_overflow_words),
  {"policy", UX_OPT_WORD, MEMBER(policy), 0, 0, policy_words},
  {"evict_after", UX_OPT_VALUE, MEMBER(evict_after), 0, 0, NULL},
  {"subscribe", UX_OPT_VALUE, MEMBER(subscribe), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option duplex_schema[] = {
  COMMON,
  OVERFLOW(other_overflow_words),
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option service_schema[] = {
  COMMON,
  {"reply_capacity",
   UX_OPT_INTEGER,
   MEMBER(reply_capacity),
   1,
   MOST_BYTES,
   NULL},
  {"retry", UX_OPT_BOOLEAN, MEMBER(retry), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static struct ux_segment_options
segment_options(enum ux_segment_kind kind, const struct open_options *o) {
  return (struct ux_segment_options){
    .kind = kind == UX_SEGMENT_QUEUE && o->single ? UX_SEGMENT_SPSC : kind,
    .policy = (enum ux_segment_policy)o->policy,
    .capacity = (uint64_t)o->capacity,
    .reply_capacity = (uint64_t)o->reply_capacity,
    .slots = (uint32_t)o->slots,
    .retry = o->retry,
  };
}

static struct ux_channel *new_channel(lua_State *L) {
  ux_class_open(L, &ux_channel_class);
  lua_pop(L, 1);
  struct ux_channel *c = ux_new(L, &ux_channel_class);
  c->segment = UX_SEGMENT_NONE;
  c->evict_after = INT64_C(1000000000);
  return c;
}

static bool wants_creation(const struct open_options *o) {
  return o->create || o->exclusive;
}

/* By name: opens it, or makes it, whoever is first. */
static int attach_named(struct ux_channel *c, const struct open_options *o,
                        const struct ux_segment_options *so) {
  const char *name = c->name + 1; /* without the slash */
  for (;;) {
    int err = o->exclusive ? ENOENT : ux_segment_open(&c->segment, name);
    if (err != ENOENT || !wants_creation(o)) return err;
    err = ux_segment_create(&c->segment, name, o->mode, so);
    if (err == 0) c->is_temporary = o->temporary;
    if (err != EEXIST || o->exclusive) return err;
  }
}

static enum ux_ring_overflow ring_overflow(const struct ux_channel *c) {
  if (c->overflow == UX_CHANNEL_DROP_NEW) return UX_RING_DROP_NEW;
  if (c->overflow == UX_CHANNEL_DROP_OLDEST) return UX_RING_DROP_OLDEST;
  return UX_RING_FULL;
}

#define ANY_END 2

static int open_end(struct ux_channel *c, uint32_t end) {
  c->out = &c->rings[0];
  c->in = &c->rings[1];
  return ux_duplex_init(c->out, c->in, &c->segment, end);
}

/* Several may want the last one that is free. Who made a pair without a name
   keeps the first one, used or not. */
static int take_free_end(struct ux_channel *c) {
  uint32_t end = c->name[0] == '\0';
  int err = ux_duplex_free_end(&c->segment, &end);
  if (err == 0) err = open_end(c, end);
  if (err == 0) err = ux_channel_take_end(c);
  return err == EBUSY ? EUSERS : err;
}

/* Without a name the ends are for processes to be forked: one has an end when
   it first uses it. */
static int open_duplex(struct ux_channel *c) {
  bool is_any = c->name[0] != '\0' || c->end == ANY_END;
  c->must_take_end = !is_any;
  return is_any ? take_free_end(c) : open_end(c, c->end);
}

static int open_service(struct ux_channel *c) {
  int err = ux_ring_init(&c->rings[0], &c->segment, 0);
  return err == 0 ? ux_service_replies(&c->rings[1], &c->segment) : err;
}

static int open_rings(struct ux_channel *c) {
  enum ux_segment_kind kind = c->segment.options.kind;
  int err;
  if (kind == UX_SEGMENT_DUPLEX) {
    err = open_duplex(c);
  } else if (kind == UX_SEGMENT_SERVICE) {
    err = open_service(c);
  } else {
    c->out = c->in = &c->rings[0];
    err = ux_ring_init(&c->rings[0], &c->segment, 0);
  }
  for (int i = 0; i < 2; i++) c->rings[i].overflow = ring_overflow(c);
  return err;
}

/* The segment is attached, or not: err. Leaves the channel on the stack, or
   what ux_fail gives. */
static int finish(lua_State *L, struct ux_channel *c, int err) {
  if (err == EBADMSG)
    return ux_fail_words(L, err, "channel", ux_segment_explain());
  if (err == EUSERS)
    return ux_fail_words(L, err, "channel", "all slots are taken");
  if (err != 0) return ux_posix_name_fail(L, err, "channel", c->name);
  c->head.open = true;
  err = open_rings(c);
  if (err == 0) return 1;
  ux_channel_leave(L, c);
  return ux_channel_fail(L, c, err, "channel");
}

static bool is_of_kind(const struct ux_channel *c, enum ux_segment_kind kind) {
  return strcmp(ux_channel_kind(c->segment.options.kind),
                ux_channel_kind(kind)) == 0;
}

static int64_t check_evict_after(lua_State *L, const struct open_options *o) {
  if (o->evict_after == 0) return INT64_C(1000000000);
  bool is_time = lua_type(L, o->evict_after) == LUA_TNUMBER &&
                 lua_tonumber(L, o->evict_after) >= 0;
  luaL_argcheck(
    L, is_time, 2, "option 'evict_after': a number of seconds >= 0 expected");
  return ux_check_deadline(L, o->evict_after).left;
}

static int subscribe(lua_State *L, struct ux_channel *c, int arg);

/* Where a subscriber begins. */
struct start {
  enum ux_ring_start how;
  uint64_t last; /* of UX_RING_LAST */
};

#define STARTS "\"new\", \"oldest\" or a count >= 0 expected"

/* The value at the index; nil: new. */
static bool to_start(lua_State *L, int index, struct start *start) {
  *start = (struct start){UX_RING_NEW, 0};
  if (lua_isnoneornil(L, index)) return true;
  if (lua_isinteger(L, index)) {
    lua_Integer last = lua_tointeger(L, index);
    *start = (struct start){UX_RING_LAST, (uint64_t)last};
    return last >= 0;
  }
  if (lua_type(L, index) != LUA_TSTRING) return false;
  const char *word = lua_tostring(L, index);
  if (strcmp(word, "oldest") == 0) start->how = UX_RING_OLDEST;
  return strcmp(word, "oldest") == 0 || strcmp(word, "new") == 0;
}

static struct start check_start(lua_State *L, int arg) {
  struct start start;
  luaL_argcheck(L, to_start(L, arg, &start), arg, STARTS);
  return start;
}

/* Of the options, before anything is made. */
static void check_subscribe(lua_State *L, const struct open_options *o) {
  struct start start;
  luaL_argcheck(L,
                o->subscribe == 0 || to_start(L, o->subscribe, &start),
                2,
                "option 'subscribe': " STARTS);
}

static int open_channel(lua_State *L, enum ux_segment_kind kind,
                        const struct ux_option *schema) {
  struct open_options o = {.mode = UX_DEFAULT_MODE};
  int err;
  lua_settop(L, 2);
  ux_check_options(L, 2, schema, &o);
  check_subscribe(L, &o);
  bool drops_oldest = o.overflow == UX_CHANNEL_DROP_OLDEST;
  luaL_argcheck(
    L, !o.single || !drops_oldest, 2, "'single' cannot drop the oldest");
  struct ux_segment_options so = segment_options(kind, &o);
  struct ux_channel *c = new_channel(L);
  c->overflow = (enum ux_channel_overflow)o.overflow;
  c->evict_after = check_evict_after(L, &o);
  bool has_name =
    ux_posix_name_check(L, 1, c->name, &err, UX_CHANNEL_NAME_MOST);
  if (err == 0)
    err = has_name ? attach_named(c, &o, &so)
                   : ux_segment_create(&c->segment, NULL, o.mode, &so);
  int results = finish(L, c, err);
  if (results > 1) return results;
  if (!is_of_kind(c, kind)) {
    const char *is = ux_channel_kind(c->segment.options.kind);
    ux_channel_leave(L, c);
    return ux_fail_words(
      L, EINVAL, "channel", lua_pushfstring(L, "this is a %s", is));
  }
  if (drops_oldest && c->segment.options.kind == UX_SEGMENT_SPSC) {
    ux_channel_leave(L, c);
    return ux_fail_words(
      L, EINVAL, "channel", "it is 'single', which cannot drop the oldest");
  }
  return o.subscribe != 0 ? subscribe(L, c, o.subscribe) : 1;
}

/***
Opens or makes a queue. Each message goes to one receiver, and those of one
sender come in their order.

Options besides: `overflow`: what `send` does when there is no room: `"block"`,
the default; `"fail"` at once; `"drop_new"`, `"drop_oldest"`, which are
counted. `single`: of a new one: one sender and one receiver at a time, without
locks, the fastest; it cannot drop the oldest.
@function queue
@tparam[opt] string name
@tparam[opt] table options
@treturn[1] Channel
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EEXIST, EACCES, EINVAL (the name; it is of
another kind), ENAMETOOLONG, EBADMSG (no channel, or of another version or
architecture), EUSERS (all slots are taken), ENOSPC, EMFILE
*/
static int l_queue(lua_State *L) {
  return open_channel(L, UX_SEGMENT_QUEUE, queue_schema);
}

/***
Opens or makes a broadcast. Who sends need not subscribe; who receives does,
with the option `subscribe` or the method.

Options besides: `policy`, of a new one: what becomes of a subscriber that is a
whole ring behind: `"block"`, the default: senders wait for it; `"drop"`: it
loses the oldest messages, and `lost` tells how many; `"evict"`: senders wait
`evict_after` seconds (1 by default), then it is thrown out. `subscribe`: as the
argument of that method. `overflow`: what `send` does when it would wait, as of
`queue`, but for `"drop_oldest"`.
@function broadcast
@tparam[opt] string name
@tparam[opt] table options
@treturn[1] Channel
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno, as of `queue`
*/
static int l_broadcast(lua_State *L) {
  return open_channel(L, UX_SEGMENT_BROADCAST, broadcast_schema);
}

/* The other end of an anonymous one, in this process. */
static int push_other_end(lua_State *L, struct ux_channel *c) {
  struct ux_channel *other = new_channel(L);
  other->overflow = c->overflow;
  other->end = 1;
  int err = ux_segment_adopt(&other->segment, c->segment.fd);
  int results = finish(L, other, err);
  if (results > 1) return results;
  err = ux_duplex_tie(&c->segment, &other->segment);
  if (err == 0) return 1;
  ux_channel_leave(L, other);
  return ux_channel_fail(L, c, err, "channel");
}

/***
Opens an end of a duplex: the one that nobody has, or of a new one the first.
When the process at the other end has closed it, ended, or was killed, `receive`
says EPIPE after what it had sent, and `send` at once.

Options besides: `overflow`, as of `queue`, but for `"drop_oldest"`.
@function duplex
@tparam[opt] string name nil makes both ends: one for a child to be forked,
which the parent closes
@tparam[opt] table options
@treturn[1] Channel
@treturn[1] Channel|nil the other end, if there is no name
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno, as of `queue`; EUSERS (both ends are taken)
*/
static int l_duplex(lua_State *L) {
  bool has_name = !lua_isnoneornil(L, 1);
  int results = open_channel(L, UX_SEGMENT_DUPLEX, duplex_schema);
  if (results > 1 || has_name) return results;
  struct ux_channel *c = lua_touserdata(L, -1);
  results = push_other_end(L, c);
  if (results == 1) return 2;
  ux_channel_leave(L, c);
  return results;
}

/***
Opens or makes a service. Clients `call`, servers `accept` and `reply`.

Options besides, of a new one: `reply_capacity`: bytes for replies of each
slot; `retry`: a request whose server died goes to another server; else the
client's `call` fails with ECANCELED.
@function service
@tparam[opt] string name
@tparam[opt] table options
@treturn[1] Channel
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno, as of `queue`
*/
static int l_service(lua_State *L) {
  return open_channel(L, UX_SEGMENT_SERVICE, service_schema);
}

/***
The channel, of any kind, of a descriptor that another process handed over:
what `Channel:descriptor` gave there. The descriptor stays the caller's.
@function from
@param object an integer, or anything with a descriptor
@treturn[1] Channel
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADMSG, EUSERS, EACCES, EBADF
*/
static int l_from(lua_State *L) {
  int fd = ux_check_fd(L, 1);
  struct ux_channel *c = new_channel(L);
  c->end = ANY_END;
  return finish(L, c, ux_segment_adopt(&c->segment, fd));
}

/* ---- subscribing ------------------------------------------------------- */

struct subscribing {
  struct ux_channel_call call;
  enum ux_ring_start start;
  uint64_t last;
};

static int attempt_subscribe(struct ux_channel_call *call) {
  const struct subscribing *s = (const struct subscribing *)call;
  return ux_ring_subscribe(call->ring, s->start, s->last);
}

/* Senders have a lock for a moment. */
static int subscribe(lua_State *L, struct ux_channel *c, int arg) {
  struct ux_deadline deadline = {UX_FOREVER, 0};
  if (c->segment.options.kind != UX_SEGMENT_BROADCAST)
    return ux_channel_fail(L, c, ENOTSUP, "subscribe");
  struct start from = check_start(L, arg);
  struct subscribing s = {
    {c, c->in, UX_RING_PUT, attempt_subscribe}, from.how, from.last};
  int err = ux_channel_wait(L, &s.call, &deadline);
  return err == 0 ? 1 : ux_channel_fail(L, c, err, "subscribe");
}

/***
From now on this one receives what is broadcast. If it did already it begins
anew, at `start`.
@function Channel:subscribe
@tparam[opt="new"] string|integer start `"new"`: what is sent from now on;
`"oldest"`: also all that is still there; a number: the last so many
@treturn[1] Channel itself
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EUSERS, ENOTSUP, EBADMSG
*/
static int l_subscribe(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  lua_settop(L, 2);
  int results = subscribe(L, c, 2);
  if (results > 1) return results;
  lua_settop(L, 1);
  return 1;
}

/***
Receives no more.
@function Channel:unsubscribe
@treturn[1] Channel itself
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOTSUP
*/
static int l_unsubscribe(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  if (c->segment.options.kind != UX_SEGMENT_BROADCAST)
    return ux_channel_fail(L, c, ENOTSUP, "unsubscribe");
  if (c->is_giving)
    luaL_error(L, "attempt to unsubscribe while a value is decoded");
  ux_ring_unsubscribe(c->in);
  ux_channel_forget_inbox(c);
  lua_settop(L, 1);
  return 1;
}

/* Since when the program asked last. */
static uint64_t take_lost(struct ux_channel *c) {
  uint64_t lost = c->lost;
  c->lost = 0;
  return lost;
}

/***
How many messages were lost, because this subscriber was too slow, before the
last one that it received, since this was called last.
@function Channel:lost
@treturn integer
*/
static int l_lost(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)take_lost(ux_check_channel(L, 1)));
  return 1;
}

/* ---- for all ----------------------------------------------------------- */

/***
Closes the channel for all: who sends gets EPIPE; who receives gets what is
still there, then EPIPE.
@function Channel:shutdown
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADMSG
*/
static int l_shutdown(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  int err = ux_segment_close(&c->segment);
  if (err != 0) return ux_channel_fail(L, c, err, "shutdown");
  lua_pushboolean(L, 1);
  return 1;
}

/***
The descriptor of the memory, to hand over to a process that calls `from` with
it. It stays the channel's. (`fileno` is another one: for pollers.)
@function Channel:descriptor
@treturn integer
*/
static int l_descriptor(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  if (c->segment.options.kind == UX_SEGMENT_DUPLEX)
    ux_duplex_expect(&c->segment);
  lua_pushinteger(L, c->segment.fd);
  return 1;
}

/***
The bytes of the longest message.
@function Channel:limit
@treturn integer
*/
static int l_limit(lua_State *L) {
  lua_pushinteger(
    L, (lua_Integer)ux_ring_limit(&ux_check_channel(L, 1)->rings[0]));
  return 1;
}

/* ---- the module ------------------------------------------------------- */

static const luaL_Reg methods[] = {
  {"subscribe", l_subscribe},
  {"unsubscribe", l_unsubscribe},
  {"lost", l_lost},
  {"shutdown", l_shutdown},
  {"descriptor", l_descriptor},
  {"limit", l_limit},
  {NULL, NULL},
};

static const luaL_Reg functions[] = {
  {"queue", l_queue},
  {"broadcast", l_broadcast},
  {"duplex", l_duplex},
  {"service", l_service},
  {"from", l_from},
  {NULL, NULL},
};

int ux_open_channel(lua_State *L) {
  ux_region_open(L);
  ux_channel_service_open(L);
  ux_class_open(L, &ux_channel_class);
  luaL_setfuncs(L, methods, 0);
  luaL_setfuncs(L, ux_channel_message_methods, 0);
  luaL_setfuncs(L, ux_channel_loan_methods, 0);
  luaL_setfuncs(L, ux_channel_service_methods, 0);
  luaL_setfuncs(L, ux_channel_info_methods, 0);
  luaL_newlib(L, functions);
  luaL_setfuncs(L, ux_channel_info_functions, 0);
  return 1;
}
