/* Making a handle, what all modes have in common, stats. */
#include "lib/ring.h"

#include "lib/clock.h"
#include "lib/ring_bell.h"
#include "lib/ring_broadcast.h"
#include "lib/ring_spsc.h"

#include <unistd.h>

/* ---- handles ----------------------------------------------------------- */

static const struct ux_ring_mode *mode_of(const struct ux_segment_options *o) {
  switch (o->kind) {
    case UX_SEGMENT_SPSC:
    case UX_SEGMENT_DUPLEX: return &ux_ring_spsc_mode;
    case UX_SEGMENT_BROADCAST: return &ux_ring_broadcast_mode;
    default: return &ux_ring_queue_mode;
  }
}

/* The longest record is half of the ring: with what is left at its end it
   always fits once the ring is empty. */
int ux_ring_init(struct ux_ring *r, struct ux_segment *s, uint32_t index) {
  const struct ux_segment_options *o = &s->options;
  if (s->at == NULL || index >= ux_segment_rings(o)) return EINVAL;
  uint64_t capacity = ux_segment_ring_capacity(o, index);
  char *at = (char *)s->at + ux_segment_ring_offset(o, index);
  *r = (struct ux_ring){
    .segment = s,
    .at = (struct ux_ring_shared *)(void *)at,
    .data = at + sizeof(struct ux_ring_shared),
    .mode = mode_of(o),
    .mask = capacity - 1,
    .limit = capacity / 2 - sizeof(struct ux_record),
    .index = index,
    .spin = {{.ns = 4000}, {.ns = 4000}},
    .bell = {-1, -1},
  };
  if (r->limit > INT32_MAX) r->limit = INT32_MAX;
  return ux_ring_begin(r);
}

/* In a forked child: nothing of its parent's is ours. */
int ux_ring_begin_slowly(struct ux_ring *r) {
  int err = ux_segment_join(r->segment);
  if (err != 0) return err;
  r->fork_count = ux_segment_forks;
  r->is_putting = r->is_getting = false;
  r->has_loan[0] = r->has_loan[1] = false;
  r->slept_on = NULL;
  r->lock = NULL;
  ux_ring_bell_forget(r);
  return 0;
}

void ux_ring_done(struct ux_ring *r) {
  bool is_ours = r->fork_count == ux_segment_forks;
  ux_ring_bell_forget(r);
  if (!is_ours || r->segment->at == NULL) return;
  if (r->mode == &ux_ring_spsc_mode) ux_spsc_leave(r);
  if (r->mode == &ux_ring_broadcast_mode) ux_broadcast_leave(r);
}

uint64_t ux_ring_limit(const struct ux_ring *r) {
  return r->limit;
}

void ux_write_pad(struct ux_ring *r, const struct ux_place *place,
                  uint64_t stamp) {
  ux_write_head(r,
                place->pad,
                ux_tag(UX_RECORD_PAD, 0, 0),
                (size_t)(place->start - place->pad) - sizeof(struct ux_record),
                stamp);
}

/* ---- calls ------------------------------------------------------------- */

static void note_role(struct ux_ring *r, uint32_t role) {
  _Atomic uint32_t *roles = &r->segment->at->slot[r->segment->slot].roles;
  if (r->segment->roles & role) return;
  r->segment->roles |= role;
  atomic_fetch_or(roles, role);
}

int ux_ring_putv(struct ux_ring *r, const struct iovec *iov, int count,
                 unsigned mark) {
  struct ux_ring_source src = {iov, count, 0, mark};
  for (int i = 0; i < count; i++) {
    if (iov[i].iov_len > r->limit) return EMSGSIZE;
    src.length += iov[i].iov_len;
  }
  int err = r->mode->put(r, &src);
  if (err == 0) note_role(r, 1);
  return err;
}

int ux_ring_put(struct ux_ring *r, const void *data, size_t length,
                unsigned mark) {
  struct iovec iov = {(void *)(uintptr_t)data, length};
  struct ux_ring_source src = {&iov, 1, length, mark};
  int err = r->mode->put(r, &src);
  if (err == 0) note_role(r, 1);
  return err;
}

int ux_ring_put_many(struct ux_ring *r, const struct ux_ring_item *items,
                     size_t count, size_t *done) {
  *done = 0;
  if (count == 0) return 0;
  int err = r->mode->put_many(r, items, count, done);
  if (err == 0) note_role(r, 1);
  return err;
}

int ux_ring_put_quietly(struct ux_ring *r, const void *data, size_t length,
                        unsigned mark) {
  struct iovec iov = {(void *)(uintptr_t)data, length};
  struct ux_ring_source src = {&iov, 1, length, mark};
  if (r->mode != &ux_ring_spsc_mode) return r->mode->put(r, &src);
  int err = ux_spsc_write(r, &src);
  return err == ECANCELED ? 0 : err;
}

