/***
@module unixipc.socket
*/
#include "base/error.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "base/wait.h"
#include "socket_object.h"

#include <errno.h>

static struct ux_packet *check_packet(lua_State *L) {
  return ux_check_open(L, 1, &ux_packet_class);
}

/* ---- sending ----------------------------------------------------------- */

static int packet_itself(lua_State *L) {
  lua_settop(L, 1);
  return 1;
}

struct sending {
  int fd, flags;
  const char *bytes;
  size_t length;
  const struct sockaddr *to;
  socklen_t to_length;
};

static int send_once(void *arg) {
  const struct sending *s = arg;
  ssize_t n =
    sendto(s->fd, s->bytes, s->length, s->flags, s->to, s->to_length);
  return n >= 0 ? 0 : errno;
}

static int send_connected(lua_State *L, struct ux_packet *p,
                          struct ux_deadline *deadline) {
  struct sending s = {.fd = p->fd, .flags = MSG_DONTWAIT | MSG_NOSIGNAL};
  s.bytes = lua_tolstring(L, 2, &s.length);
  for (;;) {
    int err = send_once(&s);
    if (err == 0) return 0;
    err = ux_socket_again(L, &p->head, p->fd, err, POLLOUT, deadline);
    if (err != 0) return err;
  }
}

/***
Sends a message, also one of no bytes: whole or not at all. When the receiver's
queue is full it waits.
@function Packet:send
@tparam string message
@tparam[opt] number timeout seconds
@treturn[1] Packet the socket
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EMSGSIZE (longer than the socket's buffer), EPIPE,
ECONNREFUSED and ECONNRESET (nobody has the receiving socket any more),
ENOTCONN, EDESTADDRREQ, ETIMEDOUT, ENOBUFS
@see send(2)
*/
static int l_send(lua_State *L) {
  struct ux_packet *p = check_packet(L);
  luaL_checkstring(L, 2);
  struct ux_deadline deadline = ux_socket_deadline(L, 3, &p->head);
  int err = send_connected(L, p, &deadline);
  return err == 0 ? packet_itself(L) : ux_socket_fail(L, err, "send");
}

/* Somebody who shares the socket made it non-blocking: then there is no way to
   sleep until one receiver among many has room. */
#define PAUSE 0.001

static int pause_before_again(lua_State *L, struct ux_deadline *deadline) {
  struct ux_deadline nap = ux_deadline_in(PAUSE);
  if (ux_deadline_passed(deadline)) return ETIMEDOUT;
  int err = ux_wait_fds(L, NULL, 0, &nap);
  return err == ETIMEDOUT ? 0 : err;
}

/* The kernel has no event for room in the queue of an address: poll(2) looks
   at the socket itself. Only a call that may block sleeps until there is. */
static int send_to(lua_State *L, struct ux_packet *p,
                   const struct ux_address *to, struct ux_deadline *deadline) {
  struct sending s = {
    .fd = p->fd,
    .flags = MSG_DONTWAIT | MSG_NOSIGNAL,
    .to = (const struct sockaddr *)&to->sa,
    .to_length = to->length,
  };
  s.bytes = lua_tolstring(L, 2, &s.length);
  int err = send_once(&s);
  while (err == EAGAIN || err == EINTR) {
    if (deadline->left == 0) return ETIMEDOUT;
    s.flags = MSG_NOSIGNAL;
    err = ux_wait_call(L, send_once, &s, deadline);
    if (!p->head.open) ux_closed_error(L, p->head.class);
    if (err == EAGAIN && pause_before_again(L, deadline) == ETIMEDOUT)
      return ETIMEDOUT;
  }
  return err;
}

static int family_of(int fd) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t length = sizeof sa;
  return getsockname(fd, (struct sockaddr *)&sa, &length) == 0 ? sa.ss_family
                                                               : AF_UNSPEC;
}

/* The address at arg that this socket is to send to; the index of its name.
   While that is looked up a handler may close the socket. */
