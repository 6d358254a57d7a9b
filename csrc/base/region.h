/* Regions: around a system call that only a signal can end, so that every
   signal does end it, and a deadline too. */
#ifndef UX_BASE_REGION_H
#define UX_BASE_REGION_H

#include "lib/feature.h"

#include <signal.h>
#include <stdint.h>

/* The one real-time signal that the library keeps for itself: the tick that
   gets a thread out of a system call that has no timeout of its own. (The
   highest one is valgrind's.) Users are refused it. */
#define UX_SIGNAL_TICK (SIGRTMAX - 1)

/* From begin to end any signal whose handler is known to the library
   interrupts the call, even one that lands between the last check and the call
   itself: its handler makes the tick start, and the tick does not stop before
   end. `at` is when to tick in any case, 0 for never. Returns 0 or an errno. */
int ux_region_begin(int64_t at);
void ux_region_end(void);

/* For signal handlers: gets this thread out of the call it is in, or is just
   about to make. */
void ux_region_poke(void);

/* Makes this thread take the tick, which another may send it then to say that
   there is a note (base/notes): the function is called by its handler. */
int ux_region_prepare(void);
extern void (*ux_region_on_tick)(void);

#endif
