/* Timers: alarm, interval timers, timers that send signals, timerfd. */
#ifndef UX_SIGNAL_TIMER_H
#define UX_SIGNAL_TIMER_H

#include "lib/feature.h"

#include <lauxlib.h>

extern const luaL_Reg ux_signal_timer_functions[];

#endif
