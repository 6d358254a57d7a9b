/***
@module unixipc.socket
*/
#include "base/error.h"
#include "base/fd.h"
#include "socket_object.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- names and peers --------------------------------------------------- */

/* Calls getsockname or getpeername. */
static int push_name(lua_State *L, const char *call,
                     int (*get)(int, struct sockaddr *, socklen_t *)) {
  struct ux_address a = {.length = sizeof a.sa};
  int fd = ux_check_socket(L, NULL);
  if (get(fd, (struct sockaddr *)&a.sa, &a.length) != 0)
    return ux_socket_fail(L, errno, call);
  ux_push_address(L, &a);
  return 1;
}

/***
The address that the socket is bound to; `""` when to none.
@function Stream:local_address
@treturn[1] string|table address, as `connect` takes it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOTSOCK
@see getsockname(2)
*/
static int l_local_address(lua_State *L) {
  return push_name(L, "getsockname", getsockname);
}

/***
The address that the other side is bound to; `""` when to none.
@function Stream:peer_address
@treturn[1] string|table address, as `connect` takes it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOTCONN, ENOTSOCK
@see getpeername(2)
*/
static int l_peer_address(lua_State *L) {
  return push_name(L, "getpeername", getpeername);
}

static bool is_unix(int fd) {
  struct ux_address a = {.length = sizeof a.sa};
  return getsockname(fd, (struct sockaddr *)&a.sa, &a.length) == 0 &&
         a.sa.ss_family == AF_UNIX;
}

/***
Who the other side is, or was when it connected or called listen: the kernel
says so, not the peer. Of a Listener: itself.
@function Stream:peer_credentials
@treturn[1] integer pid, 0 for a process that this one cannot see
@treturn[1] integer uid
@treturn[1] integer gid
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOTCONN, ENOTSOCK, ENOTSUP (not of AF_UNIX)
@see unix(7)
*/
static int l_peer_credentials(lua_State *L) {
  int fd = ux_check_socket(L, NULL);
#ifdef SO_PEERCRED
  struct ucred c = {.pid = 0};
  socklen_t size = sizeof c;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &size) != 0)
    return ux_socket_fail(L, errno, "getsockopt");
  if (c.uid == (uid_t)-1)
    return ux_socket_fail(L, is_unix(fd) ? ENOTCONN : ENOTSUP, "getsockopt");
  lua_pushinteger(L, c.pid);
  lua_pushinteger(L, c.uid);
  lua_pushinteger(L, c.gid);
  return 3;
#else
  uid_t uid;
  gid_t gid;
  if (getpeereid(fd, &uid, &gid) != 0)
    return ux_socket_fail(L, errno, "getpeereid");
  lua_pushinteger(L, 0);
  lua_pushinteger(L, uid);
  lua_pushinteger(L, gid);
  return 3;
#endif
}

#if defined(__linux__) && !defined(SO_PEERPIDFD)
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/***
The process of the other side as a descriptor, which goes on to stand for that
process when its number is somebody else's: ready to read when it has ended.
@function Stream:peer_pidfd
@treturn[1] Stream to poll and to close; there is nothing to read
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOPROTOOPT (a system without), ENODATA (not
connected), ESRCH (it has ended), EINVAL, ENOTSOCK
@see unix(7)
*/
static int l_peer_pidfd(lua_State *L) {
  int fd = ux_check_socket(L, NULL), err = ENOPROTOOPT, pidfd = -1;
  struct ux_stream *s = ux_stream_new(L, "pidfd stream", 0);
#ifdef SO_PEERPIDFD
  socklen_t size = sizeof pidfd;
  err =
    getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0 ? 0 : errno;
#endif
  if (err != 0) return ux_socket_fail(L, err, "getsockopt");
  ux_stream_set(s, pidfd, -1, UX_RAWIO_POLL);
  return 1;
}

const luaL_Reg ux_socket_name_methods[] = {
  {"local_address", l_local_address},
  {"peer_address", l_peer_address},
  {"peer_credentials", l_peer_credentials},
  {"peer_pidfd", l_peer_pidfd},
  {NULL, NULL},
};

/* ---- options ----------------------------------------------------------- */

enum kind { BOOLEAN, INTEGER, SECONDS, LINGER, DOUBLED };

