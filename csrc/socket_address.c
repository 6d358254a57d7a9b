#include "socket_address.h"

#include "base/error.h"
#include "base/finalizer.h"
#include "base/options.h"
#include "base/wait.h"
#include "lib/lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

/* ---- AF_UNIX ----------------------------------------------------------- */

static size_t longest(const char *name) {
  return UX_SOCKET_PATH_MAX + (name[0] == '@');
}

/* An abstract name has a zero where we write "@", and ends by its length; a
   path has a zero at its end. "" is no address: to bind to it asks the system
   for an abstract name. */
static int set_unix(struct ux_address *a, const char *name, size_t length) {
  struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;
  if (length > longest(name)) return ENAMETOOLONG;
  memset(un, 0, sizeof *un);
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, name, length);
  if (name[0] == '@') un->sun_path[0] = '\0';
  a->length = (socklen_t)(PATH_OFFSET + length);
  if (length > 0 && name[0] != '@') a->length++;
  return 0;
}

static void check_unix(lua_State *L, int arg, struct ux_addresses *out) {
  size_t length;
  const char *name = lua_tolstring(L, arg, &length);
  if (name[0] != '@') ux_check_cstring(L, arg);
  out->err = set_unix(&out->list[0], name, length);
  out->count = out->err == 0;
  lua_pushvalue(L, arg);
  if (out->err != 0) {
    out->words = lua_pushfstring(
      L, "File name too long (over %d bytes)", (int)longest(name));
    lua_insert(L, -2); /* below the name, to live as long */
  }
}

/* ---- IPv4 and IPv6 ----------------------------------------------------- */

struct inet_options {
  const char *host;
  lua_Integer port;
};

#define MEMBER(name) offsetof(struct inet_options, name)

