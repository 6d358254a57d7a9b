/***
@module unixipc.socket
*/
#include "base/error.h"
#include "base/fd.h"
#include "base/finalizer.h"
#include "base/options.h"
#include "base/wait.h"
#include "socket_object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

/* SCM_MAX_FD of Linux: so many descriptors go in one message. */
#define FDS_MAX 253

/* More than that is a mistake; the system says what is too many. */
#define FDS_CHECKED 1024

/* ---- sending descriptors ----------------------------------------------- */

/* Fills in the descriptors of the list at arg 3: anew for each try, since a
   handler may have closed one. */
static void gather_fds(lua_State *L, int *fds, lua_Integer count) {
  for (lua_Integer i = 0; i < count; i++) {
    const char *why;
    lua_geti(L, 3, i + 1);
    fds[i] = ux_to_fd(L, -1, &why);
    if (fds[i] < 0)
      luaL_argerror(L, 3, lua_pushfstring(L, "entry %I: %s", i + 1, why));
    lua_pop(L, 1);
  }
}

static void set_control(struct msghdr *m, void *control, size_t count) {
  m->msg_control = control;
  m->msg_controllen = CMSG_SPACE(count * sizeof(int));
  struct cmsghdr *c = CMSG_FIRSTHDR(m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(count * sizeof(int));
}

/* Sends the first bytes with the descriptors, of a stream the rest after. */
static int send_with_fds(lua_State *L, const struct ux_object *o, int fd,
                         lua_Integer count, size_t *done,
                         struct ux_deadline *deadline) {
  size_t length;
  const char *bytes = lua_tolstring(L, 2, &length);
  size_t size = CMSG_SPACE((size_t)count * sizeof(int));
  void *control = memset(lua_newuserdatauv(L, size, 0), 0, size);
  do {
    struct iovec iov = {(void *)(uintptr_t)(bytes + *done), length - *done};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (*done == 0 && count > 0) {
      set_control(&m, control, (size_t)count);
      gather_fds(L, (int *)(void *)CMSG_DATA(CMSG_FIRSTHDR(&m)), count);
      if (!o->open) ux_closed_error(L, o->class); /* by somebody's fileno */
    }
    ssize_t n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    int err = n >= 0 ? 0 : errno;
    if (n > 0) *done += (size_t)n;
    if (err != 0)
      err = ux_socket_again(L, o, fd, err, POLLOUT, deadline);
    else if (*done == length)
      return 0;
    if (err != 0) return err;
  } while (true);
}

/***
Sends bytes, and descriptors along with them: the other side gets its own ones
of the same open files, pipes, sockets. On a stream at least a byte has to go
along, and what is kept back goes out first; a Packet sends one message.

The other side has to read those bytes with `receive_fds` or `receive_message`:
any other way of reading drops the descriptors.
@function Stream:send_fds
@tparam string bytes
@tparam table list of objects with a descriptor, Lua files and integers: at most
253
@tparam[opt] number timeout seconds
@treturn[1] Stream the socket
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADF (an integer that is not open, or the stream not
for writing; nothing was sent), EINVAL (more than 253), EPIPE, ETIMEDOUT,
ETOOMANYREFS (too many under way), EMSGSIZE, ENOTSOCK
@treturn[2] integer bytes that went out; when it is not 0 the descriptors went
out with them
@see unix(7)
*/
static int l_send_fds(lua_State *L) {
  struct ux_object *o;
  int fd = ux_check_socket(L, &o), err = 0;
  size_t done = 0;
  bool is_stream = o->class == &ux_stream_class;
  luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_argcheck(L,
                !is_stream || lua_rawlen(L, 2) > 0,
                2,
                "at least a byte has to go along");
  lua_Integer count = ux_check_list(L, 3, 3);
  luaL_argcheck(
    L, count >= 0 && count <= FDS_CHECKED, 3, "too many descriptors");
  struct ux_deadline deadline = ux_socket_deadline(L, 4, o);
  if (is_stream) {
    struct ux_stream *s = (struct ux_stream *)o;
    fd = s->wfd;
    err = fd < 0 ? EBADF : ux_stream_flush(L, s, &deadline);
  }
  if (err == 0) err = send_with_fds(L, o, fd, count, &done, &deadline);
  if (err != 0) {
    int results = ux_socket_fail(L, err, "sendmsg");
    lua_pushinteger(L, (lua_Integer)done);
    return results + 1;
  }
  lua_settop(L, 1);
  return 1;
}

/* ---- what came --------------------------------------------------------- */

/* Descriptors on their way to be objects. Whatever Lua raises, they are
   closed when this is collected. */
struct rights {
  int count;
  int fds[FDS_MAX];
};

static const char rights_name[] = "unixipc descriptors";

static int l_rights_gc(lua_State *L) {
  struct rights *r = luaL_checkudata(L, 1, rights_name);
  for (int i = 0; i < r->count; i++) ux_fd_close(&r->fds[i]);
  r->count = 0;
  return 0;
}

static struct rights *new_rights(lua_State *L) {
  struct rights *r = lua_newuserdatauv(L, sizeof *r, 0);
  r->count = 0;
  ux_set_finalizer(L, rights_name, l_rights_gc);
  return r;
}

struct credentials {
  bool is_there;
  pid_t pid;
  uid_t uid;
  gid_t gid;
};

struct message {
  char *bytes; /* where they are received, at most `room` */
  size_t room;
  size_t max_fds;
  bool is_stream, is_peek, is_cut, is_end;
  ssize_t length; /* of a message more than the room perhaps */
  struct ux_address from;
  struct credentials credentials;
  struct rights *rights;
};

static void take_fds(struct message *m, const struct cmsghdr *c) {
  size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  struct rights *r = m->rights;
  for (size_t i = 0; i < count; i++) {
    int fd;
    memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
    if ((size_t)r->count < m->max_fds) {
      r->fds[r->count++] = fd;
    } else {
      close(fd);
      m->is_cut = true;
    }
  }
}

#if defined(__linux__) && !defined(SCM_PIDFD)
#define SCM_PIDFD 4 /* Linux 6.5 */
#endif

/* The sender as a descriptor: comes when somebody has set SO_PASSPIDFD. */
static void drop_pidfd(const struct cmsghdr *c) {
#ifdef SCM_PIDFD
  int fd;
  if (c->cmsg_type != SCM_PIDFD || c->cmsg_len != CMSG_LEN(sizeof fd)) return;
  memcpy(&fd, CMSG_DATA(c), sizeof fd);
  if (fd >= 0) close(fd);
#else
  (void)c;
#endif
}

void ux_socket_drop_fds(struct msghdr *h) {
  struct rights none = {.count = 0};
  struct message m = {.max_fds = 0, .rights = &none};
  for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL;
       c = CMSG_NXTHDR(h, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_RIGHTS) take_fds(&m, c);
    drop_pidfd(c);
  }
}

