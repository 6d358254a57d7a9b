#include "base/fd.h"

#include "base/class.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lualib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what has a descriptor -------------------------------------------------- */

static int fd_of_file(lua_State *L, int arg) {
  const luaL_Stream *file = luaL_testudata(L, arg, LUA_FILEHANDLE);
  if (file == NULL) return -1;
  if (file->closef == NULL) luaL_argerror(L, arg, "file is closed");
  return fileno(file->f);
}

static int fd_of_object(lua_State *L, int arg) {
  const struct ux_object *o = ux_test_any(L, arg);
  if (o == NULL || o->class->fileno == NULL) return -1;
  if (!o->open) luaL_argerror(L, arg, "object is closed");
  return o->class->fileno(o);
}

/* Objects of other libraries, by the names that event loops know. */
static int fd_of_foreign(lua_State *L, int arg) {
  static const char *const names[] = {"fileno", "pollfd", "getfd", NULL};
  int type = lua_type(L, arg);
  if (type != LUA_TUSERDATA && type != LUA_TTABLE) return -1;
  if (type == LUA_TUSERDATA && luaL_getmetafield(L, arg, "__index") == 0)
    return -1;
  if (type == LUA_TUSERDATA) lua_pop(L, 1);
  for (int i = 0; names[i] != NULL; i++) {
    if (lua_getfield(L, arg, names[i]) == LUA_TFUNCTION) {
      lua_pushvalue(L, arg);
      lua_call(L, 1, 1);
      int fd = lua_isinteger(L, -1) ? (int)lua_tointeger(L, -1) : -1;
      lua_pop(L, 1);
      if (fd >= 0) return fd;
    } else {
      lua_pop(L, 1);
    }
  }
  return -1;
}

int ux_check_fd(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TNUMBER) {
    lua_Integer n = luaL_checkinteger(L, arg);
    luaL_argcheck(L, n >= 0 && n <= INT_MAX, arg,
                  "descriptor must be an integer >= 0");
    return (int)n;
  }
  int fd = fd_of_file(L, arg);
  if (fd < 0) fd = fd_of_object(L, arg);
  if (fd < 0) fd = fd_of_foreign(L, arg);
  if (fd < 0) luaL_typeerror(L, arg, "descriptor, file or object with one");
  return fd;
}

/* ---- makers --------------------------------------------------------------- */

int ux_fd_pipe(int fds[2], int flags) {
  return pipe2(fds, O_CLOEXEC | flags) == 0 ? 0 : errno;
}

int ux_fd_dup(int fd) {
  return fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* O_NONBLOCK belongs to the open file description, and clearing it would
   clear it for us too. Opening the thing again gives a description of its
   own. */
static int reopen(int fd, int flags) {
  char path[sizeof "/proc/self/fd/" + 3 * sizeof(int)];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return open(path, (flags & O_ACCMODE) | O_CLOEXEC);
}

int ux_fd_dup_blocking(int fd) {
  struct stat st;
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &st) != 0) return -1;
  if (!(flags & O_NONBLOCK) || !S_ISFIFO(st.st_mode)) return ux_fd_dup(fd);
  int again = reopen(fd, flags);
  if (again < 0) return ux_fd_dup(fd); /* no /proc: as it is, then */
  if (again > STDERR_FILENO) return again;
  int high = ux_fd_dup(again), err = errno;
  close(again);
  errno = err;
  return high;
}

int ux_fd_close(int *fd) {
  int closing = *fd;
  *fd = -1;
  if (closing < 0 || close(closing) == 0) return 0;
  return errno == EINTR ? 0 : errno; /* Linux: closed all the same */
}
