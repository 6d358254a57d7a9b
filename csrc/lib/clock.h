/* Monotonic time as one integer of nanoseconds; every deadline is one. */
#ifndef UX_LIB_CLOCK_H
#define UX_LIB_CLOCK_H

#include "lib/feature.h"

#include <stdint.h>
#include <time.h>

#define UX_NS_PER_S INT64_C(1000000000)

int64_t ux_clock_now(void);

struct timespec ux_clock_timespec(int64_t ns);

#endif
