/* What lib/ring_spsc.c needs to know of a duplex. */
#ifndef UX_LIB_RING_DUPLEX_H
#define UX_LIB_RING_DUPLEX_H

#include "lib/ring_inner.h"

/* The ends were tied, and in no process is there the other one. */
bool ux_duplex_is_cut(const struct ux_segment *s);

/* What to poll: of ends that are tied a descriptor that is readable when the
   bell rings, and when the line is cut; else the bell. */
int ux_duplex_watch(struct ux_segment *s, int bell);

/* There is nothing to receive: if the other end is nevertheless not gone, in a
   process that got it otherwise, the line is watched no more. */
void ux_duplex_rewatch(struct ux_ring *r, enum ux_ring_side side);

#endif
