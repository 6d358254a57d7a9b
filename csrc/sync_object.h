/* What the objects of `sync` share: where they stand, how they wait. */
#ifndef UX_SYNC_OBJECT_H
#define UX_SYNC_OBJECT_H

#include "base/class.h"
#include "base/options.h"
#include "base/process_id.h"
#include "base/wait.h"
#include "lib/psync.h"
#include "region.h"

#include <errno.h>

/* WAITING: has something while it waits for more, as the gate of a rwlock. */
enum ux_sync_held {
  UX_SYNC_FREE,
  UX_SYNC_READING,
  UX_SYNC_WRITING,
  UX_SYNC_WAITING,
};

struct ux_sync {
  struct ux_object head;
  struct ux_region *region; /* the user value */
  void *at;                 /* in it */
  uint32_t count;           /* as psync has it; our own copy */
  uint32_t slot;            /* of a reader */
  enum ux_sync_held held;
  pid_t holder;    /* the process that `held` is true of */
  uint64_t guard;  /* the number of the guard that has it; 0: none */
  uint64_t guards; /* how many there have been */
};

struct ux_sync_options {
  bool create;
  lua_Integer count;
};

/* The constructor: region or nil, offset, options. */
int ux_sync_construct(lua_State *L, const struct ux_class *class,
                      enum ux_psync_kind kind, const struct ux_option *schema,
                      lua_Integer count);

/* Raises if it is closed, or its region is, or may not be written any more. */
void ux_sync_unusable(lua_State *L, const struct ux_sync *o);

static inline void ux_sync_check_usable(lua_State *L,
                                        const struct ux_sync *o) {
  if (!o->head.open || !ux_region_is_open(o->region) ||
      o->region->root->is_readonly)
    ux_sync_unusable(L, o);
}

/* The object at arg 1, usable. */
static inline struct ux_sync *ux_sync_check(lua_State *L,
                                            const struct ux_class *class) {
  struct ux_sync *o = ux_check(L, 1, class);
  ux_sync_check_usable(L, o);
  return o;
}

/* close, __close and __gc of what holds nothing. */
int ux_sync_close(lua_State *L);

static inline enum ux_sync_held ux_sync_held_by_us(const struct ux_sync *o) {
  return o->holder == ux_process_id() ? o->held : UX_SYNC_FREE;
}

/* Notes what this process took, or let go: the memory has to stay as long as
   a lock in it is ours. On the fast path of mutexes, so inline. */
static inline void ux_sync_set_held(struct ux_sync *o,
                                    enum ux_sync_held held) {
  pid_t me = ux_process_id();
  bool was_held = o->held != UX_SYNC_FREE && o->holder == me;
  o->held = held;
  o->holder = me;
  if (held == UX_SYNC_FREE) o->guard = 0;
  if (was_held == (held != UX_SYNC_FREE)) return;
  struct ux_region *root = o->region->root;
  if (was_held)
    root->pins--;
  else if (root->pinner == me)
    root->pins++;
  else
    ux_region_pin(root); /* the first one of this process */
}

/* The timeout at `arg`, of a call whose fast path needs none: looked at all
   the same when it is there, so that a bad one always raises. */
static inline struct ux_deadline ux_sync_deadline(lua_State *L, int arg) {
  if (lua_gettop(L) < arg) return (struct ux_deadline){UX_FOREVER, 0};
  return ux_check_deadline(L, arg);
}

/* A wait: `attempt` is made until it says neither EBUSY nor EAGAIN; in between
   `sleep` sleeps once. */
struct ux_sync_wait {
  struct ux_sync *o;
  struct ux_deadline *deadline;
  int (*attempt)(struct ux_sync_wait *w);
  int (*sleep)(void *w);
  int err; /* of the last attempt */
  bool waited;
  uint32_t ticket;
  struct ux_arrival arrival;
};

/* Goes on from w->err. Handlers run and may raise. Returns the last error, or
   ETIMEDOUT. */
int ux_sync_wait(lua_State *L, struct ux_sync_wait *w);

/* The same, but an error is left on the stack and false returned: for who has
   to clean up, and then calls lua_error. */
bool ux_sync_try_wait(lua_State *L, struct ux_sync_wait *w);

/* true; true and "recovered" for EOWNERDEAD; or nil, message, errno. */
int ux_sync_result(lua_State *L, int err, const char *what);

/* Is it ours after this? */
static inline bool ux_sync_is_taken(int err) {
  return err == 0 || err == EOWNERDEAD;
}

/* ---- guards: what lets a lock go at the end of a block */

/* Takes the object at arg 1 within the timeout at arg 2, and pushes what lets
   it go. Returns that, and "recovered" for EOWNERDEAD; or nil, message,
   errno. */
int ux_sync_guard(lua_State *L, struct ux_sync *o,
                  int (*lock)(lua_State *L, struct ux_sync *o,
                              struct ux_deadline *deadline),
                  int (*unlock)(struct ux_sync *o), const char *what);

void ux_sync_open_guard(lua_State *L);

extern const struct ux_class ux_sync_mutex_class;

/* Takes a mutex, waiting. */
int ux_sync_lock_mutex(lua_State *L, struct ux_sync *o,
                       struct ux_deadline *deadline);

/* The constructors of sync_many.c. */
int ux_sync_rwlock(lua_State *L);
int ux_sync_condition(lua_State *L);
int ux_sync_barrier(lua_State *L);
void ux_sync_open_many(lua_State *L);

#endif
