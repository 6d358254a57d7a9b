/* Kills participants of a ring and looks whether the others notice.
   usage: ring_storm rounds [mode]      at any instruction, again and again
          ring_storm steps [mode]       at each step (built with UX_RING_TEST)

   What a killed consumer had peeked at comes again, behind what others took
   meanwhile.

   Workers put and get numbered messages without end. In each round one of them
   is killed (steps: or stopped, and goes on later) and a new one takes its
   place. Then all must go on within a second (times the third argument, of
   slow machines), and: each producer's messages come in order; none comes
   twice; none is lost, but for one that a killed consumer may have taken and
   not have told of. */
#include "lib/clock.h"
#include "lib/futex.h"
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
#include <time.h>
#include <unistd.h>

#define WORKERS 4
#define IDS (UINT64_C(1) << 26)
#define NAMES 64
#define CHUNK 1000

struct shared {
  _Atomic uint64_t next_id;
  _Atomic uint64_t progress[WORKERS];
  _Atomic uint32_t births[WORKERS];
  _Atomic bool is_ending;
  /* of steps: who is hit at which of its steps, by what */
  _Atomic int victim, countdown, signal;
  char hit[80];
  char names[NAMES][40];
  uint32_t hits[NAMES];
  char complaint[200];
  _Atomic uint8_t state[IDS];
};

enum { TRIED = 1, SENT = 2, GOT = 4, TWICE = 8 };

static struct shared *shared;
static struct ux_segment segment;
static int self = -1;

struct mode {
  const char *name;
  struct ux_segment_options options;
  void (*bodies[WORKERS])(void);
  bool (*drain)(void);
  bool is_redelivered; /* what the killed had peeked at, behind others */
};

static const struct mode *mode;

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

void ux_ring_step(const char *name) {
  if (self < 0 || atomic_load(&shared->victim) != self) return;
  if (atomic_fetch_sub(&shared->countdown, 1) != 0) return;
  snprintf(shared->hit, sizeof shared->hit, "%s", name);
  raise(atomic_load(&shared->signal));
}

/* ---- what is told ------------------------------------------------------ */

static void complain(const char *what, uint64_t id, int err) {
  snprintf(shared->complaint,
           sizeof shared->complaint,
           "%s: worker %d: %s (message %llu, %s)",
           mode->name,
           self,
           what,
           (unsigned long long)id,
           strerror(err));
  fprintf(stderr, "%s\n", shared->complaint);
  _exit(1);
}

static void went_on(void) {
  if (self >= 0) atomic_fetch_add(&shared->progress[self], 1);
}

/* ---- messages ---------------------------------------------------------- */

struct message {
  uint64_t id;
  uint32_t producer, birth;
  uint64_t number;   /* of this producer since its birth, from 1 */
  uint32_t fill[64]; /* some of them, all the same */
};

static uint64_t number;

static size_t make(struct message *m) {
  m->id = atomic_fetch_add(&shared->next_id, 1);
  if (m->id >= IDS) _exit(0);
  m->producer = (uint32_t)self;
  m->birth = atomic_load(&shared->births[self]);
  m->number = ++number;
  size_t words = m->id % 64;
  for (size_t i = 0; i < words; i++) m->fill[i] = (uint32_t)m->id;
  atomic_fetch_or(&shared->state[m->id], TRIED);
  return offsetof(struct message, fill) + words * sizeof m->fill[0];
}

static void was_sent(const struct message *m) {
  atomic_fetch_or(&shared->state[m->id], SENT);
  went_on();
}

