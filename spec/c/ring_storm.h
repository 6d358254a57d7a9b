/* What the parts of ring_storm share: what stands in memory of all its
   processes, hits at steps, complaints, messages and how they are told apart.
   Included once, by ring_storm.c. */
#ifndef RING_STORM_H
#define RING_STORM_H

#include "lib/clock.h"
#include "lib/futex.h"
#include "lib/ring.h"
#include "lib/segment_inner.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORKERS 4
#define PROBE WORKERS /* the parent, when it takes part itself */
#define IDS (UINT64_C(1) << 26)
#define NAMES 48
#define NOBODY (-1)
#define ANYBODY (-2)

struct shared {
  _Atomic uint64_t next_id;
  _Atomic uint64_t progress[WORKERS + 1];
  _Atomic uint64_t numbers[WORKERS + 1]; /* of the messages, since birth */
  _Atomic uint32_t births[WORKERS + 1];
  _Atomic uint64_t gone[WORKERS + 1]; /* the other end was seen to be gone */
  _Atomic uint32_t pace;              /* us of rest after each message */
  /* of steps: who is hit, at its how manieth (of this name), by what; and
     where then whoever comes there */
  _Atomic int victim, countdown, signal;
  _Atomic(const char *) target;
  _Atomic(const char *) second;
  _Atomic int hit_count;
  struct hit {
    _Atomic(const char *) name;
    _Atomic int who;
  } hit[2];
  _Atomic uint32_t pace_when_hit;
  _Atomic(const char *) names[WORKERS][NAMES]; /* that each came to */
  /* of names */
  _Atomic uint32_t unlinks[8];
  _Atomic int unlinking[WORKERS];
  _Atomic uint8_t state[IDS];
};

enum { TRIED = 1, SENT = 2, GOT = 4 };

struct mode {
  const char *name;
  void (*bodies[WORKERS])(void);
  bool (*drain)(void); /* true: nothing may be missing then */
  struct ux_segment_options options;
  void (*check)(void); /* after each hit, by the parent */
  enum ux_ring_overflow overflow;
  unsigned taken; /* messages that a killed consumer may have taken; 0: 1 */
  bool is_redelivered; /* what the killed had peeked at, behind others */
};

static struct shared *shared;
static struct ux_segment segment;
static const struct mode *mode;
static int self = NOBODY;
static bool is_spare; /* a child of a worker, which is never hit */
static int64_t patience;

/* Each process of steps has its own. */
static void new_shared(void) {
  shared = mmap(NULL,
                sizeof *shared,
                PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                -1,
                0);
  if (shared == MAP_FAILED) _exit(1);
}

/* ---- hits at steps ----------------------------------------------------- */

int ux_ring_test_spins = 0;
void ux_ring_step(const char *name);
int ux_ring_test_dead(uint32_t who);
int ux_ring_test_wait(const _Atomic uint32_t *word, uint32_t expected,
                      int64_t at);
int ux_ring_test_wake(const _Atomic uint32_t *word, int count);

int ux_ring_test_dead(uint32_t who) {
  (void)who;
  return -1;
}

int ux_ring_test_wait(const _Atomic uint32_t *word, uint32_t expected,
                      int64_t at) {
  ux_ring_step("wait");
  return ux_futex_wait(word, expected, at);
}

int ux_ring_test_wake(const _Atomic uint32_t *word, int count) {
  ux_ring_step("waking");
  return ux_futex_wake(word, count);
}