void ux_ring_publish(struct ux_ring *r) {
  if (r->mode == &ux_ring_spsc_mode && r->is_putting &&
      r->fork_count == ux_segment_forks)
    ux_spsc_publish(r);
}

int ux_ring_get(struct ux_ring *r, void *buffer, size_t size,
                struct ux_ring_message *m) {
  m->lost = 0;
  m->data = NULL;
  int err = r->mode->get(r, buffer, size, m);
  if (err == 0) note_role(r, 2);
  return err;
}

int ux_ring_get_many(struct ux_ring *r, void *buffer, size_t size, size_t max,
                     size_t *count, size_t *needed) {
  *count = *needed = 0;
  if (max == 0) return 0;
  int err = r->mode->get_many(r, buffer, size, max, count, needed);
  if (err == 0) note_role(r, 2);
  return err;
}

int ux_ring_reserve(struct ux_ring *r, size_t length,
                    struct ux_ring_loan *loan) {
  int err = ux_ring_begin(r); /* who holds it: another one since a fork */
  if (err == 0) err = r->mode->reserve(r, length, loan);
  if (err == 0) note_role(r, 1);
  return err;
}

int ux_ring_commit(struct ux_ring *r, const struct ux_ring_loan *loan,
                   size_t length, unsigned mark) {
  return r->mode->commit(r, loan, length, mark);
}

int ux_ring_abort(struct ux_ring *r, const struct ux_ring_loan *loan) {
  return r->mode->abort(r, loan);
}

int ux_ring_peek(struct ux_ring *r, struct ux_ring_message *m) {
  m->lost = 0;
  int err = r->mode->peek(r, m);
  if (err == 0) note_role(r, 2);
  return err;
}

int ux_ring_release(struct ux_ring *r, uint64_t position) {
  return r->mode->release(r, position);
}

int ux_ring_untake(struct ux_ring *r, uint64_t position) {
  return r->mode->untake(r, position);
}

int ux_ring_take_role(struct ux_ring *r, enum ux_ring_side side) {
  return r->mode == &ux_ring_spsc_mode ? ux_spsc_take_role(r, side) : 0;
}

bool ux_ring_is_role_taken(const struct ux_ring *r, enum ux_ring_side side) {
  return r->is_role_taken[side];
}

int ux_ring_subscribe(struct ux_ring *r, enum ux_ring_start start,
                      uint64_t last) {
  if (r->mode != &ux_ring_broadcast_mode) return EINVAL;
  int err = ux_broadcast_subscribe(r, start, last);
  if (err == 0) note_role(r, 2);
  return err;
}

void ux_ring_unsubscribe(struct ux_ring *r) {
  if (r->mode == &ux_ring_broadcast_mode) ux_broadcast_leave(r);
}

int ux_ring_evict(struct ux_ring *r, size_t length, uint32_t *evicted) {
  if (r->mode != &ux_ring_broadcast_mode) return EINVAL;
  return ux_broadcast_evict(r, length, evicted);
}

/* ---- for C programs ---------------------------------------------------- */

/* So many tries in vain, and the time is looked at though there seems to be
   something to do: damaged memory may say so for ever. */
#define VAIN_TRIES 1000

struct patience {
  int64_t timeout, at;
  unsigned tries;
};

static int wait_a_while(struct ux_ring *r, enum ux_ring_side side, int err,
                        struct patience *p) {
  bool is_vain = ++p->tries % VAIN_TRIES == 0;
  if (err != EAGAIN && err != EBUSY) return err;
  if (err == EBUSY && r->is_role_taken[side]) return err;
  if (p->timeout == 0 && err == EAGAIN) return ETIMEDOUT;
  if (!is_vain && ux_ring_spin(r, side)) return 0;
  if (p->timeout >= 0 && p->at == 0)
    p->at = ux_clock_now() + (p->timeout > 0 ? p->timeout : UX_NS_PER_S / 100);
  if (is_vain && p->at != 0 && ux_clock_now() >= p->at) return ETIMEDOUT;
  err = ux_ring_sleep(r, side, p->at);
  return err == EINTR ? 0 : err;
}

int ux_ring_send(struct ux_ring *r, const void *data, size_t length,
                 int64_t timeout) {
  struct patience p = {.timeout = timeout};
  for (;;) {
    int err = ux_ring_put(r, data, length, 0);
    if (err == 0) return 0;
    err = wait_a_while(r, UX_RING_PUT, err, &p);
    if (err != 0) return err;
  }
}

