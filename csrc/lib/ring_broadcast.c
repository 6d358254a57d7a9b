/* Each message to every subscriber. What is in the ring stays until its room
   is needed; tail_at is the oldest. A subscriber writes nothing but its own
   cursor. Where the publisher does not wait for it (lap, evict) it copies
   first and believes it only if the tail has not passed meanwhile. */
#include "lib/ring_broadcast.h"

#include "lib/clock.h"

/* ---- subscribers, as publishers see them ------------------------------- */

static bool is_lapping(const struct ux_ring *r) {
  return r->segment->options.policy == UX_SEGMENT_LAP;
}

/* May the publisher write over what somebody reads? */
static bool is_racing(const struct ux_ring *r) {
  return r->segment->options.policy != UX_SEGMENT_GATE;
}

static uint32_t slots_seen(const struct ux_ring *r) {
  uint32_t seen = ux_see(&r->segment->at->slots_seen);
  uint32_t most = r->segment->options.slots;
  return seen < most ? seen : most;
}

/* The subscriber that holds back the tail, from `tail` on, as it was when it
   was looked at: it may move on meanwhile, past others. */
struct slowest {
  struct ux_slot_shared *slot; /* NULL: there is none before `end` */
  uint64_t cursor;
  uint32_t subscribed;
};

static struct slowest find_slowest(struct ux_ring *r, uint64_t tail,
                                   uint64_t end) {
  struct slowest found = {.slot = NULL, .cursor = end};
  for (uint32_t i = 0, n = slots_seen(r); i < n; i++) {
    struct ux_slot_shared *slot = &r->segment->at->slot[i];
    uint32_t subscribed = ux_see(&slot->subscribed);
    if (!(subscribed & UX_SUBSCRIBED)) continue;
    uint64_t cursor = ux_see(&slot->cursor);
    if (cursor - tail >= found.cursor - tail) continue;
    found = (struct slowest){slot, cursor, subscribed};
  }
  return found;
}

static bool is_subscriber_dead(struct ux_ring *r,
                               struct ux_slot_shared *slot) {
  uint32_t v = ux_see(&slot->subscribed);
  if (!(v & UX_SUBSCRIBED)) return true;
  if (!ux_segment_is_dead(r->segment, v & UX_WHO_MASK)) return false;
  UX_STEP("subscriber is dead");
  atomic_compare_exchange_strong(&slot->subscribed, &v, 0);
  return true;
}

uint32_t ux_broadcast_reap(struct ux_ring *r) {
  uint32_t dead = 0;
  for (uint32_t i = 0, n = slots_seen(r); i < n; i++) {
    struct ux_slot_shared *slot = &r->segment->at->slot[i];
    if (!(ux_see(&slot->subscribed) & UX_SUBSCRIBED)) continue;
    if (is_subscriber_dead(r, slot)) dead++;
  }
  return dead;
}

/* ---- the publishers' lock ---------------------------------------------- */

/* The number of the next message was not written: it is counted. */
static int repair(struct ux_ring *r) {
  uint64_t at = ux_get(&r->at->tail_at), end = ux_get(&r->at->write_at);
  struct ux_head h;
  if (ux_check_positions(r, at, end) != 0) return EBADMSG;
  for (; at != end; at += h.span) {
    if (ux_read_head(r, at, end, &h) != 0) return EBADMSG;
    if (ux_head_kind(&h) != UX_RECORD_PAD)
      ux_set(&r->at->stamp, (h.stamp + 1) & UX_STAMP_MASK);
  }
  return 0;
}

static int lock(struct ux_ring *r) {
  int err = ux_ring_begin(r);
  if (err == 0) err = ux_ring_lock(r, &r->at->put_lock);
  UX_STEP("put locked");
  if (err != EOWNERDEAD) return err;
  err = repair(r);
  if (err != 0) ux_ring_unlock(&r->at->put_lock);
  return err;
}

/* ---- put --------------------------------------------------------------- */

/* What an EAGAIN waits for: that the slowest moves, or leaves. */
static void wait_for_slowest(struct ux_ring *r, const struct slowest *s,
                             uint64_t tail) {
  if (s->slot == NULL) { /* nobody: at once */
    ux_ring_wait_for(r, UX_RING_PUT, &r->at->gate_at, tail + 1);
    return;
  }
  ux_ring_wait_for(r, UX_RING_PUT, &s->slot->cursor, s->cursor);
  r->watch[UX_RING_PUT].word32 = &s->slot->subscribed;
  r->watch[UX_RING_PUT].seen32 = s->subscribed;
}

