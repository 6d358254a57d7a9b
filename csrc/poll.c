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
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#ifdef UX_HAVE_EPOLL
#include <sys/epoll.h>
#endif

/* ---- what is asked for ------------------------------------------------- */

/* An object to wait for: its descriptors to read and to write, which differ
   for a stream of two, and what to wait for on each. */
struct entry {
  int fds[2];
  unsigned events[2];
};

enum { READING, WRITING };

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

/* The object at the index, waited for by the letters at `letters` (0 or nil:
   as it is open). Returns why not, or NULL. */
static const char *read_entry(lua_State *L, int index, int letters,
                              struct entry *e) {
  const char *why = NULL;
  unsigned events;
  if (letters == 0 || lua_isnoneornil(L, letters))
    events = default_events(L, index);
  else if (lua_type(L, letters) == LUA_TSTRING)
    events = parse_events(lua_tostring(L, letters));
  else
    events = 0;
  if (events == 0) return "events must be letters of \"rwp\"";
  e->fds[READING] = ux_to_fd(L, index, &why);
  e->fds[WRITING] = ux_to_write_fd(L, index, &why);
  if (e->fds[READING] < 0 || e->fds[WRITING] < 0) return why;
  bool is_one = e->fds[READING] == e->fds[WRITING];
  e->events[READING] = is_one ? events : events & ~(unsigned)POLLOUT;
  e->events[WRITING] = is_one ? 0 : events & POLLOUT;
  return NULL;
}

