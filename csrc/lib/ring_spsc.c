/* One to one: the same records without locks. Each side has a role, a byte of
   the file that it locks, and copies of both positions. */
#include "lib/ring_spsc.h"

#include "lib/clock.h"
#include "lib/ring_duplex.h"

/* ---- roles ------------------------------------------------------------- */

static void set_role(struct ux_ring *r, int side, uint32_t state) {
  uint32_t us = ux_segment_self(r->segment);
  atomic_store(&r->at->role[side], us << 2 | state);
}

static int learn_positions(struct ux_ring *r, enum ux_ring_side side) {
  uint64_t from = ux_see(&r->at->read_at), to = ux_see(&r->at->write_at);
  if (ux_check_positions(r, from, to) != 0) return EBADMSG;
  if (side == UX_RING_PUT) {
    r->put_at = to;
    r->put_to = from;
    r->puts = ux_get(&r->at->puts);
    r->put_bytes = ux_get(&r->at->put_bytes);
    r->is_putting = true;
  } else {
    r->get_at = from;
    r->get_to = to;
    r->gets = ux_get(&r->at->gets);
    r->is_getting = true;
  }
  return 0;
}

int ux_spsc_take_role(struct ux_ring *r, enum ux_ring_side side) {
  int err = ux_ring_begin(r);
  if (err != 0) return err;
  if (side == UX_RING_PUT ? r->is_putting : r->is_getting) return 0;
  err = ux_segment_lock_role(r->segment, r->index, side);
  r->is_role_taken[side] = err == EBUSY;
  if (err != 0) return err;
  UX_STEP("role locked");
  err = learn_positions(r, side);
  if (err == 0)
    set_role(r, side, UX_ROLE_HERE);
  else
    ux_segment_unlock_role(r->segment, r->index, side);
  return err;
}

/* Both directions of a duplex end together. */
static void mark_gone(struct ux_ring *r, uint32_t who) {
  const struct ux_segment_options *o = &r->segment->options;
  for (uint32_t i = 0; i < ux_segment_rings(o); i++) {
    char *at = (char *)r->segment->at + ux_segment_ring_offset(o, i);
    struct ux_ring_shared *q = (struct ux_ring_shared *)(void *)at;
    for (int side = 0; side < 2; side++) {
      uint32_t v = who << 2 | UX_ROLE_HERE;
      atomic_compare_exchange_strong(
        &q->role[side], &v, who << 2 | UX_ROLE_GONE);
    }
  }
}

void ux_spsc_leave(struct ux_ring *r) {
  if (!r->is_putting && !r->is_getting) return;
  mark_gone(r, ux_segment_self(r->segment));
  for (int side = 0; side < 2; side++)
    if (side == UX_RING_PUT ? r->is_putting : r->is_getting)
      ux_segment_unlock_role(r->segment, r->index, side);
  r->is_putting = r->is_getting = false;
  r->has_loan[0] = r->has_loan[1] = false;
  ux_ring_wake_everybody(r);
}

/* ---- the other end of a duplex ----------------------------------------- */

/* The role that the other end has in ring 0 or 1, when ours in ring r->index
   is `side`: it may have taken one only before it was killed. */
static uint32_t others_role(const struct ux_ring *r, enum ux_ring_side side,
                            uint32_t ring) {
  const struct ux_segment *s = r->segment;
  bool is_same = ring == r->index;
  char *at = (char *)s->at + ux_segment_ring_offset(&s->options, ring);
  struct ux_ring_shared *q = (struct ux_ring_shared *)(void *)at;
  return ux_see(&q->role[is_same ? 1 - side : side]);
}

/* Of one role at least it is known, and it has none any more; or it never had
   one, and cannot come. */
