/* What other parts need of the broadcast mode. */
#ifndef UX_LIB_RING_BROADCAST_H
#define UX_LIB_RING_BROADCAST_H

#include "lib/ring_queue.h"

int ux_broadcast_subscribe(struct ux_ring *r, enum ux_ring_start start,
                           uint64_t last);
void ux_broadcast_leave(struct ux_ring *r);
int ux_broadcast_evict(struct ux_ring *r, size_t length, uint32_t *evicted);

/* Forgets dead subscribers; how many there were. */
uint32_t ux_broadcast_reap(struct ux_ring *r);

#endif
