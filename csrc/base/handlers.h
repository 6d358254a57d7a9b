/* Signal dispositions, and the Lua functions behind those that are ours. One
   Lua state of a process owns them: the first that sets one, until it is
   closed. Then all that it changed is put back. */
#ifndef UX_BASE_HANDLERS_H
#define UX_BASE_HANDLERS_H

#include "lib/feature.h"

#include <lua.h>
#include <signal.h>
#include <stdbool.h>

enum ux_disposition {
  UX_SIGNAL_DEFAULT,
  UX_SIGNAL_IGNORE,
  UX_SIGNAL_ORIGINAL, /* what was there before the library changed it */
  UX_SIGNAL_FUNCTION,
};

struct ux_handler {
  enum ux_disposition disposition;
  int flags;      /* SA_RESTART, SA_NOCLDSTOP, SA_NOCLDWAIT */
  bool is_once;   /* back to the default when it is called */
  bool is_nested; /* its own signal runs it again inside itself */
  sigset_t mask;  /* handlers of these wait while it runs */
};

/* To be called before timers are made: at the closing of the state, which
   finalizes the newest objects first, dispositions are then put back after the
   timers have ended. */
void ux_handlers_open(lua_State *L);

/* Sets what a signal does. The function is at the given stack index. Raises if
   another Lua state owns the signals. 0 or an errno. */
int ux_handlers_set(lua_State *L, int sig, const struct ux_handler *h,
                    int function);

/* Pushes what is there: the function, "default", "ignore", "original". 0 or an
   errno, pushing nothing. */
int ux_handlers_push(lua_State *L, int sig);

/* Has this state handlers, with notes for them that may run now? */
bool ux_handlers_pending(lua_State *L);

/* Runs the handlers of the notes that are there. An error in one propagates;
   the notes after it stay. True if more have come meanwhile. */
bool ux_handlers_run(lua_State *L);

/* Do the signals belong to this Lua state? */
bool ux_handlers_is_owner(lua_State *L);

#endif
