/* What other parts need of the bells. */
#ifndef UX_LIB_RING_BELL_H
#define UX_LIB_RING_BELL_H

#include "lib/ring_inner.h"

/* Closes the sockets of this handle; those of a forked child's parent are left
   to the parent. */
void ux_ring_bell_forget(struct ux_ring *r);

#endif