static bool is_other_gone(const struct ux_ring *r, enum ux_ring_side side) {
  bool was_there = false, may_be_lost = r->segment->is_other_lost;
  if (r->segment->options.kind != UX_SEGMENT_DUPLEX) return false;
  for (uint32_t i = 0; i < 2; i++) {
    uint32_t state = others_role(r, side, i) & 3u;
    if (state == UX_ROLE_HERE) return false;
    if (state == UX_ROLE_GONE) was_there = true;
    if (state == UX_ROLE_EXPECTED) may_be_lost = false;
  }
  return was_there || may_be_lost;
}

static bool can_come(const struct ux_ring *r, enum ux_ring_side side) {
  for (uint32_t i = 0; i < 2; i++)
    if (others_role(r, side, i) != UX_ROLE_NEVER) return true;
  return !ux_duplex_is_cut(r->segment);
}

/* Was it killed? Then that is written down for all. */
static bool look(struct ux_ring *r, enum ux_ring_side side) {
  if (r->segment->options.kind != UX_SEGMENT_DUPLEX) return false;
  for (uint32_t i = 0; i < 2; i++) {
    uint32_t v = others_role(r, side, i), who = v >> 2 & UX_WHO_MASK;
    if ((v & 3u) == UX_ROLE_HERE && ux_segment_is_dead(r->segment, who))
      mark_gone(r, who);
  }
  if (!can_come(r, side)) r->segment->is_other_lost = true;
  return is_other_gone(r, side);
}

static bool is_over(struct ux_ring *r, enum ux_ring_side side) {
  if (is_other_gone(r, side)) return true;
  return ux_ring_is_look_due(r) && look(r, side);
}

/* ---- put --------------------------------------------------------------- */

static int start_put(struct ux_ring *r, size_t length) {
  int err = ux_ring_begin(r);
  if (err == 0 && !r->is_putting) err = ux_spsc_take_role(r, UX_RING_PUT);
  if (err != 0) return err;
  if (r->has_loan[UX_RING_PUT]) return EDEADLK;
  if (length > r->limit) return EMSGSIZE;
  if (ux_ring_is_closed(r) || is_other_gone(r, UX_RING_PUT)) return EPIPE;
  return 0;
}

static void show(struct ux_ring *r) {
  struct ux_ring_shared *q = r->at;
  ux_set(&q->put_cpu, ux_ring_cpu());
  ux_set(&q->puts, r->puts);
  ux_set(&q->put_bytes, r->put_bytes);
  UX_STEP("put written");
  ux_show(&q->write_at, r->put_at);
  UX_STEP("put shown");
}

/* What was written quietly must be seen, or nobody would ever make room. */
static int full(struct ux_ring *r, uint64_t from) {
  if (r->put_at != ux_get(&r->at->write_at)) {
    show(r);
    ux_ring_notify(r, &r->at->not_empty, true);
  }
  ux_ring_wait_for(r, UX_RING_PUT, &r->at->read_at, from);
  return is_over(r, UX_RING_PUT) ? EPIPE : EAGAIN;
}

static int find_room(struct ux_ring *r, uint64_t span,
                     struct ux_place *place) {
  *place = ux_place_of(r, r->put_at, span);
  if (place->end - r->put_to <= r->mask + 1) return 0;
  uint64_t from = ux_see(&r->at->read_at);
  if (ux_check_positions(r, from, r->put_at) != 0) return EBADMSG;
  r->put_to = from;
  return place->end - from <= r->mask + 1 ? 0 : full(r, from);
}

static void finish_record(struct ux_ring *r, const struct ux_place *p,
                          size_t length, unsigned mark) {
  if (p->start != p->pad) ux_write_pad(r, p, ux_stamp_of(p->pad));
  ux_write_head(r,
                p->start,
                ux_tag(UX_RECORD_DATA, mark, 0),
                length,
                ux_stamp_of(p->start));
  r->put_at = p->start + ux_span(length);
  r->puts++;
  r->put_bytes += length;
}

