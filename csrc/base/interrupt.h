/* What a signal left to do, and how it gets done: inside a call that blocks,
   and in plain Lua code.

   A C signal handler can only leave a note: base/notes for the signals that
   have a handler in Lua; and lua.c's own handler leaves one at Ctrl-C, a hook
   on the main thread. A call that blocks asks ux_interrupt_pending before it
   sleeps and ux_interrupt_run when it was woken; base/wait does both for
   everybody. For Lua code that runs, a debug hook is set until the notes are
   taken. */
#ifndef UX_BASE_INTERRUPT_H
#define UX_BASE_INTERRUPT_H

#include "lib/feature.h"

#include <lua.h>
#include <stdbool.h>

/* Is there something to run? Safe to ask with signals blocked. */
bool ux_interrupt_pending(lua_State *L);

/* Runs it on L, as if called from L's running function. May raise; hold no
   lock and nothing malloc'ed. */
void ux_interrupt_run(lua_State *L);

/* Between the two no handler runs: for a moment in which Lua is called and
   something of ours is half done. They nest. */
void ux_interrupt_hold(void);
void ux_interrupt_release(lua_State *L);

/* From now on signals have handlers in Lua: they are to run on L too. */
void ux_interrupt_open(lua_State *L);

/* This thread of Lua called the library: it may be the one that a signal has
   to be brought to next. Costs a compare. */
extern _Thread_local lua_State *ux_interrupt_thread
  __attribute__((tls_model("initial-exec")));
void ux_interrupt_enter_slowly(lua_State *L);

static inline void ux_interrupt_enter(lua_State *L) {
  if (L != ux_interrupt_thread) ux_interrupt_enter_slowly(L);
}

#endif
