#include "lib/psync.h"

#include "lib/clock.h"
#include "lib/futex.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Long beside a wake-up, short for a person that waits for what was lost. */
#define SLICE_NS (UX_NS_PER_S / 4)

/* A sleep ends without a wake-up: at the end of the slice to look again, 0; at
   the deadline ETIMEDOUT. What is not as expected is looked at again too. */
static int sleep_on(const _Atomic uint32_t *word, uint32_t expected,
                    int64_t at) {
  int64_t slice = ux_clock_now() + SLICE_NS;
  bool is_last = at != 0 && at <= slice;
  int err = ux_futex_wait(word, expected, is_last ? at : slice);
  if (err == EAGAIN || (err == ETIMEDOUT && !is_last)) return 0;
  return err;
}

/* ---- robust mutexes ---------------------------------------------------- */

static int init_lock(pthread_mutex_t *lock) {
  pthread_mutexattr_t a;
  pthread_mutexattr_init(&a);
  pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
  int err = pthread_mutex_init(lock, &a);
  pthread_mutexattr_destroy(&a);
  return err;
}

#if defined(__GLIBC__) && defined(__linux__)

/* pthread_mutex_lock goes on after a signal, so that handlers in Lua would
   wait. Here the sleep is on the mutex's own word, which is part of the
   system's interface to robust mutexes: the owner's thread number, and a bit
   for "wake one when it is let go", by the owner or by the kernel when it
   dies. */
#define WAITERS 0x80000000u
#define OWNER 0x3fffffffu

static _Atomic uint32_t *word_of(pthread_mutex_t *lock) {
  return (_Atomic uint32_t *)(void *)&lock->__data.__lock;
}

static int lock_sleep(pthread_mutex_t *lock, int64_t at) {
  _Atomic uint32_t *word = word_of(lock);
  uint32_t v = atomic_load_explicit(word, memory_order_relaxed);
  if ((v & OWNER) == 0) return 0;
  if (!(v & WAITERS) && !atomic_compare_exchange_strong(word, &v, v | WAITERS))
    return 0;
  return sleep_on(word, v | WAITERS, at);
}

/* The owner's number that glibc writes when a mutex is let go that was not made
   consistent. Who looks here first finds out also when somebody died in what
   follows. */
static bool is_lost(pthread_mutex_t *lock) {
  return __atomic_load_n(&lock->__data.__owner, __ATOMIC_RELAXED) ==
         INT_MAX - 1;
}

/* glibc's trylock takes the word of a mutex that cannot be recovered, says so,
   and keeps the word: it compares the wrong value before it would put it back.
   The kernel does not know that we have it, so that all others would wait for
   it for ever, even after our death. All are woken: none will ever get it. */
int ux_mutex_lost(pthread_mutex_t *lock) {
  _Atomic uint32_t *word = word_of(lock);
  uint32_t me = (uint32_t)gettid(), v = atomic_load(word);
  while ((v & OWNER) == me && !atomic_compare_exchange_weak(word, &v, 0)) {
  }
  if (v & WAITERS) ux_futex_wake(word, INT_MAX);
  return ENOTRECOVERABLE;
}

/* Whoever let it go woke one, and took the bit away. */
static void mark_waiters(pthread_mutex_t *lock) {
  atomic_fetch_or(word_of(lock), WAITERS);
}

#else

/* Elsewhere by time alone, so that signals have their turn. */
static int lock_sleep(pthread_mutex_t *lock, int64_t at) {
  struct timespec ms = {.tv_nsec = 1000000};
  (void)lock;
  if (at != 0 && ux_clock_now() >= at) return ETIMEDOUT;
  return nanosleep(&ms, NULL) == 0 ? 0 : errno;
}

static void mark_waiters(pthread_mutex_t *lock) {
  (void)lock;
}

static bool is_lost(pthread_mutex_t *lock) {
  (void)lock;
  return false;
}

int ux_mutex_lost(pthread_mutex_t *lock) {
  (void)lock;
  return ENOTRECOVERABLE;
}

#endif

