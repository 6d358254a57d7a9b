/***
Waiting for many at once. Anything with a descriptor can be waited for: our
objects, integers, Lua files, objects of other libraries that have a method
`fileno`, `pollfd` or `getfd`.

Events are letters: `r` can be read (or is at its end), `w` can be written, `p`
urgent data; and among those that come back also `h`, the other side hung up,
and `e`, an error.
@module unixipc.poll
*/
#include "base/error.h"
#include "base/modules.h"
#include "base/options.h"
#include "base/wait.h"
#include "poll_entry.h"
#include "poll_poller.h"

#include <errno.h>
#include <limits.h>

/* ---- poll.wait --------------------------------------------------------- */

/* Pushes the object of entry i of the list, and finds what to wait for. An
   entry that is a sequence is an object and its events. */
static void check_entry(lua_State *L, lua_Integer i, struct ux_poll_entry *e) {
  int object = lua_gettop(L) + 1, events = object + 1;
  lua_geti(L, 1, i);
  lua_pushnil(L);
  if (lua_istable(L, object) && lua_rawgeti(L, object, 1) != LUA_TNIL) {
    lua_rawgeti(L, object, 2);
    lua_replace(L, events);
    lua_replace(L, object);
  }
  lua_settop(L, events);
  const char *why = ux_poll_read_entry(L, object, events, e);
  if (why != NULL)
    luaL_argerror(L, 1, lua_pushfstring(L, "entry %I: %s", i, why));
  lua_settop(L, object);
}

/* What ppoll gets, packed: of most entries one descriptor, of a stream of two
   perhaps both. ways[i] is how many entry i has there. */
struct poll_list {
  lua_Integer count; /* of entries */
  nfds_t used;
  struct pollfd *fds;
  unsigned char *ways;
};

static void new_list(lua_State *L, struct poll_list *list) {
  size_t n = (size_t)list->count;
  list->fds = lua_newuserdatauv(L, 2 * n * sizeof *list->fds, 0);
  list->ways = lua_newuserdatauv(L, n, 0);
}

/* Fills it. True if some have input in their buffers already. */
static bool read_list(lua_State *L, struct poll_list *list) {
  bool is_ready = false;
  list->used = 0;
  for (lua_Integer i = 0; i < list->count; i++) {
    struct ux_poll_entry e = {.fds = {-1, -1}};
    check_entry(L, i + 1, &e);
    list->ways[i] = 0;
    for (int way = UX_READING; way <= UX_WRITING; way++) {
      if (e.events[way] == 0) continue;
      list->fds[list->used++] =
        (struct pollfd){.fd = e.fds[way], .events = (short)e.events[way]};
      list->ways[i]++;
    }
    if ((e.events[UX_READING] & POLLIN) &&
        ux_poll_has_input(ux_test_any(L, -1)))
      is_ready = true;
    lua_pop(L, 1);
  }
  return is_ready;
}

static int push_ready(lua_State *L, const struct poll_list *list) {
  const struct pollfd *p = list->fds;
  lua_Integer n = 0;
  ux_poll_push_lists(L);
  int lists = lua_gettop(L) - 1;
  for (lua_Integer i = 0; i < list->count; i++) {
    struct ux_poll_entry e = {.fds = {-1, -1}};
    unsigned got = 0;
    check_entry(L, i + 1, &e);
    for (int way = 0; way < list->ways[i]; way++)
      got |= (unsigned)p++->revents;
    if ((e.events[UX_READING] & POLLIN) &&
        ux_poll_has_input(ux_test_any(L, -1)))
      got |= POLLIN;
    if (got != 0)
      ux_poll_append(L, lists, ++n, ux_poll_wanted(&e), got);
    else
      lua_pop(L, 1);
  }
  return 2;
}

static bool has_invalid(const struct poll_list *list) {
  for (nfds_t i = 0; i < list->used; i++)
    if (list->fds[i].revents & POLLNVAL) return true;
  return false;
}

/***
Waits until one or more of the objects are ready. A Stream with input in its
buffer is ready at once.
@function wait
@tparam table list of objects, or of tables `{object, events}`; without events
an object is waited for as it is open: for reading if it can be read
@tparam[opt] number timeout seconds
@treturn[1] table the objects that are ready, in the order of the list
@treturn[1] table their events, each a string of letters
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EBADF (an integer that is not open),
EINVAL (more than RLIMIT_NOFILE)
@see poll(2)
*/
static int l_wait(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  struct ux_deadline at_once = {.left = 0};
  struct poll_list list = {.count = ux_check_list(L, 1, 1)};
  luaL_argcheck(L, list.count <= INT_MAX / 16, 1, "too many objects");
  lua_settop(L, 2);
  new_list(L, &list);
  int err;
  bool is_ready;
  do { /* a handler may have closed one: look at each anew */
    is_ready = read_list(L, &list);
    err = ux_wait_fds(L, list.fds, list.used, is_ready ? &at_once : &deadline);
  } while (err == EINTR);
  if (err == ETIMEDOUT && is_ready) err = 0;
  if (err == 0 && has_invalid(&list)) err = EBADF;
  return err == 0 ? push_ready(L, &list) : ux_fail(L, err, "poll", NULL);
}

static const luaL_Reg functions[] = {
  {"wait", l_wait},
  {NULL, NULL},
};

int ux_open_poll(lua_State *L) {
  luaL_newlib(L, functions);
  luaL_setfuncs(L, ux_poll_poller_functions, 0);
  return 1;
}