/* is_each: every message comes to everybody, with no gap. */
static void was_got(const struct message *m, size_t length, bool is_each,
                    uint64_t lost) {
  static uint64_t last[WORKERS];
  static uint32_t birth[WORKERS];
  static bool is_known[WORKERS];
  size_t words = (length - offsetof(struct message, fill)) / 4;
  if (m->id >= IDS || m->producer >= WORKERS || words != m->id % 64)
    complain("not a message", m->id, 0);
  for (size_t i = 0; i < words; i++)
    if (m->fill[i] != (uint32_t)m->id) complain("torn", m->id, 0);
  uint32_t p = m->producer;
  if (birth[p] != m->birth) {
    if ((int32_t)(m->birth - birth[p]) < 0 && !mode->is_redelivered)
      complain("reborn", m->id, 0);
    last[p] = 0;
    birth[p] = m->birth;
  }
  for (int i = 0; lost > 0 && i < WORKERS; i++) is_known[i] = false;
  if (!mode->is_redelivered && m->number <= last[p])
    complain("out of order", m->id, 0);
  if (is_each && is_known[p] && lost == 0 && m->number != last[p] + 1)
    complain("a gap", m->id, 0);
  is_known[p] = true;
  last[p] = m->number;
  uint8_t before = atomic_fetch_or(&shared->state[m->id], GOT);
  if (!(before & TRIED)) complain("never sent", m->id, 0);
  if (!is_each && (before & GOT)) complain("twice", m->id, 0);
  went_on();
}

static bool again(struct ux_ring *r, enum ux_ring_side side, int err) {
  if (err == 0) return false;
  bool is_wait = err == EAGAIN || err == EBUSY;
  if (!is_wait) complain(side == UX_RING_PUT ? "put" : "get", 0, err);
  if (ux_ring_is_role_taken(r, side)) { /* of one that is not quite dead */
    usleep(1000);
    return true;
  }
  if (ux_ring_spin(r, side)) return true;
  err = ux_ring_sleep(r, side, 0);
  if (err != 0 && err != EINTR) complain("sleep", 0, err);
  return true;
}

static void start(struct ux_ring *r, uint32_t index) {
  int err = ux_ring_init(r, &segment, index);
  if (err != 0) complain("init", 0, err);
}

/* ---- workers ----------------------------------------------------------- */

static void produce(void) {
  struct ux_ring r;
  struct message m;
  start(&r, 0);
  for (;;) {
    size_t n = make(&m);
    while (again(&r, UX_RING_PUT, ux_ring_put(&r, &m, n, 0))) {
    }
    was_sent(&m);
  }
}

static void produce_many(void) {
  struct ux_ring r;
  struct message m[8];
  struct ux_ring_item items[8];
  start(&r, 0);
  for (;;) {
    size_t done = 0, some;
    for (int i = 0; i < 8; i++)
      items[i] = (struct ux_ring_item){&m[i], make(&m[i]), 0};
    while (done < 8) {
      int err = ux_ring_put_many(&r, items + done, 8 - done, &some);
      if (again(&r, UX_RING_PUT, err)) continue;
      for (size_t i = done; i < done + some; i++) was_sent(&m[i]);
      done += some;
    }
  }
}

static void lend(void) {
  struct ux_ring r;
  struct message m;
  struct ux_ring_loan loan;
  start(&r, 0);
  for (;;) {
    size_t n = make(&m);
    while (again(&r, UX_RING_PUT, ux_ring_reserve(&r, sizeof m, &loan))) {
    }
    ux_ring_step("filling");
    memcpy(loan.data, &m, n);
    int err = ux_ring_commit(&r, &loan, n, 0);
    if (err != 0) complain("commit", m.id, err);
    was_sent(&m);
  }
}

static void consume(void) {
  struct ux_ring r;
  struct message m;
  struct ux_ring_message got;
  start(&r, 0);
  for (;;) {
    while (again(&r, UX_RING_GET, ux_ring_get(&r, &m, sizeof m, &got))) {
    }
    was_got(&m, got.length, false, 0);
  }
}

static void peek(void) {
  struct ux_ring r;
  struct message m;
  struct ux_ring_message got;
  int err;
  start(&r, 0);
  for (;;) {
    while (again(&r, UX_RING_GET, ux_ring_peek(&r, &got))) {
    }
    memcpy(&m, got.data, got.length < sizeof m ? got.length : sizeof m);
    ux_ring_step("reading");
    while ((err = ux_ring_release(&r, got.position)) == EBUSY)
      ux_ring_sleep(&r, UX_RING_GET, 0);
    if (err != 0) complain("release", m.id, err);
    was_got(&m, got.length, false, 0);
  }
}

