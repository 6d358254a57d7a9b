/* Waits of csrc/lib/ring under signals of another process, with and without
   SA_RESTART: no wake is lost, and none returns early without a cause. */
#include "lib/clock.h"
#include "lib/ring.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(bool ok, int line, const char *what) {
  if (ok) return;
  fprintf(stderr, "ring_signal_test.c:%d: %s (errno %d)\n", line, what, errno);
  _exit(1);
}

#define CHECK(what) check((what), __LINE__, #what)
#define MS (UX_NS_PER_S / 1000)

static struct ux_segment segment;
static struct ux_ring ring;
static volatile sig_atomic_t signals;

static void on_signal(int sig) {
  (void)sig;
  signals++;
}

static void handle(int flags) {
  struct sigaction sa = {.sa_handler = on_signal, .sa_flags = flags};
  CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
}

/* ---- processes --------------------------------------------------------- */

static pid_t start(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  return pid;
}

/* Sends signals to us, at any moment, until it is stopped. */
static pid_t start_rain(void) {
  pid_t target = getpid(), pid = start();
  if (pid != 0) return pid;
  srand((unsigned)ux_clock_now());
  while (kill(target, SIGUSR1) == 0) usleep((unsigned)rand() % 400);
  _exit(0);
}

static void stop_rain(pid_t pid) {
  CHECK(kill(pid, SIGKILL) == 0);
  while (waitpid(pid, NULL, 0) < 0) CHECK(errno == EINTR);
}

static void open_ring(enum ux_segment_kind kind, int flags) {
  struct ux_segment_options o = {.kind = kind, .capacity = 1024};
  handle(flags);
  CHECK(ux_segment_create(&segment, NULL, 0600, &o) == 0);
  CHECK(ux_ring_init(&ring, &segment, 0) == 0);
}

static void close_ring(void) {
  ux_ring_done(&ring);
  ux_segment_detach(&segment);
}

/* ---- a cause for each return ------------------------------------------- */

#define SLEEPS 300

/* Nothing comes: a sleep ends by a signal, or when its slice is over. */
static void test_causes(enum ux_segment_kind kind, int flags) {
  char byte;
  struct ux_ring_message m;
  int64_t slice = (kind == UX_SEGMENT_QUEUE ? 250 : 50) * MS;
  int interrupted = 0;
  open_ring(kind, flags);
  pid_t rain = start_rain();
  for (int i = 0; i < SLEEPS; i++) {
    CHECK(ux_ring_get(&ring, &byte, 1, &m) == EAGAIN);
    int before = signals;
    int64_t begun = ux_clock_now();
    int err = ux_ring_sleep(&ring, UX_RING_GET, 0);
    CHECK(err == 0 || err == EINTR);
    if (err == EINTR) CHECK(signals != before);
    if (err == 0) CHECK(ux_clock_now() - begun >= slice - MS);
    interrupted += err == EINTR;
  }
  CHECK(interrupted > SLEEPS / 2);
  stop_rain(rain);
  close_ring();
}

/* Signals do not make a time-out come sooner. */
static void test_deadlines(enum ux_segment_kind kind, int flags) {
  char bytes[400] = {0};
  struct ux_ring_message m;
  open_ring(kind, flags);
  pid_t rain = start_rain();
  int64_t begun = ux_clock_now();
  CHECK(ux_ring_receive(&ring, bytes, 1, &m, 100 * MS) == ETIMEDOUT);
  CHECK(ux_clock_now() - begun >= 100 * MS);
  while (ux_ring_put(&ring, bytes, sizeof bytes, 0) == 0) {
  }
  begun = ux_clock_now();
  CHECK(ux_ring_send(&ring, bytes, sizeof bytes, 100 * MS) == ETIMEDOUT);
  CHECK(ux_clock_now() - begun >= 100 * MS);
  stop_rain(rain);
  close_ring();
}

/* ---- no wake is lost --------------------------------------------------- */

#define ROUNDS 300

/* When the waiter was woken, and which message that was. */
static struct {
  _Atomic int64_t at;
  _Atomic int round;
} * woken;

static void wait_in_rain(bool is_putting) {
  char bytes[480];
  struct ux_ring_message m;
  pid_t rain = start_rain();
  for (int i = 1; i <= ROUNDS; i++) {
    int err = is_putting ? ux_ring_send(&ring, bytes, sizeof bytes, -1)
                         : ux_ring_receive(&ring, bytes, sizeof bytes, &m, -1);
    CHECK(err == 0);
    atomic_store(&woken->at, ux_clock_now());
    atomic_store(&woken->round, i);
  }
  stop_rain(rain);
  _exit(signals > 0 ? 0 : 1);
}

/* One that is lost costs a slice of 250 ms, which a machine that is busy for
   once does not take from many. */
static void test_wakes(bool is_putting, int flags) {
  char bytes[480] = {0};
  struct ux_ring_message m;
  int late = 0;
  open_ring(UX_SEGMENT_QUEUE, flags);
  if (is_putting) /* one fits no more, until one is taken */
    while (ux_ring_put(&ring, bytes, sizeof bytes, 0) == 0) {
    }
  atomic_store(&woken->round, 0);
  pid_t waiter = start();
  if (waiter == 0) wait_in_rain(is_putting);
  srand((unsigned)ux_clock_now());
  for (int i = 1; i <= ROUNDS; i++) {
    usleep((unsigned)rand() % 2000); /* it sleeps, or is about to */
    CHECK(atomic_load(&woken->round) == i - 1);
    int64_t begun = ux_clock_now();
    int err = is_putting ? ux_ring_receive(&ring, bytes, sizeof bytes, &m, -1)
                         : ux_ring_send(&ring, bytes, sizeof bytes, -1);
    CHECK(err == 0);
    while (atomic_load(&woken->round) != i) usleep(50);
    late += atomic_load(&woken->at) - begun > 200 * MS;
  }
  int status;
  CHECK(waitpid(waiter, &status, 0) == waiter && status == 0);
  CHECK(late <= ROUNDS / 20);
  close_ring();
}

int main(void) {
  woken = mmap(NULL,
               sizeof *woken,
               PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS,
               -1,
               0);
  CHECK(woken != MAP_FAILED);
  alarm(100);
  for (int i = 0; i < 2; i++) {
    int flags = i == 0 ? 0 : SA_RESTART;
    test_causes(UX_SEGMENT_QUEUE, flags);
    test_causes(UX_SEGMENT_SPSC, flags);
    test_deadlines(UX_SEGMENT_QUEUE, flags);
    test_deadlines(UX_SEGMENT_SPSC, flags);
    test_wakes(false, flags);
    test_wakes(true, flags);
  }
  return 0;
}
