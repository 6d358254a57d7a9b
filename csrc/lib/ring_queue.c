/* Many to many: records between two positions, two locks. The positions are
   the only truth: who is killed under a lock leaves nothing to repair. */
#include "lib/ring_queue.h"

#include "lib/clock.h"

/* ---- put --------------------------------------------------------------- */

/* Where the next record goes: 0, EAGAIN, EBADMSG. Under the lock. */
static int find_room(struct ux_ring *r, uint64_t at, uint64_t span,
                     struct ux_place *place) {
  struct ux_ring_shared *q = r->at;
  *place = ux_place_of(r, at, span);
  uint64_t capacity = r->mask + 1, from = ux_get(&q->free_from);
  if (place->end - from <= capacity) return 0;
  from = ux_see(&q->read_at);
  if (ux_check_positions(r, from, at) != 0) return EBADMSG;
  ux_set(&q->free_from, from);
  if (place->end - from <= capacity) return 0;
  return ux_ring_wait_for(r, UX_RING_PUT, &q->read_at, from);
}

/* free_from is believed only as far as it harms nobody: it is checked each
   time against the position it belongs to. */
static int find_end(struct ux_ring *r, uint64_t *at) {
  struct ux_ring_shared *q = r->at;
  *at = ux_get(&q->write_at);
  if (ux_check_positions(r, ux_get(&q->free_from), *at) == 0) return 0;
  ux_set(&q->free_from, ux_see(&q->read_at));
  return ux_check_positions(r, ux_get(&q->free_from), *at);
}

static void show(struct ux_ring *r, uint64_t at, uint64_t end,
                 uint64_t messages, uint64_t bytes) {
  struct ux_ring_shared *q = r->at;
  (void)at;
  ux_set(&q->put_cpu, ux_ring_cpu());
  UX_STEP("put written");
  ux_show(&q->write_at, end);
  UX_STEP("put shown");
  ux_add(&q->puts, messages);
  ux_add(&q->put_bytes, bytes);
}

static void write_record(struct ux_ring *r, const struct ux_place *p,
                         uint32_t tag, const struct ux_ring_source *src) {
  if (p->start != p->pad) ux_write_pad(r, p, ux_stamp_of(p->pad));
  ux_write_head(r, p->start, tag, src->length, ux_stamp_of(p->start));
  UX_STEP("put head");
  ux_copy_in(r, p->start, src);
}

/* Takes the oldest away from the consumers, one at a time, until there is
   room. What one of them has taken or somebody fills stays. */
static int drop_oldest(struct ux_ring *r, uint64_t at, uint64_t span,
                       struct ux_place *place) {
  int err = ux_ring_lock(r, &r->at->get_lock);
  if (err != 0 && err != EOWNERDEAD) return err;
  do {
    struct ux_walk w;
    struct ux_head h;
    err = ux_walk_find(r, &w, &h);
    if (err == 0 && !w.is_clear)
      err = ux_ring_wait_for(r, UX_RING_PUT, &r->at->read_at, w.read);
    if (err == EAGAIN && w.is_clear)
      r->watch[UX_RING_PUT] = r->watch[UX_RING_GET]; /* a loan */
    if (err != 0) break;
    ux_walk_take(r, &w, &h);
    ux_add(&r->at->gets, -(uint64_t)1);
    ux_add(&r->at->displaced, 1);
    ux_add(&r->at->dropped, 1);
    err = find_room(r, at, span, place);
  } while (err == EAGAIN);
  ux_ring_unlock(&r->at->get_lock);
  r->was_woken = true; /* there may be more room than is needed */
  return err;
}

/* ECANCELED: it was dropped, and counted. A loan is no message yet. */
static int drop(struct ux_ring *r, uint32_t tag, uint64_t at, uint64_t span,
                struct ux_place *place) {
  bool is_loan = (tag & 15u) == UX_RECORD_LOAN;
  if (r->overflow == UX_RING_DROP_OLDEST)
    return drop_oldest(r, at, span, place);
  if (r->overflow != UX_RING_DROP_NEW || is_loan) return EAGAIN;
  ux_add(&r->at->dropped, 1);
  return ECANCELED;
}

