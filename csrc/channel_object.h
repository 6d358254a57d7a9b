/* What the files of `channel` share: the object, and how its calls wait. */
#ifndef UX_CHANNEL_OBJECT_H
#define UX_CHANNEL_OBJECT_H

#include "base/buffer.h"
#include "base/class.h"
#include "base/deadline.h"
#include "base/posix_name.h"
#include "lib/ring.h"

enum ux_channel_overflow {
  UX_CHANNEL_BLOCK,
  UX_CHANNEL_FAIL,
  UX_CHANNEL_DROP_NEW,
  UX_CHANNEL_DROP_OLDEST,
};

/* A reply of a service that was taken from the ring, its bytes in the inbox,
   and is not yet with whom it is for. */
struct ux_channel_reply {
  struct ux_ring_message message;
  uint64_t id;
  bool has_failed; /* the server died with the request */
  bool is_there;
};

struct ux_channel {
  struct ux_object head;
  struct ux_segment segment;
  struct ux_ring rings[2];
  struct ux_ring *out, *in; /* where it sends and receives; may be one */
  uint32_t end;             /* of a duplex that has no name */
  bool must_take_end;       /* both directions, with the first use */
  enum ux_channel_overflow overflow;
  int64_t evict_after;      /* nanoseconds that a slow subscriber has */
  struct ux_buffer encoded; /* values that are being sent */
  /* Messages taken from the ring and not yet given to Lua, packed as
     ux_ring_get_many does: what is there stays when Lua runs out of memory. */
  struct ux_buffer inbox;
  size_t inbox_at, inbox_count;
  bool is_giving; /* values of the inbox are being decoded */
  /* A long string on its way from the ring to Lua, and its mark (see
     ux_channel_let_go); to be put back if that did not work. */
  struct ux_ring_message held;
  lua_Integer held_mark;
  uint64_t taken; /* messages, out of the inbox */
  bool is_temporary;
  uint64_t lost;    /* lap: since the program asked last */
  uint64_t last_id; /* of a service's requests */
  uint64_t stored;  /* replies taken for another call */
  struct ux_channel_reply reply;
  char name[UX_POSIX_NAME_SIZE];
};

/* The user values of a channel. */
enum {
  UX_CHANNEL_REGION = 1, /* the root of the views of loans */
  UX_CHANNEL_REPLIES,    /* of a service, by id: for each that waits a table */
  UX_CHANNEL_USERVALUES = UX_CHANNEL_REPLIES,
};

/* What the bytes of a message are. */
enum { UX_CHANNEL_BYTES, UX_CHANNEL_VALUE };

extern const struct ux_class ux_channel_class;

/* Its methods, which channel.c puts together. */
extern const luaL_Reg ux_channel_message_methods[];
extern const luaL_Reg ux_channel_loan_methods[];
extern const luaL_Reg ux_channel_service_methods[];
extern const luaL_Reg ux_channel_info_methods[];
extern const luaL_Reg ux_channel_info_functions[];
void ux_channel_service_open(lua_State *L);

/* "queue" and such. */
const char *ux_channel_kind(enum ux_segment_kind kind);

/* The characters of a name besides the slash. */
#define UX_CHANNEL_NAME_MOST (NAME_MAX - (sizeof UX_SEGMENT_PREFIX - 1))

struct ux_channel *ux_check_channel(lua_State *L, int arg);

/* Raises if it was closed since: by a class's function or a finalizer, that
   is wherever Lua was called or made an object. */
void ux_channel_check_still(lua_State *L, struct ux_channel *c);

/* Lets go of everything; a second time of the buffers that a call under way
   has made since. */
void ux_channel_leave(lua_State *L, struct ux_channel *c);

/* Whoever was about to give a message of the inbox sees that it is gone. */
void ux_channel_forget_inbox(struct ux_channel *c);

/* nil, message, errno, in the words of channels. */
int ux_channel_fail(lua_State *L, const struct ux_channel *c, int err,
                    const char *call);

/* The same of a message that was refused, perhaps for its length. */
int ux_channel_fail_message(lua_State *L, const struct ux_channel *c, int err,
                            const char *call, size_t length,
                            const struct ux_ring *ring);

/* Of a duplex: both directions are this process's from now on. */
int ux_channel_take_end(struct ux_channel *c);

/* The first use of a duplex, whichever way, may take its end. */
static inline int ux_channel_begin(struct ux_channel *c) {
  return c->must_take_end ? ux_channel_take_end(c) : 0;
}

/* ---- waiting ----------------------------------------------------------- */

/* One try of a call: 0 or an errno; it does not touch L. */
struct ux_channel_call {
  struct ux_channel *channel;
  struct ux_ring *ring;
  enum ux_ring_side side;
  int (*attempt)(struct ux_channel_call *call);
};

/* Tries until it is done, or time is up: ETIMEDOUT; or another error. Handlers
   of signals run while it sleeps. */
int ux_channel_wait(lua_State *L, struct ux_channel_call *call,
                    struct ux_deadline *deadline);

/* EBUSY is a lock that another one holds for a moment; not the role that
   another one has for good. */
bool ux_channel_is_moment(const struct ux_channel_call *call, int err);

/* Lets go of what was peeked at: `how` is ux_ring_release or ux_ring_untake.
   The mark is its position plus 1, and 0 afterwards. ECANCELED: handlers of
   signals let it go meanwhile. */
int ux_channel_let_go(lua_State *L, struct ux_channel *c, struct ux_ring *ring,
                      lua_Integer *mark,
                      int (*how)(struct ux_ring *r, uint64_t position));

/* Gives back what was taken, in a finalizer: without Lua, and soon. */
void ux_channel_untake(struct ux_ring *ring, uint64_t position);

/* ---- what is sent (channel_message.c) ---------------------------------- */

struct ux_channel_bytes {
  const char *data;
  size_t length;
  unsigned mark;
};

/* The bytes of the value at arg for a ring: a string as it is, all else
   encoded. Valid until the next call of Lua's; ux_channel_settle makes them
   last, pushing one value. */
struct ux_channel_bytes ux_channel_encode(lua_State *L, struct ux_channel *c,
                                          int arg, const struct ux_ring *ring);
void ux_channel_settle(lua_State *L, struct ux_channel_bytes *bytes);

/* The same of a put: a broadcast throws out those that leave no room for
   *length bytes, if it is made so. */
int ux_channel_wait_for_room(lua_State *L, struct ux_channel_call *call,
                             struct ux_deadline *deadline,
                             const size_t *length);

/* ---- what is received -------------------------------------------------- */

/* lua_pcall for a function that gives values of the inbox: whoever asks for
   another one meanwhile, a class's function or a finalizer, gets an error. */
int ux_channel_pcall(lua_State *L, struct ux_channel *c, int args,
                     int results);

/* Pushes the value of these bytes, or nothing and why not: false. */
bool ux_channel_push(lua_State *L, const char *data, size_t length,
                     unsigned mark);

#endif
