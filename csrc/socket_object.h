/* The objects of sockets: Listener and Packet here; a stream socket is the
   Stream of csrc/stream.h. */
#ifndef UX_SOCKET_OBJECT_H
#define UX_SOCKET_OBJECT_H

#include "lib/feature.h"

#include "base/class.h"
#include "base/deadline.h"
#include "base/wait.h"
#include "socket_file.h"
#include "stream.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdint.h>

#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* A socket that keeps messages apart: a datagram or a seqpacket one. */
struct ux_packet {
  struct ux_object head;
  const char *kind; /* "socket datagram" */
  int fd;
  bool is_seqpacket;
  bool tells_end;  /* a message of no bytes can be told from the end */
  int64_t timeout; /* of calls that pass none */
  struct ux_habit habit;
  char *scratch; /* where messages are received, of `room` bytes */
  size_t room;
  struct ux_socket_file file;
};

/* The user values of a packet and of a listener. */
enum {
  UX_SOCKET_NAME = 1,
  UX_SOCKET_SCRATCH = 2,
  UX_PACKET_USERVALUES = 2,
};

/* A socket that connections come in by. */
struct ux_listener {
  struct ux_object head;
  int fd;
  int type; /* of the connections */
  struct ux_socket_file file;
};

extern const struct ux_class ux_listener_class;

/* Pushes a closed one; makes a descriptor its own; closes it. */
struct ux_listener *ux_listener_new(lua_State *L, int type, int name);
void ux_listener_set(struct ux_listener *l, int fd);
void ux_listener_close(struct ux_listener *l);

extern const struct ux_class ux_packet_class;

/* Pushes a closed one, with the name at the given index, 0 for none. */
struct ux_packet *ux_packet_new(lua_State *L, int type, int name);
void ux_packet_set(struct ux_packet *p, int fd);

/* Any socket at arg 1, open; its descriptor. Others raise. */
int ux_check_socket(lua_State *L, struct ux_object **object);

/* nil, message, errno for a call on the object at index 1. */
int ux_socket_fail(lua_State *L, int err, const char *call);

/* The timeout at arg, or what `set_timeout` of the object said. */
struct ux_deadline ux_socket_deadline(lua_State *L, int arg,
                                      const struct ux_object *o);

/* Goes on after a call that was refused with err: waits when it would have
   blocked. 0 when it is worth another try. Raises if a handler closed the
   object meanwhile. */
int ux_socket_again(lua_State *L, const struct ux_object *o, int fd, int err,
                    short events, struct ux_deadline *deadline);

/* Pushes a closed Stream or Packet for a socket of that type; and opens it. */
struct ux_object *ux_connection_new(lua_State *L, int type, int name);
void ux_connection_set(struct ux_object *o, int fd);

/* Pushes a new object that takes the descriptor, by its kind: a socket,
   a pipe, anything else that can be read. Does not fail but for memory,
   and then the descriptor is not taken. */
void ux_push_adopted(lua_State *L, int fd);

/* Pushes a closed object of the kind that a socket's descriptor is; 0 or an
   errno. ux_socket_take opens it, with that descriptor or a duplicate. */
int ux_socket_new_for(lua_State *L, int fd, struct ux_object **object);
void ux_socket_take(struct ux_object *o, int fd);

/* Pushes the userdata that all sockets of a Lua state receive messages into,
   and returns it: UX_SCRATCH_SIZE bytes. */
char *ux_push_scratch(lua_State *L);

/* A message over this is cut unless `set_limit` says more: Linux has none as
   long in AF_UNIX, unless the system's own limits were raised. Memory that no
   message touches costs nothing. */
#define UX_SCRATCH_SIZE ((size_t)1024 * 1024)

/* Closes the descriptors of a message that was received. */
struct msghdr;
void ux_socket_drop_fds(struct msghdr *m);

/* Methods by file, and which classes get them. */
extern const luaL_Reg ux_packet_methods[];         /* Packet */
extern const luaL_Reg ux_socket_name_methods[];    /* all three */
extern const luaL_Reg ux_socket_option_methods[];  /* all three */
extern const luaL_Reg ux_socket_message_methods[]; /* Stream and Packet */
extern const luaL_Reg ux_socket_file_methods[];    /* Stream */

/* Functions of the module that are in other files than socket.c. */
extern const luaL_Reg ux_socket_message_functions[];

#endif