static unsigned wanted_by(const struct entry *e) {
  return e->events[READING] | e->events[WRITING];
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

/* ---- poll.wait --------------------------------------------------------- */

/* Pushes the object of entry i of the list, and finds what to wait for. An
   entry that is a sequence is an object and its events. */
static void check_entry(lua_State *L, lua_Integer i, struct entry *e) {
  int object = lua_gettop(L) + 1, events = object + 1;
  lua_geti(L, 1, i);
  lua_pushnil(L);
  if (lua_istable(L, object) && lua_rawgeti(L, object, 1) != LUA_TNIL) {
    lua_rawgeti(L, object, 2);
    lua_replace(L, events);
    lua_replace(L, object);
  }
  const char *why = read_entry(L, object, events, e);
  if (why != NULL)
    luaL_argerror(L, 1, lua_pushfstring(L, "entry %I: %s", i, why));
  lua_settop(L, object);
}

/* Fills the array, two for each entry; poll passes over those that are -1.
   True if some have input in their buffers already. */
static bool read_list(lua_State *L, struct pollfd *fds, lua_Integer count) {
  bool is_ready = false;
  for (lua_Integer i = 0; i < count; i++) {
    struct entry e = {.fds = {-1, -1}};
    check_entry(L, i + 1, &e);
    for (int way = READING; way <= WRITING; way++) {
      struct pollfd *p = &fds[2 * i + way];
      p->fd = e.events[way] != 0 ? e.fds[way] : -1;
      p->events = (short)e.events[way];
      p->revents = 0;
    }
    if ((e.events[READING] & POLLIN) && has_input(ux_test_any(L, -1)))
      is_ready = true;
    lua_pop(L, 1);
  }
  return is_ready;
}

static int push_ready(lua_State *L, const struct pollfd *fds,
                      lua_Integer count) {
  lua_Integer n = 0;
  push_lists(L);
  int lists = lua_gettop(L) - 1;
  for (lua_Integer i = 0; i < count; i++) {
    struct entry e = {.fds = {-1, -1}};
    check_entry(L, i + 1, &e);
    unsigned got =
      (unsigned)fds[2 * i].revents | (unsigned)fds[2 * i + 1].revents;
    if ((e.events[READING] & POLLIN) && has_input(ux_test_any(L, -1)))
      got |= POLLIN;
    if (got != 0)
      append_ready(L, lists, ++n, wanted_by(&e), got);
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
  luaL_argcheck(L, count <= INT_MAX / 16, 1, "too many objects");
  lua_settop(L, 2);
  struct pollfd *fds =
    lua_newuserdatauv(L, (size_t)(2 * count) * sizeof *fds, 0);
  int err;
  bool is_ready;
  do { /* a handler may have closed one: look at each anew */
    is_ready = read_list(L, fds, count);
    err = ux_wait_fds(
      L, fds, (nfds_t)(2 * count), is_ready ? &at_once : &deadline);
  } while (err == EINTR);
  if (err == ETIMEDOUT && is_ready) err = 0;
  if (err == 0 && has_invalid(fds, 2 * count)) err = EBADF;
  return err == 0 ? push_ready(L, fds, count) : ux_fail(L, err, "poll", NULL);
}

/* ---- Poller ------------------------------------------------------------ */

#ifdef UX_HAVE_EPOLL

/* A descriptor that is waited for; its place in the array is its number. */
struct watch {
  unsigned wanted;                /* events; 0: it is not in */
  unsigned flags;                 /* EPOLLET, EPOLLONESHOT */
  bool is_spent;                  /* a oneshot that was told */
  const struct ux_object *object; /* if it is ours */
};

struct poller {
  struct ux_object head;
  int epfd;
  lua_Integer count;     /* of objects */
  struct watch *watches; /* in the user value WATCHES */
  int size;
};

/* User values. */
enum {
  OBJECTS = 1, /* descriptor -> object */
  FDS = 2,     /* object -> its descriptors, see pack_fds */
  WATCHES = 3, /* the memory of `watches` */
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

/* ---- one descriptor; the object is at stack index 2 */

static void make_room(lua_State *L, struct poller *p, int fd) {
  if (fd < p->size) return;
  int size = fd < 32 ? 64 : fd * 2;
  struct watch *more = lua_newuserdatauv(L, (size_t)size * sizeof *more, 0);
  memset(more, 0, (size_t)size * sizeof *more);
  if (p->size > 0) memcpy(more, p->watches, (size_t)p->size * sizeof *more);
  lua_setiuservalue(L, 1, WATCHES);
  p->watches = more;
  p->size = size;
}

static int control(const struct poller *p, int op, int fd,
                   const struct watch *w) {
  struct epoll_event e = {.events = w->flags};
  if (!w->is_spent) e.events |= w->wanted;
  e.data.fd = fd;
  return epoll_ctl(p->epfd, op, fd, &e) == 0 ? 0 : errno;
}

/* Is this object, not one that had the number before, waited for there? */
static bool is_watching(lua_State *L, const struct poller *p, int fd) {
  if (fd >= p->size || p->watches[fd].wanted == 0) return false;
  lua_getiuservalue(L, 1, OBJECTS);
  lua_rawgeti(L, -1, fd);
  bool is_same = lua_rawequal(L, -1, 2);
  lua_pop(L, 2);
  return is_same;
}

static void set_object(lua_State *L, int fd, int index) {
  lua_getiuservalue(L, 1, OBJECTS);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, fd);
  lua_pop(L, 1);
}

/* Waits on a descriptor for these events, or not any more. */
static int set_watch(lua_State *L, struct poller *p, int fd, unsigned wanted,
                     unsigned flags) {
  bool is_old = is_watching(L, p, fd);
  struct watch w = {.wanted = wanted, .flags = flags};
  if (wanted == 0 && !is_old) return 0;
  make_room(L, p, fd);
  w.object = ux_test_any(L, 2);
  int op = wanted == 0 ? EPOLL_CTL_DEL
           : is_old    ? EPOLL_CTL_MOD
                       : EPOLL_CTL_ADD;
  int err = control(p, op, fd, &w);
  if (err != 0) return err;
  p->watches[fd] = w;
  if (wanted != 0) set_object(L, fd, 2);
  return 0;
}

/* ---- objects */

/* Both descriptors of an object in one integer, for when it is closed. */
static lua_Integer pack_fds(const struct entry *e) {
  return (lua_Integer)e->fds[WRITING] << 32 | e->fds[READING];
}

static bool find_fds(lua_State *L, int fds[2]) {
  lua_getiuservalue(L, 1, FDS);
  lua_pushvalue(L, 2);
  bool is_in = lua_rawget(L, -2) != LUA_TNIL;
  lua_Integer packed = lua_tointeger(L, -1);
  fds[READING] = (int)(packed & INT_MAX);
  fds[WRITING] = (int)(packed >> 32);
  lua_pop(L, 2);
  return is_in;
}

static void set_fds(lua_State *L, lua_Integer packed) {
  lua_getiuservalue(L, 1, FDS);
  lua_pushvalue(L, 2);
  if (packed < 0)
    lua_pushnil(L);
  else
    lua_pushinteger(L, packed);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

struct watch_options {
  bool edge, oneshot;
};

static const struct ux_option watch_schema[] = {
  {"edge", UX_OPT_BOOLEAN, offsetof(struct watch_options, edge), 0, 0, NULL},
  {"oneshot",
   UX_OPT_BOOLEAN,
   offsetof(struct watch_options, oneshot),
   0,
   0,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static unsigned check_flags(lua_State *L, int arg) {
  struct watch_options o = {false, false};
  ux_check_options(L, arg, watch_schema, &o);
  return (o.edge ? (unsigned)EPOLLET : 0) |
         (o.oneshot ? (unsigned)EPOLLONESHOT : 0);
}

static int watch(lua_State *L, bool is_new) {
  struct poller *p = check_poller(L);
  struct entry e = {.fds = {-1, -1}};
  int fds[2];
  luaL_checkany(L, 2);
  const char *why = read_entry(L, 2, 3, &e);
  if (why != NULL) return luaL_argerror(L, 2, why);
  unsigned flags = check_flags(L, 4);
  lua_settop(L, 2);
  bool is_in = find_fds(L, fds) && (is_watching(L, p, fds[READING]) ||
                                    is_watching(L, p, fds[WRITING]));
  int err = !is_new && !is_in ? ENOENT : is_new && is_in ? EEXIST : 0;
  for (int way = READING; way <= WRITING && err == 0; way++)
    if (way == READING || e.fds[WRITING] != e.fds[READING])
      err = set_watch(L, p, e.fds[way], e.events[way], flags);
  if (err != 0) return ux_fail(L, err, "epoll_ctl", NULL);
  if (!find_fds(L, fds)) p->count++;
  set_fds(L, pack_fds(&e));
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
  return watch(L, true);
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
  return watch(L, false);
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
  int fds[2];
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  if (!find_fds(L, fds)) return ux_fail(L, ENOENT, "epoll_ctl", NULL);
  for (int way = READING; way <= WRITING; way++) {
    if (!is_watching(L, p, fds[way])) continue;
    p->watches[fds[way]].wanted = 0;
    control(p, EPOLL_CTL_DEL, fds[way], &p->watches[fds[way]]);
    lua_pushnil(L);
    set_object(L, fds[way], 3);
    lua_pop(L, 1);
  }
  set_fds(L, -1);
  p->count--;
  lua_settop(L, 1);
  return 1;
}

/* ---- waiting */

static bool is_ready_here(const struct watch *w) {
  return (w->wanted & POLLIN) && !w->is_spent && has_input(w->object);
}

static bool any_ready_here(const struct poller *p) {
  for (int fd = 0; fd < p->size; fd++)
    if (is_ready_here(&p->watches[fd])) return true;
  return false;
}

/* A descriptor that was closed here, but that a child still holds, goes on
   being reported, and nothing that is left here names it. So all that is
   known goes into a new epoll, which takes the old one's place. */
static int drop_ghosts(struct poller *p) {
  int fresh = epoll_create1(EPOLL_CLOEXEC);
  if (fresh < 0) return errno;
  struct poller copy = *p;
  copy.epfd = fresh;
  for (int fd = 0; fd < p->size; fd++)
    if (p->watches[fd].wanted != 0)
      control(&copy, EPOLL_CTL_ADD, fd, &p->watches[fd]);
  int err = dup3(fresh, p->epfd, O_CLOEXEC) < 0 ? errno : 0;
  close(fresh);
  return err;
}

/* What is there no more, or is closed: its number may be another's. */
static bool is_ghost(const struct poller *p, int fd) {
  if (fd >= p->size || p->watches[fd].wanted == 0) return true;
  const struct ux_object *o = p->watches[fd].object;
  return o != NULL && !o->open;
}

static void spend(const struct poller *p, int fd) {
  struct watch *w = &p->watches[fd];
  if (!(w->flags & EPOLLONESHOT)) return;
  w->is_spent = true;
  control(p, EPOLL_CTL_MOD, fd, w);
}

static void append_watch(lua_State *L, const struct poller *p, int lists,
                         lua_Integer n, int fd, unsigned got) {
  struct watch *w = &p->watches[fd];
  if (is_ready_here(w)) got |= POLLIN;
  lua_getiuservalue(L, 1, OBJECTS);
  lua_rawgeti(L, -1, fd);
  lua_remove(L, -2);
  append_ready(L, lists, n, w->wanted, got);
  spend(p, fd);
}

/* First what epoll says, then what is in buffers and was not said. */
static lua_Integer append_all(lua_State *L, struct poller *p, lua_Integer most,
                              const struct epoll_event *ready, int count) {
  bool has_ghost = false;
  lua_Integer n = 0;
  push_lists(L);
  int lists = lua_gettop(L) - 1;
  for (int i = 0; i < count; i++) {
    if (is_ghost(p, ready[i].data.fd))
      has_ghost = true;
    else
      append_watch(L, p, lists, ++n, ready[i].data.fd, ready[i].events);
  }
  for (int fd = 0; fd < p->size && n < most; fd++) {
    bool is_said = false;
    if (!is_ready_here(&p->watches[fd])) continue;
    for (int i = 0; i < count; i++) is_said |= ready[i].data.fd == fd;
    if (!is_said) append_watch(L, p, lists, ++n, fd, POLLIN);
  }
  if (has_ghost) drop_ghosts(p);
  return n;
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
    if (err == 0 && (count > 0 || any_ready_here(p))) {
      if (append_all(L, p, most, ready, count > 0 ? count : 0) > 0) return 2;
      lua_pop(L, 2);
      continue; /* nothing but ghosts, and they are gone now */
    }
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
