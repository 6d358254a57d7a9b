/* What the parts of a queue share: ring_queue.c, ring_walk.c, ring_loan.c. */
#ifndef UX_LIB_RING_QUEUE_H
#define UX_LIB_RING_QUEUE_H

#include "lib/clock.h"
#include "lib/ring_inner.h"

/* ---- producers --------------------------------------------------------- */

/* 0 with where it stands, any error of put, or ECANCELED: dropped. Does not
   tell consumers. */
int ux_queue_put(struct ux_ring *r, uint32_t tag,
                 const struct ux_ring_source *src, struct ux_place *place);

/* ---- consumers, under their lock --------------------------------------- */

/* From `read` on there are records, up to `at` those that are taken or done.
   is_clear: there are none, so that what is before `at` may be given free. */
struct ux_walk {
  uint64_t read, at, end;
  bool is_clear;
  bool is_freed; /* read_at was moved, which producers are to be told */
};

int ux_queue_start_get(struct ux_ring *r);
int ux_queue_is_over(struct ux_ring *r, int err, int end);
void ux_queue_pass_on(struct ux_ring *r, const struct ux_walk *w, int err);

/* The first that can be taken, and those behind: 0, EAGAIN, EBADMSG. */
int ux_walk_find(struct ux_ring *r, struct ux_walk *w, struct ux_head *h);
int ux_walk_next(struct ux_ring *r, struct ux_walk *w, struct ux_head *h);

/* The record at w->at, its position checked. */
int ux_walk_read(const struct ux_ring *r, const struct ux_walk *w,
                 struct ux_head *h);

/* Gives free what is done at the front, as the one who let it go should have
   done before it was killed. */
void ux_walk_free_front(struct ux_ring *r, struct ux_walk *w);

/* Takes what was found last; or all before w->at, of a walk that is clear. */
void ux_walk_take(struct ux_ring *r, struct ux_walk *w,
                  const struct ux_head *h);
void ux_walk_take_all(struct ux_ring *r, struct ux_walk *w, uint64_t count);

/* ---- loans ------------------------------------------------------------- */

int ux_queue_reserve(struct ux_ring *r, size_t length,
                     struct ux_ring_loan *loan);
int ux_queue_commit(struct ux_ring *r, const struct ux_ring_loan *loan,
                    size_t length, unsigned mark);
int ux_queue_abort(struct ux_ring *r, const struct ux_ring_loan *loan);
int ux_queue_peek(struct ux_ring *r, struct ux_ring_message *m);
int ux_queue_release(struct ux_ring *r, uint64_t position);
int ux_queue_untake(struct ux_ring *r, uint64_t position);

/* ---- service ----------------------------------------------------------- */

/* A server died with this request: tells the client. False: the next server
   is to get it. */
bool ux_service_fail(struct ux_ring *r, const struct ux_head *h);

/* A client that waits looks for dead servers too. */
void ux_service_look(const struct ux_ring *replies);

#endif