/* How far the tail may go: to the slowest, of whom the ring keeps the position
   until it needs more. */
static uint64_t gate(struct ux_ring *r, uint64_t tail, uint64_t end) {
  if (is_lapping(r)) return end;
  uint64_t at = ux_get(&r->at->gate_at);
  if (at - tail <= end - tail && at != tail) return at;
  struct slowest s = find_slowest(r, tail, end);
  wait_for_slowest(r, &s, tail);
  ux_set(&r->at->gate_at, s.cursor);
  return s.cursor;
}

/* A loan that is still filled cannot be written over. */
static bool is_held(struct ux_ring *r, struct ux_head *h) {
  if (ux_head_kind(h) != UX_RECORD_LOAN) return false;
  if (!ux_segment_is_dead(r->segment, ux_head_holder(h))) return true;
  uint32_t tag = h->tag;
  if (atomic_compare_exchange_strong(
        &h->record->tag, &tag, ux_tag(UX_RECORD_ABORT, 0, 0)))
    atomic_fetch_add(&r->at->aborted, 1);
  return false;
}

/* Moves the tail until there is room before `need`. Whoever copies sees that
   it moved before it can see what is written there. */
static int move_tail(struct ux_ring *r, uint64_t tail, uint64_t end,
                     uint64_t need) {
  struct ux_head h = {.tag = 0};
  uint64_t from = tail, stop = gate(r, tail, end);
  bool is_stopped = false;
  while (need - tail > r->mask + 1 && !is_stopped) {
    if (tail == stop) stop = gate(r, tail, end);
    if (tail == stop) break;
    if (ux_read_head(r, tail, end, &h) != 0) return EBADMSG;
    is_stopped = is_held(r, &h);
    if (!is_stopped) tail += h.span;
    if (tail - from > stop - from) return EBADMSG;
  }
  if (tail != from) {
    ux_set(&r->at->tail_at, tail);
    ux_full_fence();
    UX_STEP("tail moved");
  }
  if (need - tail <= r->mask + 1) return 0;
  if (is_stopped) ux_ring_wait_for_tag(r, UX_RING_PUT, &h.record->tag, h.tag);
  return EAGAIN;
}

static int find_room(struct ux_ring *r, uint64_t at, uint64_t end,
                     uint64_t span, struct ux_place *place) {
  uint64_t tail = ux_get(&r->at->tail_at);
  *place = ux_place_of(r, at, span);
  if (ux_check_positions(r, tail, at) != 0) return EBADMSG;
  if (place->end - tail <= r->mask + 1) return 0;
  int err = move_tail(r, tail, end, place->end);
  if (err != EAGAIN || is_lapping(r) || !ux_ring_is_look_due(r)) return err;
  if (ux_broadcast_reap(r) == 0) return err;
  return move_tail(r, ux_get(&r->at->tail_at), end, place->end);
}

/* Words, which subscribers may be reading. */
static void copy_in_words(struct ux_ring *r, uint64_t position,
                          const struct ux_ring_source *src) {
  _Atomic uint64_t *to =
    (_Atomic uint64_t *)(void *)ux_record_data(ux_record_at(r, position));
  uint64_t word = 0;
  size_t used = 0;
  for (int i = 0; i < src->count; i++) {
    const char *from = src->iov[i].iov_base;
    size_t left = src->iov[i].iov_len;
    while (left > 0) {
      size_t n = sizeof word - used < left ? sizeof word - used : left;
      memcpy((char *)&word + used, from, n);
      from += n;
      left -= n;
      used += n;
      if (used < sizeof word) break;
      ux_set(to++, word);
      used = 0;
    }
  }
  if (used > 0) ux_set(to, word);
}

static void write_record(struct ux_ring *r, const struct ux_place *p,
                         uint32_t tag, const struct ux_ring_source *src,
                         uint64_t stamp) {
  if (p->start != p->pad) ux_write_pad(r, p, stamp);
  ux_write_head(r, p->start, tag, src->length, stamp);
  UX_STEP("put head");
  if (is_racing(r))
    copy_in_words(r, p->start, src);
  else
    ux_copy_in(r, p->start, src);
}

