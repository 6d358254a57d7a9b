/***
@module unixipc.socket
*/
/* The objects of `socket`: how they begin and end, how their calls wait and
   fail. */
#include "socket_object.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/interrupt.h"
#include "base/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- the room for messages: one for all of a Lua state ----------------- */

static const char scratch_key = 's';

char *ux_push_scratch(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &scratch_key) != LUA_TUSERDATA) {
    lua_pop(L, 1);
    lua_newuserdatauv(L, UX_SCRATCH_SIZE, 0);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scratch_key);
  }
  return lua_touserdata(L, -1);
}

/* ---- Packet ------------------------------------------------------------ */

struct ux_packet *ux_packet_new(lua_State *L, int type, int name) {
  struct ux_packet *p = ux_new(L, &ux_packet_class);
  p->is_seqpacket = type == SOCK_SEQPACKET;
  p->kind = p->is_seqpacket ? "socket seqpacket" : "socket datagram";
  p->fd = -1;
  p->timeout = UX_FOREVER;
  p->scratch = ux_push_scratch(L);
  p->room = UX_SCRATCH_SIZE;
  lua_setiuservalue(L, -2, UX_SOCKET_SCRATCH);
  if (name != 0) {
    lua_pushvalue(L, name);
    lua_setiuservalue(L, -2, UX_SOCKET_NAME);
  }
  return p;
}

/* A time comes with each message then, also with an empty one; with the end
   comes none. */
static bool ask_for_time(int fd) {
#if defined(__linux__) && defined(SO_TIMESTAMP)
  int on = 1;
  return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on) == 0;
#else
  (void)fd;
  return false;
#endif
}

void ux_packet_set(struct ux_packet *p, int fd) {
  p->fd = fd;
  p->head.open = true;
  p->tells_end = p->is_seqpacket && ask_for_time(fd);
}

/***
Closes the socket, and removes the file it was bound to if it was this process
that made it. A second time does nothing. Also what `<close>` and the collector
do.
@function Packet:close
@treturn boolean true
@see close(2)
*/
static int l_packet_close(lua_State *L) {
  struct ux_packet *p = ux_check(L, 1, &ux_packet_class);
  if (p->head.open) {
    p->head.open = false;
    if (ux_is_owner(&p->head)) ux_socket_unbind(&p->file);
    ux_fd_close(&p->fd);
  }
  return ux_result(L, 0, NULL, NULL);
}

static const char *kind_of(const void *self) {
  const struct ux_packet *p = self;
  return p->kind;
}

static void describe_packet(lua_State *L, const void *self) {
  const struct ux_packet *p = self;
  lua_getiuservalue(L, 1, UX_SOCKET_NAME);
  const char *name = lua_tostring(L, -1);
  if (name != NULL && *name != '\0')
    lua_pushfstring(L, "%s fd=%d %s", p->kind, p->fd, name);
  else
    lua_pushfstring(L, "%s fd=%d", p->kind, p->fd);
}

static int fileno_of_packet(const void *self) {
  const struct ux_packet *p = self;
  return p->fd;
}

const struct ux_class ux_packet_class = {
  .name = "packet socket",
  .size = sizeof(struct ux_packet),
  .uservalues = UX_PACKET_USERVALUES,
  .close = l_packet_close,
  .describe = describe_packet,
  .kind = kind_of,
  .fileno = fileno_of_packet,
};

/* ---- Listener ---------------------------------------------------------- */

struct ux_listener *ux_listener_new(lua_State *L, int type, int name) {
  struct ux_listener *l = ux_new(L, &ux_listener_class);
  l->fd = -1;
  l->type = type;
  if (name != 0) {
    lua_pushvalue(L, name);
    lua_setiuservalue(L, -2, UX_SOCKET_NAME);
  }
  return l;
}

/* There is no flag for a single accept that is not to block. */
void ux_listener_set(struct ux_listener *l, int fd) {
  int now = fcntl(fd, F_GETFL);
  if (now >= 0 && !(now & O_NONBLOCK)) fcntl(fd, F_SETFL, now | O_NONBLOCK);
  l->fd = fd;
  l->head.open = true;
}

void ux_listener_close(struct ux_listener *l) {
  if (!l->head.open) return;
  l->head.open = false;
  if (ux_is_owner(&l->head)) ux_socket_unbind(&l->file);
  ux_fd_close(&l->fd);
}

/***
Closes the listener and removes its file, if it was this process that made it.
Connections that were not accepted are reset. A second time does nothing. Also
what `<close>` and the collector do.
@function Listener:close
@treturn boolean true
@see close(2)
*/
static int l_listener_close(lua_State *L) {
  ux_listener_close(ux_check(L, 1, &ux_listener_class));
  return ux_result(L, 0, NULL, NULL);
}

