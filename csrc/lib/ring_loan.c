/* Loans of a queue: places that are filled, and messages that are read, where
   they stand. */
#include "lib/ring_queue.h"

/* ---- producers --------------------------------------------------------- */

/* Shown at once, as a loan: consumers stop there. */
int ux_queue_reserve(struct ux_ring *r, size_t length,
                     struct ux_ring_loan *loan) {
  struct ux_place place;
  struct ux_ring_source src = {.length = length};
  uint32_t us = ux_segment_self(r->segment);
  int err = ux_queue_put(r, ux_tag(UX_RECORD_LOAN, 0, us), &src, &place);
  if (err != 0) return err;
  UX_STEP("reserved");
  loan->position = place.start;
  loan->length = length;
  loan->data = ux_record_data(ux_record_at(r, place.start));
  return 0;
}

/* Nobody passes a loan of the living, so that it stands where it stood. What
   becomes free at its end is a record of its own. */
static void shorten(struct ux_ring *r, const struct ux_ring_loan *loan,
                    size_t length) {
  uint64_t rest = ux_span(loan->length) - ux_span(length);
  uint64_t at = loan->position + ux_span(length);
  if (rest != 0)
    ux_write_head(r,
                  at,
                  ux_tag(UX_RECORD_PAD, 0, 0),
                  rest - sizeof(struct ux_record),
                  ux_stamp_of(at));
  UX_STEP("shortened");
  ux_set(&ux_record_at(r, loan->position)->length, (uint32_t)length);
}

static int settle(struct ux_ring *r, const struct ux_ring_loan *loan,
                  uint32_t tag) {
  uint32_t ours = ux_tag(UX_RECORD_LOAN, 0, ux_segment_self(r->segment));
  struct ux_record *rec = ux_record_at(r, loan->position);
  UX_STEP("settling");
  if (!atomic_compare_exchange_strong(&rec->tag, &ours, tag)) return EBADMSG;
  UX_STEP("settled");
  ux_ring_notify(r, &r->at->not_empty, true);
  return 0;
}

static int check_loan(struct ux_ring *r, const struct ux_ring_loan *loan) {
  if (r->fork_count != ux_segment_forks) return EBADMSG;
  const struct ux_record *rec = ux_record_at(r, loan->position);
  uint32_t ours = ux_tag(UX_RECORD_LOAN, 0, ux_segment_self(r->segment));
  if (loan->position % UX_RECORD_ALIGN != 0) return EBADMSG;
  return ux_get(&rec->tag) == ours &&
             loan->data == (const char *)rec + sizeof *rec
           ? 0
           : EBADMSG;
}

int ux_queue_commit(struct ux_ring *r, const struct ux_ring_loan *loan,
                    size_t length, unsigned mark) {
  int err = check_loan(r, loan);
  if (err != 0) return err;
  if (length > loan->length) return EMSGSIZE;
  if (length != loan->length) shorten(r, loan, length);
  return settle(r, loan, ux_tag(UX_RECORD_DATA, mark, 0));
}

int ux_queue_abort(struct ux_ring *r, const struct ux_ring_loan *loan) {
  int err = check_loan(r, loan);
  if (err == 0) err = settle(r, loan, ux_tag(UX_RECORD_ABORT, 0, 0));
  if (err == 0) atomic_fetch_add(&r->at->aborted, 1);
  return err;
}

/* ---- consumers --------------------------------------------------------- */

/* The mark of its holder is what takes it; then scan_at passes it. */
static int peek_locked(struct ux_ring *r, struct ux_ring_message *m,
                       struct ux_walk *w) {
  struct ux_head h;
  uint32_t us = ux_segment_self(r->segment);
  int err = ux_walk_find(r, w, &h);
  if (err != 0) return err;
  ux_tell_message(m, &h);
  m->data = ux_record_data(h.record);
  if (w->is_clear && w->read != w->at) ux_show(&r->at->read_at, w->at);
  UX_STEP("peeking");
  ux_set(&h.record->tag, ux_tag(UX_RECORD_TAKEN, ux_head_mark(&h), us));
  UX_STEP("peeked");
  w->at += h.span;
  ux_set(&r->at->scan_at, w->at);
  return 0;
}

int ux_queue_peek(struct ux_ring *r, struct ux_ring_message *m) {
  struct ux_walk w = {.is_freed = false};
  int err = ux_queue_start_get(r);
  if (err != 0) return err;
  int end = ux_ring_end(r);
  err = peek_locked(r, m, &w);
  ux_ring_unlock(&r->at->get_lock);
  ux_queue_pass_on(r, &w, err);
  return ux_queue_is_over(r, err, end);
}

static int find_taken(struct ux_ring *r, uint64_t position,
                      struct ux_head *h) {
  struct ux_walk w = {.at = position};
  w.read = ux_get(&r->at->read_at);
  w.end = ux_see(&r->at->write_at);
  if (ux_check_positions(r, w.read, w.end) != 0) return EBADMSG;
  if (position - w.read >= w.end - w.read) return EBADMSG;
  if (position % UX_RECORD_ALIGN != 0) return EBADMSG;
  int err = ux_walk_read(r, &w, h);
  if (err != 0) return err;
  uint32_t ours =
    ux_tag(UX_RECORD_TAKEN, ux_head_mark(h), ux_segment_self(r->segment));
  return h->tag == ours ? 0 : EBADMSG;
}

/* A child of fork took nothing. */
static int start_release(struct ux_ring *r) {
  if (r->fork_count != ux_segment_forks) return EBADMSG;
  return ux_queue_start_get(r);
}

int ux_queue_release(struct ux_ring *r, uint64_t position) {
  struct ux_head h;
  struct ux_walk w = {.is_freed = false};
  int err = start_release(r);
  if (err != 0) return err;
  err = find_taken(r, position, &h);
  if (err == 0) {
    UX_STEP("releasing");
    ux_set(&h.record->tag, ux_tag(UX_RECORD_DONE, 0, 0));
    UX_STEP("released");
    ux_add(&r->at->gets, 1);
    ux_walk_free_front(r, &w);
  }
  ux_ring_unlock(&r->at->get_lock);
  if (w.is_freed) ux_ring_notify(r, &r->at->not_full, true);
  return err;
}

int ux_queue_untake(struct ux_ring *r, uint64_t position) {
  struct ux_head h;
  int err = start_release(r);
  if (err != 0) return err;
  err = find_taken(r, position, &h);
  if (err == 0) {
    uint64_t read = ux_get(&r->at->read_at);
    if (position - read < ux_get(&r->at->scan_at) - read)
      ux_set(&r->at->scan_at, position);
    UX_STEP("untaking");
    ux_show(&h.record->tag, ux_tag(UX_RECORD_DATA, ux_head_mark(&h), 0));
  }
  ux_ring_unlock(&r->at->get_lock);
  if (err == 0) ux_ring_notify(r, &r->at->not_empty, false);
  return err;
}