struct option {
  const char *name;
  enum kind kind;
  int level, number;
};

/* Linux doubles the buffer sizes it is given, and says the double. */
#ifdef __linux__
#define BUFFER DOUBLED
#else
#define BUFFER INTEGER
#endif

static const struct option options[] = {
  {"accepting", BOOLEAN, SOL_SOCKET, SO_ACCEPTCONN},
  {"broadcast", BOOLEAN, SOL_SOCKET, SO_BROADCAST},
  {"error", INTEGER, SOL_SOCKET, SO_ERROR},
  {"keepalive", BOOLEAN, SOL_SOCKET, SO_KEEPALIVE},
  {"linger", LINGER, SOL_SOCKET, SO_LINGER},
  {"nodelay", BOOLEAN, IPPROTO_TCP, TCP_NODELAY},
  {"only_ipv6", BOOLEAN, IPPROTO_IPV6, IPV6_V6ONLY},
  {"receive_buffer", BUFFER, SOL_SOCKET, SO_RCVBUF},
  {"receive_low", INTEGER, SOL_SOCKET, SO_RCVLOWAT},
  {"receive_timeout", SECONDS, SOL_SOCKET, SO_RCVTIMEO},
  {"reuse", BOOLEAN, SOL_SOCKET, SO_REUSEADDR},
  {"reuse_port", BOOLEAN, SOL_SOCKET, SO_REUSEPORT},
  {"send_buffer", BUFFER, SOL_SOCKET, SO_SNDBUF},
  {"send_timeout", SECONDS, SOL_SOCKET, SO_SNDTIMEO},
  {"type", INTEGER, SOL_SOCKET, SO_TYPE},
#ifdef __linux__
  {"cork", BOOLEAN, IPPROTO_TCP, TCP_CORK},
  {"defer_accept", INTEGER, IPPROTO_TCP, TCP_DEFER_ACCEPT},
  {"domain", INTEGER, SOL_SOCKET, SO_DOMAIN},
  {"keepalive_count", INTEGER, IPPROTO_TCP, TCP_KEEPCNT},
  {"keepalive_idle", INTEGER, IPPROTO_TCP, TCP_KEEPIDLE},
  {"keepalive_interval", INTEGER, IPPROTO_TCP, TCP_KEEPINTVL},
  {"mark", INTEGER, SOL_SOCKET, SO_MARK},
  {"passcred", BOOLEAN, SOL_SOCKET, SO_PASSCRED},
  {"peek_offset", INTEGER, SOL_SOCKET, SO_PEEK_OFF},
  {"priority", INTEGER, SOL_SOCKET, SO_PRIORITY},
  {"protocol", INTEGER, SOL_SOCKET, SO_PROTOCOL},
  {"user_timeout", INTEGER, IPPROTO_TCP, TCP_USER_TIMEOUT},
#endif
  {NULL, INTEGER, 0, 0},
};

/* An integer is the number of an option of SOL_SOCKET. */
static struct option check_option(lua_State *L) {
  if (lua_isinteger(L, 2)) {
    lua_Integer n = lua_tointeger(L, 2);
    luaL_argcheck(
      L, n >= INT_MIN && n <= INT_MAX, 2, "no number of an option");
    return (struct option){NULL, INTEGER, SOL_SOCKET, (int)n};
  }
  const char *name = luaL_checkstring(L, 2);
  for (const struct option *o = options; o->name != NULL; o++)
    if (strcmp(o->name, name) == 0) return *o;
  luaL_argerror(L, 2, lua_pushfstring(L, "unknown option '%s'", name));
  return options[0];
}

union value {
  int number;
  struct timeval time;
  struct linger linger;
};

static socklen_t size_of(enum kind kind) {
  return kind == SECONDS  ? sizeof(struct timeval)
         : kind == LINGER ? sizeof(struct linger)
                          : sizeof(int);
}

static void push_value(lua_State *L, enum kind kind, const union value *v) {
  switch (kind) {
    case BOOLEAN: lua_pushboolean(L, v->number); break;
    case INTEGER: lua_pushinteger(L, v->number); break;
    case DOUBLED: lua_pushinteger(L, v->number / 2); break;
    case SECONDS:
      lua_pushnumber(
        L, (lua_Number)v->time.tv_sec + (lua_Number)v->time.tv_usec / 1e6);
      break;
    case LINGER:
      if (v->linger.l_onoff)
        lua_pushinteger(L, v->linger.l_linger);
      else
        lua_pushboolean(L, false);
      break;
  }
}

