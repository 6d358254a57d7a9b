/* What the parts of the ring share. */
#ifndef UX_LIB_RING_INNER_H
#define UX_LIB_RING_INNER_H

#include "lib/ring.h"
#include "lib/ring_layout.h"
#include "lib/segment_inner.h"

#include <errno.h>
#include <string.h>

/* A message to put, one piece or several. */
struct ux_ring_source {
  const struct iovec *iov;
  int count;
  size_t length;
  unsigned mark;
};

/* What a mode does differently; the names are those of lib/ring.h. */
struct ux_ring_mode {
  int (*put)(struct ux_ring *r, const struct ux_ring_source *src);
  int (*put_many)(struct ux_ring *r, const struct ux_ring_item *items,
                  size_t count, size_t *done);
  int (*get)(struct ux_ring *r, void *buffer, size_t size,
             struct ux_ring_message *m);
  int (*get_many)(struct ux_ring *r, void *buffer, size_t size, size_t max,
                  size_t *count, size_t *needed);
  int (*reserve)(struct ux_ring *r, size_t length, struct ux_ring_loan *loan);
  int (*commit)(struct ux_ring *r, const struct ux_ring_loan *loan,
                size_t length, unsigned mark);
  int (*abort)(struct ux_ring *r, const struct ux_ring_loan *loan);
  int (*peek)(struct ux_ring *r, struct ux_ring_message *m);
  int (*release)(struct ux_ring *r, uint64_t position);
  int (*untake)(struct ux_ring *r, uint64_t position);
  /* Before a sleep: looks for the dead that it would wait for. True: do not
     sleep, try again. */
  bool (*look)(struct ux_ring *r, enum ux_ring_side side);
  int64_t slice; /* how long at most between two looks */
};

extern const struct ux_ring_mode ux_ring_queue_mode, ux_ring_spsc_mode,
  ux_ring_broadcast_mode;

/* ---- at the beginning of every call ------------------------------------ */

int ux_ring_begin_slowly(struct ux_ring *r);

/* Takes part, if this process has not yet. */
static inline int ux_ring_begin(struct ux_ring *r) {
  if (__builtin_expect(r->fork_count == ux_segment_forks, 1)) return 0;
  return ux_ring_begin_slowly(r);
}

static inline bool ux_ring_is_closed(const struct ux_ring *r) {
  return ux_segment_is_closed(r->segment);
}

/* ---- loads and stores by their purpose --------------------------------- */

#define ux_get(p) atomic_load_explicit((p), memory_order_relaxed)
#define ux_set(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define ux_see(p) atomic_load_explicit((p), memory_order_acquire)
#define ux_show(p, v) atomic_store_explicit((p), (v), memory_order_release)
/* Of a count that only one writes at a time. */
#define ux_add(p, n) ux_set((p), ux_get(p) + (n))

/* ---- records ----------------------------------------------------------- */

static inline struct ux_record *ux_record_at(const struct ux_ring *r,
                                             uint64_t position) {
  return (struct ux_record *)(void *)(r->data + (position & r->mask));
}

static inline char *ux_record_data(struct ux_record *rec) {
  return (char *)rec + sizeof *rec;
}

/* A record's head, copied once. */
struct ux_head {
  struct ux_record *record;
  uint64_t position, span, stamp;
  uint32_t tag, length, from;
};

static inline enum ux_record_kind ux_head_kind(const struct ux_head *h) {
  return (enum ux_record_kind)(h->tag & 15u);
}

static inline uint32_t ux_head_holder(const struct ux_head *h) {
  return h->tag >> 8;
}

static inline unsigned ux_head_mark(const struct ux_head *h) {
  return h->tag >> 4 & 15u;
}

/* Reads the head at a position; all of it must lie before `end`, and within
   the ring. 0 or EBADMSG. The stamp is the caller's to check. */
static inline int ux_read_head(const struct ux_ring *r, uint64_t position,
                               uint64_t end, struct ux_head *h) {
  struct ux_record *rec = ux_record_at(r, position);
  uint32_t tag = ux_see(&rec->tag);
  uint32_t length = ux_get(&rec->length);
  uint64_t stamp = ux_get(&rec->stamp);
  uint64_t span = ux_span(length);
  h->record = rec;
  h->position = position;
  h->tag = tag;
  h->length = length;
  h->span = span;
  h->from = (uint32_t)stamp & UX_WHO_MASK;
  h->stamp = stamp >> UX_WHO_BITS;
  bool is_within = (position & r->mask) + span <= r->mask + 1;
  bool is_kind = (tag & 15u) - UX_RECORD_DATA <= UX_RECORD_DONE - 1u;
  return is_within && is_kind && span <= end - position ? 0 : EBADMSG;
}

static inline uint64_t ux_stamp_of(uint64_t position) {
  return position / UX_RECORD_ALIGN & UX_STAMP_MASK;
}

/* Where a record comes to stand. */
struct ux_place {
  uint64_t pad, start, end; /* pad: where one begins, if before start */
};

static inline struct ux_place ux_place_of(const struct ux_ring *r,
                                          uint64_t position, uint64_t span) {
  uint64_t left = r->mask + 1 - (position & r->mask);
  uint64_t start = span > left ? position + left : position;
  return (struct ux_place){position, start, start + span};
}

void ux_write_pad(struct ux_ring *r, const struct ux_place *place,
                  uint64_t stamp);

/* Writes the head of a record. */
static inline void ux_write_head(struct ux_ring *r, uint64_t position,
                                 uint32_t tag, size_t length, uint64_t stamp) {
  struct ux_record *rec = ux_record_at(r, position);
  ux_set(&rec->length, (uint32_t)length);
  ux_set(&rec->stamp, stamp << UX_WHO_BITS | ux_segment_self(r->segment));
  ux_set(&rec->tag, tag);
}