static int check_target(lua_State *L, const struct ux_packet *p, int arg,
                        struct ux_deadline *deadline,
                        struct ux_addresses *to) {
  struct ux_address_use use = {.type = SOCK_DGRAM};
  if (lua_istable(L, arg)) use.family = family_of(p->fd);
  ux_check_address(L, arg, &use, deadline, to);
  if (!p->head.open) ux_closed_error(L, p->head.class);
  return lua_gettop(L);
}

/***
Sends a message to an address: from a datagram socket, connected or not.
@function Packet:send_to
@tparam string message
@tparam string|table address as `connect` takes it
@tparam[opt] number timeout seconds
@treturn[1] Packet the socket
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT and ECONNREFUSED (nobody has that address),
EACCES, EMSGSIZE, EPROTOTYPE, EPERM (that one is connected to somebody else),
EISCONN, ETIMEDOUT, ENAMETOOLONG; EOPNOTSUPP (a seqpacket socket)
@see sendto(2)
*/
static int l_send_to(lua_State *L) {
  struct ux_packet *p = check_packet(L);
  struct ux_addresses to;
  luaL_checkstring(L, 2);
  struct ux_deadline deadline = ux_socket_deadline(L, 4, &p->head);
  lua_settop(L, 3);
  int name = check_target(L, p, 3, &deadline, &to);
  int err = to.err;
  if (err == 0 && p->is_seqpacket) err = EOPNOTSUPP;
  if (err == 0) err = send_to(L, p, &to.list[0], &deadline);
  return err == 0 ? packet_itself(L)
                  : ux_address_fail(L, &to, err, "sendto", name);
}

/* ---- receiving --------------------------------------------------------- */

struct arrival {
  ssize_t length; /* of the message, which may be longer than the room */
  struct ux_address from;
  bool is_end;
};

#define NO_MESSAGE (-1)

/* The other side of a seqpacket socket, or this one's reading, was shut. */
static bool is_shut(int fd) {
#ifdef POLLRDHUP
  struct pollfd poller = {.fd = fd, .events = POLLRDHUP};
  return poll(&poller, 1, 0) > 0 && (poller.revents & POLLRDHUP) != 0;
#else
  struct pollfd poller = {.fd = fd, .events = POLLIN};
  return poll(&poller, 1, 0) > 0 && (poller.revents & POLLHUP) != 0;
#endif
}

/* 0 or an errno. With a time comes a control message; others that may come, if
   whoever shares the socket turned the time off, may bring descriptors. */
