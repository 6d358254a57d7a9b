/***
@module unixipc.stream
*/
/* The object of `stream`: how it begins and ends, how its calls wait and
   fail. */
#include "base/error.h"
#include "base/fd.h"
#include "stream.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_ROOM 8192
#define DEFAULT_LIMIT (16 * 1024 * 1024)

/* ---- the life of a stream ---------------------------------------------- */

struct ux_stream *ux_stream_new(lua_State *L, const char *kind, int name) {
  struct ux_stream *s = ux_new(L, &ux_stream_class);
  s->kind = kind;
  s->rfd = s->wfd = -1;
  s->room = FIRST_ROOM;
  s->limit = DEFAULT_LIMIT;
  s->timeout = UX_FOREVER;
  if (name != 0) {
    lua_pushvalue(L, name);
    lua_setiuservalue(L, -2, UX_STREAM_NAME);
  }
  return s;
}

void ux_stream_set(struct ux_stream *s, int rfd, int wfd, enum ux_rawio how) {
  s->rfd = rfd;
  s->wfd = wfd;
  s->rhow = s->whow = how;
  s->head.open = true;
}

struct ux_stream *ux_check_stream(lua_State *L) {
  return ux_check_open(L, 1, &ux_stream_class);
}

struct ux_deadline ux_stream_deadline(lua_State *L, int arg,
                                      const struct ux_stream *s) {
  if (arg == 0 || lua_isnoneornil(L, arg))
    return (struct ux_deadline){.left = s->timeout};
  return ux_check_deadline(L, arg);
}

static const char *stream_name(lua_State *L, int index) {
  lua_getiuservalue(L, index, UX_STREAM_NAME);
  return lua_tostring(L, -1);
}

int ux_stream_fail(lua_State *L, int err, const char *call) {
  int results = ux_fail(L, err, call, stream_name(L, 1));
  lua_remove(L, -results - 1); /* the name */
  return results;
}

static int close_fds(struct ux_stream *s) {
  if (s->rfd == s->wfd) s->wfd = -1;
  int err = ux_fd_close(&s->wfd);
  int err2 = ux_fd_close(&s->rfd);
  return err != 0 ? err : err2;
}

/* Only the file that was made for it, and only by the process that did. */
static void remove_temporary(lua_State *L, struct ux_stream *s) {
  struct stat st;
  if (!s->is_temporary || !ux_is_owner(&s->head)) return;
  const char *path = stream_name(L, 1);
  if (lstat(path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
    unlink(path);
}

/***
Writes out what is kept back, closes the descriptors, and removes the file of
a temporary FIFO (by the path it was opened with: make that an absolute one if
the program changes its directory). A second time does nothing. Also what
`<close>` and the collector do.
@function Stream:close
@treturn[1] boolean true
@treturn[2] nil when what was kept back could not be written; closed all the
same
@treturn[2] string message
@treturn[2] integer errno: as `write`
@see close(2)
*/
static int l_close(lua_State *L) {
  struct ux_stream *s = ux_check(L, 1, &ux_stream_class);
  int err = 0;
  if (s->head.open) {
    struct ux_deadline deadline = {.left = s->timeout};
    if (s->wfd >= 0) err = ux_stream_flush(L, s, &deadline);
    s->head.open = false;
    remove_temporary(L, s);
    int close_err = close_fds(s);
    if (err == 0) err = close_err;
  }
  ux_buffer_free(L, &s->in);
  ux_buffer_free(L, &s->out);
  return err == 0 ? ux_result(L, 0, NULL, NULL)
                  : ux_stream_fail(L, err, "close");
}

/* ---- what class.c asks ------------------------------------------------- */

static const char *kind_of(const void *self) {
  const struct ux_stream *s = self;
  return s->kind;
}

static void describe(lua_State *L, const void *self) {
  const struct ux_stream *s = self;
  if (s->rfd >= 0 && s->wfd >= 0 && s->rfd != s->wfd)
    lua_pushfstring(L, "%s fd=%d,%d", s->kind, s->rfd, s->wfd);
  else
    lua_pushfstring(L, "%s fd=%d", s->kind, s->rfd >= 0 ? s->rfd : s->wfd);
  const char *name = stream_name(L, 1);
  if (name == NULL)
    lua_pop(L, 1);
  else
    lua_pushfstring(L, "%s %s", lua_tostring(L, -2), name);
}

static int fileno_of(const void *self) {
  const struct ux_stream *s = self;
  return s->rfd >= 0 ? s->rfd : s->wfd;
}

static int write_fileno_of(const void *self) {
  const struct ux_stream *s = self;
  return s->wfd >= 0 ? s->wfd : s->rfd;
}

static const char *events_of(const void *self) {
  const struct ux_stream *s = self;
  return s->rfd >= 0 ? "r" : "w";
}

static bool is_buffered(const void *self) {
  const struct ux_stream *s = self;
  return ux_buffer_length(&s->in) > s->insufficient;
}

const struct ux_class ux_stream_class = {
  .name = "stream",
  .size = sizeof(struct ux_stream),
  .uservalues = UX_STREAM_USERVALUES,
  .close = l_close,
  .describe = describe,
  .kind = kind_of,
  .fileno = fileno_of,
  .write_fileno = write_fileno_of,
  .events = events_of,
  .is_buffered = is_buffered,
};
