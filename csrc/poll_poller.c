/***
@module unixipc.poll
*/
#include "poll_poller.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/options.h"
#include "base/wait.h"
#include "poll_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#ifdef UX_HAVE_EPOLL
#include <sys/epoll.h>
#endif

/* ---- the object -------------------------------------------------------- */

#ifdef UX_HAVE_EPOLL

/* A descriptor that is waited for; its place in the array is its number. */
struct watch {
  unsigned wanted; /* events; 0: it is not in */
  int other;       /* the other descriptor of a stream of two, or -1 */
  unsigned flags;  /* EPOLLET, EPOLLONESHOT */
  bool is_spent;   /* a oneshot that was told */
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
  int size = fd < INT_MAX / 4 ? 2 * fd + 64 : INT_MAX;
  size_t bytes = (size_t)size * sizeof *p->watches;
  struct watch *more = lua_newuserdatauv(L, bytes, 0);
  memset(more, 0, bytes);
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

/* The object that had the number before was closed, and is in no more. */
static void forget_stale(lua_State *L, struct poller *p, int fd) {
  lua_getiuservalue(L, 1, FDS);
  lua_getiuservalue(L, 1, OBJECTS);
  if (lua_rawgeti(L, -1, fd) != LUA_TNIL && !lua_rawequal(L, -1, 2)) {
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -4) != LUA_TNIL) p->count--;
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_rawset(L, -4);
    lua_pop(L, 2);
  } else {
    lua_pop(L, 3);
  }
}

static void set_object(lua_State *L, int fd, int index) {
  lua_getiuservalue(L, 1, OBJECTS);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, fd);
  lua_pop(L, 1);
}

/* Waits on a descriptor for what w says, or with no events not any more. */
static int set_watch(lua_State *L, struct poller *p, int fd, struct watch w) {
  bool is_old = is_watching(L, p, fd);
  if (w.wanted == 0 && !is_old) return 0;
  if (fcntl(fd, F_GETFD) < 0) return errno;
  make_room(L, p, fd);
  w.object = ux_test_any(L, 2);
  int op = w.wanted == 0 ? EPOLL_CTL_DEL
           : is_old      ? EPOLL_CTL_MOD
                         : EPOLL_CTL_ADD;
  int err = control(p, op, fd, &w);
  if (err != 0) return err;
  forget_stale(L, p, fd);
  p->watches[fd] = w;
  if (w.wanted != 0) set_object(L, fd, 2);
  return 0;
}

/* ---- objects */

/* Both descriptors of an object in one integer, for when it is closed. */
static lua_Integer pack_fds(const struct ux_poll_entry *e) {
  return (lua_Integer)e->fds[UX_WRITING] << 32 | e->fds[UX_READING];
}

static bool find_fds(lua_State *L, int fds[2]) {
  lua_getiuservalue(L, 1, FDS);
  lua_pushvalue(L, 2);
  bool is_in = lua_rawget(L, -2) != LUA_TNIL;
  lua_Integer packed = lua_tointeger(L, -1);
  fds[UX_READING] = (int)(packed & INT_MAX);
  fds[UX_WRITING] = (int)(packed >> 32);
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

/* Both descriptors, or none of them. */
static int set_watches(lua_State *L, struct poller *p,
                       const struct ux_poll_entry *e, unsigned flags) {
  int r = e->fds[UX_READING], w = e->fds[UX_WRITING];
  bool is_one = r == w;
  struct watch reading = {.wanted = e->events[UX_READING], .flags = flags};
  struct watch writing = {.wanted = e->events[UX_WRITING], .flags = flags};
  struct watch none = {.wanted = 0};
  reading.other = is_one ? -1 : w;
  writing.other = r;
  int err = set_watch(L, p, r, reading);
  if (err != 0 || is_one) return err;
  err = set_watch(L, p, w, writing);
  if (err != 0) set_watch(L, p, r, none);
  return err;
}

static int watch(lua_State *L, bool is_new) {
  struct poller *p = check_poller(L);
  struct ux_poll_entry e = {.fds = {-1, -1}};
  int fds[2];
  luaL_checkany(L, 2);
  const char *why = ux_poll_read_entry(L, 2, 3, &e);
  if (why != NULL) return luaL_argerror(L, 2, why);
  unsigned flags = check_flags(L, 4);
  lua_settop(L, 2);
  bool is_in = find_fds(L, fds) && (is_watching(L, p, fds[UX_READING]) ||
                                    is_watching(L, p, fds[UX_WRITING]));
  int err = !is_new && !is_in ? ENOENT : is_new && is_in ? EEXIST : 0;
  if (err == 0) err = set_watches(L, p, &e, flags);
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
  for (int way = UX_READING; way <= UX_WRITING; way++) {
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
  return (w->wanted & POLLIN) && !w->is_spent && ux_poll_has_input(w->object);
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

/* What is told of the object of a descriptor: also by its other one. Takes
   that out of the list. */
static unsigned gather(const struct poller *p, int fd,
                       struct epoll_event *ready, int count) {
  unsigned got = is_ready_here(&p->watches[fd]) ? POLLIN : 0;
  for (int i = 0; i < count; i++) {
    if (ready[i].data.fd != fd) continue;
    got |= ready[i].events;
    ready[i].events = 0;
  }
  return got;
}

static void append_watch(lua_State *L, const struct poller *p, int lists,
                         lua_Integer n, int fd, struct epoll_event *ready,
                         int count) {
  const struct watch *w = &p->watches[fd];
  int other = w->other;
  unsigned wanted = w->wanted, got = gather(p, fd, ready, count);
  if (other >= 0 && !is_ghost(p, other)) {
    wanted |= p->watches[other].wanted;
    got |= gather(p, other, ready, count);
    spend(p, other);
  }
  lua_getiuservalue(L, 1, OBJECTS);
  lua_rawgeti(L, -1, fd);
  lua_remove(L, -2);
  ux_poll_append(L, lists, n, wanted, got);
  spend(p, fd);
}

static bool was_said(const struct epoll_event *ready, int count, int fd) {
  for (int i = 0; i < count; i++)
    if (ready[i].data.fd == fd) return true;
  return false;
}

/* First what epoll says, then what is in buffers and was not said. */
static lua_Integer append_all(lua_State *L, struct poller *p, lua_Integer most,
                              struct epoll_event *ready, int count) {
  bool has_ghost = false;
  lua_Integer n = 0;
  ux_poll_push_lists(L);
  int lists = lua_gettop(L) - 1;
  for (int i = 0; i < count; i++) {
    int fd = ready[i].data.fd;
    if (ready[i].events == 0) continue;
    if (is_ghost(p, fd))
      has_ghost = true;
    else
      append_watch(L, p, lists, ++n, fd, ready, count);
  }
  for (int fd = 0; fd < p->size && n < most; fd++) {
    if (!is_ready_here(&p->watches[fd]) || was_said(ready, count, fd))
      continue;
    append_watch(L, p, lists, ++n, fd, ready, count);
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

const luaL_Reg ux_poll_poller_functions[] = {
  {"new", l_new},
  {NULL, NULL},
};
