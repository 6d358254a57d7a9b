/***
Waiting for many at once. Anything with a descriptor can be waited for: our
objects, integers, Lua files, objects of other libraries that have a method
`fileno`, `pollfd` or `getfd`.

Events are letters: `r` can be read (or is at its end), `w` can be written, `p`
urgent data; and among those that come back also `h`, the other side hung up,
and `e`, an error.
@module unixipc.poll
*/
#include "base/class.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/options.h"
#include "base/wait.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#ifdef UX_HAVE_EPOLL
#include <sys/epoll.h>
#endif

/* ---- events as letters ------------------------------------------------------- */

static short check_events(lua_State *L, int arg, const char *letters) {
  short events = 0;
  for (const char *p = letters; *p != '\0'; p++) {
    if (*p == 'r')
      events |= POLLIN;
    else if (*p == 'w')
      events |= POLLOUT;
    else if (*p == 'p')
      events |= POLLPRI;
    else
      luaL_argerror(L, arg, "events must be letters of \"rwp\"");
  }
  luaL_argcheck(L, events != 0, arg, "no events");
  return events;
}

/* The events of the object itself where it is ours: "w" for a pipe's write
   end. */
static short default_events(lua_State *L, int index) {
  const struct ux_object *o = ux_test_any(L, index);
  if (o == NULL || o->class->events == NULL) return POLLIN;
  return check_events(L, index, o->class->events(o));
}

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

static bool has_input(const struct ux_object *o) {
  return o != NULL && o->open && o->class->is_buffered != NULL &&
         o->class->is_buffered(o);
}

/* The two results: a list of objects, a list of their events. */
static void push_lists(lua_State *L) {
  lua_newtable(L);
  lua_newtable(L);
}

/* Appends the object at the top and its events to the lists at `lists` and
   the index after it; pops it. */
static void append_ready(lua_State *L, int lists, lua_Integer n,
                         unsigned wanted, unsigned got) {
  lua_rawseti(L, lists, n);
  push_events(L, wanted, got);
  lua_rawseti(L, lists + 1, n);
}

/* ---- poll.wait ------------------------------------------------------------------ */

/* Pushes the object of entry i of the list, and finds what to wait for. */
static void read_entry(lua_State *L, lua_Integer i, struct pollfd *p) {
  lua_geti(L, 1, i);
  if (lua_type(L, -1) == LUA_TTABLE &&
      lua_rawgeti(L, -1, 1) != LUA_TNIL) { /* {object, events} */
    lua_rawgeti(L, -2, 2);
    const char *letters = lua_tostring(L, -1);
    p->events = letters ? check_events(L, 1, letters)
                        : default_events(L, lua_gettop(L) - 1);
    lua_pop(L, 1);
    lua_remove(L, -2);
  } else {
    if (lua_type(L, -1) == LUA_TTABLE) lua_pop(L, 1);
    p->events = default_events(L, lua_gettop(L));
  }
  p->fd = ux_check_fd(L, lua_gettop(L));
  p->revents = 0;
}

/* Fills the array. True if some have input in their buffers already, which
   their revents say. */
static bool read_list(lua_State *L, struct pollfd *fds, lua_Integer count) {
  bool is_ready = false;
  for (lua_Integer i = 0; i < count; i++) {
    read_entry(L, i + 1, &fds[i]);
    if ((fds[i].events & POLLIN) && has_input(ux_test_any(L, -1)))
      is_ready = true;
    lua_pop(L, 1);
  }
  return is_ready;
}

static int push_ready(lua_State *L, struct pollfd *fds, lua_Integer count) {
  lua_Integer n = 0;
  push_lists(L);
  int lists = lua_gettop(L) - 1;
  for (lua_Integer i = 0; i < count; i++) {
    struct pollfd entry;
    read_entry(L, i + 1, &entry);
    unsigned got = (unsigned)fds[i].revents;
    if ((entry.events & POLLIN) && has_input(ux_test_any(L, -1)))
      got |= POLLIN;
    if (got != 0)
      append_ready(L, lists, ++n, (unsigned)entry.events, got);
    else
      lua_pop(L, 1);
  }
  return 2;
}