/* The same name may stand at several addresses. */
static bool is_name(const char *a, const char *b) {
  return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void learn(const char *name) {
  for (int i = 0; i < NAMES; i++) {
    const char *known = atomic_load(&shared->names[self][i]);
    if (is_name(known, name)) return;
    if (known != NULL) continue;
    if (atomic_compare_exchange_strong(&shared->names[self][i], &known, name))
      return;
  }
}

/* "*word": all that have it in them. */
static bool is_aimed_at(const char *target, const char *name) {
  if (target == NULL) return true;
  if (target[0] == '*') return strstr(name, target + 1) != NULL;
  return is_name(target, name);
}

static bool is_to_be_hit(const char *name) {
  int victim = atomic_load(&shared->victim);
  if (victim != self && victim != ANYBODY) return false;
  if (!is_aimed_at(atomic_load(&shared->target), name)) return false;
  return atomic_fetch_sub(&shared->countdown, 1) == 0;
}

/* The second one may be hit before the parent knows of the first. */
static void aim_at_second(void) {
  const char *second = atomic_exchange(&shared->second, NULL);
  atomic_store(&shared->victim, NOBODY);
  if (second == NULL) return;
  atomic_store(&shared->target, second);
  atomic_store(&shared->countdown, 0);
  atomic_store(&shared->victim, ANYBODY);
}

void ux_ring_step(const char *name) {
  if (self < 0 || self == PROBE || is_spare) return;
  learn(name);
  if (!is_to_be_hit(name)) return;
  int n = atomic_load(&shared->hit_count);
  if (n > 1) return;
  atomic_store(&shared->hit[n].who, self);
  atomic_store(&shared->hit[n].name, name);
  atomic_store(&shared->hit_count, n + 1);
  atomic_store(&shared->pace, atomic_load(&shared->pace_when_hit));
  aim_at_second();
  raise(atomic_load(&shared->signal));
}

/* ---- what is told ------------------------------------------------------ */

static void complain(const char *what, uint64_t id, int err) {
  fprintf(stderr,
          "%s: worker %d: %s (message %llu, %s)\n",
          mode->name,
          self,
          what,
          (unsigned long long)id,
          strerror(err));
  _exit(1);
}

static void went_on(void) {
  if (self < 0) return;
  atomic_fetch_add(&shared->progress[self], 1);
  uint32_t us = atomic_load(&shared->pace);
  if (us > 0 && self != PROBE) usleep(us);
}

/* ---- messages ---------------------------------------------------------- */

struct message {
  uint64_t id;
  uint32_t producer, birth;
  uint64_t number;   /* of this producer since its birth, from 1 */
  uint32_t fill[64]; /* some of them, all the same */
};

static size_t make(struct message *m) {
  m->id = atomic_fetch_add(&shared->next_id, 1);
  if (m->id >= IDS) complain("numbers ran out", m->id, 0);
  if (m->id > IDS / 4 * 3) usleep(50); /* they must do */
  m->producer = (uint32_t)self;
  m->birth = atomic_load(&shared->births[self]);
  m->number = atomic_fetch_add(&shared->numbers[self], 1) + 1;
  size_t words = m->id % 64;
  for (size_t i = 0; i < words; i++) m->fill[i] = (uint32_t)m->id;
  atomic_fetch_or(&shared->state[m->id], TRIED);
  return offsetof(struct message, fill) + words * sizeof m->fill[0];
}

static void was_sent(const struct message *m) {
  atomic_fetch_or(&shared->state[m->id], SENT);
  went_on();
}

/* Of what comes: each message to everybody; none is left out. */
enum { EACH = 1, GAPLESS = 2 };

static void check_form(const struct message *m, size_t length) {
  size_t head = offsetof(struct message, fill), words = m->id % 64;
  if (length < head || m->id >= IDS || m->producer > WORKERS ||
      (length - head) / 4 != words)
    complain("not a message", m->id, 0);
  for (size_t i = 0; i < words; i++)
    if (m->fill[i] != (uint32_t)m->id) complain("torn", m->id, 0);
}

/* In the order of its producer. */
static void check_order(const struct message *m, int how, uint64_t lost) {
  static uint64_t last[WORKERS + 1];
  static uint32_t birth[WORKERS + 1];
  static bool is_known[WORKERS + 1];
  uint32_t p = m->producer;
  if (birth[p] != m->birth) {
    if ((int32_t)(m->birth - birth[p]) < 0 && !mode->is_redelivered)
      complain("reborn", m->id, 0);
    last[p] = 0;
    birth[p] = m->birth;
  }
  for (int i = 0; lost > 0 && i <= WORKERS; i++) is_known[i] = false;
  if (!mode->is_redelivered && m->number <= last[p])
    complain("out of order", m->id, 0);
  if ((how & GAPLESS) && is_known[p] && m->number != last[p] + 1)
    complain("a gap", m->id, 0);
  is_known[p] = true;
  last[p] = m->number;
}

static void was_got(const struct message *m, size_t length, int how,
                    uint64_t lost) {
  check_form(m, length);
  check_order(m, how, lost);
  uint8_t before = atomic_fetch_or(&shared->state[m->id], GOT);
  if (!(before & TRIED)) complain("never sent", m->id, 0);
  if (!(how & EACH) && (before & GOT)) complain("twice", m->id, 0);
  went_on();
}

#endif