static int try_lock(pthread_mutex_t *lock, bool waited) {
  if (is_lost(lock)) return ENOTRECOVERABLE;
  int err = pthread_mutex_trylock(lock);
  if (err == ENOTRECOVERABLE) return ux_mutex_lost(lock);
  if (waited && (err == 0 || err == EOWNERDEAD)) mark_waiters(lock);
  return err;
}

/* For locks whose owner leaves nothing half done. */
static int try_sound_lock(pthread_mutex_t *lock, bool waited) {
  int err = try_lock(lock, waited);
  if (err != EOWNERDEAD) return err;
  pthread_mutex_consistent(lock);
  return 0;
}

int ux_mutex_try(struct ux_mutex *m, bool waited) {
  return try_lock(&m->lock, waited);
}

int ux_mutex_sleep(struct ux_mutex *m, int64_t at) {
  return lock_sleep(&m->lock, at);
}

int ux_mutex_consistent(struct ux_mutex *m) {
  return pthread_mutex_consistent(&m->lock);
}

/* ---- rwlock ------------------------------------------------------------ */

static uint32_t thread_number(void) {
  return (uint32_t)gettid();
}

/* Through the gate comes one at a time. If it died inside as a writer the data
   may be half written: that is told until the next writer is through. */
static int pass_gate(struct ux_rwlock *rw, bool waited) {
  int err = try_lock(&rw->gate.lock, waited);
  if (err != EOWNERDEAD) return err;
  if (atomic_load(&rw->writing)) atomic_store(&rw->broken, 1);
  atomic_store(&rw->writing, 0);
  pthread_mutex_consistent(&rw->gate.lock);
  return 0;
}

static bool take_slot(struct ux_slot *s, uint32_t state) {
  if (try_sound_lock(&s->lock, false) != 0) return false;
  atomic_store_explicit(&s->state, state, memory_order_release);
  return true;
}

static void free_slot(struct ux_slot *s) {
  atomic_store_explicit(&s->state, 0, memory_order_release);
  pthread_mutex_unlock(&s->lock);
}

/* One that looks free, else one whose reader died. */
static bool find_slot(struct ux_slot *slots, uint32_t count, uint32_t first,
                      uint32_t state, uint32_t *slot) {
  for (int round = 0; round < 2; round++) {
    for (uint32_t i = 0; i < count; i++) {
      struct ux_slot *s = &slots[(first + i) % count];
      if (round == 0 && atomic_load(&s->state) != 0) continue;
      if (!take_slot(s, state)) continue;
      *slot = (first + i) % count;
      return true;
    }
  }
  *slot = first % count;
  return false;
}

/* 0: nobody is there any more; EBUSY; EDEADLK: it is this thread itself. */
static int clear_slot(struct ux_slot *s) {
  if (atomic_load_explicit(&s->state, memory_order_acquire) == 0) return 0;
  int err = try_sound_lock(&s->lock, false);
  if (err == 0) free_slot(s); /* its reader died */
  return err;
}

/* Looked for only when there is somebody to wait for. */
static bool is_reading(struct ux_rwlock *rw, uint32_t count) {
  uint32_t me = thread_number();
  for (uint32_t i = 0; i < count; i++) {
    struct ux_slot *s = &rw->slots[i];
    if (atomic_load(&s->state) == me && clear_slot(s) == EDEADLK) return true;
  }
  return false;
}

int ux_rwlock_read_try(struct ux_rwlock *rw, uint32_t count, uint32_t *slot,
                       bool waited) {
  int err = pass_gate(rw, waited);
  if (err == EBUSY && is_reading(rw, count)) return EDEADLK;
  if (err != 0) return err;
  uint32_t me = thread_number();
  bool is_in = find_slot(rw->slots, count, me, me, slot);
  bool is_broken = atomic_load(&rw->broken);
  pthread_mutex_unlock(&rw->gate.lock);
  if (!is_in) return EAGAIN;
  return is_broken ? EOWNERDEAD : 0;
}

/* Another thread's is left alone: the state is the number of its owner. */
int ux_rwlock_read_unlock(struct ux_rwlock *rw, uint32_t slot) {
  struct ux_slot *s = &rw->slots[slot];
  if (atomic_load(&s->state) != thread_number()) return EPERM;
  free_slot(s);
  return 0;
}

