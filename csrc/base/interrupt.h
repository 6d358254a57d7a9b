/* What a signal left to do, and how it gets into a call that blocks.

   A C signal handler can only leave a note. The notes read here are the hook
   that lua.c sets on the main thread at Ctrl-C. A call that blocks asks
   ux_interrupt_pending before it sleeps and ux_interrupt_run when it was
   woken; base/wait does both for everybody. */
#ifndef UX_BASE_INTERRUPT_H
#define UX_BASE_INTERRUPT_H

#include "lib/feature.h"

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* The one real-time signal that the library keeps for itself: the tick that
   gets a thread out of a system call that has no timeout of its own. (The
   highest one is valgrind's.) Users are refused it. */
#define UX_SIGNAL_TICK (SIGRTMAX - 1)

/* Is there something to run? Safe to ask with signals blocked. */
bool ux_interrupt_pending(lua_State *L);

/* Runs it on L, as if called from L's running function. May raise; hold no
   lock and nothing malloc'ed. */
void ux_interrupt_run(lua_State *L);

/* Around a system call that only a signal can end. From begin to end any
   signal whose handler is known to the library interrupts the call, even one
   that lands between the last check and the call itself: its handler makes
   the tick start, and the tick does not stop before end. `at` is when to tick
   in any case, 0 for never. Returns 0 or an errno. */
int ux_region_begin(int64_t at);
void ux_region_end(void);

#endif
