/* How consumers of a queue go over what is there. All under their lock. */
#include "lib/ring_queue.h"

static int start_walk(struct ux_ring *r, struct ux_walk *w) {
  struct ux_ring_shared *q = r->at;
  w->read = ux_get(&q->read_at);
  w->at = ux_get(&q->scan_at);
  w->end = ux_get(&q->ready_to);
  if (w->at - w->read > r->mask + 1) w->at = w->read;
  if (w->end - w->at > r->mask + 1) w->end = w->at;
  w->is_clear = w->at == w->read;
  return ux_check_positions(r, w->read, w->at);
}

/* The end of what is there, looked up anew. False: there is no more. */
static bool see_more(struct ux_ring *r, struct ux_walk *w, int *err) {
  if (w->at != w->end) return true;
  uint64_t end = ux_see(&r->at->write_at);
  *err = ux_check_positions(r, w->read, end);
  if (end - w->at > r->mask + 1) *err = EBADMSG;
  if (*err != 0) return false;
  w->end = end;
  ux_set(&r->at->ready_to, end);
  return w->at != end;
}

int ux_walk_read(const struct ux_ring *r, const struct ux_walk *w,
                 struct ux_head *h) {
  int err = ux_read_head(r, w->at, w->end, h);
  if (err == 0 && h->stamp != ux_stamp_of(w->at)) err = EBADMSG;
  return err;
}

/* A loan of the living? One of the dead is given back. */
static bool is_pending(struct ux_ring *r, struct ux_head *h) {
  if (!ux_ring_is_look_due(r)) return true;
  if (!ux_segment_is_dead(r->segment, ux_head_holder(h))) return true;
  UX_STEP("loan of the dead");
  uint32_t tag = h->tag;
  if (atomic_compare_exchange_strong(
        &h->record->tag, &tag, ux_tag(UX_RECORD_ABORT, 0, 0)))
    atomic_fetch_add(&r->at->aborted, 1);
  return false;
}

/* What was passed is free, or at least need not be looked at again. */
static void keep_walk(struct ux_ring *r, struct ux_walk *w) {
  if (w->is_clear && w->read != w->at) {
    w->read = w->at;
    w->is_freed = true;
    ux_show(&r->at->read_at, w->at);
  }
  if (!w->is_clear) ux_set(&r->at->scan_at, w->at);
}

/* For the next consumer; or the client is told. */
static void give_back(struct ux_ring *r, const struct ux_head *h) {
  uint32_t tag = h->tag;
  if (ux_service_fail(r, h)) return;
  if (atomic_compare_exchange_strong(
        &h->record->tag, &tag, ux_tag(UX_RECORD_DATA, ux_head_mark(h), 0)))
    atomic_fetch_add(&r->at->redelivered, 1);
}

/* Taken by one who is dead? True: not any more. */
static bool is_given_back(struct ux_ring *r, const struct ux_head *h) {
  if (!ux_segment_is_dead(r->segment, ux_head_holder(h))) return false;
  UX_STEP("taken by the dead");
  give_back(r, h);
  return ux_get(&h->record->tag) != h->tag;
}

/* The next one that can be taken: 0, EAGAIN, EBADMSG. */
int ux_walk_next(struct ux_ring *r, struct ux_walk *w, struct ux_head *h) {
  int err = 0;
  while (see_more(r, w, &err)) {
    err = ux_walk_read(r, w, h);
    if (err != 0) return err;
    switch (ux_head_kind(h)) {
      case UX_RECORD_DATA: return 0;
      case UX_RECORD_LOAN:
        if (is_pending(r, h))
          return ux_ring_wait_for_tag(r, UX_RING_GET, &h->record->tag, h->tag);
        continue;
      case UX_RECORD_TAKEN:
        if (r->is_looking && is_given_back(r, h)) continue;
        w->is_clear = false;
        break;
      default: break;
    }
    w->at += h->span;
  }
  return err != 0 ? err
                  : ux_ring_wait_for(r, UX_RING_GET, &r->at->write_at, w->end);
}

