/* Addresses of sockets: how Lua writes them and how the system does. A string
   is of AF_UNIX: a path, "@name" an abstract name of any bytes, "" none at
   all; a table {host=, port=} is of IPv4 or IPv6. */
#ifndef UX_SOCKET_ADDRESS_H
#define UX_SOCKET_ADDRESS_H

#include "lib/feature.h"

#include "base/deadline.h"

#include <lua.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The longest path: one place is left for a zero. An abstract name has one more
   byte, with the "@". */
#define UX_SOCKET_PATH_MAX (sizeof((struct sockaddr_un *)0)->sun_path - 1)

struct ux_address {
  struct sockaddr_storage sa;
  socklen_t length;
};

/* A name may have several addresses: they are tried in order. */
#define UX_ADDRESSES_MAX 8

struct ux_addresses {
  int count;
  int err;           /* why there is none */
  const char *words; /* for it, that say more than the errno's; or NULL */
  struct ux_address list[UX_ADDRESSES_MAX];
};

/* What an address is for. */
struct ux_address_use {
  int type;      /* SOCK_STREAM... */
  int family;    /* of the socket that there is already, or 0 */
  bool is_local; /* to bind to */
};

/* The address at arg; what is none raises. Pushes what messages call it, also
   when *out has no address but an err: ENAMETOOLONG, or what looking up a name
   gave. That waits until the deadline, and handlers run meanwhile. */
void ux_check_address(lua_State *L, int arg, const struct ux_address_use *use,
                      struct ux_deadline *deadline, struct ux_addresses *out);

/* nil, message, errno; the name is at the given index. */
int ux_address_fail(lua_State *L, const struct ux_addresses *a, int err,
                    const char *call, int name);

/* The path of an AF_UNIX address, or NULL when it has none. */
const char *ux_address_path(const struct ux_address *a);

/* Pushes the address as Lua writes it. */
void ux_push_address(lua_State *L, const struct ux_address *a);

/* Pushes what messages call it: "/run/x", "127.0.0.1:80"; "" for none. */
void ux_push_address_name(lua_State *L, const struct ux_address *a);

#endif