/* Its position is lost with it: a new one begins at the newest. */
static void subscribe(void) {
  struct ux_ring r;
  struct message m;
  struct ux_ring_message got;
  int err;
  start(&r, 0);
  while ((err = ux_ring_subscribe(&r, UX_RING_NEW, 0)) == EBUSY)
    ux_ring_sleep(&r, UX_RING_PUT, 0);
  if (err != 0) complain("subscribe", 0, err);
  for (;;) {
    while (again(&r, UX_RING_GET, ux_ring_get(&r, &m, sizeof m, &got))) {
    }
    was_got(&m, got.length, true, got.lost);
  }
}

/* ---- service: every question is answered, though servers die ----------- */

static void ask(void) {
  struct ux_ring r, replies;
  struct message m, back;
  struct ux_ring_message got;
  char buffer[UX_SERVICE_HEAD + sizeof m];
  start(&r, 0);
  int err = ux_service_replies(&replies, &segment);
  if (err != 0) complain("replies", 0, err);
  for (;;) {
    struct iovec iov = {&m, make(&m)};
    uint64_t id = ~m.id;
    while (again(&r, UX_RING_PUT, ux_service_ask(&r, &iov, 1, 0, m.id))) {
    }
    while (id != m.id) { /* a second reply to one before is left out */
      err = ux_service_collect(&replies, buffer, sizeof buffer, &got, &id);
      if (err == ECANCELED && segment.options.retry)
        complain("failed", m.id, err);
      if (err == ECANCELED && id == m.id) break;
      if (err == ECANCELED) continue;
      again(&replies, UX_RING_GET, err);
    }
    if (err == 0) {
      if (got.length != iov.iov_len) complain("another reply", m.id, 0);
      memcpy(&back, got.data, got.length);
      if (back.id != m.id) complain("a reply to another", m.id, 0);
    }
    was_sent(&m);
  }
}

static void serve(void) {
  struct ux_ring r, replies = {.segment = NULL};
  struct ux_service_request q;
  char buffer[UX_SERVICE_HEAD + sizeof(struct message)];
  start(&r, 0);
  for (;;) {
    while (
      again(&r, UX_RING_GET, ux_service_take(&r, buffer, sizeof buffer, &q))) {
    }
    struct iovec iov = {(void *)(uintptr_t)q.message.data, q.message.length};
    for (;;) {
      int err = ux_service_reply(&r, &replies, &q, &iov, 1, 0);
      if (err == ECONNRESET) break;
      if (!again(
            err == EBUSY && r.lock != NULL ? &r : &replies, UX_RING_PUT, err))
        break;
    }
    went_on();
  }
}

/* ---- what is left at the end ------------------------------------------- */

static bool drain_queue(void) {
  struct ux_ring r;
  struct message m;
  struct ux_ring_message got;
  self = -1;
  start(&r, 0);
  for (int tries = 0; tries < 100;) {
    int err = ux_ring_get(&r, &m, sizeof m, &got);
    if (err == EAGAIN || err == EBUSY) {
      ux_ring_sleep(&r, UX_RING_GET, ux_clock_now() + 5000000);
      tries++;
      continue;
    }
    if (err != 0) complain("drain", 0, err);
    uint8_t before = atomic_fetch_or(&shared->state[m.id], GOT);
    if (before & GOT) complain("twice, at the end", m.id, 0);
  }
  return true;
}

static bool drain_nothing(void) {
  return false;
}