int ux_ring_receive(struct ux_ring *r, void *buffer, size_t size,
                    struct ux_ring_message *m, int64_t timeout) {
  struct patience p = {.timeout = timeout};
  for (;;) {
    int err = ux_ring_get(r, buffer, size, m);
    if (err == 0) return 0;
    err = wait_a_while(r, UX_RING_GET, err, &p);
    if (err != 0) return err;
  }
}

/* ---- all rings of a segment -------------------------------------------- */

int ux_segment_close(struct ux_segment *s) {
  struct ux_ring r;
  int err = ux_segment_join(s);
  if (err != 0) return err;
  atomic_store(&s->at->state, UX_STATE_CLOSED);
  UX_STEP("closed");
  for (uint32_t i = 0; i < ux_segment_rings(&s->options); i++) {
    err = ux_ring_init(&r, s, i);
    if (err != 0) return err;
    ux_ring_wake_everybody(&r);
    ux_ring_bell_forget(&r);
  }
  return 0;
}

/* Somebody new may take it meanwhile, who counts the epoch before. */
static bool reap_slot(struct ux_segment *s, uint32_t i) {
  struct ux_slot_shared *slot = &s->at->slot[i];
  uint32_t epoch = ux_see(&slot->epoch), used = 1;
  if (!ux_see(&slot->is_used) || !ux_segment_is_dead(s, ux_who(i, epoch)))
    return false;
  if (!atomic_compare_exchange_strong(&slot->is_used, &used, 0)) return false;
  if (ux_see(&slot->epoch) != epoch) atomic_store(&slot->is_used, 1);
  return true;
}

/* Slots that nobody alive has. */
static uint32_t reap_slots(struct ux_segment *s) {
  uint32_t dead = 0;
  for (uint32_t i = 0; i < s->options.slots; i++) dead += reap_slot(s, i);
  return dead;
}

uint32_t ux_segment_reap(struct ux_segment *s) {
  struct ux_ring r;
  if (ux_segment_join(s) != 0) return 0;
  uint32_t rings =
    s->options.kind == UX_SEGMENT_SERVICE ? 1 : ux_segment_rings(&s->options);
  for (uint32_t i = 0; i < rings && ux_ring_init(&r, s, i) == 0; i++) {
    r.mode->look(&r, UX_RING_PUT);
    if (r.mode == &ux_ring_queue_mode && r.mode->look(&r, UX_RING_GET))
      ux_ring_notify(&r, &r.at->not_empty, true);
  }
  return reap_slots(s);
}

/* ---- stats ------------------------------------------------------------- */

static void tell_subscribers(struct ux_ring *r, struct ux_ring_stats *stats) {
  for (uint32_t i = 0; i < r->segment->options.slots; i++) {
    uint32_t v = ux_see(&r->segment->at->slot[i].subscribed);
    if ((v & UX_SUBSCRIBED) &&
        !ux_segment_is_dead(r->segment, v & UX_WHO_MASK))
      stats->subscribers++;
  }
  stats->gets = r->gets;
  if (!r->is_getting) return;
  uint64_t lag = ux_get(&r->at->stamp) - r->next_stamp;
  stats->lag = lag & UX_STAMP_MASK;
}

/* What was put. A loan counts from when it is lent, one that was given back no
   more; without locks it counts when it is committed. */
static uint64_t count_puts(const struct ux_ring *r) {
  uint64_t aborted = ux_get(&r->at->aborted), puts = ux_get(&r->at->puts);
  if (r->mode == &ux_ring_spsc_mode) return puts;
  return puts > aborted ? puts - aborted : 0;
}

int ux_ring_stats(struct ux_ring *r, struct ux_ring_stats *stats) {
  struct ux_ring_shared *q = r->at;
  int err = ux_ring_begin(r);
  if (err != 0) return err;
  bool is_broadcast = r->mode == &ux_ring_broadcast_mode;
  uint64_t from = ux_see(is_broadcast ? &q->tail_at : &q->read_at);
  uint64_t used = ux_see(&q->write_at) - from;
  uint64_t gone = ux_get(&q->gets) + ux_get(&q->displaced);
  uint64_t puts = count_puts(r);
  *stats = (struct ux_ring_stats){
    .capacity = r->mask + 1,
    .used = used <= r->mask + 1 ? used : 0,
    .messages = puts > gone ? puts - gone : 0,
    .puts = puts,
    .gets = ux_get(&q->gets),
    .put_bytes = ux_get(&q->put_bytes),
    .dropped = ux_get(&q->dropped),
    .aborted = ux_get(&q->aborted),
    .redelivered = ux_get(&q->redelivered),
    .recovered = ux_get(&q->recovered),
  };
  if (is_broadcast) tell_subscribers(r, stats);
  return 0;
}
