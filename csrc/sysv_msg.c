/***
System V message queues: messages with a type, kept by the kernel until they
are received or the queue is removed.

    local ipc = require "unixipc"
    local key = assert(ipc.sysv.ftok("/tmp", "q"))
    local q <close> = assert(ipc.sysv_msg.get(key, {create = true}))
    q:send("payload", 7)
    print(q:receive(7, 0.5)) --> payload  7
    q:remove()
@module unixipc.sysv_msg
*/
#include "base/error.h"
#include "base/modules.h"
#include "base/wait.h"
#include "sysv.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <string.h>
#include <sys/msg.h>

/* What msgsnd and msgrcv take: the type, then the bytes. */
struct message {
  long type;
  char body[];
};

struct queue {
  struct ux_sysv sysv;
  struct message *message; /* kept from call to call */
  size_t size;             /* of its body */
};

static const struct ux_class queue_class;

static struct queue *check_queue(lua_State *L) {
  return ux_check_open(L, 1, &queue_class);
}

/* ---- the buffer -------------------------------------------------------- */

/* Usual for MSGMAX; where it is more, the buffer grows when it has to. */
#define FIRST_SIZE 8192

static void resize_buffer(lua_State *L, struct queue *q, size_t size) {
  void *ud;
  lua_Alloc alloc = lua_getallocf(L, &ud);
  size_t head = sizeof(struct message);
  size_t old = q->message != NULL ? head + q->size : 0;
  struct message *m = alloc(ud, q->message, old, size > 0 ? head + size : 0);
  if (m == NULL && size > 0) luaL_error(L, "not enough memory");
  q->message = m;
  q->size = size;
}

static void reserve(lua_State *L, struct queue *q, size_t size) {
  if (size > q->size) resize_buffer(L, q, size);
}

/* MSGMAX now; a message that is longer cannot be sent. */
static size_t longest_message(void) {
#ifdef __linux__
  struct msginfo info;
  if (msgctl(0, IPC_INFO, (struct msqid_ds *)&info) >= 0 && info.msgmax > 0)
    return (size_t)info.msgmax;
#endif
  return INT_MAX / 2;
}

/* ---- get --------------------------------------------------------------- */

static const struct ux_option get_schema[] = {
  UX_SYSV_OPTIONS,
  {NULL, 0, 0, 0, 0, NULL},
};

static int get(void *arg, key_t key, int flags) {
  (void)arg;
  return msgget(key, flags);
}

static struct queue *new_queue(lua_State *L) {
  struct queue *q = ux_new(L, &queue_class);
  reserve(L, q, FIRST_SIZE);
  return q;
}

/***
Opens a queue by its key, or makes one.

Options: `create`: make it if it is not there; `exclusive` with `create`: it
must not be there; `mode` of a new one, `"0600"` by default, and if given
for one that exists: the rights to be asked for; `temporary`: closing it
removes it, if this call made it.
@function get
@tparam integer|nil key nil makes one that only its id leads to
@tparam[opt] table options
@treturn[1] Queue
@treturn[1] boolean whether this call made it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EEXIST (with `exclusive`), EACCES, ENOSPC
(the limit of queues), ENOMEM
@see msgget(2)
*/
static int l_get(lua_State *L) {
  struct ux_sysv_options o = {.mode = UX_SYSV_NO_MODE};
  int err;
  bool is_new;
  ux_check_options(L, 2, get_schema, &o);
  key_t key = ux_sysv_check_key(L, 1, &o);
  struct queue *q = new_queue(L);
  int id = ux_sysv_get(get, NULL, key, &o, &is_new, &err);
  if (id < 0) return ux_sysv_fail_key(L, err, "msgget", key);
  ux_sysv_set(&q->sysv, UX_SYSV_MSG, id, key, o.temporary && is_new);
  lua_pushboolean(L, is_new);
  return 2;
}

/* For what only its owner may do, and that is also who must not read it. */
static int stat_any(int id, struct msqid_ds *ds) {
  int err = msgctl(id, IPC_STAT, ds) == 0 ? 0 : errno;
#ifdef MSG_STAT_ANY
  if (err == EACCES && msgctl(ux_sysv_index(id), MSG_STAT_ANY, ds) == id)
    err = 0;
#endif
  return err;
}