static const struct mode modes[] = {
  {"queue",
   {.kind = UX_SEGMENT_QUEUE, .capacity = 4096},
   {produce, produce, consume, consume},
   drain_queue,
   false},
  {"many",
   {.kind = UX_SEGMENT_QUEUE, .capacity = 4096},
   {produce_many, produce, consume, consume},
   drain_queue,
   false},
  {"loan",
   {.kind = UX_SEGMENT_QUEUE, .capacity = 4096},
   {lend, lend, peek, peek},
   drain_queue,
   true},
  {"mixed",
   {.kind = UX_SEGMENT_QUEUE, .capacity = 4096},
   {lend, produce, peek, consume},
   drain_queue,
   true},
  {"spsc",
   {.kind = UX_SEGMENT_SPSC, .capacity = 4096},
   {produce, consume, NULL, NULL},
   drain_queue,
   false},
  {"gate",
   {.kind = UX_SEGMENT_BROADCAST, .capacity = 4096},
   {produce, produce, subscribe, subscribe},
   drain_nothing,
   false},
  {"lap",
   {.kind = UX_SEGMENT_BROADCAST, .capacity = 4096, .policy = UX_SEGMENT_LAP},
   {produce, produce, subscribe, subscribe},
   drain_nothing,
   false},
  {"retry",
   {.kind = UX_SEGMENT_SERVICE, .capacity = 4096, .slots = 16, .retry = true},
   {ask, ask, serve, serve},
   drain_nothing,
   false},
  {"fail",
   {.kind = UX_SEGMENT_SERVICE, .capacity = 4096, .slots = 16},
   {ask, ask, serve, serve},
   drain_nothing,
   false},
};

/* ---- the parent -------------------------------------------------------- */

static pid_t pids[WORKERS];
static uint64_t kills[2]; /* of producers, of others */
static int64_t patience;