int ux_spsc_write(struct ux_ring *r, const struct ux_ring_source *src) {
  struct ux_place place;
  int err = start_put(r, src->length);
  if (err == 0) err = find_room(r, ux_span(src->length), &place);
  if (err == EAGAIN && r->overflow == UX_RING_DROP_NEW) {
    ux_add(&r->at->dropped, 1);
    return ECANCELED;
  }
  if (err != 0) return err;
  ux_copy_in(r, place.start, src);
  UX_STEP("put copied");
  finish_record(r, &place, src->length, src->mark);
  return 0;
}

void ux_spsc_publish(struct ux_ring *r) {
  show(r);
  ux_ring_notify(r, &r->at->not_empty, true);
}

static int put(struct ux_ring *r, const struct ux_ring_source *src) {
  int err = ux_spsc_write(r, src);
  if (err == 0) ux_spsc_publish(r);
  return err == ECANCELED ? 0 : err;
}

static int put_many(struct ux_ring *r, const struct ux_ring_item *items,
                    size_t count, size_t *done) {
  int err = 0;
  for (; *done < count; ++*done) {
    const struct ux_ring_item *item = &items[*done];
    struct iovec iov = {(void *)(uintptr_t)item->data, item->length};
    struct ux_ring_source src = {&iov, 1, item->length, item->mark};
    err = ux_spsc_write(r, &src);
    if (err != 0 && err != ECANCELED) break;
  }
  if (*done > 0) ux_spsc_publish(r);
  return *done > 0 ? 0 : err;
}

/* ---- get --------------------------------------------------------------- */

static int see_more(struct ux_ring *r) {
  bool was_closed = ux_ring_is_closed(r);
  bool was_over = is_other_gone(r, UX_RING_GET);
  uint64_t to = ux_see(&r->at->write_at);
  if (ux_check_positions(r, r->get_at, to) != 0) return EBADMSG;
  r->get_to = to;
  if (to != r->get_at) return 0;
  if (was_closed || was_over) return EPIPE;
  if (r->segment->options.kind == UX_SEGMENT_DUPLEX &&
      ux_ring_is_look_due(r) && look(r, UX_RING_GET))
    return see_more(r); /* what it put before it died */
  return ux_ring_wait_for(r, UX_RING_GET, &r->at->write_at, to);
}

static int find_message(struct ux_ring *r, struct ux_head *h) {
  int err = ux_ring_begin(r);
  if (err == 0 && !r->is_getting) err = ux_spsc_take_role(r, UX_RING_GET);
  if (err == 0 && r->has_loan[UX_RING_GET]) err = EDEADLK;
  while (err == 0) {
    if (r->get_at == r->get_to) err = see_more(r);
    if (err == 0) err = ux_read_head(r, r->get_at, r->get_to, h);
    if (err != 0) return err;
    if (h->stamp != ux_stamp_of(r->get_at)) return EBADMSG;
    if (ux_head_kind(h) == UX_RECORD_DATA) return 0;
    if (ux_head_kind(h) != UX_RECORD_PAD) return EBADMSG;
    r->get_at += h->span;
  }
  return err;
}

static void take(struct ux_ring *r) {
  struct ux_ring_shared *q = r->at;
  ux_set(&q->get_cpu, ux_ring_cpu());
  ux_set(&q->gets, r->gets);
  UX_STEP("get copied");
  ux_show(&q->read_at, r->get_at);
  UX_STEP("get taken");
  ux_ring_notify(r, &q->not_full, true);
}

static int get(struct ux_ring *r, void *buffer, size_t size,
               struct ux_ring_message *m) {
  struct ux_head h;
  int err = find_message(r, &h);
  if (err != 0) return err;
  ux_tell_message(m, &h);
  if (h.length > size) return ERANGE;
  if (h.length > 0) memcpy(buffer, ux_record_data(h.record), h.length);
  r->get_at += h.span;
  r->gets++;
  take(r);
  return 0;
}