/***
Opens a queue by its id.
@function from_id
@tparam integer id
@treturn[1] Queue
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (no such queue)
@see msgctl(2)
*/
static int l_from_id(lua_State *L) {
  struct msqid_ds ds;
  int id = ux_sysv_check_id(L, 1);
  struct queue *q = new_queue(L);
  int err = stat_any(id, &ds);
  if (err != 0 && err != EACCES) return ux_sysv_fail(L, err, "msgctl", id);
  key_t key = IPC_PRIVATE;
#ifdef __linux__
  if (err == 0) key = ds.msg_perm.__key;
#endif
  ux_sysv_set(&q->sysv, UX_SYSV_MSG, id, key, false);
  return 1;
}

/* ---- send -------------------------------------------------------------- */

/* One try: what msgsnd or msgrcv is called with. */
struct transfer {
  int id, flags;
  struct message *message;
  size_t size;
  long type;      /* msgrcv */
  ssize_t length; /* what msgrcv returned */
};

static int send_call(void *arg) {
  struct transfer *t = arg;
  int result = msgsnd(t->id, t->message, t->size, t->flags);
  return result == 0 ? 0 : errno;
}

static void check_still_open(lua_State *L, const struct queue *q) {
  if (!q->sysv.head.open) ux_closed_error(L, &queue_class);
}

/* Copies the message anew for each try: a handler that ran between two of
   them may have used the buffer, or closed the queue. */
static int try_send(lua_State *L, struct queue *q, bool is_waiting,
                    struct ux_deadline *deadline) {
  size_t len;
  const char *body = lua_tolstring(L, 2, &len);
  check_still_open(L, q);
  struct transfer t = {.id = q->sysv.id, .message = q->message, .size = len};
  q->message->type = (long)luaL_optinteger(L, 3, 1);
  memcpy(q->message->body, body, len);
  if (is_waiting) return ux_wait_call(L, send_call, &t, deadline);
  t.flags = IPC_NOWAIT;
  return send_call(&t);
}

/***
Sends a message: waits while the queue is full.
@function Queue:send
@tparam string body any bytes, also none
@tparam[opt=1] integer type from 1
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, EINVAL (type below 1, body over the
limit, no such queue), EACCES, EIDRM (removed meanwhile), ENOMEM
@see msgsnd(2)
*/
static int l_send(lua_State *L) {
  struct queue *q = check_queue(L);
  size_t len;
  luaL_checklstring(L, 2, &len);
  luaL_optinteger(L, 3, 1);
  struct ux_deadline deadline = ux_check_deadline(L, 4);
  if (len > q->size) {
    if (len > longest_message())
      return ux_sysv_fail(L, EINVAL, "msgsnd", q->sysv.id);
    reserve(L, q, len);
  }
  int err = try_send(L, q, false, &deadline);
  if (err == EAGAIN && deadline.left == 0) err = ETIMEDOUT;
  while (err == EAGAIN || err == EINTR) err = try_send(L, q, true, &deadline);
  return ux_sysv_result(L, err, "msgsnd", q->sysv.id);
}

/* ---- receive ----------------------------------------------------------- */

struct receive_options {
  bool truncate, except;
  lua_Integer copy; /* 0: not given */
  lua_Integer size; /* -1: whatever comes */
};

#define MEMBER(name) offsetof(struct receive_options, name)

