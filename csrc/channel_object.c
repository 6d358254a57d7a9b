/***
@module unixipc.channel
*/
/* The object of `channel`: how it ends, how its calls wait and fail. */
#include "channel_object.h"

#include "base/error.h"
#include "base/wait.h"
#include "lib/clock.h"
#include "region.h"

#include <errno.h>

const char *ux_channel_kind(enum ux_segment_kind kind) {
  static const char *const kinds[] = {
    "", "queue", "queue", "broadcast", "duplex", "service"};
  return kinds[kind];
}

static int fail_slots(lua_State *L, const struct ux_channel *c,
                      const char *call) {
  if (c->segment.options.kind == UX_SEGMENT_DUPLEX)
    return ux_fail_words(L, EUSERS, call, "both ends are taken");
  const char *words = lua_pushfstring(
    L, "all %d slots are taken", (int)c->segment.options.slots);
  return ux_fail_words(L, EUSERS, call, words);
}

int ux_channel_fail(lua_State *L, const struct ux_channel *c, int err,
                    const char *call) {
  switch (err) {
    case EPIPE: return ux_fail_words(L, err, call, "closed");
    case EAGAIN: return ux_fail_words(L, err, call, "full");
    case ENOTCONN: return ux_fail_words(L, err, call, "not subscribed");
    case ENOTSUP:
      return ux_fail_words(L, err, call, "not with this kind of channel");
    case EILSEQ: return ux_fail_words(L, err, call, "this is no value");
    case EUSERS: return fail_slots(L, c, call);
    case ECANCELED: return ux_fail_words(L, err, call, "the server died");
    case EBADMSG: return ux_fail_words(L, err, call, "the segment is damaged");
    case EDEADLK:
      return ux_fail_words(L, err, call, "a loan or view of its own is open");
    default: return ux_fail(L, err, call, NULL);
  }
}

int ux_channel_fail_message(lua_State *L, const struct ux_channel *c, int err,
                            const char *call, size_t length,
                            const struct ux_ring *ring) {
  if (err != EMSGSIZE) return ux_channel_fail(L, c, err, call);
  const char *words =
    lua_pushfstring(L,
                    "a message of %I bytes; the longest has %I",
                    (LUAI_UACINT)length,
                    (LUAI_UACINT)ux_ring_limit(ring));
  return ux_fail_words(L, err, call, words);
}

struct ux_channel *ux_check_channel(lua_State *L, int arg) {
  return ux_check_open(L, arg, &ux_channel_class);
}

void ux_channel_check_still(lua_State *L, struct ux_channel *c) {
  if (!c->head.open) ux_closed_error(L, &ux_channel_class);
}

int ux_channel_take_end(struct ux_channel *c) {
  int err = ux_ring_take_role(c->out, UX_RING_PUT);
  if (err == 0) err = ux_ring_take_role(c->in, UX_RING_GET);
  if (err == 0) c->must_take_end = false;
  return err;
}

/* ---- waiting ----------------------------------------------------------- */

static int sleep_once(void *arg) {
  const struct ux_channel_call *call = arg;
  return ux_ring_sleep(call->ring, call->side, 0);
}

/* A lock is held by others for a moment: with a timeout of 0 too it is waited
   for, a little. */
static int sleep_in(lua_State *L, struct ux_channel_call *call,
                    struct ux_deadline *deadline, int err) {
  struct ux_deadline moment = ux_deadline_in(0.005);
  bool is_short = err == EBUSY && deadline->left == 0;
  err = ux_wait_call(L, sleep_once, call, is_short ? &moment : deadline);
  ux_channel_check_still(L, call->channel);
  return err == EINTR ? 0 : err;
}

/* Who polls is told again: there is nothing now. */
static void rearm(const struct ux_channel_call *call) {
  if (call->ring->bell[call->side] >= 0)
    ux_ring_bell_rearm(call->ring, call->side);
}

bool ux_channel_is_moment(const struct ux_channel_call *call, int err) {
  return err == EBUSY && !ux_ring_is_role_taken(call->ring, call->side);
}

/* So many tries in vain, and time and signals are looked at though there seems
   to be something to do: damaged memory may say so for ever. */
#define VAIN_TRIES 1000

int ux_channel_wait(lua_State *L, struct ux_channel_call *call,
                    struct ux_deadline *deadline) {
  ux_channel_check_still(L, call->channel);
  int err = ux_channel_begin(call->channel);
  if (err != 0) return err;
  err = call->attempt(call);
  for (unsigned n = 1; err == EAGAIN || ux_channel_is_moment(call, err); n++) {
    bool is_vain = n % VAIN_TRIES == 0;
    if (err == EAGAIN) rearm(call);
    if (err == EAGAIN && deadline->left == 0) return ETIMEDOUT;
    if (is_vain && ux_deadline_passed(deadline)) return ETIMEDOUT;
    if (is_vain || !ux_ring_spin(call->ring, call->side)) {
      err = sleep_in(L, call, deadline, err);
      if (err != 0) return err;
    }
    err = call->attempt(call);
  }
  return err;
}

