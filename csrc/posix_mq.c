/***
POSIX message queues: messages with a priority, kept by the kernel under a
name that any process can open. The highest priority comes first, and among
equals the one that was sent first.

A queue has a descriptor: a Poller waits for it beside anything else.

Names are a slash and up to 255 other characters, none of them a slash. What is
no such name is refused in the same way by `posix_mq`, `posix_sem` and
`posix_shm`: EINVAL (empty, no slash in front, a slash alone), EACCES (a second
slash), ENAMETOOLONG.
@module unixipc.posix_mq
*/
#include "base/class.h"
#include "base/error.h"
#include "base/modules.h"
#include "base/options.h"
#include "base/posix_name.h"
#include "base/signal_set.h"
#include "base/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/vfs.h>
#endif

struct queue {
  struct ux_object head;
  mqd_t mq;
  bool is_temporary, can_read;
  char *buffer; /* in the user value BUFFER, of `size` bytes */
  size_t size;
  char name[UX_POSIX_NAME_SIZE];
};

/* User value. */
enum { BUFFER = 1 };

static const struct ux_class queue_class;

static struct queue *check_queue(lua_State *L) {
  return ux_check_open(L, 1, &queue_class);
}

static int fail(lua_State *L, int err, const char *call, const char *name) {
  return ux_posix_name_fail(L, err, call, name);
}

static int fd_of(mqd_t mq) {
#ifdef __FreeBSD__
  return mq_getfd_np(mq);
#else
  return (int)mq;
#endif
}

/* ---- opening ----------------------------------------------------------- */

struct open_options {
  bool create, exclusive, read, write, temporary;
  mode_t mode;
  lua_Integer max_messages, message_size;
};

#define MEMBER(name) offsetof(struct open_options, name)