static void show(struct ux_ring *r, uint64_t end, uint64_t stamp,
                 uint64_t messages, uint64_t bytes) {
  struct ux_ring_shared *q = r->at;
  ux_set(&q->put_cpu, ux_ring_cpu());
  UX_STEP("put written");
  ux_show(&q->write_at, end);
  UX_STEP("put shown");
  ux_set(&q->stamp, stamp & UX_STAMP_MASK);
  ux_add(&q->puts, messages);
  ux_add(&q->put_bytes, bytes);
}

static int put_locked(struct ux_ring *r, uint32_t tag,
                      const struct ux_ring_source *src,
                      struct ux_place *place) {
  uint64_t at = ux_get(&r->at->write_at), stamp = ux_get(&r->at->stamp);
  int err = find_room(r, at, at, ux_span(src->length), place);
  bool is_loan = (tag & 15u) == UX_RECORD_LOAN;
  if (err == EAGAIN && r->overflow == UX_RING_DROP_NEW && !is_loan) {
    ux_add(&r->at->dropped, 1);
    return ECANCELED;
  }
  if (err != 0) return err;
  write_record(r, place, tag, src, stamp);
  show(r, place->end, stamp + 1, 1, src->length);
  return 0;
}

static int start_put(struct ux_ring *r, size_t length) {
  if (length > r->limit) return EMSGSIZE;
  if (ux_ring_is_closed(r)) return EPIPE;
  int err = lock(r);
  if (err != 0 || !ux_ring_is_shut(r)) return err;
  ux_ring_unlock(&r->at->put_lock);
  return EPIPE;
}

static int put_tagged(struct ux_ring *r, uint32_t tag,
                      const struct ux_ring_source *src,
                      struct ux_place *place) {
  int err = start_put(r, src->length);
  if (err != 0) return err;
  err = put_locked(r, tag, src, place);
  ux_ring_unlock(&r->at->put_lock);
  return err;
}

static int put(struct ux_ring *r, const struct ux_ring_source *src) {
  struct ux_place place;
  int err = put_tagged(r, ux_tag(UX_RECORD_DATA, src->mark, 0), src, &place);
  if (err == ECANCELED) return 0;
  if (err == 0) ux_ring_notify(r, &r->at->not_empty, true);
  return err;
}

static int put_many_locked(struct ux_ring *r, const struct ux_ring_item *items,
                           size_t count, size_t *done) {
  uint64_t start = ux_get(&r->at->write_at), at = start, bytes = 0;
  uint64_t stamp = ux_get(&r->at->stamp);
  int err = 0;
  for (; *done < count; ++*done) {
    const struct ux_ring_item *item = &items[*done];
    struct iovec iov = {(void *)(uintptr_t)item->data, item->length};
    struct ux_ring_source src = {&iov, 1, item->length, item->mark};
    struct ux_place place;
    if (item->length > r->limit)
      err = EMSGSIZE;
    else
      err = find_room(r, at, start, ux_span(item->length), &place);
    if (err != 0) break;
    uint32_t tag = ux_tag(UX_RECORD_DATA, item->mark, 0);
    write_record(r, &place, tag, &src, (stamp + *done) & UX_STAMP_MASK);
    at = place.end;
    bytes += item->length;
  }
  if (*done > 0) show(r, at, stamp + *done, *done, bytes);
  return *done > 0 ? 0 : err;
}

static int put_many(struct ux_ring *r, const struct ux_ring_item *items,
                    size_t count, size_t *done) {
  int err = start_put(r, 0);
  if (err != 0) return err;
  err = put_many_locked(r, items, count, done);
  ux_ring_unlock(&r->at->put_lock);
  if (err == 0) ux_ring_notify(r, &r->at->not_empty, true);
  if (err == EAGAIN && r->overflow == UX_RING_DROP_NEW) {
    err = ux_ring_put(r, items[0].data, items[0].length, items[0].mark);
    *done = err == 0;
  }
  return err;
}

static int reserve(struct ux_ring *r, size_t length,
                   struct ux_ring_loan *loan) {
  struct ux_place place;
  struct ux_ring_source src = {.length = length};
  uint32_t us = ux_segment_self(r->segment);
  int err = put_tagged(r, ux_tag(UX_RECORD_LOAN, 0, us), &src, &place);
  if (err != 0) return err;
  loan->position = place.start;
  loan->length = length;
  loan->data = ux_record_data(ux_record_at(r, place.start));
  return 0;
}

