#include "socket_object.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "base/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

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
