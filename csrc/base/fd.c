#include "base/fd.h"

#include "base/class.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lualib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what has a descriptor --------------------------------------------- */

static int fd_of_integer(lua_State *L, int index, const char **why) {
  int is_integer;
  lua_Integer n = lua_tointegerx(L, index, &is_integer);
  if (is_integer && n >= 0 && n <= INT_MAX) return (int)n;
  *why = "a descriptor is an integer >= 0";
  return -1;
}

static int fd_of_file(const luaL_Stream *file, const char **why) {
  if (file->closef != NULL) return fileno(file->f);
  *why = "file is closed";
  return -1;
}

static int fd_of_object(const struct ux_object *o, bool is_write,
                        const char **why) {
  const struct ux_class *class = o->class;
  if (!o->open) {
    *why = "object is closed";
    return -1;
  }
  if (is_write && class->write_fileno != NULL) return class->write_fileno(o);
  return class->fileno != NULL ? class->fileno(o) : -1;
}

static int call_fileno(lua_State *L, int index, const char *name) {
  int fd = -1;
  if (lua_getfield(L, index, name) == LUA_TFUNCTION) {
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    int is_integer; /* LuaSocket gives it as a float */
    lua_Integer n = lua_tointegerx(L, -1, &is_integer);
    if (is_integer && n >= 0 && n <= INT_MAX) fd = (int)n;
  }
  lua_pop(L, 1);
  return fd;
}

/* Objects of other libraries, by the names that event loops know. */
static int fd_of_foreign(lua_State *L, int index) {
  static const char *const names[] = {"fileno", "pollfd", "getfd", NULL};
  bool is_table = lua_istable(L, index);
  if (!is_table && luaL_getmetafield(L, index, "__index") == LUA_TNIL)
    return -1;
  if (!is_table) lua_pop(L, 1);
  for (int i = 0; names[i] != NULL; i++) {
    int fd = call_fileno(L, index, names[i]);
    if (fd >= 0) return fd;
  }
  return -1;
}

static int to_fd(lua_State *L, int index, bool is_write, const char **why) {
  int type = lua_type(L, index);
  *why = "it has no descriptor";
  if (type == LUA_TNUMBER) return fd_of_integer(L, index, why);
  if (type != LUA_TUSERDATA && type != LUA_TTABLE) return -1;
  const struct ux_object *o = ux_test_any(L, index);
  if (o != NULL) return fd_of_object(o, is_write, why);
  const luaL_Stream *file = luaL_testudata(L, index, LUA_FILEHANDLE);
  if (file != NULL) return fd_of_file(file, why);
  return fd_of_foreign(L, index);
}

int ux_to_fd(lua_State *L, int index, const char **why) {
  return to_fd(L, index, false, why);
}

int ux_to_write_fd(lua_State *L, int index, const char **why) {
  return to_fd(L, index, true, why);
}

int ux_check_fd(lua_State *L, int arg) {
  const char *why;
  int fd = ux_to_fd(L, arg, &why);
  if (fd < 0) luaL_argerror(L, arg, why);
  return fd;
}

/* ---- makers ------------------------------------------------------------ */

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
  /* Not to wait for the other side of a FIFO. */
  int again = open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC);
  if (again >= 0) fcntl(again, F_SETFL, flags & ~O_NONBLOCK);
  return again;
}

static int move_above_standard(int fd) {
  if (fd > STDERR_FILENO) return fd;
  int high = ux_fd_dup(fd), err = errno;
  close(fd);
  errno = err;
  return high;
}

/* Where it cannot be opened again, with no /proc or for the writer of a FIFO
   that nobody reads, it is passed on as it is. */
int ux_fd_dup_blocking(int fd) {
  struct stat st;
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &st) != 0) return -1;
  if (!(flags & O_NONBLOCK) || !S_ISFIFO(st.st_mode)) return ux_fd_dup(fd);
  int again = reopen(fd, flags);
  return again < 0 ? ux_fd_dup(fd) : move_above_standard(again);
}

int ux_fd_close(int *fd) {
  int closing = *fd;
  *fd = -1;
  if (closing < 0 || close(closing) == 0) return 0;
  return errno == EINTR ? 0 : errno; /* Linux: closed all the same */
}