static const struct ux_option receive_schema[] = {
  {"truncate", UX_OPT_BOOLEAN, MEMBER(truncate), 0, 0, NULL},
  {"except", UX_OPT_BOOLEAN, MEMBER(except), 0, 0, NULL},
  {"copy", UX_OPT_INTEGER, MEMBER(copy), INT_MIN, INT_MAX, NULL},
  {"size", UX_OPT_INTEGER, MEMBER(size), 0, INT_MAX / 2, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

#ifndef MSG_EXCEPT
#define MSG_EXCEPT 020000
#endif
#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

/* Without a size the buffer grows as it has to, and nothing is cut. */
static int flags_of(const struct receive_options *o) {
  return (o->truncate && o->size >= 0 ? MSG_NOERROR : 0) |
         (o->except ? MSG_EXCEPT : 0) | (o->copy != 0 ? MSG_COPY : 0);
}

static int receive_call(void *arg) {
  struct transfer *t = arg;
  t->length = msgrcv(t->id, t->message, t->size, t->type, t->flags);
  return t->length >= 0 ? 0 : errno;
}

/* One try into a buffer that is large enough for what may come, or for what
   is wanted. The kernel looks at messages first, then at the buffer: E2BIG
   leaves the message where it is. */
static int try_receive(lua_State *L, struct queue *q, struct transfer *t,
                       const struct receive_options *o,
                       struct ux_deadline *deadline) {
  check_still_open(L, q);
  if (o->size > 0) reserve(L, q, (size_t)o->size);
  t->message = q->message;
  t->size = o->size >= 0 ? (size_t)o->size : q->size;
  if (t->flags & IPC_NOWAIT) return receive_call(t);
  return ux_wait_call(L, receive_call, t, deadline);
}

/* Tries at once, then waits. A message copied is there or not: no waiting. */
static int receive(lua_State *L, struct queue *q, struct transfer *t,
                   const struct receive_options *o,
                   struct ux_deadline *deadline) {
  t->flags = flags_of(o) | IPC_NOWAIT;
  int err = try_receive(L, q, t, o, deadline);
  while (err == EINTR || err == ENOMSG || (err == E2BIG && o->size < 0)) {
    if (err == E2BIG) reserve(L, q, 2 * q->size);
    if (err == ENOMSG && (o->copy != 0 || (t->flags & IPC_NOWAIT) == 0))
      return err;
    if (err == ENOMSG && deadline->left == 0) return ETIMEDOUT;
    if (err == ENOMSG) t->flags &= ~IPC_NOWAIT;
    err = try_receive(L, q, t, o, deadline);
  }
  return err;
}

/***
Receives a message: waits for one.

Options: `size`: bytes that are accepted, no limit if left out: a longer message
stays in the queue, and that is E2BIG; `truncate`: cut it instead; `except`: the
first message that is not of this type; `copy`: leave it in the queue, and give
the message at this place, from 1 for the oldest, whatever its type. That does
not wait: a place without a message is ENOMSG.
@function Queue:receive
@tparam[opt=0] integer type 0: the oldest message; above: the oldest of that
type; below: the oldest of the lowest type that is at most -type
@tparam[opt] number timeout seconds
@tparam[opt] table options
@treturn[1] string body
@treturn[1] integer type
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, E2BIG, EACCES, EIDRM (removed meanwhile),
EINVAL (no such queue, or options that exclude each other), ENOMSG, ENOSYS
(`copy` is not in this kernel)
@see msgrcv(2)
*/
static int l_receive(lua_State *L) {
  struct queue *q = check_queue(L);
  struct receive_options o = {.size = -1};
  struct transfer t = {.id = q->sysv.id};
  t.type = (long)luaL_optinteger(L, 2, 0);
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  if (!lua_isnoneornil(L, 4)) {
    o.copy = INT_MIN;
    ux_check_options(L, 4, receive_schema, &o);
    if (o.copy != INT_MIN) t.type = (long)(o.copy - 1);
    o.copy = o.copy != INT_MIN;
  }
  int err = receive(L, q, &t, &o, &deadline);
  if (err != 0) return ux_sysv_fail(L, err, "msgrcv", t.id);
  long type = t.message->type; /* a finalizer may close the queue */
  lua_pushlstring(L, t.message->body, (size_t)t.length);
  lua_pushinteger(L, type);
  return 2;
}

/* ---- control ----------------------------------------------------------- */

/***
What is known about it: `id`, `key`, `mode` (nine letters, as `ls` has), `uid`,
`gid`, `creator_uid`, `creator_gid`; `messages` and `bytes` in it, `max_bytes`;
`last_sender` and `last_receiver`, pids; `sent_at`, `received_at`, `changed_at`,
as `os.time` gives. 0 is never.
@function Queue:stat
@treturn[1] table
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES, EINVAL or EIDRM (no such queue)
@see msgctl(2)
*/
static int l_stat(lua_State *L) {
  const struct queue *q = check_queue(L);
  struct msqid_ds ds;
  if (msgctl(q->sysv.id, IPC_STAT, &ds) != 0)
    return ux_sysv_fail(L, errno, "msgctl", q->sysv.id);
  lua_createtable(L, 0, 16);
  ux_sysv_add_perm(L, q->sysv.id, &ds.msg_perm);
  ux_sysv_add(L, "messages", (lua_Integer)ds.msg_qnum);
#ifdef __linux__
  ux_sysv_add(L, "bytes", (lua_Integer)ds.__msg_cbytes);
#endif
  ux_sysv_add(L, "max_bytes", (lua_Integer)ds.msg_qbytes);
  ux_sysv_add(L, "last_sender", ds.msg_lspid);
  ux_sysv_add(L, "last_receiver", ds.msg_lrpid);
  ux_sysv_add(L, "sent_at", ds.msg_stime);
  ux_sysv_add(L, "received_at", ds.msg_rtime);
  ux_sysv_add(L, "changed_at", ds.msg_ctime);
  return 1;
}

struct set_options {
  struct ux_sysv_perm perm;
  lua_Integer max_bytes;
};

static const struct ux_option set_schema[] = {
  UX_SYSV_PERM_OPTIONS,
  {"max_bytes",
   UX_OPT_INTEGER,
   offsetof(struct set_options, max_bytes),
   0,
   LUA_MAXINTEGER,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

/***
Changes `mode`, `uid`, `gid` or `max_bytes`, how much it may hold.
@function Queue:set
@tparam table options what is left out stays as it is
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (not the owner; or more bytes than an ordinary
user may have), EACCES, EINVAL or EIDRM (no such queue)
@see msgctl(2)
*/
static int l_set(lua_State *L) {
  const struct queue *q = check_queue(L);
  struct set_options o = {UX_SYSV_PERM_DEFAULTS, -1};
  struct msqid_ds ds;
  luaL_checktype(L, 2, LUA_TTABLE);
  ux_check_options(L, 2, set_schema, &o);
  int err = stat_any(q->sysv.id, &ds);
  ux_sysv_apply_perm(&o.perm, &ds.msg_perm);
  if (o.max_bytes >= 0) ds.msg_qbytes = (msglen_t)o.max_bytes;
  if (err == 0 && msgctl(q->sysv.id, IPC_SET, &ds) != 0) err = errno;
  return ux_sysv_result(L, err, "msgctl", q->sysv.id);
}

/***
Removes the queue and the messages in it. Who waits on it gets EIDRM.
@function Queue:remove
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM, EINVAL or EIDRM (no such queue)
@see msgctl(2)
*/
static int l_remove(lua_State *L) {
  const struct queue *q = check_queue(L);
  int err = ux_sysv_remove(UX_SYSV_MSG, q->sysv.id);
  return ux_sysv_result(L, err, "msgctl", q->sysv.id);
}

/***
The id, which leads to it in every process: `sysv_msg.from_id(id)`.
@function Queue:id
@treturn integer 0 is an id
*/
static int l_id(lua_State *L) {
  lua_pushinteger(L, check_queue(L)->sysv.id);
  return 1;
}

/***
The key.
@function Queue:key
@treturn integer 0 when it has none
*/
static int l_key(lua_State *L) {
  lua_pushinteger(L, check_queue(L)->sysv.key);
  return 1;
}

/***
Lets go of the queue; a temporary one is removed, by the process that made it.
Also what `<close>` and the collector do.
@function Queue:close
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (a temporary one that changed its owner)
*/
static int l_close(lua_State *L) {
  struct queue *q = ux_check(L, 1, &queue_class);
  int err = ux_sysv_close(&q->sysv);
  resize_buffer(L, q, 0);
  return ux_sysv_result(L, err, "msgctl", q->sysv.id);
}

static void describe(lua_State *L, const void *self) {
  ux_sysv_describe(L, "sysv_msg queue", self);
}

static const luaL_Reg methods[] = {
  {"send", l_send},
  {"receive", l_receive},
  {"stat", l_stat},
  {"set", l_set},
  {"remove", l_remove},
  {"id", l_id},
  {"key", l_key},
  {NULL, NULL},
};

static const struct ux_class queue_class = {
  .name = "sysv_msg queue",
  .size = sizeof(struct queue),
  .methods = methods,
  .close = l_close,
  .describe = describe,
};

static const luaL_Reg functions[] = {
  {"get", l_get},
  {"from_id", l_from_id},
  {NULL, NULL},
};

int ux_open_sysv_msg(lua_State *L) {
  ux_class_open(L, &queue_class);
  luaL_newlib(L, functions);
  lua_insert(L, -2);
  lua_setfield(L, -2, "Queue");
  return 1;
}