int ux_rwlock_gate_try(struct ux_rwlock *rw, bool waited) {
  return pass_gate(rw, waited);
}

/* Nobody comes in meanwhile: what is free stays so. */
int ux_rwlock_write_try(struct ux_rwlock *rw, uint32_t count, uint32_t *slot) {
  for (uint32_t i = 0; i < count; i++) {
    *slot = i;
    int err = clear_slot(&rw->slots[i]);
    if (err != 0) return err;
  }
  atomic_store(&rw->writing, 1);
  return atomic_load(&rw->broken) ? EOWNERDEAD : 0;
}

void ux_rwlock_leave(struct ux_rwlock *rw) {
  pthread_mutex_unlock(&rw->gate.lock);
}

int ux_rwlock_write_unlock(struct ux_rwlock *rw) {
  atomic_store(&rw->broken, 0);
  atomic_store(&rw->writing, 0);
  return pthread_mutex_unlock(&rw->gate.lock);
}

int ux_rwlock_gate_sleep(struct ux_rwlock *rw, int64_t at) {
  return lock_sleep(&rw->gate.lock, at);
}

int ux_rwlock_slot_sleep(struct ux_rwlock *rw, uint32_t slot, int64_t at) {
  return lock_sleep(&rw->slots[slot].lock, at);
}

/* ---- semaphore --------------------------------------------------------- */

#define SLEEPER 1u

/* Who was woken may have been woken for others as well: it wakes the next one
   if there is more to take, else it leaves the mark for them. */
int ux_semaphore_try(struct ux_semaphore *s, bool waited) {
  uint32_t v = atomic_load_explicit(&s->word, memory_order_relaxed), left;
  do {
    if (v < 2) return EAGAIN;
    left = v - 2;
    if (waited) left = left >= 2 ? left & ~SLEEPER : left | SLEEPER;
  } while (!atomic_compare_exchange_weak(&s->word, &v, left));
  if (waited && left >= 2) ux_futex_wake(&s->word, 1);
  return 0;
}

int ux_semaphore_sleep(struct ux_semaphore *s, int64_t at) {
  uint32_t v = atomic_load(&s->word);
  if (v >= 2) return 0;
  if (v == 0 && !atomic_compare_exchange_strong(&s->word, &v, SLEEPER))
    return 0;
  return sleep_on(&s->word, SLEEPER, at);
}

int ux_semaphore_post(struct ux_semaphore *s, uint32_t n) {
  uint32_t v = atomic_load_explicit(&s->word, memory_order_relaxed);
  if (n == 0) return 0; /* it would take the mark and wake nobody */
  do {
    if (n > UX_SEMAPHORE_MAX - v / 2) return EOVERFLOW;
  } while (
    !atomic_compare_exchange_weak(&s->word, &v, (v & ~SLEEPER) + 2 * n));
  if (v & SLEEPER) ux_futex_wake(&s->word, n < INT_MAX ? (int)n : INT_MAX);
  return 0;
}

uint32_t ux_semaphore_value(struct ux_semaphore *s) {
  return atomic_load(&s->word) / 2;
}

/* ---- condition --------------------------------------------------------- */

uint32_t ux_condition_prepare(struct ux_condition *c) {
  return atomic_fetch_or(&c->word, SLEEPER) | SLEEPER;
}

bool ux_condition_is_over(struct ux_condition *c, uint32_t ticket) {
  return atomic_load(&c->word) / 2 != ticket / 2;
}

/* The mark may have been taken away by one that found nobody asleep. */
int ux_condition_sleep(struct ux_condition *c, uint32_t ticket, int64_t at) {
  uint32_t v = atomic_fetch_or(&c->word, SLEEPER);
  if (v / 2 != ticket / 2) return 0;
  return sleep_on(&c->word, ticket, at);
}

/* Others may go on sleeping, so the mark stays, unless nobody was there. One
   that fell asleep since must not be left without the mark: it is woken. */