static void describe_listener(lua_State *L, const void *self) {
  const struct ux_listener *l = self;
  lua_getiuservalue(L, 1, UX_SOCKET_NAME);
  const char *name = lua_tostring(L, -1);
  if (name != NULL && *name != '\0')
    lua_pushfstring(L, "socket listener fd=%d %s", l->fd, name);
  else
    lua_pushfstring(L, "socket listener fd=%d", l->fd);
}

static int fileno_of_listener(const void *self) {
  const struct ux_listener *l = self;
  return l->fd;
}

const struct ux_class ux_listener_class = {
  .name = "socket listener",
  .size = sizeof(struct ux_listener),
  .uservalues = 1,
  .close = l_listener_close,
  .describe = describe_listener,
  .fileno = fileno_of_listener,
};

/* ---- what all calls do ------------------------------------------------- */

static bool is_socket(const struct ux_object *o) {
  return o->class == &ux_stream_class || o->class == &ux_packet_class ||
         o->class == &ux_listener_class;
}

int ux_check_socket(lua_State *L, struct ux_object **object) {
  struct ux_object *o = ux_test_any(L, 1);
  ux_interrupt_enter(L);
  if (o == NULL || !is_socket(o)) return luaL_typeerror(L, 1, "socket");
  if (!o->open) ux_closed_error(L, o->class);
  if (object != NULL) *object = o;
  return o->class->fileno(o);
}

/* The first user value of all three is the name. */
int ux_socket_fail(lua_State *L, int err, const char *call) {
  lua_getiuservalue(L, 1, UX_SOCKET_NAME);
  const char *name = lua_tostring(L, -1);
  if (name != NULL && *name == '\0') name = NULL;
  int results = ux_fail(L, err, call, name);
  lua_remove(L, -results - 1);
  return results;
}

struct ux_deadline ux_socket_deadline(lua_State *L, int arg,
                                      const struct ux_object *o) {
  if (arg != 0 && !lua_isnoneornil(L, arg)) return ux_check_deadline(L, arg);
  int64_t left = UX_FOREVER;
  if (o->class == &ux_stream_class)
    left = ((const struct ux_stream *)o)->timeout;
  else if (o->class == &ux_packet_class)
    left = ((const struct ux_packet *)o)->timeout;
  return (struct ux_deadline){.left = left};
}

int ux_socket_again(lua_State *L, const struct ux_object *o, int fd, int err,
                    short events, struct ux_deadline *deadline) {
  if (err == EAGAIN || err == EWOULDBLOCK)
    err = ux_wait_fd(L, fd, events, deadline);
  else if (err == EINTR)
    ux_interrupt_run(L);
  if (!o->open) ux_closed_error(L, o->class);
  return err == EINTR ? 0 : err;
}

/* ---- objects from descriptors ------------------------------------------ */

struct ux_object *ux_connection_new(lua_State *L, int type, int name) {
  if (type == SOCK_STREAM)
    return &ux_stream_new(L, "socket stream", name)->head;
  return &ux_packet_new(L, type, name)->head;
}

void ux_connection_set(struct ux_object *o, int fd) {
  if (o->class == &ux_stream_class)
    ux_stream_set((struct ux_stream *)o, fd, fd, UX_RAWIO_SOCKET);
  else
    ux_packet_set((struct ux_packet *)o, fd);
}

static int get_int(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

int ux_socket_new_for(lua_State *L, int fd, struct ux_object **object) {
  int type = get_int(fd, SO_TYPE);
  if (type < 0) return errno != 0 ? errno : ENOTSOCK;
  *object = get_int(fd, SO_ACCEPTCONN) > 0 ? &ux_listener_new(L, type, 0)->head
                                           : ux_connection_new(L, type, 0);
  return 0;
}

void ux_socket_take(struct ux_object *o, int fd) {
  if (o->class == &ux_listener_class)
    ux_listener_set((struct ux_listener *)o, fd);
  else
    ux_connection_set(o, fd);
}

static void push_stream(lua_State *L, int fd, mode_t mode) {
  int flags = fcntl(fd, F_GETFL);
  int access = flags < 0 ? O_RDWR : flags & O_ACCMODE;
  const char *kind = S_ISFIFO(mode)  ? "pipe stream"
                     : S_ISCHR(mode) ? "device stream"
                                     : "file stream";
  struct ux_stream *s = ux_stream_new(L, kind, 0);
  ux_stream_set(s,
                access == O_WRONLY ? -1 : fd,
                access == O_RDONLY ? -1 : fd,
                ux_rawio_classify(fd));
}

void ux_push_adopted(lua_State *L, int fd) {
  struct stat st = {.st_mode = 0};
  int failed = fstat(fd, &st);
  struct ux_object *o = NULL;
  if (failed == 0 && S_ISSOCK(st.st_mode)) ux_socket_new_for(L, fd, &o);
  if (o != NULL)
    ux_socket_take(o, fd);
  else
    push_stream(L, fd, st.st_mode);
}
