/* A timeout in seconds, as every call that can block takes it, turned into
   a moment of the monotonic clock when the call first has to wait. */
#ifndef UX_BASE_DEADLINE_H
#define UX_BASE_DEADLINE_H

#include "lib/feature.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct ux_deadline {
  int64_t left; /* nanoseconds from the start; UX_FOREVER; 0 only tries */
  int64_t at;   /* the moment, once started; 0 before */
};

#define UX_FOREVER INT64_MAX

/* The timeout at `arg`: nil or none is for ever; a negative one or NaN
   raises. */
struct ux_deadline ux_check_deadline(lua_State *L, int arg);

/* The same from a number that was checked, or that a caller made. */
struct ux_deadline ux_deadline_in(lua_Number seconds);

/* Reads the clock the first time, so that a call that need not wait does
   not. */
void ux_deadline_start(struct ux_deadline *d);

bool ux_deadline_passed(struct ux_deadline *d);

/* What is left for a call that takes a relative time; NULL is for ever. */
struct timespec *ux_deadline_left(struct ux_deadline *d,
                                  struct timespec *store);

#endif