static void take_control(struct message *m, struct msghdr *h) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL;
       c = CMSG_NXTHDR(h, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_RIGHTS) take_fds(m, c);
    drop_pidfd(c);
#ifdef SCM_CREDENTIALS
    if (c->cmsg_type == SCM_CREDENTIALS) {
      struct ucred u;
      memcpy(&u, CMSG_DATA(c), sizeof u);
      m->credentials = (struct credentials){true, u.pid, u.uid, u.gid};
    }
#endif
  }
}

/* Room for what may come beside the descriptors: credentials, a time. */
#define CONTROL_REST 128

/* 0 or an errno. */
static int receive_once(int fd, struct message *m) {
  union {
    char bytes[CMSG_SPACE(FDS_MAX * sizeof(int)) + CONTROL_REST];
    struct cmsghdr align;
  } control;
  struct iovec iov = {m->bytes, m->room};
  struct msghdr h = {
    .msg_name = &m->from.sa,
    .msg_namelen = sizeof m->from.sa,
    .msg_iov = &iov,
    .msg_iovlen = 1,
    .msg_control = control.bytes,
    .msg_controllen = CMSG_LEN(m->max_fds * sizeof(int)) + CONTROL_REST,
  };
  int flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (m->is_peek ? MSG_PEEK : 0) |
              (m->is_stream ? 0 : MSG_TRUNC);
  m->length = recvmsg(fd, &h, flags);
  if (m->length < 0) return errno;
  m->from.length = h.msg_namelen;
  m->is_cut = (h.msg_flags & MSG_CTRUNC) != 0;
  m->is_end = m->length == 0 && h.msg_controllen == 0;
  take_control(m, &h);
  return 0;
}

/* Bytes that a read before took into the buffer come first. */
static bool take_buffered(lua_State *L, struct ux_object *o,
                          struct message *m) {
  struct ux_stream *s = (struct ux_stream *)o;
  if (o->class != &ux_stream_class || ux_buffer_length(&s->in) == 0)
    return false;
  size_t n = ux_buffer_length(&s->in);
  if (n > m->room) n = m->room;
  lua_pushlstring(L, s->in.data + s->in.start, n);
  if (!m->is_peek) {
    ux_buffer_take(&s->in, n);
    s->takes++;
  }
  return true;
}

/* The end, as each kind of socket tells it. */
static bool is_end(const struct ux_object *o, const struct message *m) {
  const struct ux_packet *p = (const struct ux_packet *)o;
  if (o->class == &ux_stream_class) return m->length == 0 && m->room > 0;
  return p->is_seqpacket && m->is_end;
}