/* What a dead consumer had taken is there again, and is looked for from the
   start. True if there was such a one. */
static bool give_back_taken(struct ux_ring *r) {
  struct ux_walk w;
  struct ux_head h;
  bool is_found = false;
  if (start_walk(r, &w) != 0 || w.is_clear) return false;
  uint64_t scanned = w.at;
  for (w.at = w.read, w.end = scanned; w.at != scanned; w.at += h.span) {
    if (ux_walk_read(r, &w, &h) != 0) return false;
    if (ux_head_kind(&h) != UX_RECORD_TAKEN) continue;
    if (!ux_segment_is_dead(r->segment, ux_head_holder(&h))) continue;
    if (!is_found) ux_set(&r->at->scan_at, w.at);
    is_found = true;
    UX_STEP("taken by the dead");
    give_back(r, &h);
  }
  return is_found;
}

void ux_walk_free_front(struct ux_ring *r, struct ux_walk *w) {
  struct ux_walk front = {.read = ux_get(&r->at->read_at)};
  struct ux_head h;
  front.at = front.read;
  front.end = ux_get(&r->at->scan_at);
  if (front.end - front.read > r->mask + 1) return;
  while (front.at != front.end && ux_walk_read(r, &front, &h) == 0) {
    enum ux_record_kind kind = ux_head_kind(&h);
    if (kind == UX_RECORD_TAKEN || kind == UX_RECORD_DATA ||
        kind == UX_RECORD_LOAN)
      break;
    front.at += h.span;
  }
  if (front.at == front.read) return;
  UX_STEP("freeing");
  ux_show(&r->at->read_at, front.at);
  w->is_freed = true;
}

/* With the front made free: where the walk begins. */
static int begin_walk(struct ux_ring *r, struct ux_walk *w) {
  w->is_freed = false;
  int err = start_walk(r, w);
  if (err != 0 || w->is_clear) return err;
  ux_walk_free_front(r, w);
  return start_walk(r, w);
}

static bool give_back_and_restart(struct ux_ring *r, struct ux_walk *w,
                                  int *err) {
  if (!give_back_taken(r)) return false;
  ux_walk_free_front(r, w);
  *err = start_walk(r, w);
  return *err == 0;
}

/* Who looks for the dead looks for what they had taken even if there is more:
   perhaps nobody is left who takes that. */
int ux_walk_find(struct ux_ring *r, struct ux_walk *w, struct ux_head *h) {
  int err = begin_walk(r, w);
  if (err == 0 && r->is_looking) give_back_and_restart(r, w, &err);
  if (err == 0) err = ux_walk_next(r, w, h);
  if (err != EAGAIN) return err;
  keep_walk(r, w);
  if (w->is_clear || !ux_ring_is_look_due(r) ||
      !give_back_and_restart(r, w, &err))
    return err;
  return ux_walk_next(r, w, h);
}

/* ---- taking ------------------------------------------------------------ */

/* One store is what takes it. */
void ux_walk_take(struct ux_ring *r, struct ux_walk *w,
                  const struct ux_head *h) {
  w->at += h->span;
  if (w->is_clear) {
    ux_walk_take_all(r, w, 1);
    return;
  }
  UX_STEP("get copied");
  ux_show(&h->record->tag, ux_tag(UX_RECORD_DONE, 0, 0));
  UX_STEP("get taken");
  ux_set(&r->at->scan_at, w->at);
  ux_add(&r->at->gets, 1);
}

void ux_walk_take_all(struct ux_ring *r, struct ux_walk *w, uint64_t count) {
  struct ux_ring_shared *q = r->at;
  ux_set(&q->get_cpu, ux_ring_cpu());
  UX_STEP("get copied");
  ux_show(&q->read_at, w->at);
  UX_STEP("get taken");
  w->read = w->at;
  ux_add(&q->gets, count);
}