static void begin(int i) {
  atomic_fetch_add(&shared->births[i], 1);
  pids[i] = fork();
  if (pids[i] != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  self = i;
  mode->bodies[i]();
}

static void give_up(const char *what, int i) {
  fprintf(stderr,
          "%s: worker %d %s (last hit at '%s')\n",
          mode->name,
          i,
          what,
          shared->hit);
  for (int k = 0; k < WORKERS; k++)
    if (pids[k] > 0) kill(pids[k], SIGKILL);
  exit(1);
}

static void pause_for(int64_t ns) {
  struct timespec ts = ux_clock_timespec(ns);
  nanosleep(&ts, NULL);
}

static void end_worker(int i, int sig) {
  int status;
  kill(pids[i], sig);
  waitpid(pids[i], &status, 0);
  if (!WIFSIGNALED(status)) give_up("complained", i);
  kills[mode->bodies[i] == consume || mode->bodies[i] == peek]++;
  pids[i] = 0;
}

/* Everybody (but one, or -1) gets further. */
static void expect_progress(int but) {
  uint64_t before[WORKERS];
  int64_t end = ux_clock_now() + patience;
  for (int i = 0; i < WORKERS; i++)
    before[i] = atomic_load(&shared->progress[i]);
  for (int i = 0; i < WORKERS; i++) {
    if (mode->bodies[i] == NULL || i == but) continue;
    while (atomic_load(&shared->progress[i]) == before[i]) {
      if (ux_clock_now() > end) give_up("is stuck", i);
      pause_for(50000);
    }
  }
}

static void check_ids(void) {
  uint64_t missing = 0, last = atomic_load(&shared->next_id);
  for (uint64_t i = 0; i < last && i < IDS; i++) {
    uint8_t state = atomic_load(&shared->state[i]);
    if ((state & SENT) && !(state & GOT)) missing++;
  }
  printf("%-6s %8llu messages, %llu + %llu kills, %llu taken by the killed\n",
         mode->name,
         (unsigned long long)last,
         (unsigned long long)kills[0],
         (unsigned long long)kills[1],
         (unsigned long long)missing);
  fflush(stdout);
  if (missing > kills[1]) {
    fprintf(stderr, "%s: messages were lost\n", mode->name);
    exit(1);
  }
}

static void open_mode(const struct mode *m) {
  mode = m;
  kills[0] = kills[1] = 0;
  madvise(shared, sizeof *shared, MADV_REMOVE);
  memset(shared, 0, offsetof(struct shared, state));
  atomic_store(&shared->victim, -1);
  int err = ux_segment_create(&segment, NULL, 0600, &m->options);
  if (err != 0) complain("create", 0, err);
  for (int i = 0; i < WORKERS; i++)
    if (m->bodies[i] != NULL) begin(i);
  expect_progress(-1);
}

static void close_mode(void) {
  for (int i = 0; i < WORKERS; i++)
    if (pids[i] > 0) end_worker(i, SIGKILL);
  if (mode->drain())
    check_ids();
  else
    printf("%-6s %8llu messages, %llu kills\n",
           mode->name,
           (unsigned long long)atomic_load(&shared->next_id),
           (unsigned long long)(kills[0] + kills[1]));
  fflush(stdout);
  ux_segment_detach(&segment);
}

static int pick_victim(void) {
  int i;
  do i = rand() % WORKERS;
  while (mode->bodies[i] == NULL);
  return i;
}

static void storm(const struct mode *m, int rounds) {
  open_mode(m);
  for (int k = 0; k < rounds; k++) {
    int i = pick_victim();
    pause_for(rand() % 300000);
    end_worker(i, SIGKILL);
    if (mode->bodies[2] != NULL && k % 4 == 0) expect_progress(i);
    begin(i);
    expect_progress(-1);
  }
  close_mode();
}

/* ---- at each step ------------------------------------------------------ */

static void note_hit(void) {
  for (int i = 0; i < NAMES; i++) {
    if (shared->names[i][0] != '\0' &&
        strncmp(shared->names[i], shared->hit, 39) != 0)
      continue;
    snprintf(shared->names[i], 40, "%.39s", shared->hit);
    shared->hits[i]++;
    return;
  }
}

static bool is_hit(int i, int sig) {
  int status;
  for (int64_t end = ux_clock_now() + patience; ux_clock_now() < end;) {
    if (waitpid(pids[i], &status, WNOHANG | WUNTRACED) == pids[i]) {
      if (WIFEXITED(status)) give_up("complained", i);
      return true;
    }
    pause_for(20000);
  }
  (void)sig;
  return false;
}

/* One that is stopped holds up the others if it has a lock, or gates; they go
   on when it does. */
static void hit_step(int i, int step, int sig) {
  shared->hit[0] = '\0';
  atomic_store(&shared->signal, sig);
  atomic_store(&shared->countdown, step);
  atomic_store(&shared->victim, i);
  if (!is_hit(i, sig)) {
    atomic_store(&shared->victim, -1);
    return;
  }
  atomic_store(&shared->victim, -1);
  note_hit();
  if (sig == SIGSTOP) {
    pause_for(2000000);
    kill(pids[i], SIGCONT);
  } else {
    kills[mode->bodies[i] == consume || mode->bodies[i] == peek]++;
    begin(i);
  }
  expect_progress(-1);
}

static void steps(const struct mode *m) {
  open_mode(m);
  memset(shared->names, 0, sizeof shared->names);
  memset(shared->hits, 0, sizeof shared->hits);
  for (int i = 0; i < WORKERS; i++) {
    if (mode->bodies[i] == NULL) continue;
    if (i > 0 && mode->bodies[i] == mode->bodies[i - 1]) continue;
    for (int step = 0; step < 60; step++) {
      hit_step(i, step, SIGKILL);
      hit_step(i, step, SIGSTOP);
    }
  }
  close_mode();
  printf("  at");
  for (int k = 0; k < NAMES && shared->hits[k] > 0; k++)
    printf(" '%s' %u", shared->names[k], (unsigned)shared->hits[k]);
  printf("\n");
}

int main(int argc, char **argv) {
  bool is_steps = argc > 1 && strcmp(argv[1], "steps") == 0;
  int rounds = argc > 1 && !is_steps ? atoi(argv[1]) : 100;
  const char *only = argc > 2 && argv[2][0] != '\0' ? argv[2] : NULL;
  patience = (argc > 3 ? atoi(argv[3]) : 1) * UX_NS_PER_S;
  shared = mmap(NULL,
                sizeof *shared,
                PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                -1,
                0);
  if (shared == MAP_FAILED) return 1;
  srand((unsigned)ux_clock_now());
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    if (only != NULL && strcmp(only, modes[i].name) != 0) continue;
    if (is_steps)
      steps(&modes[i]);
    else
      for (int left = rounds; left > 0; left -= CHUNK) /* numbers run out */
        storm(&modes[i], left < CHUNK ? left : CHUNK);
  }
  return 0;
}