static int read_fd(const struct ux_object *o) {
  return o->class == &ux_stream_class ? ((const struct ux_stream *)o)->rfd
                                      : o->class->fileno(o);
}

/* Receives a message and pushes its bytes, nil at the end; 0 or an errno. */
static int receive(lua_State *L, struct ux_object *o, struct message *m,
                   struct ux_deadline *deadline) {
  int fd = read_fd(o);
  if (fd < 0) return EBADF;
  for (;;) {
    if (take_buffered(L, o, m)) return 0;
    int err = receive_once(fd, m);
    if (err == 0) break;
    err = ux_socket_again(L, o, fd, err, POLLIN, deadline);
    if (err != 0) return err;
  }
  size_t length = (size_t)m->length < m->room ? (size_t)m->length : m->room;
  if (is_end(o, m))
    lua_pushnil(L);
  else
    lua_pushlstring(L, m->bytes, length);
  return 0;
}

/* ---- descriptors become objects ---------------------------------------- */

/* Made by other subsystems: a table of functions by kind. Each gets the
   integer and makes an object of a duplicate, or returns nil. */
static const char wrappers_key = 'w';

static bool is_shared_memory(int fd) {
  char proc[32], path[16];
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return false;
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(proc, path, sizeof path - 1);
  if (length < 0) return false;
  path[length] = '\0';
  return strncmp(path, "/memfd:", 7) == 0 ||
         strncmp(path, "/dev/shm/", 9) == 0;
}

static bool push_wrapped(lua_State *L, int fd) {
  if (!is_shared_memory(fd)) return false;
  bool has_one =
    lua_rawgetp(L, LUA_REGISTRYINDEX, &wrappers_key) == LUA_TTABLE &&
    lua_getfield(L, -1, "shm") == LUA_TFUNCTION;
  if (has_one) {
    lua_pushinteger(L, fd);
    lua_call(L, 1, 1);
    has_one = !lua_isnil(L, -1);
  }
  if (has_one) lua_replace(L, -2);
  return has_one;
}

static void push_objects(lua_State *L, struct rights *r) {
  lua_createtable(L, r->count, 0);
  for (int i = 0; i < r->count; i++) {
    int top = lua_gettop(L);
    if (push_wrapped(L, r->fds[i])) {
      ux_fd_close(&r->fds[i]);
    } else {
      lua_settop(L, top);
      ux_push_adopted(L, r->fds[i]);
      r->fds[i] = -1;
    }
    lua_rawseti(L, top, i + 1);
  }
  r->count = 0;
}

/***
Says which functions make objects of descriptors that `receive_fds` receives,
for kinds that this module does not know: `shm` is shared memory. The function
gets an integer, which stays the caller's.
@function set_wrappers
@tparam table functions by kind
*/
static int l_set_wrappers(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &wrappers_key);
  return 0;
}

const luaL_Reg ux_socket_message_functions[] = {
  {"set_wrappers", l_set_wrappers},
  {NULL, NULL},
};

/* ---- receiving --------------------------------------------------------- */

static size_t check_count(lua_State *L, int arg, size_t def, size_t most) {
  if (lua_isnoneornil(L, arg)) return def;
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n >= 0, arg, "count must not be negative");
  return (lua_Unsigned)n < most ? (size_t)n : most;
}

#define STREAM_ROOM ((size_t)65536)

/* Leaves the scratch and the rights on the stack. */
static void prepare(lua_State *L, const struct ux_object *o,
                    struct message *m) {
  m->is_stream = o->class == &ux_stream_class;
  if (m->is_stream) {
    m->bytes = ux_push_scratch(L);
    m->room = STREAM_ROOM;
  } else {
    const struct ux_packet *p = (const struct ux_packet *)o;
    lua_getiuservalue(L, 1, UX_SOCKET_SCRATCH);
    m->bytes = p->scratch;
    m->room = p->room;
  }
  m->max_fds = FDS_MAX;
  m->rights = new_rights(L);
}

static size_t most_room(const struct ux_object *o, const struct message *m) {
  return o->class == &ux_stream_class ? UX_SCRATCH_SIZE : m->room;
}

static bool is_shortened(const struct ux_object *o, const struct message *m) {
  return o->class != &ux_stream_class && m->length > (ssize_t)m->room;
}

