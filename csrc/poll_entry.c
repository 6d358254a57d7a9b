#include "poll_entry.h"

#include "base/fd.h"

#include <poll.h>

/* ---- what is asked for ------------------------------------------------- */

/* 0 when the letters are no events. */
static unsigned parse_events(const char *letters) {
  unsigned events = 0;
  for (const char *p = letters; *p != '\0'; p++) {
    if (*p == 'r')
      events |= POLLIN;
    else if (*p == 'w')
      events |= POLLOUT;
    else if (*p == 'p')
      events |= POLLPRI;
    else
      return 0;
  }
  return events;
}

/* The events of the object itself where it is ours: "w" for a pipe's write
   end. */
static unsigned default_events(lua_State *L, int index) {
  const struct ux_object *o = ux_test_any(L, index);
  bool knows = o != NULL && o->open && o->class->events != NULL;
  return knows ? parse_events(o->class->events(o)) : POLLIN;
}

const char *ux_poll_read_entry(lua_State *L, int index, int letters,
                               struct ux_poll_entry *e) {
  const char *why = NULL;
  unsigned events;
  if (letters == 0 || lua_isnoneornil(L, letters))
    events = default_events(L, index);
  else if (lua_type(L, letters) == LUA_TSTRING)
    events = parse_events(lua_tostring(L, letters));
  else
    events = 0;
  if (events == 0) return "events must be letters of \"rwp\"";
  e->fds[UX_READING] = ux_to_fd(L, index, &why);
  e->fds[UX_WRITING] = ux_to_write_fd(L, index, &why);
  if (e->fds[UX_READING] < 0 || e->fds[UX_WRITING] < 0) return why;
  bool is_one = e->fds[UX_READING] == e->fds[UX_WRITING];
  e->events[UX_READING] = is_one ? events : events & ~(unsigned)POLLOUT;
  e->events[UX_WRITING] = is_one ? 0 : events & POLLOUT;
  return NULL;
}

unsigned ux_poll_wanted(const struct ux_poll_entry *e) {
  return e->events[UX_READING] | e->events[UX_WRITING];
}

/* ---- what came --------------------------------------------------------- */

/* A hang-up or an error ends the wait for what was asked too: the next read or
   write says what it was. */
static void push_events(lua_State *L, unsigned wanted, unsigned got) {
  char letters[5];
  size_t n = 0;
  const unsigned over = POLLHUP | POLLERR;
  if ((wanted & POLLIN) && (got & (POLLIN | over))) letters[n++] = 'r';
  if ((wanted & POLLOUT) && (got & (POLLOUT | over))) letters[n++] = 'w';
  if (got & POLLPRI) letters[n++] = 'p';
  if (got & POLLHUP) letters[n++] = 'h';
  if (got & POLLERR) letters[n++] = 'e';
  lua_pushlstring(L, letters, n);
}

bool ux_poll_has_input(const struct ux_object *o) {
  return o != NULL && o->open && o->class->is_buffered != NULL &&
         o->class->is_buffered(o);
}

void ux_poll_push_lists(lua_State *L) {
  lua_newtable(L);
  lua_newtable(L);
}

void ux_poll_append(lua_State *L, int lists, lua_Integer n, unsigned wanted,
                    unsigned got) {
  lua_rawseti(L, lists, n);
  push_events(L, wanted, got);
  lua_rawseti(L, lists + 1, n);
}
