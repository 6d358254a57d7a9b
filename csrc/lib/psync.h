/* Synchronisation of processes in shared memory that survives the death of any
   of them at any instruction.

   The mutex is a robust pthread mutex, which the kernel knows: it is let go
   when its owner dies. What else must be known of the dead stands on such
   mutexes too: who reads under a rwlock, or waits at a barrier, holds one in a
   slot of his own. All else is one word, changed in one step.

   No call here blocks for long, but for those named sleep. They sleep once,
   until there may be something to do, and return 0 then: try again; or EINTR.
   `at` is the latest moment (0: none): ETIMEDOUT. They sleep in slices,
   against a wake-up spent on a process that is then killed.

   `waited`: the caller has slept. It may have been woken in place of others,
   and sees to them.

   Everybody who has the memory is trusted: this is for processes that work
   together. Only the counts are kept by each for himself. */
#ifndef UX_LIB_PSYNC_H
#define UX_LIB_PSYNC_H

#include "lib/feature.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All begin with this; written last when one is made. */
struct ux_psync {
  _Atomic uint32_t magic;
  uint32_t count; /* of slots, or the value that the kind wants */
};

enum ux_psync_kind {
  UX_PSYNC_MUTEX,
  UX_PSYNC_RWLOCK,
  UX_PSYNC_SEMAPHORE,
  UX_PSYNC_CONDITION,
  UX_PSYNC_BARRIER,
  UX_PSYNC_ONCE,
};

/* Bytes for one; `count`: readers at once, parties of a barrier, else 0. All
   are to be aligned to UX_PSYNC_ALIGN. */
#define UX_PSYNC_ALIGN 16
size_t ux_psync_size(enum ux_psync_kind kind, uint32_t count);

/* Makes one; `count` as above, the value of a semaphore, else 0. Nobody may
   use what is there. 0 or an errno: EINVAL (count). */
int ux_psync_init(void *memory, size_t size, enum ux_psync_kind kind,
                  uint32_t count);

/* Is there one of that kind? 0 with its count, or EINVAL. */
int ux_psync_check(const void *memory, size_t size, enum ux_psync_kind kind,
                   uint32_t *count);

/* ---- mutex ---- */

struct ux_mutex {
  struct ux_psync head;
  pthread_mutex_t lock;
};

/* 0; EOWNERDEAD: taken, its owner died; EBUSY; EDEADLK: is this thread's;
   ENOTRECOVERABLE: was unlocked after EOWNERDEAD without consistent. */
int ux_mutex_try(struct ux_mutex *m, bool waited);
int ux_mutex_lost(pthread_mutex_t *lock); /* what try makes of the last one */
static inline int ux_mutex_try_first(struct ux_mutex *m) {
  int err = pthread_mutex_trylock(&m->lock);
  return err == ENOTRECOVERABLE ? ux_mutex_lost(&m->lock) : err;
}
int ux_mutex_sleep(struct ux_mutex *m, int64_t at);
int ux_mutex_consistent(struct ux_mutex *m);
/* 0, or EPERM: not this thread's. */
static inline int ux_mutex_unlock(struct ux_mutex *m) {
  return pthread_mutex_unlock(&m->lock);
}

/* ---- rwlock: one writer or many readers; writers first ---- */

struct ux_slot {
  pthread_mutex_t lock;   /* held by who uses the slot */
  _Atomic uint32_t state; /* 0: free */
};

struct ux_rwlock {
  struct ux_psync head;
  struct ux_mutex gate; /* held by the writer, by a reader that comes */
  _Atomic uint32_t writing, broken;
  struct ux_slot slots[];
};

/* 0 or EOWNERDEAD: is reading in *slot, EOWNERDEAD since a writer died and no
   other one came; EBUSY: sleep at the gate; EAGAIN: no slot is free, sleep at
   *slot; EDEADLK. */
int ux_rwlock_read_try(struct ux_rwlock *rw, uint32_t count, uint32_t *slot,
                       bool waited);
int ux_rwlock_read_unlock(struct ux_rwlock *rw, uint32_t slot);

/* First through the gate: 0, EBUSY, EDEADLK. Then, inside, all readers must be
   gone: 0 or EOWNERDEAD: is writing; EBUSY: sleep at *slot, or leave; EDEADLK:
   this thread reads. */
int ux_rwlock_gate_try(struct ux_rwlock *rw, bool waited);
int ux_rwlock_write_try(struct ux_rwlock *rw, uint32_t count, uint32_t *slot);
void ux_rwlock_leave(struct ux_rwlock *rw);
int ux_rwlock_write_unlock(struct ux_rwlock *rw);

int ux_rwlock_gate_sleep(struct ux_rwlock *rw, int64_t at);
int ux_rwlock_slot_sleep(struct ux_rwlock *rw, uint32_t slot, int64_t at);

/* ---- semaphore ---- */

#define UX_SEMAPHORE_MAX 0x3fffffff

struct ux_semaphore {
  struct ux_psync head;
  _Atomic uint32_t word; /* twice the value; and 1: somebody may sleep */
};

int ux_semaphore_try(struct ux_semaphore *s, bool waited); /* 0, EAGAIN */
int ux_semaphore_sleep(struct ux_semaphore *s, int64_t at);
int ux_semaphore_post(struct ux_semaphore *s, uint32_t n); /* EOVERFLOW */
uint32_t ux_semaphore_value(struct ux_semaphore *s);

/* ---- condition ---- */

struct ux_condition {
  struct ux_psync head;
  _Atomic uint32_t word; /* twice the number of calls; and 1: as above */
};

/* Under the mutex: from now on a notify counts. Then without it sleep until
   it is_over: it may be for no reason. */
uint32_t ux_condition_prepare(struct ux_condition *c);
bool ux_condition_is_over(struct ux_condition *c, uint32_t ticket);
int ux_condition_sleep(struct ux_condition *c, uint32_t ticket, int64_t at);
void ux_condition_notify_one(struct ux_condition *c);
void ux_condition_notify_all(struct ux_condition *c);

/* ---- barrier ---- */

struct ux_barrier {
  struct ux_psync head;
  struct ux_mutex lock; /* held for a moment */
  _Atomic uint32_t generation;
  struct ux_slot slots[];
};

struct ux_arrival {
  uint32_t generation, slot;
};

/* 0: is the last, all may go; EINPROGRESS: sleep until is_over, then leave;
   EBUSY: sleep at the lock first, or, with EAGAIN, for a slot, then try again.
   Those that died since they came do not count. */
int ux_barrier_arrive(struct ux_barrier *b, uint32_t count,
                      struct ux_arrival *a, bool waited);
bool ux_barrier_is_over(struct ux_barrier *b, const struct ux_arrival *a);
int ux_barrier_lock_sleep(struct ux_barrier *b, int64_t at);
int ux_barrier_slot_sleep(struct ux_barrier *b, uint32_t slot, int64_t at);
int ux_barrier_sleep(struct ux_barrier *b, const struct ux_arrival *a,
                     int64_t at);

/* Before it is over it takes the arrival back; true if it was over. */
bool ux_barrier_leave(struct ux_barrier *b, const struct ux_arrival *a);

/* ---- once ---- */

struct ux_once {
  struct ux_psync head;
  struct ux_mutex lock; /* held by who does it */
  _Atomic uint32_t is_done;
};

/* EALREADY: it is done; 0 or EOWNERDEAD: do it, then finish; EBUSY: sleep on
   the lock; EDEADLK. */
int ux_once_begin(struct ux_once *o, bool waited);
void ux_once_finish(struct ux_once *o, bool is_done);

#endif