/***
An option of the socket. Booleans: `accepting`, `broadcast`, `cork`,
`keepalive`, `nodelay`, `only_ipv6`, `passcred` (see `receive_message`),
`reuse`, `reuse_port`. Numbers: `send_buffer` and `receive_buffer` (bytes, as
they were set, without what the kernel adds for itself), `error` (an errno, 0
for none; asking clears it), `type`, `domain`, `protocol`, `receive_low`,
`priority`, `mark`, `peek_offset`, `defer_accept`, `keepalive_idle`,
`keepalive_interval`, `keepalive_count`, `user_timeout`. `linger`: seconds, or
false. `send_timeout` and `receive_timeout`: seconds, for other programs that
share the socket; 0 is for ever. Of other options the number in SOL_SOCKET.
@function Stream:option
@tparam string|integer name
@treturn[1] boolean|integer|number value
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOPROTOOPT and EOPNOTSUPP (not of this kind of
socket), ENOTSOCK
@see socket(7)
@see getsockopt(2)
*/
static int l_option(lua_State *L) {
  int fd = ux_check_socket(L, NULL);
  struct option o = check_option(L);
  union value v;
  memset(&v, 0, sizeof v);
  socklen_t size = size_of(o.kind);
  if (getsockopt(fd, o.level, o.number, &v, &size) != 0)
    return ux_socket_fail(L, errno, "getsockopt");
  push_value(L, o.kind, &v);
  return 1;
}

static int check_int(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 3);
  luaL_argcheck(
    L, n >= INT_MIN && n <= INT_MAX, 3, "value does not fit an int");
  return (int)n;
}

/* The system would take a negative one for a very large one. */
static int check_size(lua_State *L) {
  int n = check_int(L);
  luaL_argcheck(L, n >= 0, 3, "value must not be negative");
  return n;
}

static void check_seconds(lua_State *L, struct timeval *time) {
  lua_Number n = luaL_checknumber(L, 3);
  luaL_argcheck(
    L, n >= 0 && n <= INT_MAX, 3, "value must be a number of seconds >= 0");
  lua_Number us = ceil(n * 1e6); /* a tiny one is not "for ever" */
  time->tv_sec = (time_t)(us / 1e6);
  time->tv_usec = (suseconds_t)(us - (lua_Number)time->tv_sec * 1e6);
}

static void check_linger(lua_State *L, struct linger *linger) {
  bool is_off = lua_isboolean(L, 3) && !lua_toboolean(L, 3);
  linger->l_onoff = !is_off;
  linger->l_linger = is_off ? 0 : check_size(L);
}

/***
Sets an option of the socket.
@function Stream:set_option
@tparam string|integer name as `option` has them
@tparam boolean|integer|number value
@treturn[1] Stream the socket
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOPROTOOPT, EOPNOTSUPP, EINVAL, EDOM, EPERM,
ENOTSOCK
@see setsockopt(2)
*/
static int l_set_option(lua_State *L) {
  int fd = ux_check_socket(L, NULL);
  struct option o = check_option(L);
  union value v;
  memset(&v, 0, sizeof v);
  if (o.kind == BOOLEAN) {
    luaL_checktype(L, 3, LUA_TBOOLEAN);
    v.number = lua_toboolean(L, 3);
  } else if (o.kind == SECONDS) {
    check_seconds(L, &v.time);
  } else if (o.kind == LINGER) {
    check_linger(L, &v.linger);
  } else if (o.kind == DOUBLED) {
    v.number = check_size(L);
  } else {
    v.number = check_int(L);
  }
  if (setsockopt(fd, o.level, o.number, &v, size_of(o.kind)) != 0)
    return ux_socket_fail(L, errno, "setsockopt");
  lua_settop(L, 1);
  return 1;
}

const luaL_Reg ux_socket_option_methods[] = {
  {"option", l_option},
  {"set_option", l_set_option},
  {NULL, NULL},
};