static bool has_invalid(const struct pollfd *fds, lua_Integer count) {
  for (lua_Integer i = 0; i < count; i++)
    if (fds[i].revents & POLLNVAL) return true;
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
  lua_Integer count = luaL_len(L, 1);
  luaL_argcheck(L, count <= INT_MAX / (int)sizeof(struct pollfd), 1,
                "too many objects");
  lua_settop(L, 2);
  struct pollfd *fds =
    lua_newuserdatauv(L, (size_t)count * sizeof *fds, 0);
  int err;
  bool is_ready;
  do { /* a handler may have closed one: look at each anew */
    is_ready = read_list(L, fds, count);
    err = ux_wait_fds(L, fds, (nfds_t)count, is_ready ? &at_once : &deadline);
  } while (err == EINTR);
  if (err == ETIMEDOUT && is_ready) err = 0;
  if (err == 0 && has_invalid(fds, count)) err = EBADF;
  return err == 0 ? push_ready(L, fds, count) : ux_fail(L, err, "poll", NULL);
}

/* ---- Poller ---------------------------------------------------------------------- */

#ifdef UX_HAVE_EPOLL

/* A registered object that may have input in a buffer of its own. */
struct buffering {
  const struct ux_object *object;
  int fd;
  unsigned events;
};

struct poller {
  struct ux_object head;
  int epfd;
  lua_Integer count;
  struct buffering *buffering; /* in the user value BUFFERING */
  size_t used, size;
};

/* User values. */
enum {
  OBJECTS = 1,   /* descriptor -> object */
  FDS = 2,       /* object -> descriptor */
  BUFFERING = 3, /* the memory of `buffering` */
};

#define MOST_READY 128

static const struct ux_class poller_class;

static struct poller *check_poller(lua_State *L) {
  return ux_check_open(L, 1, &poller_class);
}