static int get_many(struct ux_ring *r, void *buffer, size_t size, size_t max,
                    size_t *count, size_t *needed) {
  struct ux_head h;
  char *to = buffer;
  int err = 0;
  while (*count < max && (err = find_message(r, &h)) == 0) {
    *needed = ux_ring_packed_size(h.length);
    err = *needed > size - (size_t)(to - (char *)buffer) ? ERANGE : 0;
    if (err != 0) break;
    char *data = ux_pack(to, &h, 0);
    if (h.length > 0) memcpy(data, ux_record_data(h.record), h.length);
    to += *needed;
    r->get_at += h.span;
    r->gets++;
    ++*count;
  }
  if (*count > 0) take(r);
  return *count > 0 ? 0 : err;
}

/* ---- loans: one at a time, and only its owner knows of it --------------- */

static int reserve(struct ux_ring *r, size_t length,
                   struct ux_ring_loan *loan) {
  struct ux_place place;
  int err = start_put(r, length);
  if (err == 0) err = find_room(r, ux_span(length), &place);
  if (err != 0) return err;
  loan->position = place.start;
  loan->length = length;
  loan->data = ux_record_data(ux_record_at(r, place.start));
  r->has_loan[UX_RING_PUT] = true;
  return 0;
}

static bool holds_loan(const struct ux_ring *r, enum ux_ring_side side) {
  return r->has_loan[side] && r->fork_count == ux_segment_forks;
}

/* Is it still what comes next? */
static int check_loan(struct ux_ring *r, const struct ux_ring_loan *loan,
                      struct ux_place *place) {
  if (!holds_loan(r, UX_RING_PUT)) return EBADMSG;
  *place = ux_place_of(r, r->put_at, ux_span(loan->length));
  return place->start == loan->position ? 0 : EBADMSG;
}

static int commit(struct ux_ring *r, const struct ux_ring_loan *loan,
                  size_t length, unsigned mark) {
  struct ux_place place;
  int err = check_loan(r, loan, &place);
  if (err != 0) return err;
  if (length > loan->length) return EMSGSIZE;
  r->has_loan[UX_RING_PUT] = false;
  finish_record(r, &place, length, mark);
  ux_spsc_publish(r);
  return 0;
}

static int abort_loan(struct ux_ring *r, const struct ux_ring_loan *loan) {
  struct ux_place place;
  int err = check_loan(r, loan, &place);
  if (err != 0) return err;
  r->has_loan[UX_RING_PUT] = false;
  ux_add(&r->at->aborted, 1);
  return 0;
}

static int peek(struct ux_ring *r, struct ux_ring_message *m) {
  struct ux_head h;
  int err = find_message(r, &h);
  if (err != 0) return err;
  ux_tell_message(m, &h);
  m->data = ux_record_data(h.record);
  r->has_loan[UX_RING_GET] = true;
  return 0;
}

static int release(struct ux_ring *r, uint64_t position) {
  struct ux_head h;
  if (!holds_loan(r, UX_RING_GET) || position != r->get_at) return EBADMSG;
  int err = ux_read_head(r, position, r->get_to, &h);
  if (err != 0) return err;
  r->has_loan[UX_RING_GET] = false;
  r->get_at += h.span;
  r->gets++;
  take(r);
  return 0;
}

static int untake(struct ux_ring *r, uint64_t position) {
  if (!holds_loan(r, UX_RING_GET) || position != r->get_at) return EBADMSG;
  r->has_loan[UX_RING_GET] = false;
  return 0;
}

const struct ux_ring_mode ux_ring_spsc_mode = {
  .put = put,
  .put_many = put_many,
  .get = get,
  .get_many = get_many,
  .reserve = reserve,
  .commit = commit,
  .abort = abort_loan,
  .peek = peek,
  .release = release,
  .untake = untake,
  .look = look,
  .slice = UX_NS_PER_S / 20,
};
