/* Stream: the one class for everything that reads and writes bytes. */
#ifndef UX_STREAM_H
#define UX_STREAM_H

#include "base/buffer.h"
#include "base/class.h"
#include "base/deadline.h"
#include "base/wait.h"
#include "lib/rawio.h"

#include <stdint.h>
#include <sys/types.h>

enum ux_stream_mode { UX_STREAM_NO, UX_STREAM_LINE, UX_STREAM_FULL };

struct ux_stream {
  struct ux_object head;
  const char *kind; /* "pipe stream": a literal, as tostring says it */
  int rfd, wfd;     /* -1: not that way. One number for a socket. */
  enum ux_rawio rhow, whow;
  struct ux_buffer in, out;
  struct ux_habit habit; /* of reads from a socket */
  size_t room;           /* how much a read asks for */
  unsigned takes;        /* how often something was taken from `in` */
  size_t insufficient;   /* so much in `in` was not enough for the last read */
  enum ux_stream_mode mode; /* of writing */
  size_t out_size;          /* how much is kept back */
  pid_t out_pid;            /* who wrote what is in `out` */
  size_t limit;             /* the longest message accepted */
  int64_t timeout;          /* of calls that pass none; as ux_deadline.left */
  bool is_temporary;        /* its file goes when it is closed */
  dev_t dev;                /* which file that is */
  ino_t ino;
};

/* The user values of a stream. */
enum {
  UX_STREAM_NAME = 1, /* what messages call it: a path, a command */
  UX_STREAM_USERVALUES = 1,
};

extern const struct ux_class ux_stream_class;

/* Makes the class known to L; leaves its table of methods on the stack. */
void ux_stream_open(lua_State *L);

/* Pushes a closed stream. The name at the given stack index, 0 for none,
   becomes its own. */
struct ux_stream *ux_stream_new(lua_State *L, const char *kind, int name);

/* Opens it. Either may be -1; from here on they are the stream's. */
void ux_stream_set(struct ux_stream *s, int rfd, int wfd, enum ux_rawio how);

/* The stream at arg 1, open. */
struct ux_stream *ux_check_stream(lua_State *L);

/* F_SETPIPE_SZ: what the pipe holds now, or -1 with errno. */
int ux_stream_set_capacity(int fd, lua_Integer bytes);

/* What a call that reads or writes waits for: the number at arg, or the
   stream's own. */
struct ux_deadline ux_stream_deadline(lua_State *L, int arg,
                                      const struct ux_stream *s);

/* nil, message, errno for a call on the stream at stack index 1. */
int ux_stream_fail(lua_State *L, int err, const char *call);

/* Writes out what is kept back; 0 or an errno. */
int ux_stream_flush(lua_State *L, struct ux_stream *s,
                    struct ux_deadline *deadline);

/* Notes that the stream at the index may keep something back. */
void ux_stream_note_output(lua_State *L, int index);

/* Writes out what this process left in any stream, for a child that is about
   to leave by _exit. Errors are nobody's any more. */
void ux_stream_flush_all(lua_State *L);

/* The methods, by file. */
extern const luaL_Reg ux_stream_read_methods[];
extern const luaL_Reg ux_stream_write_methods[];

#endif