static int put_locked(struct ux_ring *r, uint32_t tag,
                      const struct ux_ring_source *src,
                      struct ux_place *place) {
  uint64_t at, span = ux_span(src->length);
  int err = find_end(r, &at);
  if (err == 0) err = find_room(r, at, span, place);
  if (err == EAGAIN) err = drop(r, tag, at, span, place);
  if (err != 0) return err;
  write_record(r, place, tag, src);
  show(r, at, place->end, 1, src->length);
  return 0;
}

static int start_put(struct ux_ring *r, size_t length) {
  int err = ux_ring_begin(r);
  if (err != 0) return err;
  if (length > r->limit) return EMSGSIZE;
  if (ux_ring_is_closed(r)) return EPIPE;
  err = ux_ring_lock(r, &r->at->put_lock);
  UX_STEP("put locked");
  if (err != 0 && err != EOWNERDEAD) return err;
  if (!ux_ring_is_shut(r)) return 0;
  ux_ring_unlock(&r->at->put_lock);
  return EPIPE;
}

/* Who was woken alone, and may leave room, wakes the next. */
static void finish_put(struct ux_ring *r, int err) {
  ux_ring_unlock(&r->at->put_lock);
  if (__builtin_expect(!r->was_woken, 1) || err != 0) return;
  r->was_woken = false;
  ux_ring_notify(r, &r->at->not_full, false);
}

int ux_queue_put(struct ux_ring *r, uint32_t tag,
                 const struct ux_ring_source *src, struct ux_place *place) {
  int err = start_put(r, src->length);
  if (err != 0) return err;
  err = put_locked(r, tag, src, place);
  finish_put(r, err);
  return err;
}

static int put(struct ux_ring *r, const struct ux_ring_source *src) {
  struct ux_place place;
  int err = ux_queue_put(r, ux_tag(UX_RECORD_DATA, src->mark, 0), src, &place);
  if (err == ECANCELED) return 0; /* dropped */
  if (err == 0) ux_ring_notify(r, &r->at->not_empty, false);
  return err;
}

/* Written one behind the other, shown at once. */
static int put_many_locked(struct ux_ring *r, const struct ux_ring_item *items,
                           size_t count, size_t *done) {
  uint64_t start, at, bytes = 0;
  int err = find_end(r, &start);
  if (err != 0) return err;
  at = start;
  for (; *done < count; ++*done) {
    const struct ux_ring_item *item = &items[*done];
    struct iovec iov = {(void *)(uintptr_t)item->data, item->length};
    struct ux_ring_source src = {&iov, 1, item->length, item->mark};
    struct ux_place place;
    err = item->length > r->limit
            ? EMSGSIZE
            : find_room(r, at, ux_span(item->length), &place);
    if (err != 0) break;
    write_record(r, &place, ux_tag(UX_RECORD_DATA, item->mark, 0), &src);
    at = place.end;
    bytes += item->length;
  }
  if (at != start) show(r, start, at, *done, bytes);
  return at != start ? 0 : err;
}

static int put_many(struct ux_ring *r, const struct ux_ring_item *items,
                    size_t count, size_t *done) {
  int err = start_put(r, 0);
  if (err != 0) return err;
  err = put_many_locked(r, items, count, done);
  finish_put(r, err);
  if (err == 0) ux_ring_notify(r, &r->at->not_empty, *done > 1);
  if (err == EAGAIN && count > 0 && r->overflow != UX_RING_FULL) {
    err = ux_ring_put(r, items[0].data, items[0].length, items[0].mark);
    *done = err == 0;
  }
  return err;
}

/* ---- get --------------------------------------------------------------- */

int ux_queue_start_get(struct ux_ring *r) {
  int err = ux_ring_begin(r);
  if (err != 0) return err;
  err = ux_ring_lock(r, &r->at->get_lock);
  UX_STEP("get locked");
  return err == EOWNERDEAD ? 0 : err;
}

static int get_locked(struct ux_ring *r, void *buffer, size_t size,
                      struct ux_ring_message *m, struct ux_walk *w) {
  struct ux_head h;
  int err = ux_walk_find(r, w, &h);
  if (err != 0) return err;
  ux_tell_message(m, &h);
  if (h.length > size) return ERANGE;
  if (h.length > 0) memcpy(buffer, ux_record_data(h.record), h.length);
  ux_walk_take(r, w, &h);
  return 0;
}

