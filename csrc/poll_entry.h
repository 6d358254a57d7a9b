/* What can be waited for, and how it is told what came: for poll.wait and the
   Poller alike. */
#ifndef UX_POLL_ENTRY_H
#define UX_POLL_ENTRY_H

#include "base/class.h"

/* An object to wait for: its descriptors to read and to write, which differ
   for a stream of two, and what to wait for on each. */
struct ux_poll_entry {
  int fds[2];
  unsigned events[2];
};

enum { UX_READING, UX_WRITING };

/* The object at the index, waited for by the letters at `letters` (0 or nil:
   as it is open). Returns why not, or NULL. */
const char *ux_poll_read_entry(lua_State *L, int index, int letters,
                               struct ux_poll_entry *e);

/* All that is wanted of it. */
unsigned ux_poll_wanted(const struct ux_poll_entry *e);

/* Is it one of our objects, with input in its buffer? */
bool ux_poll_has_input(const struct ux_object *o);

/* Pushes the two results: a list of objects, a list of their events. */
void ux_poll_push_lists(lua_State *L);

/* Appends the object at the top and its events to the lists at `lists` and
   the index after it; pops it. */
void ux_poll_append(lua_State *L, int lists, lua_Integer n, unsigned wanted,
                    unsigned got);

#endif