void ux_condition_notify_one(struct ux_condition *c) {
  uint32_t v = atomic_load(&c->word);
  do {
    if (!(v & SLEEPER)) return;
  } while (!atomic_compare_exchange_weak(&c->word, &v, v + 2));
  v += 2;
  if (ux_futex_wake(&c->word, 1) > 0) return;
  if (atomic_compare_exchange_strong(&c->word, &v, (v + 2) & ~SLEEPER))
    ux_futex_wake(&c->word, INT_MAX);
}

void ux_condition_notify_all(struct ux_condition *c) {
  uint32_t v = atomic_load(&c->word);
  do {
    if (!(v & SLEEPER)) return;
  } while (!atomic_compare_exchange_weak(&c->word, &v, (v + 2) & ~SLEEPER));
  ux_futex_wake(&c->word, INT_MAX);
}

/* ---- barrier ----------------------------------------------------------- */

/* Those of one generation that have not left yet hold their slots while the
   next one gathers. */
static uint32_t barrier_slots(uint32_t parties) {
  return 2 * parties;
}

static uint32_t arrival_state(uint32_t generation) {
  return generation << 1 | 1;
}

/* Is somebody alive in the slot? If not it is made free. */
static bool is_alive(struct ux_slot *s) {
  int err = try_sound_lock(&s->lock, false);
  if (err == 0) free_slot(s);
  return err != 0;
}

static uint32_t count_arrived(struct ux_barrier *b, uint32_t parties,
                              uint32_t generation) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < barrier_slots(parties); i++) {
    struct ux_slot *s = &b->slots[i];
    if (atomic_load(&s->state) == arrival_state(generation) && is_alive(s))
      n++;
  }
  return n;
}

static int gather(struct ux_barrier *b, uint32_t parties,
                  struct ux_arrival *a) {
  uint32_t now = a->generation = atomic_load(&b->generation);
  if (count_arrived(b, parties, now) + 1 >= parties) {
    atomic_store(&b->generation, now + 1);
    ux_futex_wake(&b->generation, INT_MAX);
    return 0;
  }
  bool is_in = find_slot(b->slots,
                         barrier_slots(parties),
                         thread_number(),
                         arrival_state(now),
                         &a->slot);
  return is_in ? EINPROGRESS : EAGAIN;
}

int ux_barrier_arrive(struct ux_barrier *b, uint32_t count,
                      struct ux_arrival *a, bool waited) {
  int err = try_sound_lock(&b->lock.lock, waited);
  if (err != 0) return err;
  err = gather(b, count, a);
  pthread_mutex_unlock(&b->lock.lock);
  return err;
}

bool ux_barrier_is_over(struct ux_barrier *b, const struct ux_arrival *a) {
  return atomic_load(&b->generation) != a->generation;
}

int ux_barrier_lock_sleep(struct ux_barrier *b, int64_t at) {
  return lock_sleep(&b->lock.lock, at);
}

int ux_barrier_slot_sleep(struct ux_barrier *b, uint32_t slot, int64_t at) {
  return lock_sleep(&b->slots[slot].lock, at);
}

int ux_barrier_sleep(struct ux_barrier *b, const struct ux_arrival *a,
                     int64_t at) {
  return sleep_on(&b->generation, a->generation, at);
}

/* The last one may be counting us this moment: what it found stands. The lock
   is held for a moment only, signals can wait. */
bool ux_barrier_leave(struct ux_barrier *b, const struct ux_arrival *a) {
  bool waited = false, is_over = ux_barrier_is_over(b, a);
  if (!is_over) {
    while (try_sound_lock(&b->lock.lock, waited) == EBUSY) {
      lock_sleep(&b->lock.lock, 0);
      waited = true;
    }
    is_over = ux_barrier_is_over(b, a);
    free_slot(&b->slots[a->slot]);
    pthread_mutex_unlock(&b->lock.lock);
  } else {
    free_slot(&b->slots[a->slot]);
  }
  return is_over;
}

/* ---- once -------------------------------------------------------------- */