static int receive_once(struct ux_packet *p, size_t room, bool wants_from,
                        int flags, struct arrival *a) {
  union {
    char bytes[CMSG_SPACE(4 * sizeof(long))];
    struct cmsghdr align;
  } control;
  struct iovec iov = {p->scratch, room};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
  if (wants_from) {
    m.msg_name = &a->from.sa;
    m.msg_namelen = sizeof a->from.sa;
  }
  if (p->tells_end) {
    m.msg_control = control.bytes;
    m.msg_controllen = sizeof control.bytes;
  }
  a->length = recvmsg(p->fd, &m, flags | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  if (a->length < 0) return errno;
  ux_socket_drop_fds(&m);
  a->from.length = m.msg_namelen;
  a->is_end = a->length == 0 && p->is_seqpacket &&
              (p->tells_end ? m.msg_controllen == 0 : is_shut(p->fd));
  return 0;
}

/* A message of a connected socket, with no address. */
static int receive_plain(struct ux_packet *p, size_t room, int flags,
                         struct arrival *a) {
  a->is_end = false;
  a->length = recv(p->fd, p->scratch, room, flags | MSG_TRUNC);
  return a->length >= 0 ? 0 : errno;
}

struct receiving {
  struct ux_packet *p;
  size_t room;
  bool wants_from;
  struct arrival *a;
};

static int receive_with(const struct receiving *r, int flags) {
  struct ux_packet *p = r->p;
  bool is_plain = !r->wants_from && !p->tells_end && !p->is_seqpacket;
  return is_plain ? receive_plain(p, r->room, flags, r->a)
                  : receive_once(p, r->room, r->wants_from, flags, r->a);
}

/* 0 or an errno: EAGAIN also when it is not worth it. */
static int try_to_receive(const struct receiving *r,
                          const struct ux_deadline *deadline) {
  if (!ux_habit_tries(&r->p->habit, deadline)) return EAGAIN;
  int err = receive_with(r, MSG_DONTWAIT);
  ux_habit_learn(&r->p->habit, err == EAGAIN);
  return err;
}

/* What is no message of no bytes but the end looks like one when it comes
   while a datagram socket sleeps: its reading was shut down. */
static int receive_blocking(void *arg) {
  const struct receiving *r = arg;
  int err = receive_with(r, 0);
  if (err == 0 && r->a->length == 0 && !r->p->is_seqpacket)
    r->a->is_end = is_shut(r->p->fd);
  return err;
}

/* Once reading is shut down poll calls a datagram socket ready, and there is
   nothing to read for ever. */
static bool is_over(const struct ux_packet *p, int err) {
  return (err == EAGAIN || err == EWOULDBLOCK) && !p->is_seqpacket &&
         is_shut(p->fd);
}

/* While it waits a handler may set a lower limit. It looks for the end when
   there is no message though there should be one, or it will not wait. */
static int receive(lua_State *L, struct ux_packet *p, size_t *room,
                   bool wants_from, struct arrival *a,
                   struct ux_deadline *deadline) {
  struct receiving r = {p, *room, wants_from, a};
  for (bool is_last = deadline->left == 0;; is_last = true) {
    if (*room > p->room) r.room = *room = p->room;
    int err =
      is_last ? receive_with(&r, MSG_DONTWAIT) : try_to_receive(&r, deadline);
    if (is_last && is_over(p, err)) {
      a->is_end = true;
      return 0;
    }
    if (err == EAGAIN || err == EWOULDBLOCK)
      err = ux_wait_fd_call(L, receive_blocking, &r, p->fd, POLLIN, deadline);
    else if (err == EINTR)
      ux_interrupt_run(L);
    if (err == 0) return 0;
    if (!p->head.open) ux_closed_error(L, p->head.class);
    if (err != EINTR && err != EAGAIN && err != EWOULDBLOCK) return err;
  }
}

/* How many bytes of a message are wanted: all there is room for, or fewer. */
static size_t check_room(lua_State *L, int arg, const struct ux_packet *p) {
  if (lua_isnoneornil(L, arg)) return p->room;
  lua_Integer most = luaL_checkinteger(L, arg);
  luaL_argcheck(L, most >= 0, arg, "count must not be negative");
  return (lua_Unsigned)most < p->room ? (size_t)most : p->room;
}

static void push_message(lua_State *L, const struct ux_packet *p, size_t room,
                         const struct arrival *a) {
  size_t length = (size_t)a->length;
  lua_pushlstring(L, p->scratch, length < room ? length : room);
}

static int push_if_cut(lua_State *L, size_t room, const struct arrival *a) {
  if ((size_t)a->length <= room) return 0;
  lua_pushinteger(L, a->length);
  return 1;
}

/***
Receives a message. One of no bytes is a message too: `""`. One that is longer
than `max`, or than the limit, is cut, and its length comes as a second result:
the rest of it is lost.
@function Packet:receive
@tparam[opt] number timeout seconds
@tparam[opt] integer max bytes
@treturn[1] string message
@treturn[1] integer|nil how long it was, when it was cut
@treturn[2] nil the other side of a seqpacket socket was closed, or reading was
shut down
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: ETIMEDOUT, ECONNRESET, ECONNREFUSED (of a message
that was sent before over UDP), ENOTCONN
@see recv(2)
*/
static int l_receive(lua_State *L) {
  struct ux_packet *p = check_packet(L);
  struct ux_deadline deadline = ux_socket_deadline(L, 2, &p->head);
  struct arrival a = {.length = 0};
  size_t room = check_room(L, 3, p);
  int err = receive(L, p, &room, false, &a, &deadline);
  if (err != 0) return ux_socket_fail(L, err, "recv");
  if (a.is_end) {
    lua_pushnil(L);
    return 1;
  }
  push_message(L, p, room, &a);
  return 1 + push_if_cut(L, room, &a);
}

/***
Receives a message and the address of its sender: `""` when that has none.
@function Packet:receive_from
@tparam[opt] number timeout seconds
@tparam[opt] integer max bytes
@treturn[1] string message
@treturn[1] string|table address, as `send_to` takes it
@treturn[1] integer|nil how long it was, when it was cut
@treturn[2] nil as with `receive`
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: as `receive`
@see recvfrom(2)
*/
static int l_receive_from(lua_State *L) {
  struct ux_packet *p = check_packet(L);
  struct ux_deadline deadline = ux_socket_deadline(L, 2, &p->head);
  struct arrival a = {.length = 0};
  size_t room = check_room(L, 3, p);
  int err = receive(L, p, &room, true, &a, &deadline);
  if (err != 0) return ux_socket_fail(L, err, "recvfrom");
  if (a.is_end) {
    lua_pushnil(L);
    return 1;
  }
  push_message(L, p, room, &a);
  ux_push_address(L, &a.from);
  return 2 + push_if_cut(L, room, &a);
}

/* ---- settings ---------------------------------------------------------- */

/***
Sets the longest message that is received whole, 1 MiB at first.
@function Packet:set_limit
@tparam integer bytes
@treturn Packet the socket
*/
static int l_set_limit(lua_State *L) {
  struct ux_packet *p = check_packet(L);
  lua_Integer n = luaL_checkinteger(L, 2);
  luaL_argcheck(
    L, n > 0 && n <= INT32_MAX, 2, "limit must be from 1 to 2147483647");
  if ((size_t)n <= UX_SCRATCH_SIZE) {
    p->scratch = ux_push_scratch(L);
  } else {
    p->scratch = lua_newuserdatauv(L, (size_t)n, 0);
  }
  p->room = (size_t)n;
  lua_setiuservalue(L, 1, UX_SOCKET_SCRATCH);
  return packet_itself(L);
}

/***
Sets how long calls wait that are not told.
@function Packet:set_timeout
@tparam[opt] number timeout seconds; nil is for ever, as at first
@treturn Packet the socket
*/
static int l_set_timeout(lua_State *L) {
  struct ux_packet *p = check_packet(L);
  p->timeout = ux_check_deadline(L, 2).left;
  return packet_itself(L);
}

/***
Ends one way or both.
@function Packet:shutdown
@tparam[opt="both"] string how `"read"`, `"write"` or `"both"`
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOTCONN
@see shutdown(2)
*/
static int l_shutdown(lua_State *L) {
  static const char *const words[] = {"read", "write", "both", NULL};
  static const int hows[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
  const struct ux_packet *p = check_packet(L);
  int how = hows[ux_check_word(L, 2, "both", words)];
  if (shutdown(p->fd, how) != 0) return ux_socket_fail(L, errno, "shutdown");
  return ux_result(L, 0, NULL, NULL);
}

/***
Says where a datagram socket's `send` sends to, and from whom alone it receives;
`""` ends that.
@function Packet:connect
@tparam string|table address
@treturn[1] Packet the socket
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, ECONNREFUSED, EACCES, EPROTOTYPE, EPERM,
EISCONN (a seqpacket socket), ENAMETOOLONG
@see connect(2)
*/
static int l_connect(lua_State *L) {
  struct ux_packet *p = check_packet(L);
  struct ux_addresses to;
  struct ux_deadline deadline = {.left = p->timeout};
  lua_settop(L, 2);
  int name = check_target(L, p, 2, &deadline, &to), err = to.err;
  if (err == 0) {
    struct ux_address *a = &to.list[0];
    if (lua_rawlen(L, name) == 0) a->sa.ss_family = AF_UNSPEC;
    if (connect(p->fd, (const struct sockaddr *)&a->sa, a->length) != 0)
      err = errno;
  }
  return err == 0 ? packet_itself(L)
                  : ux_address_fail(L, &to, err, "connect", name);
}

const luaL_Reg ux_packet_methods[] = {
  {"send", l_send},
  {"send_to", l_send_to},
  {"receive", l_receive},
  {"receive_from", l_receive_from},
  {"connect", l_connect},
  {"shutdown", l_shutdown},
  {"set_limit", l_set_limit},
  {"set_timeout", l_set_timeout},
  {NULL, NULL},
};
