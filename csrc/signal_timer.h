/* Timers: alarm, interval timers, timers that send signals, timerfd. */
#ifndef UX_SIGNAL_TIMER_H
#define UX_SIGNAL_TIMER_H

#include "lib/feature.h"

#include <lua.h>

/* Sets the functions in the table at the top of the stack. */
void ux_signal_timer_open(lua_State *L);

#endif
