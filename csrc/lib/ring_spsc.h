/* What other parts need of the spsc mode. */
#ifndef UX_LIB_RING_SPSC_H
#define UX_LIB_RING_SPSC_H

#include "lib/ring_inner.h"

int ux_spsc_take_role(struct ux_ring *r, enum ux_ring_side side);
void ux_spsc_leave(struct ux_ring *r);

/* Puts without showing it; shows all. */
int ux_spsc_write(struct ux_ring *r, const struct ux_ring_source *src);
void ux_spsc_publish(struct ux_ring *r);

#endif