struct letting_go {
  struct ux_channel_call call;
  lua_Integer *mark, was;
  int (*how)(struct ux_ring *r, uint64_t position);
};

static int attempt_let_go(struct ux_channel_call *call) {
  const struct letting_go *g = (const struct letting_go *)call;
  if (*g->mark != g->was) return ECANCELED;
  int err = g->how(call->ring, (uint64_t)(g->was - 1));
  if (err != EBUSY) *g->mark = 0;
  return err;
}

int ux_channel_let_go(lua_State *L, struct ux_channel *c, struct ux_ring *ring,
                      lua_Integer *mark,
                      int (*how)(struct ux_ring *r, uint64_t position)) {
  struct ux_deadline deadline = {UX_FOREVER, 0};
  struct letting_go g = {
    .call = {c, ring, UX_RING_GET, attempt_let_go},
    .mark = mark,
    .was = *mark,
    .how = how,
  };
  return ux_channel_wait(L, &g.call, &deadline);
}

/* Finalizers must come to an end, whoever holds a lock. */
void ux_channel_untake(struct ux_ring *ring, uint64_t position) {
  int64_t most = ux_clock_now() + UX_NS_PER_S;
  int err;
  do {
    err = ux_ring_untake(ring, position);
    if (err == EBUSY && !ux_ring_spin(ring, UX_RING_GET))
      err = ux_ring_sleep(ring, UX_RING_GET, most) == ETIMEDOUT ? 0 : err;
  } while (err == EBUSY);
}

/* ---- closing ----------------------------------------------------------- */

static void close_views(lua_State *L) {
  lua_getiuservalue(L, 1, UX_CHANNEL_REGION);
  struct ux_region *root = lua_touserdata(L, -1);
  if (root != NULL) root->head.open = false;
  lua_pop(L, 1);
}

void ux_channel_forget_inbox(struct ux_channel *c) {
  c->taken += c->inbox_count;
  c->inbox_count = 0;
  c->held_mark = 0;
}

/* The buffers may have grown again since it was closed, by a call that was
   under way. */
static void free_buffers(lua_State *L, struct ux_channel *c) {
  ux_buffer_free(L, &c->encoded);
  ux_buffer_free(L, &c->inbox);
}

void ux_channel_leave(lua_State *L, struct ux_channel *c) {
  free_buffers(L, c);
  if (!c->head.open) return;
  c->head.open = false;
  for (int i = 0; i < 2; i++)
    if (c->rings[i].segment != NULL) ux_ring_done(&c->rings[i]);
  if (c->is_temporary && ux_is_owner(&c->head))
    ux_segment_unlink_own(&c->segment, c->name + 1);
  ux_segment_detach(&c->segment);
  ux_channel_forget_inbox(c);
  c->reply.is_there = false;
}

/***
Leaves the channel: loans are given back, views of it are closed. Also what
`<close>` and the collector do. The others go on, without this one.
@function Channel:close
@treturn boolean true
*/
static int l_close(lua_State *L) {
  struct ux_channel *c = ux_check(L, 1, &ux_channel_class);
  if (c->is_giving) luaL_error(L, "attempt to close while a value is decoded");
  if (c->head.open) close_views(L);
  ux_channel_leave(L, c);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- the class --------------------------------------------------------- */

static void describe(lua_State *L, const void *self) {
  const struct ux_channel *c = self;
  lua_pushfstring(L,
                  "channel %s %s %I bytes",
                  ux_channel_kind(c->segment.options.kind),
                  c->name[0] != '\0' ? c->name : "anonymous",
                  (LUAI_UACINT)c->segment.options.capacity);
}

/* The doorbell, made when it is first asked for; it rings once then, so that
   one looks what is there already. Of a service it is its servers', for
   requests. -1 when that fails. */
static int fileno_of(const void *self) {
  struct ux_channel *c = (struct ux_channel *)self;
  int fd = -1;
  bool is_service = c->segment.options.kind == UX_SEGMENT_SERVICE;
  struct ux_ring *ring = is_service ? &c->rings[0] : c->in;
  return ux_ring_bell(ring, UX_RING_GET, &fd) == 0 ? fd : -1;
}

static bool is_buffered(const void *self) {
  const struct ux_channel *c = self;
  return c->inbox_count > 0;
}

/* #channel: messages that are there, as far as that can be told while others
   send and receive. */
static int l_len(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  struct ux_ring_stats s = {0};
  int err = ux_ring_stats(c->in != NULL ? c->in : &c->rings[0], &s);
  bool is_broadcast = c->segment.options.kind == UX_SEGMENT_BROADCAST;
  uint64_t there = is_broadcast ? s.lag : s.messages;
  lua_pushinteger(L, err == 0 ? (lua_Integer)(there + c->inbox_count) : 0);
  return 1;
}

static const luaL_Reg metamethods[] = {
  {"__len", l_len},
  {NULL, NULL},
};

const struct ux_class ux_channel_class = {
  .name = "channel",
  .size = sizeof(struct ux_channel),
  .uservalues = UX_CHANNEL_USERVALUES,
  .methods = metamethods,
  .close = l_close,
  .describe = describe,
  .fileno = fileno_of,
  .is_buffered = is_buffered,
};