/* ---- subscribing ------------------------------------------------------- */

static struct ux_slot_shared *own_slot(const struct ux_ring *r) {
  return &r->segment->at->slot[r->segment->slot];
}

static uint32_t own_mark(const struct ux_ring *r) {
  return UX_SUBSCRIBED | ux_segment_self(r->segment);
}

/* Where to begin: number and position of the message that comes first. */
static int find_start(struct ux_ring *r, enum ux_ring_start start,
                      uint64_t last, uint64_t *at, uint64_t *stamp) {
  uint64_t end = ux_get(&r->at->write_at), next = ux_get(&r->at->stamp);
  struct ux_head h;
  *at = start == UX_RING_NEW ? end : ux_get(&r->at->tail_at);
  *stamp = next;
  if (ux_check_positions(r, *at, end) != 0) return EBADMSG;
  for (; *at != end; *at += h.span) {
    int err = ux_read_head(r, *at, end, &h);
    if (err != 0) return err;
    if (ux_head_kind(&h) == UX_RECORD_PAD) continue; /* has no number */
    *stamp = h.stamp;
    uint64_t left = (next - h.stamp) & UX_STAMP_MASK;
    if (start == UX_RING_OLDEST || left <= last) return 0;
  }
  *stamp = next;
  return 0;
}

/* Under the lock the tail stays where it is. */
static int subscribe_locked(struct ux_ring *r, enum ux_ring_start start,
                            uint64_t last) {
  struct ux_slot_shared *slot = own_slot(r);
  uint64_t at, tail = ux_get(&r->at->tail_at), gate_at;
  int err = find_start(r, start, last, &at, &r->next_stamp);
  if (err != 0) return err;
  gate_at = ux_get(&r->at->gate_at);
  if (at - tail < gate_at - tail) ux_set(&r->at->gate_at, at);
  ux_show(&slot->cursor, at);
  UX_STEP("subscribing");
  atomic_store(&slot->subscribed, own_mark(r));
  r->get_at = r->get_to = at;
  r->is_getting = true;
  r->lost = 0;
  return 0;
}

int ux_broadcast_subscribe(struct ux_ring *r, enum ux_ring_start start,
                           uint64_t last) {
  int err = lock(r);
  if (err != 0) return err;
  if (r->is_getting) ux_set(&own_slot(r)->subscribed, 0);
  err = subscribe_locked(r, start, last);
  ux_ring_unlock(&r->at->put_lock);
  return err;
}

void ux_broadcast_leave(struct ux_ring *r) {
  if (!r->is_getting) return;
  r->is_getting = false;
  if (r->fork_count != ux_segment_forks) return;
  uint32_t ours = own_mark(r);
  atomic_compare_exchange_strong(&own_slot(r)->subscribed, &ours, 0);
  ux_ring_notify(r, &r->at->not_full, true);
}

/* Under the lock, so that nobody joins meanwhile. */
int ux_broadcast_evict(struct ux_ring *r, size_t length, uint32_t *evicted) {
  *evicted = 0;
  int err = lock(r);
  if (err != 0) return err;
  uint64_t tail = ux_get(&r->at->tail_at), end = ux_get(&r->at->write_at);
  uint64_t need = ux_place_of(r, end, ux_span(length)).end;
  if (ux_check_positions(r, tail, end) != 0) err = EBADMSG;
  while (err == 0) {
    struct slowest s = find_slowest(r, tail, end);
    if (s.slot == NULL || need - s.cursor <= r->mask + 1) break;
    UX_STEP("evicting");
    atomic_store(&s.slot->subscribed, UX_EVICTED);
    ++*evicted;
  }
  ux_set(&r->at->gate_at, tail);
  ux_ring_unlock(&r->at->put_lock);
  return err;
}

/* ---- get --------------------------------------------------------------- */

static int leave_evicted(struct ux_ring *r) {
  r->is_getting = false;
  return ENOTCONN;
}

/* The tail has passed us: we go on at the oldest, or, if that happens in the
   middle of a copy again and again, at the newest. */