static const struct ux_option inet_schema[] = {
  {"host", UX_OPT_STRING, MEMBER(host), 0, 0, NULL},
  {"port", UX_OPT_INTEGER, MEMBER(port), 0, 65535, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static int errno_of(int problem, int err) {
  switch (problem) {
    case EAI_SYSTEM: return err;
    case EAI_AGAIN: return EAGAIN;
    case EAI_MEMORY: return ENOMEM;
    case EAI_FAMILY:
#ifdef EAI_ADDRFAMILY
    case EAI_ADDRFAMILY:
#endif
      return EAFNOSUPPORT;
    default: return ENOENT;
  }
}

static void copy_found(const struct addrinfo *found,
                       struct ux_addresses *out) {
  for (; found != NULL && out->count < UX_ADDRESSES_MAX;
       found = found->ai_next) {
    struct ux_address *a = &out->list[out->count];
    if (found->ai_addrlen > sizeof a->sa) continue;
    memcpy(&a->sa, found->ai_addr, found->ai_addrlen);
    a->length = found->ai_addrlen;
    out->count++;
  }
}

static void take_result(int problem, int err, const struct addrinfo *found,
                        struct ux_addresses *out) {
  if (problem == 0) copy_found(found, out);
  if (out->count > 0) return;
  out->err = problem == 0 ? ENOENT : errno_of(problem, err);
  if (problem != 0 && problem != EAI_SYSTEM)
    out->words = gai_strerror(problem);
}

/* What needs no looking up: numbers, and no host at all. False for a name. */
static bool read_numbers(const char *host, const char *port,
                         struct addrinfo hints, struct ux_addresses *out) {
  struct addrinfo *found = NULL;
  hints.ai_flags |= AI_NUMERICHOST;
  int problem = getaddrinfo(host, port, &hints, &found);
  if (problem == EAI_NONAME && host != NULL && *host != '\0') return false;
  take_result(problem, errno, found, out);
  if (problem == 0) freeaddrinfo(found);
  return true;
}

/* Releases the lookup if a handler raises while it is waited for. */
struct held_lookup {
  struct ux_lookup *it;
};

static const char lookup_name[] = "unixipc lookup";

static void release(struct held_lookup *l) {
  if (l->it != NULL) ux_lookup_release(l->it);
  l->it = NULL;
}

static int l_lookup_gc(lua_State *L) {
  release(luaL_checkudata(L, 1, lookup_name));
  return 0;
}

static struct held_lookup *new_lookup(lua_State *L) {
  struct held_lookup *l = lua_newuserdatauv(L, sizeof *l, 0);
  l->it = NULL;
  ux_set_finalizer(L, lookup_name, l_lookup_gc);
  return l;
}

static void look_up_name(lua_State *L, const char *host, const char *port,
                         const struct addrinfo *hints,
                         struct ux_deadline *deadline,
                         struct ux_addresses *out) {
  struct held_lookup *l = new_lookup(L);
  out->err = ux_lookup_start(host, port, hints, &l->it);
  if (out->err != 0) return;
  do {
    out->err = ux_wait_fd(L, ux_lookup_fd(l->it), POLLIN, deadline);
  } while (out->err == EINTR);
  if (out->err == 0) {
    const struct addrinfo *found;
    int err, problem = ux_lookup_result(l->it, &found, &err);
    take_result(problem, err, found, out);
  }
  release(l);
}

static void look_up(lua_State *L, const struct inet_options *o,
                    const struct ux_address_use *use,
                    struct ux_deadline *deadline, struct ux_addresses *out) {
  char port[16];
  struct addrinfo hints = {
    .ai_family = use->family == AF_INET ? AF_INET : AF_UNSPEC,
    .ai_socktype = use->type,
    .ai_flags = AI_NUMERICSERV | (use->is_local ? AI_PASSIVE : 0),
  };
  snprintf(port, sizeof port, "%d", (int)o->port);
  if (read_numbers(o->host, port, hints, out)) return;
  int top = lua_gettop(L);
  look_up_name(L, o->host, port, &hints, deadline, out);
  lua_settop(L, top);
}

static void push_inet_name(lua_State *L, const char *host, int port) {
  if (host == NULL) host = "*";
  const char *format = strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d";
  lua_pushfstring(L, format, host, port);
}

static void check_inet(lua_State *L, int arg, const struct ux_address_use *use,
                       struct ux_deadline *deadline,
                       struct ux_addresses *out) {
  struct inet_options o = {.port = -1};
  ux_check_options(L, arg, inet_schema, &o);
  luaL_argcheck(L, o.port >= 0, arg, "address has no port");
  luaL_argcheck(
    L, use->is_local || o.host != NULL, arg, "address has no host");
  luaL_argcheck(L,
                use->type != SOCK_SEQPACKET,
                arg,
                "seqpacket sockets have paths or abstract names");
  push_inet_name(L, o.host, (int)o.port);
  look_up(L, &o, use, deadline, out);
}

/* ---- both -------------------------------------------------------------- */

void ux_check_address(lua_State *L, int arg, const struct ux_address_use *use,
                      struct ux_deadline *deadline, struct ux_addresses *out) {
  out->count = out->err = 0;
  out->words = NULL;
  if (lua_type(L, arg) == LUA_TSTRING)
    check_unix(L, arg, out);
  else if (lua_istable(L, arg))
    check_inet(L, arg, use, deadline, out);
  else
    luaL_argerror(
      L, arg, "address must be a path, \"@name\" or {host=, port=}");
}

int ux_address_fail(lua_State *L, const struct ux_addresses *a, int err,
                    const char *call, int name) {
  const char *text = lua_tostring(L, name);
  if (a->words == NULL) return ux_fail(L, err, call, text);
  return ux_fail_words(
    L, err, call, lua_pushfstring(L, "%s: %s", text, a->words));
}

const char *ux_address_path(const struct ux_address *a) {
  const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
  bool has_path = a->sa.ss_family == AF_UNIX && a->length > PATH_OFFSET &&
                  un->sun_path[0] != '\0';
  return has_path ? un->sun_path : NULL;
}

static void push_unix(lua_State *L, const struct ux_address *a) {
  const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
  size_t length = a->length > PATH_OFFSET ? a->length - PATH_OFFSET : 0;
  if (un->sun_family != AF_UNIX) length = 0; /* of a kind unknown here */
  if (length > sizeof un->sun_path) length = sizeof un->sun_path;
  if (length > 0 && un->sun_path[0] == '\0') {
    lua_pushliteral(L, "@");
    lua_pushlstring(L, un->sun_path + 1, length - 1);
    lua_concat(L, 2);
  } else {
    lua_pushlstring(L, un->sun_path, strnlen(un->sun_path, length));
  }
}

/* Of an address that means something on one network only: "fe80::1%eth0". */
static void add_scope(const struct sockaddr_in6 *in6, char *host,
                      size_t size) {
  char name[IF_NAMESIZE];
  size_t used = strlen(host);
  unsigned scope = in6->sin6_scope_id;
  if (scope == 0) return;
  if (if_indextoname(scope, name) != NULL)
    snprintf(host + used, size - used, "%%%s", name);
  else
    snprintf(host + used, size - used, "%%%u", scope);
}

#define HOST_SIZE (INET6_ADDRSTRLEN + 1 + IF_NAMESIZE)

/* The port, or -1 for what is not of IPv4 or IPv6. */
static int split_inet(const struct ux_address *a, char *host, size_t size) {
  const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
  const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
  if (a->sa.ss_family == AF_INET) {
    inet_ntop(AF_INET, &in->sin_addr, host, (socklen_t)size);
    return ntohs(in->sin_port);
  }
  if (a->sa.ss_family != AF_INET6) return -1;
  inet_ntop(AF_INET6, &in6->sin6_addr, host, (socklen_t)size);
  add_scope(in6, host, size);
  return ntohs(in6->sin6_port);
}

void ux_push_address(lua_State *L, const struct ux_address *a) {
  char host[HOST_SIZE];
  int port = split_inet(a, host, sizeof host);
  if (port < 0) {
    push_unix(L, a);
    return;
  }
  lua_createtable(L, 0, 2);
  lua_pushstring(L, host);
  lua_setfield(L, -2, "host");
  lua_pushinteger(L, port);
  lua_setfield(L, -2, "port");
}

void ux_push_address_name(lua_State *L, const struct ux_address *a) {
  char host[HOST_SIZE];
  int port = split_inet(a, host, sizeof host);
  if (port < 0)
    push_unix(L, a);
  else
    push_inet_name(L, host, port);
}