/***
Closes the Poller; what was in it stays open. Also what `<close>` and the
collector do.
@function Poller:close
@treturn boolean true
*/
static int l_close(lua_State *L) {
  struct poller *p = ux_check(L, 1, &poller_class);
  if (p->head.open) {
    p->head.open = false;
    ux_fd_close(&p->epfd);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int fileno_of(const void *self) {
  const struct poller *p = self;
  return p->epfd;
}

static void describe(lua_State *L, const void *self) {
  const struct poller *p = self;
  lua_pushfstring(L, "poller fd=%d of %I", p->epfd, p->count);
}

static int l_len(lua_State *L) {
  lua_pushinteger(L, check_poller(L)->count);
  return 1;
}

/* ---- which of them buffer */

static void forget_buffering(struct poller *p, int fd) {
  for (size_t i = 0; i < p->used; i++) {
    if (p->buffering[i].fd != fd) continue;
    p->buffering[i] = p->buffering[--p->used];
    return;
  }
}

static void grow_buffering(lua_State *L, struct poller *p) {
  size_t size = p->size * 2 + 8;
  struct buffering *more = lua_newuserdatauv(L, size * sizeof *more, 0);
  if (p->used > 0) memcpy(more, p->buffering, p->used * sizeof *more);
  lua_setiuservalue(L, 1, BUFFERING);
  p->buffering = more;
  p->size = size;
}

static void note_buffering(lua_State *L, struct poller *p, int fd,
                           unsigned events) {
  const struct ux_object *o = ux_test_any(L, 2);
  forget_buffering(p, fd);
  if (o == NULL || o->class->is_buffered == NULL || !(events & POLLIN))
    return;
  if (p->used == p->size) grow_buffering(L, p);
  p->buffering[p->used++] = (struct buffering){o, fd, events};
}

/* ---- adding and removing; the object is at stack index 2 */

struct watch_options {
  bool edge, oneshot;
};

static const struct ux_option watch_schema[] = {
  {"edge", UX_OPT_BOOLEAN, offsetof(struct watch_options, edge), 0, 0, NULL},
  {"oneshot", UX_OPT_BOOLEAN, offsetof(struct watch_options, oneshot), 0, 0,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static struct epoll_event check_watch(lua_State *L, int fd) {
  struct watch_options o = {false, false};
  short events = lua_isnoneornil(L, 3)
                   ? default_events(L, 2)
                   : check_events(L, 3, luaL_checkstring(L, 3));
  ux_check_options(L, 4, watch_schema, &o);
  struct epoll_event e = {.events = (unsigned short)events};
  e.data.u64 = (uint64_t)e.events << 32 | (unsigned)fd;
  if (o.edge) e.events |= EPOLLET;
  if (o.oneshot) e.events |= EPOLLONESHOT;
  return e;
}

/* Remembers the object under its descriptor. True if the Poller did not have
   that descriptor: it may have had another object, since closed, with it. */
static bool remember(lua_State *L, int fd) {
  lua_getiuservalue(L, 1, FDS);
  lua_pushvalue(L, 2);
  lua_pushinteger(L, fd);
  lua_rawset(L, -3);
  lua_getiuservalue(L, 1, OBJECTS);
  bool is_new = lua_rawgeti(L, -1, fd) == LUA_TNIL;
  if (!is_new && !lua_rawequal(L, -1, 2)) {
    lua_pushnil(L);
    lua_rawset(L, -4); /* the stale one, out of FDS */
  } else {
    lua_pop(L, 1);
  }
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, fd);
  lua_pop(L, 2);
  return is_new;
}

static int watch(lua_State *L, int op) {
  struct poller *p = check_poller(L);
  int fd = ux_check_fd(L, 2);
  struct epoll_event e = check_watch(L, fd);
  unsigned wanted = (unsigned)(e.data.u64 >> 32);
  lua_settop(L, 2);
  if (epoll_ctl(p->epfd, op, fd, &e) != 0)
    return ux_fail(L, errno, "epoll_ctl", NULL);
  if (remember(L, fd)) p->count++;
  note_buffering(L, p, fd, wanted);
  lua_settop(L, 1);
  return 1;
}

/***
Adds an object. Remove it before you close it.

Options: `edge`: tell only once about each change; `oneshot`: tell once, then
not until `modify`.
@function Poller:add
@param object anything with a descriptor
@tparam[opt] string events letters of `"rwp"`, by default as it is open
@tparam[opt] table options
@treturn[1] Poller the Poller
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EEXIST (it is in already), EPERM (a regular file:
always ready), EBADF, ENOSPC
@see epoll_ctl(2)
*/
static int l_add(lua_State *L) {
  return watch(L, EPOLL_CTL_ADD);
}

/***
Changes what an object is waited for.
@function Poller:modify
@param object one that was added
@tparam[opt] string events as `add`
@tparam[opt] table options as `add`
@treturn[1] Poller the Poller
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT (it is not in), EBADF
@see epoll_ctl(2)
*/
static int l_modify(lua_State *L) {
  return watch(L, EPOLL_CTL_MOD);
}

/***
Removes an object, closed already or not.
@function Poller:remove
@param object
@treturn[1] Poller the Poller
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT (it is not in)
@see epoll_ctl(2)
*/
static int l_remove(lua_State *L) {
  struct poller *p = check_poller(L);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, FDS);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, 3) == LUA_TNIL)
    return ux_fail(L, ENOENT, "epoll_ctl", NULL);
  int fd = (int)lua_tointeger(L, -1);
  struct epoll_event unused = {.events = 0};
  epoll_ctl(p->epfd, EPOLL_CTL_DEL, fd, &unused); /* gone when closed */
  lua_pushvalue(L, 2);
  lua_pushnil(L);
  lua_rawset(L, 3);
  lua_getiuservalue(L, 1, OBJECTS);
  lua_pushnil(L);
  lua_rawseti(L, -2, fd);
  forget_buffering(p, fd);
  p->count--;
  lua_settop(L, 1);
  return 1;
}

/* ---- waiting */

/* Appends those that have input in their buffers. A descriptor that epoll
   reports too is taken here, and made to be skipped there. */