static int catch_up(struct ux_ring *r, int tries) {
  uint64_t tail = ux_see(&r->at->tail_at);
  uint64_t end = ux_see(&r->at->write_at);
  if (!is_lapping(r)) return leave_evicted(r);
  uint64_t to = tries < 4 ? tail : end;
  if (ux_check_positions(r, to, end) != 0) return tries < 4 ? 0 : EBADMSG;
  r->get_at = to;
  r->get_to = end;
  return 0;
}

static bool is_passed(const struct ux_ring *r, uint64_t tail) {
  return (int64_t)(tail - r->get_at) > 0;
}

/* What was read before is true only if the tail has not passed it. */
static bool was_passed(const struct ux_ring *r) {
  if (!is_racing(r)) return false;
  atomic_thread_fence(memory_order_acquire);
  return is_passed(r, ux_see(&r->at->tail_at));
}

static int see_more(struct ux_ring *r) {
  int end = ux_ring_end(r);
  uint64_t to = ux_see(&r->at->write_at);
  if (to == r->get_at) {
    if (end == EBUSY) return ux_ring_wait_for_lock(r, &r->at->put_lock);
    ux_ring_wait_for(r, UX_RING_GET, &r->at->write_at, to);
    return end;
  }
  if (is_racing(r) && is_passed(r, ux_see(&r->at->tail_at))) {
    r->get_to = r->get_at;
    return ESTALE;
  }
  if (ux_check_positions(r, r->get_at, to) != 0) return EBADMSG;
  r->get_to = to;
  return 0;
}

/* A loan of the living; of the dead it is given back. */
static bool is_pending(struct ux_ring *r, struct ux_head *h) {
  if (!ux_ring_is_look_due(r)) return true;
  return is_held(r, h);
}

static int read_message(struct ux_ring *r, struct ux_head *h) {
  int err = r->get_at == r->get_to ? see_more(r) : 0;
  if (err != 0) return err;
  err = ux_read_head(r, r->get_at, r->get_to, h);
  if (was_passed(r)) return ESTALE;
  if (err != 0) return err;
  if (ux_head_kind(h) == UX_RECORD_LOAN) {
    if (!is_pending(r, h)) return EINPROGRESS;
    return ux_ring_wait_for_tag(r, UX_RING_GET, &h->record->tag, h->tag);
  }
  if (ux_head_kind(h) == UX_RECORD_DATA) return 0;
  r->get_at += h->span;
  if (ux_head_kind(h) == UX_RECORD_ABORT) /* is not lost: nobody gets it */
    r->next_stamp = (r->next_stamp + 1) & UX_STAMP_MASK;
  return EINPROGRESS; /* the next one */
}

/* Numbers that were left out are counted as lost. */
static int count_lost(struct ux_ring *r, const struct ux_head *h) {
  uint64_t gap = (h->stamp - r->next_stamp) & UX_STAMP_MASK;
  r->lost = is_lapping(r) ? gap : 0;
  return gap <= UX_STAMP_MASK / 2 ? 0 : EBADMSG;
}

static void show_cursor(struct ux_ring *r) {
  ux_set(&r->at->get_cpu, ux_ring_cpu());
  UX_STEP("get copied");
  ux_show(&own_slot(r)->cursor, r->get_at);
  UX_STEP("get taken");
  if (!is_lapping(r)) ux_ring_notify(r, &r->at->not_full, true);
}

#define TRIES 1000

static int find_next(struct ux_ring *r, struct ux_head *h) {
  int err = ux_ring_begin(r), passed = 0;
  if (err != 0) return err;
  if (!r->is_getting) return ENOTCONN;
  if (ux_see(&own_slot(r)->subscribed) != own_mark(r)) return leave_evicted(r);
  for (int i = 0; i < TRIES; i++) {
    err = read_message(r, h);
    if (err == ESTALE)
      err = catch_up(r, passed++);
    else if (err == 0)
      return count_lost(r, h);
    if (err != 0 && err != EINPROGRESS) return err;
  }
  return ux_ring_wait_for(r, UX_RING_GET, &r->at->write_at, r->get_at);
}

/* Loans that were given back are passed, and nobody receives them: their place
   is free all the same. */
static int find_message(struct ux_ring *r, struct ux_head *h) {
  int err = find_next(r, h);
  bool has_passed = err == EAGAIN && ux_get(&own_slot(r)->cursor) != r->get_at;
  if (has_passed) show_cursor(r);
  return err;
}