/***
Receives bytes and the descriptors that came with them, as objects of ours: a
socket is a Listener, a Stream or a Packet again, a pipe a Stream, shared memory
a Shm, anything else a Stream. All are close-on-exec. A stream may bring bytes
from before a message with descriptors together with it, in front of its own,
but never any from after it, nor descriptors of two messages.
@function Stream:receive_fds
@tparam[opt] integer max bytes: 65536 of a stream at first, the limit of a
Packet
@tparam[opt] number timeout seconds
@tparam[opt=253] integer max_fds the rest is closed
@treturn[1] string bytes
@treturn[1] table list of objects, empty when none came
@treturn[1] boolean was the list cut: there were more than `max_fds`, or than
this process may have open
@treturn[1] integer|nil how long the message was, when it was cut
@treturn[2] nil at the end
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: ETIMEDOUT, ECONNRESET, ENOTSOCK, ENOTCONN, EBADF (not
open for reading)
@see unix(7)
@see recvmsg(2)
*/
static int l_receive_fds(lua_State *L) {
  struct ux_object *o;
  struct message m = {.length = 0};
  ux_check_socket(L, &o);
  struct ux_deadline deadline = ux_socket_deadline(L, 3, o);
  lua_settop(L, 4);
  prepare(L, o, &m);
  m.room = check_count(L, 2, m.room, most_room(o, &m));
  m.max_fds = check_count(L, 4, FDS_MAX, FDS_MAX);
  int err = receive(L, o, &m, &deadline);
  if (err != 0) return ux_socket_fail(L, err, "recvmsg");
  if (lua_isnil(L, -1)) return 1;
  push_objects(L, m.rights);
  lua_pushboolean(L, m.is_cut);
  if (!is_shortened(o, &m)) return 3;
  lua_pushinteger(L, m.length);
  return 4;
}

struct message_options {
  lua_Integer max, max_fds;
  bool peek;
};

#define MEMBER(name) offsetof(struct message_options, name)

static const struct ux_option message_schema[] = {
  {"max", UX_OPT_INTEGER, MEMBER(max), 0, LUA_MAXINTEGER, NULL},
  {"max_fds", UX_OPT_INTEGER, MEMBER(max_fds), 0, FDS_MAX, NULL},
  {"peek", UX_OPT_BOOLEAN, MEMBER(peek), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static void push_credentials(lua_State *L, const struct credentials *c) {
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, c->pid);
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, c->uid);
  lua_setfield(L, -2, "uid");
  lua_pushinteger(L, c->gid);
  lua_setfield(L, -2, "gid");
}

/* The table of a message whose bytes are at the top. */
static void push_table(lua_State *L, const struct ux_object *o,
                       const struct message *m) {
  lua_createtable(L, 0, 5);
  lua_insert(L, -2);
  lua_setfield(L, -2, "bytes");
  push_objects(L, m->rights);
  lua_setfield(L, -2, "fds");
  lua_pushboolean(L, m->is_cut);
  lua_setfield(L, -2, "cut");
  ux_push_address(L, &m->from);
  lua_setfield(L, -2, "address");
  if (m->credentials.is_there) {
    push_credentials(L, &m->credentials);
    lua_setfield(L, -2, "credentials");
  }
  if (is_shortened(o, m)) {
    lua_pushinteger(L, m->length);
    lua_setfield(L, -2, "length");
  }
}

/***
Receives a message with all that the system says about it: `bytes`; `fds` and
`cut` as `receive_fds` has them; `address` of the sender, `""` for none;
`length` when the bytes were cut; with the option `passcred` set before also
`credentials`: `pid`, `uid` and `gid` of the sender, which the kernel vouches
for.

Options: `max` bytes; `max_fds`; `peek`: leave it there to be received again
(descriptors are duplicated each time).
@function Stream:receive_message
@tparam[opt] table options
@tparam[opt] number timeout seconds
@treturn[1] table
@treturn[2] nil at the end
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: as `receive_fds`
@see recvmsg(2)
*/
static int l_receive_message(lua_State *L) {
  struct ux_object *o;
  struct message m = {.length = 0};
  struct message_options options = {.max = -1, .max_fds = FDS_MAX};
  ux_check_socket(L, &o);
  struct ux_deadline deadline = ux_socket_deadline(L, 3, o);
  lua_settop(L, 2);
  ux_check_options(L, 2, message_schema, &options);
  prepare(L, o, &m);
  size_t most = most_room(o, &m);
  if (options.max >= 0)
    m.room = (lua_Unsigned)options.max < most ? (size_t)options.max : most;
  m.max_fds = (size_t)options.max_fds;
  m.is_peek = options.peek;
  int err = receive(L, o, &m, &deadline);
  if (err != 0) return ux_socket_fail(L, err, "recvmsg");
  if (!lua_isnil(L, -1)) push_table(L, o, &m);
  return 1;
}

const luaL_Reg ux_socket_message_methods[] = {
  {"send_fds", l_send_fds},
  {"receive_fds", l_receive_fds},
  {"receive_message", l_receive_message},
  {NULL, NULL},
};