static inline void ux_copy_in(struct ux_ring *r, uint64_t position,
                              const struct ux_ring_source *src) {
  char *to = ux_record_data(ux_record_at(r, position));
  for (int i = 0; i < src->count; i++) {
    if (src->iov[i].iov_len == 0) continue;
    memcpy(to, src->iov[i].iov_base, src->iov[i].iov_len);
    to += src->iov[i].iov_len;
  }
}

/* Positions of a ring, as found there: 0 or EBADMSG. */
static inline int ux_check_positions(const struct ux_ring *r, uint64_t from,
                                     uint64_t to) {
  return to - from <= r->mask + 1 && from % UX_RECORD_ALIGN == 0 &&
             to % UX_RECORD_ALIGN == 0
           ? 0
           : EBADMSG;
}

/* Appends one to a buffer of ux_ring_get_many; there is room. */
static inline char *ux_pack(char *to, const struct ux_head *h, uint64_t lost) {
  struct ux_ring_packed head = {
    .length = h->length,
    .mark = ux_head_mark(h),
    .from = h->from,
    .lost = lost < UINT32_MAX ? (uint32_t)lost : UINT32_MAX,
  };
  memcpy(to, &head, sizeof head);
  return to + sizeof head;
}

static inline void ux_tell_message(struct ux_ring_message *m,
                                   const struct ux_head *h) {
  m->length = h->length;
  m->mark = ux_head_mark(h);
  m->from = h->from;
  m->position = h->position;
}

/* ---- locks ------------------------------------------------------------- */

/* 0: taken; EOWNERDEAD: taken, the last owner died with it; EBUSY, and the
   ring knows what to wait for; EBADMSG. */
int ux_ring_lock_slowly(struct ux_ring *r, _Atomic uint32_t *lock);

static inline int ux_ring_lock(struct ux_ring *r, _Atomic uint32_t *lock) {
  uint32_t none = 0;
  uint32_t us = ux_segment_self(r->segment) | UX_LOCK_HELD;
  if (__builtin_expect(r->slept_on != lock, 1) &&
      atomic_compare_exchange_strong_explicit(
        lock, &none, us, memory_order_seq_cst, memory_order_relaxed))
    return 0;
  return ux_ring_lock_slowly(r, lock);
}

/* Under the producers' lock: is it closed? Who asks ux_ring_end sees then that
   we are here, or we see that it is closed. */
static inline bool ux_ring_is_shut(const struct ux_ring *r) {
  return atomic_load(&r->segment->at->state) != UX_STATE_READY;
}

/* What it means if there is nothing, asked before one looks: EAGAIN; EPIPE: it
   is closed; EBUSY: but somebody had begun to put before that. */
int ux_ring_end(struct ux_ring *r);

/* Says EBUSY, and what to wait for. */
int ux_ring_wait_for_lock(struct ux_ring *r, _Atomic uint32_t *lock);

void ux_ring_wake_lock(_Atomic uint32_t *lock);

static inline void ux_ring_unlock(_Atomic uint32_t *lock) {
  uint32_t v = atomic_exchange(lock, 0);
  UX_STEP("unlocked");
  if (__builtin_expect((v & UX_LOCK_WAITERS) != 0, 0)) ux_ring_wake_lock(lock);
}

/* ---- events ------------------------------------------------------------ */

void ux_ring_wake(struct ux_ring *r, _Atomic uint32_t *event, bool all);

/* Between what was just shown and the look for who waits for it. gcc's
   sanitizer does not know fences. */
static inline void ux_full_fence(void) {
#ifdef __SANITIZE_THREAD__
  static _Atomic int dummy;
  atomic_fetch_add(&dummy, 1);
#else
  atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* Something was shown before: wakes who waits for it. */
static inline void ux_ring_notify(struct ux_ring *r, _Atomic uint32_t *event,
                                  bool all) {
  ux_full_fence();
  UX_STEP("notify");
  if (__builtin_expect(ux_get(event) & (UX_EVENT_SLEEPER | UX_EVENT_BELL), 0))
    ux_ring_wake(r, event, all);
}

_Atomic uint32_t *ux_ring_event(const struct ux_ring *r,
                                enum ux_ring_side side);

/* Wakes all, and forgets whom: closing, leaving. */
void ux_ring_wake_everybody(struct ux_ring *r);

/* ring_bell.c: rings the bells that are armed for this event. */
void ux_ring_ring_bells(struct ux_ring *r, _Atomic uint32_t *event);

/* Says what an EAGAIN of a side waits for: while the word is so. */
static inline int ux_ring_wait_for(struct ux_ring *r, enum ux_ring_side side,
                                   const _Atomic uint64_t *word,
                                   uint64_t seen) {
  r->watch[side] = (struct ux_ring_watch){.word64 = word, .seen64 = seen};
  r->lock = NULL;
  return EAGAIN;
}

static inline int ux_ring_wait_for_tag(struct ux_ring *r,
                                       enum ux_ring_side side,
                                       const _Atomic uint32_t *word,
                                       uint32_t seen) {
  r->watch[side] = (struct ux_ring_watch){.word32 = word, .seen32 = seen};
  r->lock = NULL;
  return EAGAIN;
}

/* Has what the side waits for changed? */
bool ux_ring_would_go_on(const struct ux_ring *r, enum ux_ring_side side);

/* Is it time to look for the dead, for those that never sleep? */
bool ux_ring_is_look_due(struct ux_ring *r);

/* Where this thread runs, plus 1. */
uint32_t ux_ring_cpu(void);

#endif
