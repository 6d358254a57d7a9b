/* What lib/ring_spsc.c needs to know of a duplex. */
#ifndef UX_LIB_RING_DUPLEX_H
#define UX_LIB_RING_DUPLEX_H

#include "lib/ring_inner.h"

/* The ends were tied, and in no process is there the other one. */
bool ux_duplex_is_cut(const struct ux_segment *s);

#endif