static void copy_out(const struct ux_ring *r, const struct ux_head *h,
                     char *to) {
  char *data = ux_record_data(h->record);
  if (h->length == 0) return;
  if (!is_racing(r)) {
    memcpy(to, data, h->length);
    return;
  }
  const _Atomic uint64_t *from = (_Atomic uint64_t *)(void *)data;
  size_t left = h->length;
  for (; left >= sizeof(uint64_t); left -= sizeof(uint64_t)) {
    uint64_t word = ux_get(from++);
    memcpy(to, &word, sizeof word);
    to += sizeof word;
  }
  if (left > 0) {
    uint64_t word = ux_get(from);
    memcpy(to, &word, left);
  }
}

static void move_on(struct ux_ring *r, const struct ux_head *h) {
  r->get_at += h->span;
  r->next_stamp = (h->stamp + 1) & UX_STAMP_MASK;
  r->gets++;
}

/* Copies the next one; true: it was written over meanwhile. */
static int copy_message(struct ux_ring *r, void *buffer, size_t size,
                        struct ux_head *h) {
  for (int i = 0; i < TRIES; i++) {
    int err = find_message(r, h);
    if (err != 0) return err;
    if (h->length > size) return ERANGE;
    copy_out(r, h, buffer);
    UX_STEP("get racing");
    if (!was_passed(r)) return 0;
    err = catch_up(r, i);
    if (err != 0) return err;
  }
  return ux_ring_wait_for(r, UX_RING_GET, &r->at->write_at, r->get_at);
}

static int get(struct ux_ring *r, void *buffer, size_t size,
               struct ux_ring_message *m) {
  struct ux_head h;
  int err = copy_message(r, buffer, size, &h);
  if (err != 0 && err != ERANGE) return err;
  ux_tell_message(m, &h);
  m->lost = r->lost;
  if (err != 0) return err;
  move_on(r, &h);
  show_cursor(r);
  return 0;
}

static int get_many(struct ux_ring *r, void *buffer, size_t size, size_t max,
                    size_t *count, size_t *needed) {
  struct ux_head h;
  char *to = buffer;
  int err = 0;
  while (*count < max) {
    size_t left = size - (size_t)(to - (char *)buffer);
    size_t head = sizeof(struct ux_ring_packed);
    bool is_short = left < head; /* there may be no buffer at all */
    size_t room = is_short ? 0 : (left - head) & ~(size_t)7;
    err = copy_message(r, is_short ? to : to + head, room, &h);
    if (err == 0 && is_short) err = ERANGE;
    if (err == ERANGE) *needed = ux_ring_packed_size(h.length);
    if (err != 0) break;
    ux_pack(to, &h, r->lost);
    to += ux_ring_packed_size(h.length);
    move_on(r, &h);
    ++*count;
  }
  if (*count > 0) show_cursor(r);
  return *count > 0 ? 0 : err;
}

static int peek(struct ux_ring *r, struct ux_ring_message *m) {
  struct ux_head h;
  if (is_racing(r)) return ENOTSUP;
  int err = find_message(r, &h);
  if (err != 0) return err;
  ux_tell_message(m, &h);
  m->data = ux_record_data(h.record);
  m->lost = 0;
  return 0;
}

static int release(struct ux_ring *r, uint64_t position) {
  struct ux_head h;
  if (is_racing(r) || !r->is_getting || position != r->get_at) return EBADMSG;
  int err = find_message(r, &h);
  if (err != 0) return EBADMSG;
  move_on(r, &h);
  show_cursor(r);
  return 0;
}

static int untake(struct ux_ring *r, uint64_t position) {
  return r->is_getting && position == r->get_at ? 0 : EBADMSG;
}

/* ---- the dead ---------------------------------------------------------- */

static bool look(struct ux_ring *r, enum ux_ring_side side) {
  struct ux_head h;
  if (side == UX_RING_PUT) return ux_broadcast_reap(r) > 0;
  r->is_looking = true;
  int err = find_message(r, &h);
  r->is_looking = false;
  return err != EAGAIN;
}

const struct ux_ring_mode ux_ring_broadcast_mode = {
  .put = put,
  .put_many = put_many,
  .get = get,
  .get_many = get_many,
  .reserve = reserve,
  .commit = ux_queue_commit,
  .abort = ux_queue_abort,
  .peek = peek,
  .release = release,
  .untake = untake,
  .look = look,
  .slice = UX_NS_PER_S / 4,
};
