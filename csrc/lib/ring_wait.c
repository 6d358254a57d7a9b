/* Locks, events, spinning and sleeping. */
#include "lib/ring_inner.h"

#include "lib/clock.h"
#include "lib/futex.h"

#include <limits.h>
#include <sched.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("isb" ::: "memory")
#else
#define PAUSE() ((void)0)
#endif

#ifdef UX_RING_TEST
#define ux_futex_wait ux_ring_test_wait
#define ux_futex_wake ux_ring_test_wake
#endif

#define LOCK_SLICE_NS (UX_NS_PER_S / 20)

/* Is there one processor only? Asked for once. One that we are bound to does
   not count: the other side may run on another one (is_other_here). */
static bool is_alone(void) {
  static _Atomic int count;
  int n = ux_get(&count);
  if (n == 0) {
    n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    ux_set(&count, n);
  }
  return n == 1;
}

uint32_t ux_ring_cpu(void) {
  int cpu = sched_getcpu();
  return cpu >= 0 ? (uint32_t)cpu + 1 : 0;
}

/* ---- locks ------------------------------------------------------------- */

#define LOCK_SPINS 60 /* about 2 us: some messages of other participants */

/* The owner stands in the word. Others look whether it lives, before they
   sleep and after each slice; the kernel need not know of the lock. Who has
   slept sets the mark again: others may sleep still. */
static int take_lock(struct ux_ring *r, _Atomic uint32_t *lock, uint32_t old) {
  uint32_t us = ux_segment_self(r->segment) | UX_LOCK_HELD |
                (old & UX_LOCK_WAITERS) |
                (r->slept_on == lock ? UX_LOCK_WAITERS : 0);
  if (!atomic_compare_exchange_strong(lock, &old, us)) return EBUSY;
  if (r->slept_on == lock) r->slept_on = NULL;
  return old == 0 ? 0 : EOWNERDEAD;
}

static int busy(struct ux_ring *r, _Atomic uint32_t *lock, uint32_t seen) {
  r->lock = lock;
  r->lock_seen = seen;
  return EBUSY;
}

static bool is_owner(uint32_t v, uint32_t who) {
  return (v & UX_WHO_MASK) == who;
}

int ux_ring_lock_slowly(struct ux_ring *r, _Atomic uint32_t *lock) {
  int spins = is_alone() ? 1 : LOCK_SPINS;
#ifdef UX_RING_TEST
  if (ux_ring_test_spins > 0) spins = ux_ring_test_spins;
  UX_STEP("lock slowly");
#endif
  uint32_t v = ux_get(lock);
  for (int i = 0; i < spins; i++) {
    if (v == 0 && take_lock(r, lock, 0) == 0) return 0;
    PAUSE();
    v = ux_get(lock);
  }
  if (v == 0) return busy(r, lock, v);
  if (!(v & UX_LOCK_HELD) || ux_who_slot(v) >= r->segment->options.slots)
    return EBADMSG;
  if (is_owner(v, ux_segment_self(r->segment))) return EBADMSG;
  if (!ux_segment_is_dead(r->segment, v & UX_WHO_MASK))
    return busy(r, lock, v);
  UX_STEP("lock of the dead");
  if (take_lock(r, lock, v) != EOWNERDEAD) return busy(r, lock, v);
  atomic_fetch_add(&r->at->recovered, 1);
  return EOWNERDEAD;
}

int ux_ring_wait_for_lock(struct ux_ring *r, _Atomic uint32_t *lock) {
  return busy(r, lock, ux_get(lock));
}

int ux_ring_end(struct ux_ring *r) {
  if (!ux_ring_is_shut(r)) return EAGAIN;
  uint32_t v = atomic_load(&r->at->put_lock);
  bool is_putting = (v & UX_LOCK_HELD) != 0 &&
                    !is_owner(v, ux_segment_self(r->segment)) &&
                    !ux_segment_is_dead(r->segment, v & UX_WHO_MASK);
  return is_putting ? EBUSY : EPIPE;
}

void ux_ring_wake_lock(_Atomic uint32_t *lock) {
  ux_futex_wake(lock, 1);
}

