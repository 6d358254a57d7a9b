/* Sleeping on a 32-bit word of shared memory until somebody changes it. */
#ifndef UX_LIB_FUTEX_H
#define UX_LIB_FUTEX_H

#include "lib/feature.h"

#include <stdint.h>

/* Sleeps while the word is `expected`, until `at` of the monotonic clock (0:
   for ever). 0: woken, or for no reason; EAGAIN: it is something else;
   ETIMEDOUT; EINTR: a signal handler ran; ENOTSUP. */
int ux_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t at);

/* Wakes so many of those that sleep; returns how many there were. Costs a
   system call even if there is nobody. */
int ux_futex_wake(const _Atomic uint32_t *word, int count);

#endif