/* Nothing there: for good, if it was closed before that was seen. A loan is
   something. */
int ux_queue_is_over(struct ux_ring *r, int err, int end) {
  if (err != EAGAIN || r->watch[UX_RING_GET].word64 == NULL) return err;
  return end == EBUSY ? ux_ring_wait_for_lock(r, &r->at->put_lock) : end;
}

/* Who was woken alone, and leaves something, wakes the next. Room may have
   been made even if nothing was there. */
void ux_queue_pass_on(struct ux_ring *r, const struct ux_walk *w, int err) {
  if (err == 0 && w->at != w->end) ux_ring_notify(r, &r->at->not_empty, false);
  if (err == 0 || w->is_freed)
    ux_ring_notify(r, &r->at->not_full, w->is_freed);
}

static int get(struct ux_ring *r, void *buffer, size_t size,
               struct ux_ring_message *m) {
  struct ux_walk w = {.is_freed = false};
  int err = ux_queue_start_get(r);
  if (err != 0) return err;
  int end = ux_ring_end(r);
  err = get_locked(r, buffer, size, m, &w);
  ux_ring_unlock(&r->at->get_lock);
  ux_queue_pass_on(r, &w, err);
  return ux_queue_is_over(r, err, end);
}

/* All are copied first; then one store takes them. If others hold some of
   those before, each is taken by itself. */
static int get_many_locked(struct ux_ring *r, char *to, size_t size,
                           size_t max, size_t *count, size_t *needed,
                           struct ux_walk *w) {
  struct ux_head h;
  int err = 0;
  size_t used = 0;
  bool was_clear = true;
  uint64_t taken_to = 0; /* the walk may have passed what others hold */
  while (*count < max) {
    err = *count == 0 ? ux_walk_find(r, w, &h) : ux_walk_next(r, w, &h);
    if (err != 0 || (*count > 0 && w->is_clear != was_clear)) break;
    was_clear = w->is_clear;
    *needed = ux_ring_packed_size(h.length);
    err = *needed > size - used ? ERANGE : 0;
    if (err != 0) break;
    char *data = ux_pack(to + used, &h, 0);
    if (h.length > 0) memcpy(data, ux_record_data(h.record), h.length);
    used += *needed;
    ++*count;
    if (w->is_clear)
      taken_to = w->at += h.span;
    else
      ux_walk_take(r, w, &h);
  }
  if (*count > 0 && was_clear) {
    w->at = taken_to;
    ux_walk_take_all(r, w, *count);
  }
  return *count > 0 ? 0 : err;
}

static int get_many(struct ux_ring *r, void *buffer, size_t size, size_t max,
                    size_t *count, size_t *needed) {
  struct ux_walk w = {.is_freed = false};
  int err = ux_queue_start_get(r);
  if (err != 0) return err;
  int end = ux_ring_end(r);
  err = get_many_locked(r, buffer, size, max, count, needed, &w);
  ux_ring_unlock(&r->at->get_lock);
  ux_queue_pass_on(r, &w, err);
  return ux_queue_is_over(r, err, end);
}

/* Producers wait for consumers alone, who look for their own dead. */
static bool look(struct ux_ring *r, enum ux_ring_side side) {
  struct ux_walk w = {.is_freed = false};
  struct ux_head h;
  if (side == UX_RING_PUT) return false;
  if (r->segment->options.kind == UX_SEGMENT_SERVICE && r->index > 0)
    ux_service_look(r);
  if (ux_queue_start_get(r) != 0) {
    r->lock = NULL; /* it is for something else that we wait */
    return false;
  }
  r->is_looking = true;
  int err = ux_walk_find(r, &w, &h);
  r->is_looking = false;
  ux_ring_unlock(&r->at->get_lock);
  if (w.is_freed) ux_ring_notify(r, &r->at->not_full, true);
  return err != EAGAIN;
}

const struct ux_ring_mode ux_ring_queue_mode = {
  .put = put,
  .put_many = put_many,
  .get = get,
  .get_many = get_many,
  .reserve = ux_queue_reserve,
  .commit = ux_queue_commit,
  .abort = ux_queue_abort,
  .peek = ux_queue_peek,
  .release = ux_queue_release,
  .untake = ux_queue_untake,
  .look = look,
  .slice = UX_NS_PER_S / 4,
};