/* 0 is returned too when its owner is dead: the next try sees that. */
static int sleep_on_lock(struct ux_ring *r, int64_t until) {
  _Atomic uint32_t *lock = r->lock;
  uint32_t v = ux_get(lock);
  if (v == 0) return 0;
  if (!(v & UX_LOCK_WAITERS) &&
      !atomic_compare_exchange_strong(lock, &v, v | UX_LOCK_WAITERS))
    return 0;
  UX_STEP("lock sleep");
  r->slept_on = lock;
  return ux_futex_wait(lock, v | UX_LOCK_WAITERS, until);
}

/* ---- events ------------------------------------------------------------ */

_Atomic uint32_t *ux_ring_event(const struct ux_ring *r,
                                enum ux_ring_side side) {
  return side == UX_RING_PUT ? &r->at->not_full : &r->at->not_empty;
}

/* One of many is woken, and the mark stays for the others. When nobody was
   there it is taken off; whoever fell asleep before that is woken then, who
   comes later sees that the word has changed. */
static void wake_one(_Atomic uint32_t *event, uint32_t v) {
  uint32_t next = v + UX_EVENT_ONE;
  if (!atomic_compare_exchange_strong(event, &v, next)) {
    ux_futex_wake(event, INT_MAX); /* somebody else changed it: be simple */
    return;
  }
  UX_STEP("wake");
  if (ux_futex_wake(event, 1) > 0) return;
  if (atomic_compare_exchange_strong(
        event, &next, (next + UX_EVENT_ONE) & ~UX_EVENT_SLEEPER))
    ux_futex_wake(event, INT_MAX);
}

static void wake_all(_Atomic uint32_t *event) {
  uint32_t v = ux_get(event);
  while (!atomic_compare_exchange_weak(
    event, &v, (v + UX_EVENT_ONE) & ~UX_EVENT_SLEEPER)) {
  }
  UX_STEP("wake");
  ux_futex_wake(event, INT_MAX);
}

void ux_ring_wake(struct ux_ring *r, _Atomic uint32_t *event, bool all) {
  uint32_t v = ux_get(event);
  if ((v & UX_EVENT_SLEEPER) != 0) {
    if (all)
      wake_all(event);
    else
      wake_one(event, v);
  }
  if ((v & UX_EVENT_BELL) != 0) ux_ring_ring_bells(r, event);
}

void ux_ring_wake_everybody(struct ux_ring *r) {
  ux_full_fence();
  for (int side = 0; side < 2; side++) {
    _Atomic uint32_t *event = ux_ring_event(r, (enum ux_ring_side)side);
    wake_all(event);
    if (ux_get(event) & UX_EVENT_BELL) ux_ring_ring_bells(r, event);
  }
}

/* ---- spinning ---------------------------------------------------------- */

#define SPIN_MAX_NS 10000
#define SPIN_MIN_NS 600
#define SPIN_FULL_EACH 16 /* so often with the full budget nevertheless */

bool ux_ring_would_go_on(const struct ux_ring *r, enum ux_ring_side side) {
  if (r->lock != NULL) return ux_see(r->lock) != r->lock_seen;
  const struct ux_ring_watch *w = &r->watch[side];
  if (w->word64 != NULL && ux_see(w->word64) != w->seen64) return true;
  return w->word32 != NULL && ux_see(w->word32) != w->seen32;
}

/* If the other side last ran here it does not run now. */
static bool is_other_here(const struct ux_ring *r, enum ux_ring_side side) {
  uint32_t other =
    ux_get(side == UX_RING_GET ? &r->at->put_cpu : &r->at->get_cpu);
  return other != 0 && other == ux_ring_cpu();
}

static void adapt(struct ux_ring_spin *s, bool is_hit) {
  s->ns = is_hit ? s->ns * 4 : s->ns / 2;
  if (s->ns > SPIN_MAX_NS) s->ns = SPIN_MAX_NS;
  if (s->ns < SPIN_MIN_NS) s->ns = SPIN_MIN_NS;
  s->misses = is_hit ? 0 : s->misses + 1;
}