static lua_Integer append_buffered(lua_State *L, const struct poller *p,
                                   int lists, lua_Integer most,
                                   struct epoll_event *ready, int count) {
  lua_Integer n = 0;
  lua_getiuservalue(L, 1, OBJECTS);
  for (size_t i = 0; i < p->used && n < most; i++) {
    const struct buffering *b = &p->buffering[i];
    if (!has_input(b->object)) continue;
    unsigned got = POLLIN;
    for (int j = 0; j < count; j++) {
      if ((int)(ready[j].data.u64 & UINT32_MAX) != b->fd) continue;
      got |= ready[j].events;
      ready[j].events = 0;
    }
    lua_rawgeti(L, -1, b->fd);
    append_ready(L, lists, ++n, b->events, got);
  }
  lua_pop(L, 1);
  return n;
}

static int push_all_ready(lua_State *L, const struct poller *p, int most,
                          struct epoll_event *ready, int count) {
  push_lists(L);
  int lists = lua_gettop(L) - 1;
  lua_Integer n = append_buffered(L, p, lists, most, ready, count);
  lua_getiuservalue(L, 1, OBJECTS);
  for (int i = 0; i < count; i++) {
    if (ready[i].events == 0) continue;
    lua_rawgeti(L, -1, (lua_Integer)(ready[i].data.u64 & UINT32_MAX));
    append_ready(L, lists, ++n, (unsigned)(ready[i].data.u64 >> 32),
                 ready[i].events);
  }
  lua_pop(L, 1);
  return 2;
}

static bool any_has_input(const struct poller *p) {
  for (size_t i = 0; i < p->used; i++)
    if (has_input(p->buffering[i].object)) return true;
  return false;
}

/***
Waits until one or more of the objects are ready.
@function Poller:wait
@tparam[opt] number timeout seconds
@tparam[opt=128] integer most how many to return at the most, up to 128
@treturn[1] table the objects that are ready
@treturn[1] table their events, each a string of letters
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT
@see epoll_wait(2)
*/
static int l_poller_wait(lua_State *L) {
  struct poller *p = check_poller(L);
  struct epoll_event ready[MOST_READY];
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  lua_Integer most = luaL_optinteger(L, 3, MOST_READY);
  luaL_argcheck(L, most > 0, 3, "must be positive");
  if (most > MOST_READY) most = MOST_READY;
  for (;;) {
    int count = epoll_wait(p->epfd, ready, (int)most, 0);
    int err = count < 0 && errno != EINTR ? errno : 0;
    if (err == 0 && (count > 0 || any_has_input(p)))
      return push_all_ready(L, p, (int)most, ready, count > 0 ? count : 0);
    if (err == 0) err = ux_wait_fd(L, p->epfd, POLLIN, &deadline);
    if (err != 0 && err != EINTR) return ux_fail(L, err, "epoll_wait", NULL);
    if (!p->head.open) return ux_closed_error(L, &poller_class);
  }
}

static const luaL_Reg poller_methods[] = {
  {"add", l_add},
  {"modify", l_modify},
  {"remove", l_remove},
  {"wait", l_poller_wait},
  {"__len", l_len},
  {NULL, NULL},
};

static const struct ux_class poller_class = {
  .name = "poller",
  .size = sizeof(struct poller),
  .uservalues = 3,
  .methods = poller_methods,
  .close = l_close,
  .describe = describe,
  .fileno = fileno_of,
};

static int new_poller(lua_State *L) {
  ux_class_open(L, &poller_class);
  struct poller *p = ux_new(L, &poller_class);
  lua_newtable(L);
  lua_setiuservalue(L, -2, OBJECTS);
  lua_newtable(L);
  lua_setiuservalue(L, -2, FDS);
  p->epfd = epoll_create1(EPOLL_CLOEXEC);
  if (p->epfd < 0) return ux_fail(L, errno, "epoll_create1", NULL);
  p->head.open = true;
  return 1;
}

#else

static int new_poller(lua_State *L) {
  return ux_fail(L, ENOTSUP, "epoll_create1", NULL);
}

#endif

/***
Makes a Poller, for many objects that are waited for again and again. `#poller`
is how many are in it.
@function new
@treturn[1] Poller
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EMFILE, ENOTSUP (no epoll here)
@see epoll(7)
*/
static int l_new(lua_State *L) {
  return new_poller(L);
}

static const luaL_Reg functions[] = {
  {"wait", l_wait},
  {"new", l_new},
  {NULL, NULL},
};

int ux_open_poll(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
