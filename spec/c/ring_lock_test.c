/* A lock of the ring that somebody holds for long: a process that is stopped
   with it. Calls that need it say EBUSY, or wait as long as they were told to;
   they go on when it is let go, or its owner is killed. */
#include "lib/clock.h"
#include "lib/ring_inner.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(bool ok, int line, const char *what) {
  if (ok) return;
  fprintf(stderr, "ring_lock_test.c:%d: %s (errno %d)\n", line, what, errno);
  exit(1);
}

#define CHECK(what) check((what), __LINE__, #what)
#define MS (UX_NS_PER_S / 1000)
#define LATE (2 * UX_NS_PER_S) /* of a busy machine */

static struct ux_segment segment;
static struct ux_ring ring;
static struct ux_ring_message m;
static char buffer[4096];

static void make(enum ux_segment_kind kind, enum ux_segment_policy policy) {
  struct ux_segment_options o = {
    .kind = kind, .policy = policy, .capacity = 1024};
  CHECK(ux_segment_create(&segment, NULL, 0600, &o) == 0);
  CHECK(ux_ring_init(&ring, &segment, 0) == 0);
}

static void end(void) {
  ux_ring_done(&ring);
  ux_segment_detach(&segment);
}

/* ---- who holds it ------------------------------------------------------ */

static pid_t holder;

static void take_and_stop(_Atomic uint32_t *lock) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (ux_ring_begin(&ring) != 0 || ux_ring_lock(&ring, lock) != 0) _exit(1);
  raise(SIGSTOP);
  ux_ring_unlock(lock);
  _exit(0);
}

static void hold(_Atomic uint32_t *lock) {
  int status;
  holder = fork();
  CHECK(holder >= 0);
  if (holder == 0) take_and_stop(lock);
  CHECK(waitpid(holder, &status, WUNTRACED) == holder && WIFSTOPPED(status));
}

/* SIGCONT: it unlocks; SIGKILL: it does not. */
static void let_go(int sig) {
  CHECK(kill(holder, sig) == 0);
  CHECK(waitpid(holder, NULL, 0) == holder);
}

/* ---- ux_ring_send and ux_ring_receive ---------------------------------- */

static int send_one(int64_t timeout) {
  return ux_ring_send(&ring, "one", 3, timeout);
}

static int receive_one(int64_t timeout) {
  return ux_ring_receive(&ring, buffer, sizeof buffer, &m, timeout);
}

/* At once is a few milliseconds: most locks are held for less. */
static void test_bounds(int (*call)(int64_t), _Atomic uint32_t *lock) {
  static const int64_t timeouts[] = {0, 1, 20 * MS, 120 * MS};
  hold(lock);
  for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
    int64_t begun = ux_clock_now();
    CHECK(call(timeouts[i]) == ETIMEDOUT);
    int64_t took = ux_clock_now() - begun;
    CHECK(took >= timeouts[i] && took < timeouts[i] + LATE);
  }
  let_go(SIGCONT);
  CHECK(call(0) == 0);
}

/* The lock is let go while it waits. */
static void test_going_on(int (*call)(int64_t), _Atomic uint32_t *lock) {
  hold(lock);
  pid_t child = fork();
  if (child == 0) {
    usleep(20000);
    _exit(kill(holder, SIGCONT));
  }
  int64_t begun = ux_clock_now();
  CHECK(call(60 * UX_NS_PER_S) == 0);
  CHECK(ux_clock_now() - begun < 30 * UX_NS_PER_S);
  CHECK(waitpid(holder, NULL, 0) == holder);
  CHECK(waitpid(child, NULL, 0) == child);
}

static void test_calls(enum ux_segment_kind kind) {
  bool is_queue = kind == UX_SEGMENT_QUEUE;
  make(kind, UX_SEGMENT_GATE);
  if (!is_queue) CHECK(ux_ring_subscribe(&ring, UX_RING_NEW, 0) == 0);
  test_bounds(send_one, &ring.at->put_lock);
  test_going_on(send_one, &ring.at->put_lock);
  if (is_queue) test_bounds(receive_one, &ring.at->get_lock);
  if (is_queue) test_going_on(receive_one, &ring.at->get_lock);
  hold(&ring.at->put_lock);
  if (!is_queue) CHECK(receive_one(0) == 0 && receive_one(0) == 0);
  CHECK(receive_one(20 * MS) == ETIMEDOUT);
  let_go(SIGKILL);
  CHECK(send_one(0) == 0 && receive_one(0) == 0);
  end();
}

/* ---- subscribe and evict ----------------------------------------------- */

static void test_subscribe(int how) {
  make(UX_SEGMENT_BROADCAST, UX_SEGMENT_GATE);
  CHECK(send_one(0) == 0);
  hold(&ring.at->put_lock);
  CHECK(ux_ring_subscribe(&ring, UX_RING_OLDEST, 0) == EBUSY);
  CHECK(receive_one(0) == ENOTCONN);
  let_go(how);
  CHECK(ux_ring_subscribe(&ring, UX_RING_OLDEST, 0) == 0);
  CHECK(receive_one(0) == 0 && m.length == 3);
  end();
}

/* Nobody is thrown out before the lock is had. */
static void test_evict(int how) {
  uint32_t evicted = 7;
  make(UX_SEGMENT_BROADCAST, UX_SEGMENT_EVICT);
  CHECK(ux_ring_subscribe(&ring, UX_RING_NEW, 0) == 0);
  while (send_one(0) == 0) {
  }
  hold(&ring.at->put_lock);
  CHECK(ux_ring_evict(&ring, 3, &evicted) == EBUSY && evicted == 0);
  int64_t begun = ux_clock_now();
  while (ux_ring_sleep(&ring, UX_RING_PUT, begun + 20 * MS) == 0) {
  }
  CHECK(ux_clock_now() - begun < LATE);
  CHECK(receive_one(0) == 0);
  let_go(how);
  while (send_one(0) == 0) {
  }
  CHECK(ux_ring_evict(&ring, 3, &evicted) == 0 && evicted == 1);
  CHECK(receive_one(0) == ENOTCONN && send_one(0) == 0);
  end();
}

int main(void) {
  alarm(100);
  test_calls(UX_SEGMENT_QUEUE);
  test_calls(UX_SEGMENT_BROADCAST);
  test_subscribe(SIGCONT);
  test_subscribe(SIGKILL);
  test_evict(SIGCONT);
  test_evict(SIGKILL);
  return 0;
}