static bool spin(struct ux_ring *r, enum ux_ring_side side) {
  struct ux_ring_spin *s = &r->spin[side];
  bool is_full = s->misses % SPIN_FULL_EACH == 0;
  int64_t end = ux_clock_now() + (is_full ? SPIN_MAX_NS : s->ns);
  bool is_hit = false;
  do {
    for (int i = 0; i < 16 && !is_hit; i++) {
      PAUSE();
      is_hit = ux_ring_would_go_on(r, side);
    }
  } while (!is_hit && ux_clock_now() < end);
  adapt(s, is_hit);
  return is_hit;
}

#define GATHER_NS 300
#define GATHER_BYTES 4096 /* are enough */
#define GATHER_PAUSE_MAX 1024

/* A side that is as fast as the other one meets it at each message: both wait
   for the same lines to go from core to core, which takes several times what
   the message does. So it stands back for a moment after a hit, and then has
   some at once. If nothing more came meanwhile the other side waits for us, or
   is slow: after ever more hits only is it tried again. */
static void gather(struct ux_ring *r, enum ux_ring_side side) {
  const struct ux_ring_watch *w = &r->watch[side];
  struct ux_ring_spin *s = &r->spin[side];
  if (s->rest > 0) {
    s->rest--;
    return;
  }
  if (w->word64 == NULL) return;
  uint64_t hit = ux_get(w->word64);
  if (hit - w->seen64 >= GATHER_BYTES) return;
  int64_t end = ux_clock_now() + GATHER_NS;
  do PAUSE();
  while (ux_clock_now() < end);
  s->pause = ux_get(w->word64) != hit ? 0 : s->pause * 2 + 1;
  if (s->pause > GATHER_PAUSE_MAX) s->pause = GATHER_PAUSE_MAX;
  s->rest = s->pause;
}

bool ux_ring_spin(struct ux_ring *r, enum ux_ring_side side) {
  if (is_alone() || r->lock != NULL || is_other_here(r, side))
    return ux_ring_would_go_on(r, side);
  if (!ux_ring_would_go_on(r, side) && !spin(r, side)) return false;
  gather(r, side);
  return true;
}

/* ---- sleeping ---------------------------------------------------------- */

#define LOOK_NS (UX_NS_PER_S / 100)

bool ux_ring_is_look_due(struct ux_ring *r) {
  if (r->is_looking) return true;
#ifdef UX_RING_TEST
  if (ux_ring_test_spins > 0) return true;
#endif
  int64_t now = ux_clock_now();
  if (now - r->looked_at < LOOK_NS) return false;
  r->looked_at = now;
  return true;
}

static int sleep_on_event(struct ux_ring *r, enum ux_ring_side side,
                          int64_t until) {
  _Atomic uint32_t *event = ux_ring_event(r, side);
  uint32_t v = atomic_fetch_or(event, UX_EVENT_SLEEPER) | UX_EVENT_SLEEPER;
  ux_full_fence();
  UX_STEP("sleeping");
  if (ux_ring_would_go_on(r, side) || ux_ring_is_closed(r)) return 0;
  UX_STEP("sleep");
  int err = ux_futex_wait(event, v, until);
  if (err == 0 && side == UX_RING_PUT) r->was_woken = true;
  return err;
}

int ux_ring_sleep(struct ux_ring *r, enum ux_ring_side side, int64_t at) {
  int err = ux_ring_begin(r);
  if (err != 0) return err;
  if (ux_ring_would_go_on(r, side)) return 0;
  int64_t slice = r->lock != NULL ? LOCK_SLICE_NS : r->mode->slice;
  int64_t until = ux_clock_now() + slice;
  bool is_last = at != 0 && at <= until;
  if (is_last) until = at;
  if (r->lock != NULL) {
    err = sleep_on_lock(r, until);
  } else {
    bool is_over = (ux_ring_is_look_due(r) && r->mode->look(r, side)) ||
                   ux_ring_would_go_on(r, side);
    err = is_over ? 0 : sleep_on_event(r, side, until);
  }
  if (err == EAGAIN || (err == ETIMEDOUT && !is_last)) return 0;
  return err;
}