/* The limits are the system's to judge. */
static const struct ux_option open_schema[] = {
  {"create", UX_OPT_BOOLEAN, MEMBER(create), 0, 0, NULL},
  {"exclusive", UX_OPT_BOOLEAN, MEMBER(exclusive), 0, 0, NULL},
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {"read", UX_OPT_BOOLEAN, MEMBER(read), 0, 0, NULL},
  {"write", UX_OPT_BOOLEAN, MEMBER(write), 0, 0, NULL},
  {"temporary", UX_OPT_BOOLEAN, MEMBER(temporary), 0, 0, NULL},
  {"max_messages",
   UX_OPT_INTEGER,
   MEMBER(max_messages),
   LONG_MIN,
   LONG_MAX,
   NULL},
  {"message_size",
   UX_OPT_INTEGER,
   MEMBER(message_size),
   LONG_MIN,
   LONG_MAX,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

/* Stands for an option that was not given: no system takes it. */
#define NOT_GIVEN LONG_MIN

/* One of the numbers in /proc/sys/fs/mqueue. */
static long read_limit(const char *name, long otherwise) {
  char path[64], text[32] = "";
  snprintf(path, sizeof path, "/proc/sys/fs/mqueue/%s", name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return otherwise;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  return n > 0 ? strtol(text, NULL, 10) : otherwise;
}

/* If only one of the two is given the other is the system's default; if none
   is, the system sees to both. */
static bool set_sizes(const struct open_options *o, struct mq_attr *attr) {
  memset(attr, 0, sizeof *attr);
  attr->mq_maxmsg = (long)o->max_messages;
  attr->mq_msgsize = (long)o->message_size;
  if (o->max_messages == NOT_GIVEN && o->message_size == NOT_GIVEN)
    return false;
  if (o->max_messages == NOT_GIVEN)
    attr->mq_maxmsg = read_limit("msg_default", 10);
  if (o->message_size == NOT_GIVEN)
    attr->mq_msgsize = read_limit("msgsize_default", 8192);
  return true;
}

static int access_of(const struct open_options *o) {
  if (o->read == o->write) return O_RDWR;
  return o->read ? O_RDONLY : O_WRONLY;
}

/* The umask cut the mode. */
static int fix_mode(int fd, mode_t mode) {
  struct stat st;
  if (fstat(fd, &st) == 0 && (st.st_mode & 0777) == mode) return 0;
  return fchmod(fd, mode) == 0 ? 0 : errno;
}

/* Makes it, or opens what is there. *is_new tells which. */
static int open_queue(struct queue *q, const struct open_options *o,
                      bool *is_new) {
  struct mq_attr attr;
  bool has_sizes = set_sizes(o, &attr);
  int flags = access_of(o) | O_CLOEXEC;
  for (;;) {
    if (o->create || o->exclusive) {
      q->mq = mq_open(
        q->name, flags | O_CREAT | O_EXCL, o->mode, has_sizes ? &attr : NULL);
      *is_new = q->mq != (mqd_t)-1;
      if (*is_new) return 0;
      if (errno != EEXIST || o->exclusive) return errno;
    }
    q->mq = mq_open(q->name, flags);
    if (q->mq != (mqd_t)-1) return 0;
    if (errno != ENOENT || !o->create) return errno; /* or removed just now */
  }
}

static int fail_with(lua_State *L, int err, const char *name,
                     const char *hint) {
  char text[128];
  const char *what = ux_strerror(err, text, sizeof text);
  const char *words = lua_pushfstring(L, "%s: %s (%s)", name, what, hint);
  return ux_fail_words(L, err, "mq_open", words);
}

/* The errnos say little; what limit it was is found out here. */
static int fail_open(lua_State *L, int err, const struct queue *q,
                     const struct open_options *o) {
  struct mq_attr attr;
  struct rlimit limit = {0};
  bool creates = o->create || o->exclusive;
  if (err == EINVAL && creates && set_sizes(o, &attr))
    return fail_with(
      L,
      err,
      q->name,
      lua_pushfstring(L,
                      "max_messages %I of 1 to %I, "
                      "message_size %I of 1 to %I",
                      (lua_Integer)attr.mq_maxmsg,
                      (lua_Integer)read_limit("msg_max", 10),
                      (lua_Integer)attr.mq_msgsize,
                      (lua_Integer)read_limit("msgsize_max", 8192)));
#ifdef RLIMIT_MSGQUEUE
  if (err == EMFILE && creates && getrlimit(RLIMIT_MSGQUEUE, &limit) == 0)
    return fail_with(L,
                     err,
                     q->name,
                     lua_pushfstring(L,
                                     "no descriptor left, or over "
                                     "RLIMIT_MSGQUEUE: %I bytes for all "
                                     "queues of the user",
                                     (lua_Integer)limit.rlim_cur));
#endif
  if (err == ENOSPC && creates)
    return fail_with(
      L,
      err,
      q->name,
      lua_pushfstring(L,
                      "fs.mqueue.queues_max is %I",
                      (lua_Integer)read_limit("queues_max", 256)));
  return fail(L, err, "mq_open", q->name);
}

static int close_queue(struct queue *q) {
  if (!q->head.open) return 0;
  q->head.open = false;
  if (q->is_temporary && ux_is_owner(&q->head)) mq_unlink(q->name);
  return mq_close(q->mq) == 0 ? 0 : errno;
}

/* Messages are received into a buffer of the queue's own. The queue is the
   object at the top. */
static void make_buffer(lua_State *L, struct queue *q, size_t size) {
  q->buffer = lua_newuserdatauv(L, size, 0);
  q->size = size;
  lua_setiuservalue(L, -2, BUFFER);
}

static int finish_open(lua_State *L, struct queue *q,
                       const struct open_options *o, bool is_new) {
  struct mq_attr attr;
  q->is_temporary = o->temporary && is_new;
  q->can_read = access_of(o) != O_WRONLY;
  int err = is_new ? fix_mode(fd_of(q->mq), o->mode) : 0;
  if (err == 0 && mq_getattr(q->mq, &attr) != 0) err = errno;
  if (err == 0) {
    make_buffer(L, q, (size_t)attr.mq_msgsize);
    lua_pushboolean(L, is_new);
    return 2;
  }
  close_queue(q);
  return fail(L, err, "mq_open", q->name);
}

/***
Opens a queue.

Options: `create`: make it if it is not there; `exclusive`: it must not be
there; `mode`: of a new queue, owner only by default, whatever the umask;
`read`, `write`: for that alone, for both by default; `max_messages` and
`message_size`: how many messages of how many bytes a new queue holds at most,
by default what fs.mqueue.msg_default and msgsize_default say; `temporary`:
remove the name when this process closes the queue, if this call made it.
@function open
@tparam string|nil name nil makes a new queue with a name of its own
@tparam[opt] table options
@treturn[1] Queue
@treturn[1] boolean whether this call made it
@treturn[2] nil
@treturn[2] string message, which tells the limit that was met
@treturn[2] integer errno: ENOENT, EEXIST, EACCES (permissions; a second
slash), EINVAL (the name; max_messages or message_size over the system's
limits), ENAMETOOLONG, EMFILE (descriptors; RLIMIT_MSGQUEUE), ENFILE, ENOSPC
(fs.mqueue.queues_max), ENOMEM
@see mq_open(3)
@see mq_overview(7)
*/
static int l_open(lua_State *L) {
  struct open_options o = {.mode = UX_DEFAULT_MODE,
                           .max_messages = NOT_GIVEN,
                           .message_size = NOT_GIVEN};
  bool is_new = false;
  int err;
  ux_check_options(L, 2, open_schema, &o);
  lua_settop(L, 2);
  struct queue *q = ux_new(L, &queue_class);
  if (!ux_posix_name_check(L, 1, q->name, &err, NAME_MAX)) {
    ux_posix_name_make(q->name);
    o.exclusive = true;
  }
  if (err == 0) err = open_queue(q, &o, &is_new);
  if (err != 0) return fail_open(L, err, q, &o);
  q->head.open = true;
  return finish_open(L, q, &o, is_new);
}

/***
Removes the name. Who has the queue open keeps it.
@function unlink
@tparam string name
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES, EINVAL, ENAMETOOLONG
@see mq_unlink(3)
*/
static int l_unlink(lua_State *L) {
  const char *name = ux_check_cstring(L, 1);
  int err = ux_posix_name_error(name, NAME_MAX);
  if (err == 0 && mq_unlink(name) != 0) err = errno;
  if (err == EPERM) err = EACCES; /* a file of another user's */
  return ux_result(L, err, "mq_unlink", name[0] != '\0' ? name : NULL);
}

#define QUEUE_DIRECTORY "/dev/mqueue"

/* A directory of that name may be there with nothing mounted on it. */
static int check_mounted(void) {
#ifdef __linux__
  struct statfs fs;
  const long mqueue_magic = 0x19800202;
  if (statfs(QUEUE_DIRECTORY, &fs) != 0) return errno;
  return fs.f_type == mqueue_magic ? 0 : ENOTSUP;
#else
  return ENOTSUP;
#endif
}

/***
The names of all queues, where the system shows them: on Linux when the mqueue
file system is mounted on /dev/mqueue.
@function list
@treturn[1] table names, in no order
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOTSUP, ENOENT (nothing is mounted there), EACCES
*/
static int l_list(lua_State *L) {
  int err = check_mounted();
  if (err == 0) err = ux_posix_name_list(L, QUEUE_DIRECTORY, "");
  return err == 0 ? 1 : ux_fail(L, err, "mq list", QUEUE_DIRECTORY);
}

/* ---- Queue ------------------------------------------------------------- */

/***
Closes the queue, which stays, with what is in it; a registration for a
notification ends. Also what `<close>` and the collector do.
@function Queue:close
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno
@see mq_close(3)
*/
static int l_close(lua_State *L) {
  struct queue *q = ux_check(L, 1, &queue_class);
  return ux_result(L, close_queue(q), "mq_close", q->name);
}

static int fileno_of(const void *self) {
  const struct queue *q = self;
  return fd_of(q->mq);
}

static const char *events_of(const void *self) {
  const struct queue *q = self;
  return q->can_read ? "r" : "w";
}

static void describe(lua_State *L, const void *self) {
  const struct queue *q = self;
  lua_pushfstring(L, "posix_mq queue fd=%d %s", fd_of(q->mq), q->name);
}

/* A message on its way: from a string of Lua's, or into the queue's buffer. */
struct transfer {
  const struct queue *q;
  const char *body;
  size_t len;
  unsigned priority;
};

/* A moment that has passed: what can be done is done, else ETIMEDOUT. Without
   O_NONBLOCK, so that to sleep is one call. */
static const struct timespec at_once = {0, 0};

static int send_now(void *arg) {
  const struct transfer *t = arg;
  int failed = mq_timedsend(t->q->mq, t->body, t->len, t->priority, &at_once);
  return failed == 0 ? 0 : errno;
}

static int send_blocking(void *arg) {
  const struct transfer *t = arg;
  return mq_send(t->q->mq, t->body, t->len, t->priority) == 0 ? 0 : errno;
}

static int received(struct transfer *t, ssize_t n) {
  int err = errno;
  if (n < 0) return err;
  t->len = (size_t)n;
  return 0;
}

static int receive_now(void *arg) {
  struct transfer *t = arg;
  const struct queue *q = t->q;
  return received(
    t, mq_timedreceive(q->mq, q->buffer, q->size, &t->priority, &at_once));
}

static int receive_blocking(void *arg) {
  struct transfer *t = arg;
  const struct queue *q = t->q;
  return received(t, mq_receive(q->mq, q->buffer, q->size, &t->priority));
}

/* While it waits a handler may close the queue: it is looked at again. */
static int transfer(lua_State *L, struct transfer *t, int (*now)(void *),
                    int (*blocking)(void *), struct ux_deadline *deadline) {
  int err = now(t);
  while (err == ETIMEDOUT || err == EINTR) {
    if (err == ETIMEDOUT && deadline->left == 0) return err;
    err =
      deadline->left == 0 ? now(t) : ux_wait_call(L, blocking, t, deadline);
    if (err != EINTR) return err;
    check_queue(L);
  }
  return err;
}

static unsigned check_priority(lua_State *L, int arg) {
  lua_Integer n = luaL_optinteger(L, arg, 0);
  luaL_argcheck(L, n >= 0 && n <= INT_MAX, arg, "priority must be >= 0");
  return (unsigned)n;
}

/***
Sends a message. Waits while the queue is full.
@function Queue:send
@tparam string body
@tparam[opt=0] integer priority up to 32767
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EMSGSIZE (longer than message_size),
EINVAL (priority), EBADF (opened to read)
@see mq_send(3)
*/
static int l_send(lua_State *L) {
  const struct queue *q = check_queue(L);
  size_t len;
  const char *body = luaL_checklstring(L, 2, &len);
  unsigned priority = check_priority(L, 3);
  struct ux_deadline deadline = ux_check_deadline(L, 4);
  struct transfer t = {q, body, len, priority};
  int err = transfer(L, &t, send_now, send_blocking, &deadline);
  return ux_result(L, err, "mq_send", q->name);
}

/***
Receives the oldest of the messages with the highest priority. Waits while the
queue is empty.
@function Queue:receive
@tparam[opt] number timeout seconds
@treturn[1] string body
@treturn[1] integer priority
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EBADF (opened to write)
@see mq_receive(3)
*/
static int l_receive(lua_State *L) {
  const struct queue *q = check_queue(L);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  struct transfer t = {.q = q};
  int err = transfer(L, &t, receive_now, receive_blocking, &deadline);
  if (err != 0) return fail(L, err, "mq_receive", q->name);
  lua_pushlstring(L, q->buffer, t.len);
  lua_pushinteger(L, t.priority);
  return 2;
}

/* On Linux a read of the descriptor tells more, as a line of text. */
static void push_details(lua_State *L, const struct queue *q) {
  char text[128];
  long bytes;
  int notify, signal, pid;
  ssize_t n = pread(fd_of(q->mq), text, sizeof text - 1, 0);
  if (n <= 0) return;
  text[n] = '\0';
  /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
  if (sscanf(text,
             "QSIZE:%ld NOTIFY:%d SIGNO:%d NOTIFY_PID:%d",
             &bytes,
             &notify,
             &signal,
             &pid) != 4)
    return;
  lua_pushinteger(L, bytes);
  lua_setfield(L, -2, "bytes");
  lua_pushinteger(L, pid);
  lua_setfield(L, -2, "notify_pid");
}

/***
What the queue is like: `max_messages`, `message_size`, and `messages`, how
many are in it now; on Linux, opened to read, also `bytes`, the sum of their
lengths, and `notify_pid`, the process that registered for a notification, 0
for none.
@function Queue:attributes
@treturn[1] table
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno
@see mq_getattr(3)
*/
static int l_attributes(lua_State *L) {
  const struct queue *q = check_queue(L);
  struct mq_attr attr;
  if (mq_getattr(q->mq, &attr) != 0)
    return fail(L, errno, "mq_getattr", q->name);
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, attr.mq_maxmsg);
  lua_setfield(L, -2, "max_messages");
  lua_pushinteger(L, attr.mq_msgsize);
  lua_setfield(L, -2, "message_size");
  lua_pushinteger(L, attr.mq_curmsgs);
  lua_setfield(L, -2, "messages");
  push_details(L, q);
  return 1;
}

static int l_len(lua_State *L) {
  const struct queue *q = check_queue(L);
  struct mq_attr attr = {0};
  mq_getattr(q->mq, &attr);
  lua_pushinteger(L, attr.mq_curmsgs);
  return 1;
}

/***
The name it was opened by.
@function Queue:name
@treturn string
*/
static int l_name(lua_State *L) {
  const struct queue *q = ux_check(L, 1, &queue_class);
  lua_pushstring(L, q->name);
  return 1;
}

/***
Has the kernel send this process a signal when a message comes into the empty
queue and nobody waits in `receive`: once, then to be asked for again. Only one
process can be registered. Without a signal the registration is taken back.
@function Queue:notify
@tparam[opt] string|integer signal
@tparam[opt=0] integer value what handlers find in `info.value`
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBUSY (some process is registered), EINVAL (no such
signal)
@see mq_notify(3)
*/
static int l_notify(lua_State *L) {
  const struct queue *q = check_queue(L);
  bool is_on = !lua_isnoneornil(L, 2);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL};
  if (is_on) event.sigev_signo = ux_check_user_signal(L, 2, 2);
  lua_Integer value = luaL_optinteger(L, 3, 0);
  luaL_argcheck(
    L, value >= INT_MIN && value <= INT_MAX, 3, "value does not fit an int");
  event.sigev_value.sival_int = (int)value;
  int err = mq_notify(q->mq, is_on ? &event : NULL) == 0 ? 0 : errno;
  return ux_result(L, err, "mq_notify", q->name);
}

static const luaL_Reg queue_methods[] = {
  {"send", l_send},
  {"receive", l_receive},
  {"attributes", l_attributes},
  {"notify", l_notify},
  {"name", l_name},
  {"__len", l_len},
  {NULL, NULL},
};

static const struct ux_class queue_class = {
  .name = "posix_mq queue",
  .size = sizeof(struct queue),
  .uservalues = 1,
  .methods = queue_methods,
  .close = l_close,
  .describe = describe,
  .fileno = fileno_of,
  .events = events_of,
};

static const luaL_Reg functions[] = {
  {"open", l_open},
  {"unlink", l_unlink},
  {"list", l_list},
  {NULL, NULL},
};

int ux_open_posix_mq(lua_State *L) {
  luaL_newlib(L, functions);
  ux_class_open(L, &queue_class);
  lua_setfield(L, -2, "Queue");
  return 1;
}
