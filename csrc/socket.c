/***
Sockets: connections between processes of this machine, by a path, by an
abstract name or by none; and the same over TCP and UDP.

A *stream* socket is a Stream, as pipes give it, with all its ways to read and
write. A *seqpacket* socket is a connection that keeps messages apart, and a
socket of type *datagram* sends messages to addresses: both are a Packet.

Addresses: a string is a path, `"@name"` an abstract name of any bytes (Linux:
no file; gone with its socket), `""` none: to bind to it asks the system for an
abstract name. A table `{host=, port=}` is of IPv4 or IPv6. Names of hosts are
looked up as the system does, in a thread, so that the timeout of the call and
signals hold for that too; with a timeout of 0 only numbers will do. Bound to
without a `host` it is all of IPv4, to `"::"` all of both. A path that begins
with `@` is written `./@`.
@module unixipc.socket
*/
#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/options.h"
#include "base/wait.h"
#include "socket_object.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* ---- options ----------------------------------------------------------- */

struct options {
  int type; /* a word */
  lua_Integer backlog;
  mode_t mode;
  bool unlink, nodelay, keepalive, reuse, reuse_port, broadcast, only_ipv6;
  int timeout; /* a stack index */
};

static const char *const type_words[] = {
  "stream", "seqpacket", "datagram", NULL};
static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
enum { WORD_STREAM, WORD_SEQPACKET, WORD_DATAGRAM };

#define MEMBER(name) offsetof(struct options, name)