int ux_once_begin(struct ux_once *o, bool waited) {
  if (atomic_load_explicit(&o->is_done, memory_order_acquire)) return EALREADY;
  int err = try_lock(&o->lock.lock, waited);
  if (err == EOWNERDEAD) pthread_mutex_consistent(&o->lock.lock);
  if (err != 0 && err != EOWNERDEAD) return err;
  if (!atomic_load(&o->is_done)) return err;
  pthread_mutex_unlock(&o->lock.lock);
  return EALREADY;
}

void ux_once_finish(struct ux_once *o, bool is_done) {
  if (is_done) atomic_store(&o->is_done, 1);
  pthread_mutex_unlock(&o->lock.lock);
}

/* ---- making and finding ------------------------------------------------ */

#define MAX_SLOTS 4096

size_t ux_psync_size(enum ux_psync_kind kind, uint32_t count) {
  switch (kind) {
    case UX_PSYNC_MUTEX: return sizeof(struct ux_mutex);
    case UX_PSYNC_RWLOCK:
      return sizeof(struct ux_rwlock) + count * sizeof(struct ux_slot);
    case UX_PSYNC_SEMAPHORE: return sizeof(struct ux_semaphore);
    case UX_PSYNC_CONDITION: return sizeof(struct ux_condition);
    case UX_PSYNC_BARRIER:
      return sizeof(struct ux_barrier) +
             barrier_slots(count) * sizeof(struct ux_slot);
    case UX_PSYNC_ONCE: return sizeof(struct ux_once);
  }
  return 0;
}

/* Another layout is another kind of thing. */
static uint32_t magic_of(enum ux_psync_kind kind) {
  return 0x75000000u | (uint32_t)sizeof(struct ux_slot) << 8 | (uint32_t)kind;
}

static bool is_good_count(enum ux_psync_kind kind, uint32_t count) {
  if (kind == UX_PSYNC_RWLOCK || kind == UX_PSYNC_BARRIER)
    return count >= 1 && count <= MAX_SLOTS;
  return kind != UX_PSYNC_SEMAPHORE || count <= UX_SEMAPHORE_MAX;
}

static int init_slots(struct ux_slot *slots, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    int err = init_lock(&slots[i].lock);
    if (err != 0) return err;
  }
  return 0;
}

static int init_parts(void *memory, enum ux_psync_kind kind, uint32_t count) {
  struct ux_rwlock *rw = memory;
  struct ux_barrier *b = memory;
  int err = 0;
  switch (kind) {
    case UX_PSYNC_MUTEX: return init_lock(&((struct ux_mutex *)memory)->lock);
    case UX_PSYNC_ONCE:
      return init_lock(&((struct ux_once *)memory)->lock.lock);
    case UX_PSYNC_RWLOCK:
      err = init_lock(&rw->gate.lock);
      return err != 0 ? err : init_slots(rw->slots, count);
    case UX_PSYNC_BARRIER:
      err = init_lock(&b->lock.lock);
      return err != 0 ? err : init_slots(b->slots, barrier_slots(count));
    case UX_PSYNC_SEMAPHORE:
      atomic_store(&((struct ux_semaphore *)memory)->word, 2 * count);
      return 0;
    case UX_PSYNC_CONDITION: return 0;
  }
  return EINVAL;
}

int ux_psync_init(void *memory, size_t size, enum ux_psync_kind kind,
                  uint32_t count) {
  struct ux_psync *p = memory;
  if (!is_good_count(kind, count) || size < ux_psync_size(kind, count))
    return EINVAL;
  atomic_store(&p->magic, 0);
  memset(memory, 0, ux_psync_size(kind, count));
  p->count = count;
  int err = init_parts(memory, kind, count);
  if (err == 0) atomic_store(&p->magic, magic_of(kind));
  return err;
}

int ux_psync_check(const void *memory, size_t size, enum ux_psync_kind kind,
                   uint32_t *count) {
  const struct ux_psync *p = memory;
  if (size < sizeof *p || atomic_load(&p->magic) != magic_of(kind))
    return EINVAL;
  uint32_t n = *(const volatile uint32_t *)&p->count; /* once */
  if (!is_good_count(kind, n) || size < ux_psync_size(kind, n)) return EINVAL;
  *count = n;
  return 0;
}