static const struct ux_option listen_schema[] = {
  {"type", UX_OPT_WORD, MEMBER(type), 0, 0, type_words},
  {"backlog", UX_OPT_INTEGER, MEMBER(backlog), 0, INT32_MAX, NULL},
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {"unlink", UX_OPT_BOOLEAN, MEMBER(unlink), 0, 0, NULL},
  {"nodelay", UX_OPT_BOOLEAN, MEMBER(nodelay), 0, 0, NULL},
  {"keepalive", UX_OPT_BOOLEAN, MEMBER(keepalive), 0, 0, NULL},
  {"reuse", UX_OPT_BOOLEAN, MEMBER(reuse), 0, 0, NULL},
  {"reuse_port", UX_OPT_BOOLEAN, MEMBER(reuse_port), 0, 0, NULL},
  {"only_ipv6", UX_OPT_BOOLEAN, MEMBER(only_ipv6), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option connect_schema[] = {
  {"type", UX_OPT_WORD, MEMBER(type), 0, 0, type_words},
  {"nodelay", UX_OPT_BOOLEAN, MEMBER(nodelay), 0, 0, NULL},
  {"keepalive", UX_OPT_BOOLEAN, MEMBER(keepalive), 0, 0, NULL},
  {"broadcast", UX_OPT_BOOLEAN, MEMBER(broadcast), 0, 0, NULL},
  {"timeout", UX_OPT_VALUE, MEMBER(timeout), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option datagram_schema[] = {
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {"unlink", UX_OPT_BOOLEAN, MEMBER(unlink), 0, 0, NULL},
  {"reuse", UX_OPT_BOOLEAN, MEMBER(reuse), 0, 0, NULL},
  {"reuse_port", UX_OPT_BOOLEAN, MEMBER(reuse_port), 0, 0, NULL},
  {"broadcast", UX_OPT_BOOLEAN, MEMBER(broadcast), 0, 0, NULL},
  {"only_ipv6", UX_OPT_BOOLEAN, MEMBER(only_ipv6), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

struct flag {
  size_t member;
  int family, level, option; /* family 0: any but AF_UNIX */
};

static const struct flag flags[] = {
  {MEMBER(nodelay), 0, IPPROTO_TCP, TCP_NODELAY},
  {MEMBER(keepalive), 0, SOL_SOCKET, SO_KEEPALIVE},
  {MEMBER(reuse), 0, SOL_SOCKET, SO_REUSEADDR},
  {MEMBER(reuse_port), 0, SOL_SOCKET, SO_REUSEPORT},
  {MEMBER(broadcast), 0, SOL_SOCKET, SO_BROADCAST},
  {MEMBER(only_ipv6), AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY},
};

static int set_flags(int fd, int family, const struct options *o) {
  const int on = 1;
  if (family == AF_UNIX) return 0;
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
    const struct flag *f = &flags[i];
    bool is_wanted = *(const bool *)((const char *)o + f->member);
    if (!is_wanted || (f->family != 0 && f->family != family)) continue;
    if (setsockopt(fd, f->level, f->option, &on, sizeof on) != 0) return errno;
  }
  return 0;
}

/* ---- Listener ---------------------------------------------------------- */

/* The client gave up before we came, or its network did: not the listener's
   trouble. See accept(2). */
static bool is_clients_trouble(int err) {
  switch (err) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH: return true;
    default: return false;
  }
}

/* 0 or an errno. */
static int accept_once(int fd, int *accepted) {
  do {
    *accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
  } while (*accepted < 0 && is_clients_trouble(errno));
  return *accepted >= 0 ? 0 : errno;
}

/***
Takes the next connection.
@function Listener:accept
@tparam[opt] number timeout seconds
@treturn[1] Stream|Packet by the type of the listener
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT; EMFILE, ENFILE, ENOBUFS, ENOMEM (the
connection waits until there is room: close something before asking again)
@see accept(2)
*/
static int l_accept(lua_State *L) {
  struct ux_listener *l = ux_check_open(L, 1, &ux_listener_class);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, UX_SOCKET_NAME);
  struct ux_object *o = ux_connection_new(L, l->type, 2);
  for (;;) {
    int fd, err = accept_once(l->fd, &fd);
    if (err == 0) {
      ux_connection_set(o, fd);
      return 1;
    }
    err = ux_socket_again(L, &l->head, l->fd, err, POLLIN, &deadline);
    if (err != 0) return ux_socket_fail(L, err, "accept");
  }
}

static const luaL_Reg listener_methods[] = {
  {"accept", l_accept},
  {NULL, NULL},
};

/* ---- listen ------------------------------------------------------------ */

static int new_socket(const struct ux_address *a, int type, int more) {
  return socket(a->sa.ss_family, type | SOCK_CLOEXEC | more, 0);
}

/* Gives the object its socket and binds that; 0 or an errno. */
static int bind_to(int fd, const struct ux_address *a, const struct options *o,
                   struct ux_socket_file *file) {
  int err = set_flags(fd, a->sa.ss_family, o);
  return err != 0 ? err : ux_socket_bind(fd, a, o->mode, o->unlink, file);
}

static int listen_at(struct ux_listener *l, const struct ux_address *a,
                     const struct options *o, const char **call) {
  int fd = new_socket(a, l->type, SOCK_NONBLOCK);
  *call = "socket";
  if (fd < 0) return errno;
  ux_listener_set(l, fd);
  *call = "bind";
  int err = bind_to(fd, a, o, &l->file);
  if (err != 0) return err;
  *call = "listen";
  return listen(fd, (int)o->backlog) == 0 ? 0 : errno;
}

/* Names it by what the system gave it, where that was asked to choose. */
static void name_by_address(lua_State *L, int index, int fd) {
  struct ux_address a = {.length = sizeof a.sa};
  if (getsockname(fd, (struct sockaddr *)&a.sa, &a.length) != 0) return;
  ux_push_address_name(L, &a);
  lua_setiuservalue(L, index, UX_SOCKET_NAME);
}

/* Closes an object that did not come to be. */
static void discard(lua_State *L, int index) {
  const struct ux_object *o = lua_touserdata(L, index);
  lua_pushcfunction(L, o->class->close);
  lua_pushvalue(L, index);
  lua_call(L, 1, 0);
}

/***
Waits for connections at an address.

Options: `type`: `"stream"` (the default) or `"seqpacket"`; `backlog`: how many
connections wait to be accepted (the system's most); `mode`: of the file,
the nine letters of `ls`, `"0660"` or an integer, owner only by default,
whatever the umask; `unlink`: take the place of a socket's file that no process
has any more (one that is alive is EADDRINUSE always). Over TCP: `nodelay`,
`keepalive`, also of the connections; `reuse` (true): the port of a server that
just ended can be had at once; `reuse_port`: several servers share it;
`only_ipv6`.

The file goes when the listener is closed by the process that made it (by the
path it was made with: make that an absolute one if the program changes its
directory).
@function listen
@tparam string|table address
@tparam[opt] table options
@treturn[1] Listener
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EADDRINUSE, ENAMETOOLONG (over 107 bytes), ENOENT and
ENOTDIR (no such directory; ENOENT also: no such host), EACCES, EADDRNOTAVAIL,
EAFNOSUPPORT, EMFILE, ELOOP, EROFS
@see bind(2)
@see listen(2)
@see unix(7)
*/
static int l_listen(lua_State *L) {
  struct options o = {
    .backlog = SOMAXCONN, .mode = UX_DEFAULT_MODE, .reuse = true};
  struct ux_addresses at;
  struct ux_deadline deadline = {.left = UX_FOREVER};
  const char *call = "bind";
  lua_settop(L, 2);
  ux_check_options(L, 2, listen_schema, &o);
  luaL_argcheck(L,
                o.type != WORD_DATAGRAM,
                2,
                "datagram sockets do not listen: see socket.datagram");
  struct ux_address_use use = {.type = types[o.type], .is_local = true};
  ux_check_address(L, 1, &use, &deadline, &at);
  int name = lua_gettop(L), err = at.err;
  struct ux_listener *l = ux_listener_new(L, types[o.type], name);
  for (int i = 0; i < at.count; i++) {
    err = listen_at(l, &at.list[i], &o, &call);
    if (err == 0) {
      name_by_address(L, name + 1, l->fd);
      return 1;
    }
    ux_listener_close(l);
    if (err != EADDRNOTAVAIL && err != EAFNOSUPPORT) break;
  }
  return ux_address_fail(L, &at, err, call, name);
}

/***
Makes a datagram socket, bound to the address if there is one.

Options: `mode`, `unlink`, `reuse`, `reuse_port`, `only_ipv6` as with `listen`;
`broadcast`.
@function datagram
@tparam[opt] string|table address
@tparam[opt] table options
@treturn[1] Packet
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: as `listen`
@see bind(2)
*/
static int l_datagram(lua_State *L) {
  struct options o = {.mode = UX_DEFAULT_MODE};
  struct ux_addresses at = {.count = 1};
  struct ux_deadline deadline = {.left = UX_FOREVER};
  const struct ux_address_use use = {.type = SOCK_DGRAM, .is_local = true};
  bool is_bound = !lua_isnoneornil(L, 1);
  const char *call = "socket";
  lua_settop(L, 2);
  ux_check_options(L, 2, datagram_schema, &o);
  at.list[0].sa.ss_family = AF_UNIX;
  if (is_bound)
    ux_check_address(L, 1, &use, &deadline, &at);
  else
    lua_pushliteral(L, "");
  int name = lua_gettop(L);
  struct ux_packet *p = ux_packet_new(L, SOCK_DGRAM, name);
  int err = at.err;
  int fd = err == 0 ? new_socket(&at.list[0], SOCK_DGRAM, 0) : -1;
  if (err == 0 && fd < 0) err = errno;
  if (fd >= 0) {
    ux_packet_set(p, fd);
    call = "bind";
    if (is_bound) err = bind_to(fd, &at.list[0], &o, &p->file);
  }
  if (err == 0) {
    if (is_bound) name_by_address(L, name + 1, fd);
    return 1;
  }
  discard(L, name + 1);
  return ux_address_fail(L, &at, err, is_bound ? "bind" : call, name);
}

/* ---- connect ----------------------------------------------------------- */

struct connecting {
  int fd;
  const struct ux_address *to;
};

static int connect_once(void *arg) {
  const struct connecting *c = arg;
  const struct sockaddr *sa = (const struct sockaddr *)&c->to->sa;
  return connect(c->fd, sa, c->to->length) == 0 ? 0 : errno;
}

static int set_blocking(int fd) {
  int now = fcntl(fd, F_GETFL);
  if (now < 0) return errno;
  return fcntl(fd, F_SETFL, now & ~O_NONBLOCK) == 0 ? 0 : errno;
}

/* While the queue of a listener at a path is full the kernel has no event to
   wait for: only a connect that may block sleeps until there is room. */
static int connect_unix(lua_State *L, struct connecting *c,
                        struct ux_deadline *deadline) {
  int err = connect_once(c);
  int err2 = set_blocking(c->fd);
  if (err == 0) return err2;
  while (err == EAGAIN || err == EINTR) {
    if (deadline->left == 0) return ETIMEDOUT;
    err = ux_wait_call(L, connect_once, c, deadline);
  }
  return err;
}

static int connect_inet(lua_State *L, struct connecting *c,
                        struct ux_deadline *deadline) {
  int err = connect_once(c), result = 0;
  socklen_t size = sizeof result;
  if (err == EINPROGRESS || err == EINTR) {
    do {
      err = ux_wait_fd(L, c->fd, POLLOUT, deadline);
    } while (err == EINTR);
    if (err == 0) getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &result, &size);
    if (err == 0) err = result;
  }
  return err == 0 ? set_blocking(c->fd) : err;
}

/* Gives the object a socket that is connected; 0 or an errno. */
static int connect_to(lua_State *L, struct ux_object *object, int type,
                      const struct ux_address *to, const struct options *o,
                      struct ux_deadline *deadline) {
  int fd = new_socket(to, type, SOCK_NONBLOCK);
  if (fd < 0) return errno;
  ux_connection_set(object, fd);
  struct connecting c = {fd, to};
  int err = set_flags(fd, to->sa.ss_family, o);
  if (err != 0) return err;
  return to->sa.ss_family == AF_UNIX ? connect_unix(L, &c, deadline)
                                     : connect_inet(L, &c, deadline);
}

/* The descriptor goes, the object stays: to try the next address with. */
static void disconnect(struct ux_object *object) {
  struct ux_stream *s = (struct ux_stream *)object;
  struct ux_packet *p = (struct ux_packet *)object;
  if (!object->open) return;
  object->open = false;
  if (object->class == &ux_stream_class) {
    s->wfd = -1;
    ux_fd_close(&s->rfd);
  } else {
    ux_fd_close(&p->fd);
  }
}

/***
Connects to a listener. When too many others wait there already, it waits until
there is room, or until time is up.

Options: `type`: `"stream"` (the default), `"seqpacket"` or `"datagram"`, which
has to be that of the other side; `nodelay`, `keepalive` over TCP; `broadcast`;
`timeout`: as the last argument.
@function connect
@tparam string|table address
@tparam[opt] table options
@tparam[opt] number timeout seconds
@treturn[1] Stream|Packet by the type
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT (no such file, or host), ECONNREFUSED (nobody
listens), EAGAIN (who knows names cannot be reached), EACCES, EPROTOTYPE
(another type), ENAMETOOLONG (over 107 bytes), ETIMEDOUT, ENETUNREACH,
EHOSTUNREACH, EMFILE
@see connect(2)
@see unix(7)
*/
static int l_connect(lua_State *L) {
  struct options o = {.type = WORD_STREAM};
  struct ux_addresses to;
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  bool has_timeout = !lua_isnoneornil(L, 3);
  lua_settop(L, 2);
  ux_check_options(L, 2, connect_schema, &o);
  if (o.timeout != 0 && !has_timeout) {
    luaL_argcheck(
      L,
      lua_type(L, o.timeout) == LUA_TNUMBER && lua_tonumber(L, o.timeout) >= 0,
      2,
      "option 'timeout': timeout must be a number of seconds >= 0");
    deadline = ux_check_deadline(L, o.timeout);
  }
  int type = types[o.type];
  const struct ux_address_use use = {.type = type};
  ux_check_address(L, 1, &use, &deadline, &to);
  int name = lua_gettop(L), err = to.err;
  struct ux_object *object = ux_connection_new(L, type, name);
  for (int i = 0; i < to.count; i++) {
    err = connect_to(L, object, type, &to.list[i], &o, &deadline);
    if (err == 0) return 1;
    disconnect(object);
    if (err == ETIMEDOUT && ux_deadline_passed(&deadline)) break;
  }
  return ux_address_fail(L, &to, err, "connect", name);
}

/* ---- pair, from -------------------------------------------------------- */

/***
Makes two sockets that are connected to each other.
@function pair
@tparam[opt="stream"] string type `"stream"`, `"seqpacket"` or `"datagram"`
@treturn[1] Stream|Packet
@treturn[1] Stream|Packet the other end
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EMFILE, ENFILE
@see socketpair(2)
*/
static int l_pair(lua_State *L) {
  int type = types[ux_check_word(L, 1, "stream", type_words)], fds[2];
  struct ux_object *one = ux_connection_new(L, type, 0);
  struct ux_object *other = ux_connection_new(L, type, 0);
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0)
    return ux_fail(L, errno, "socketpair", NULL);
  ux_connection_set(one, fds[0]);
  ux_connection_set(other, fds[1]);
  return 2;
}

struct from_options {
  bool adopt;
};

static const struct ux_option from_schema[] = {
  {"adopt", UX_OPT_BOOLEAN, offsetof(struct from_options, adopt), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

/***
The socket that a descriptor is: a Listener, a Stream or a Packet, as its type
says. It gets a duplicate, close-on-exec; with `adopt` it takes the integer
itself. A listener is made non-blocking, for all who share it.
@function from
@tparam integer|file|object descriptor
@tparam[opt] table options `adopt`: boolean
@treturn[1] Listener|Stream|Packet
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADF, ENOTSOCK, EMFILE
@see getsockopt(2)
*/
static int l_from(lua_State *L) {
  struct from_options o = {false};
  int fd = ux_check_fd(L, 1);
  ux_check_options(L, 2, from_schema, &o);
  luaL_argcheck(
    L, !o.adopt || lua_isinteger(L, 1), 2, "only an integer can be adopted");
  struct ux_object *object;
  int err = ux_socket_new_for(L, fd, &object);
  if (err != 0) return ux_fail(L, err, "getsockopt", NULL);
  int own = o.adopt ? fd : ux_fd_dup(fd);
  if (own < 0) return ux_fail(L, errno, "fcntl", NULL);
  ux_socket_take(object, own);
  return 1;
}

static const luaL_Reg functions[] = {
  {"listen", l_listen},
  {"connect", l_connect},
  {"datagram", l_datagram},
  {"pair", l_pair},
  {"from", l_from},
  {NULL, NULL},
};

/* ---- classes ----------------------------------------------------------- */

int ux_open_socket(lua_State *L) {
  luaL_newlib(L, functions);
  luaL_setfuncs(L, ux_socket_message_functions, 0);
  ux_stream_open(L);
  luaL_setfuncs(L, ux_socket_name_methods, 0);
  luaL_setfuncs(L, ux_socket_option_methods, 0);
  luaL_setfuncs(L, ux_socket_message_methods, 0);
  luaL_setfuncs(L, ux_socket_file_methods, 0);
  lua_pop(L, 1);
  ux_class_open(L, &ux_packet_class);
  luaL_setfuncs(L, ux_packet_methods, 0);
  luaL_setfuncs(L, ux_socket_name_methods, 0);
  luaL_setfuncs(L, ux_socket_option_methods, 0);
  luaL_setfuncs(L, ux_socket_message_methods, 0);
  lua_setfield(L, -2, "Packet");
  ux_class_open(L, &ux_listener_class);
  luaL_setfuncs(L, listener_methods, 0);
  luaL_setfuncs(L, ux_socket_name_methods, 0);
  luaL_setfuncs(L, ux_socket_option_methods, 0);
  lua_setfield(L, -2, "Listener");
  return 1;
}
