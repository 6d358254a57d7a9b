/* Tests of csrc/lib/psync. usage: psync_test [rounds]

   First each primitive alone, then in threads (for ThreadSanitizer), then in
   processes of which one is killed in each round, at any instruction: the
   others must go on, and must never see what is forbidden. */
#include "lib/clock.h"
#include "lib/futex.h"
#include "lib/psync.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void check(bool ok, int line, const char *what) {
  if (ok) return;
  fprintf(stderr, "psync_test.c:%d: %s (errno %d)\n", line, what, errno);
  exit(1);
}

#define CHECK(what) check((what), __LINE__, #what)

#define WORKERS 3
#define AREA 8192

/* What the workers share. */
struct shared {
  _Alignas(UX_PSYNC_ALIGN) char lock[AREA];
  _Alignas(UX_PSYNC_ALIGN) char other[AREA];
  _Atomic uint64_t progress[WORKERS];
  _Atomic int inside;
  volatile uint64_t left, right;
  _Atomic bool stop;
};

static struct shared *shared;

static void *make(void *where, enum ux_psync_kind kind, uint32_t count) {
  CHECK(ux_psync_init(where, AREA, kind, count) == 0);
  return where;
}

static void pause_for(int64_t ns) {
  struct timespec ts = ux_clock_timespec(ns);
  nanosleep(&ts, NULL);
}

static int64_t soon(int64_t ms) {
  return ux_clock_now() + ms * 1000000;
}

/* ---- as a caller would block ------------------------------------------- */

static int lock_mutex(struct ux_mutex *m) {
  bool waited = false;
  int err;
  while ((err = ux_mutex_try(m, waited)) == EBUSY) {
    waited = true;
    ux_mutex_sleep(m, 0);
  }
  return err;
}

static int read_lock(struct ux_rwlock *rw, uint32_t count, uint32_t *slot) {
  bool waited = false;
  int err;
  for (;;) {
    err = ux_rwlock_read_try(rw, count, slot, waited);
    if (err == EBUSY)
      ux_rwlock_gate_sleep(rw, 0);
    else if (err == EAGAIN)
      ux_rwlock_slot_sleep(rw, *slot, 0);
    else
      return err;
    waited = true;
  }
}

static int write_lock(struct ux_rwlock *rw, uint32_t count) {
  bool waited = false;
  uint32_t slot;
  int err;
  while ((err = ux_rwlock_gate_try(rw, waited)) == EBUSY) {
    waited = true;
    ux_rwlock_gate_sleep(rw, 0);
  }
  if (err != 0) return err;
  while ((err = ux_rwlock_write_try(rw, count, &slot)) == EBUSY)
    ux_rwlock_slot_sleep(rw, slot, 0);
  return err;
}

static void take_semaphore(struct ux_semaphore *s) {
  bool waited = false;
  while (ux_semaphore_try(s, waited) == EAGAIN) {
    waited = true;
    ux_semaphore_sleep(s, 0);
  }
}

static int wait_condition(struct ux_condition *c, struct ux_mutex *m) {
  uint32_t ticket = ux_condition_prepare(c);
  CHECK(ux_mutex_unlock(m) == 0);
  while (!ux_condition_is_over(c, ticket)) ux_condition_sleep(c, ticket, 0);
  return lock_mutex(m);
}

static void pass_barrier(struct ux_barrier *b, uint32_t parties) {
  struct ux_arrival a;
  bool waited = false;
  int err;
  while ((err = ux_barrier_arrive(b, parties, &a, waited)) == EBUSY ||
         err == EAGAIN) {
    waited = err == EBUSY;
    if (waited)
      ux_barrier_lock_sleep(b, 0);
    else
      ux_barrier_sleep(b, &a, soon(10));
  }
  if (err == 0) return;
  CHECK(err == EINPROGRESS);
  while (!ux_barrier_is_over(b, &a)) ux_barrier_sleep(b, &a, 0);
  CHECK(ux_barrier_leave(b, &a));
}

/* ---- alone ------------------------------------------------------------- */

/* Runs fn in a child that is then killed, holding what it took. */
static void die_holding(void (*fn)(void)) {
  pid_t child = fork();
  if (child == 0) {
    fn();
    kill(getpid(), SIGKILL);
  }
  CHECK(waitpid(child, NULL, 0) == child);
}

static void hold_mutex(void) {
  lock_mutex((struct ux_mutex *)shared->lock);
}

static void test_mutex(void) {
  struct ux_mutex *m = make(shared->lock, UX_PSYNC_MUTEX, 0);
  CHECK(ux_mutex_try(m, false) == 0);
  CHECK(ux_mutex_try(m, false) == EDEADLK);
  CHECK(ux_mutex_unlock(m) == 0);
  CHECK(ux_mutex_unlock(m) == EPERM);
  die_holding(hold_mutex);
  CHECK(ux_mutex_try(m, false) == EOWNERDEAD);
  CHECK(ux_mutex_consistent(m) == 0);
  CHECK(ux_mutex_unlock(m) == 0);
  die_holding(hold_mutex);
  CHECK(ux_mutex_try(m, false) == EOWNERDEAD);
  CHECK(ux_mutex_unlock(m) == 0);
  for (int i = 0; i < 3; i++) {
    CHECK(ux_mutex_try_first(m) == ENOTRECOVERABLE);
    CHECK(ux_mutex_try(m, false) == ENOTRECOVERABLE);
  }
}

static void hold_read(void) {
  uint32_t slot;
  read_lock((struct ux_rwlock *)shared->lock, 4, &slot);
}

static void hold_write(void) {
  write_lock((struct ux_rwlock *)shared->lock, 4);
}

static void test_rwlock(void) {
  struct ux_rwlock *rw = make(shared->lock, UX_PSYNC_RWLOCK, 4);
  uint32_t slot, other;
  CHECK(read_lock(rw, 4, &slot) == 0);
  CHECK(ux_rwlock_gate_try(rw, false) == 0);
  CHECK(ux_rwlock_write_try(rw, 4, &other) == EDEADLK);
  CHECK(ux_rwlock_read_try(rw, 4, &other, false) == EDEADLK);
  ux_rwlock_leave(rw);
  CHECK(ux_rwlock_read_unlock(rw, slot) == 0);
  for (int i = 0; i < 10; i++) die_holding(hold_read);
  CHECK(read_lock(rw, 4, &slot) == 0);
  CHECK(ux_rwlock_read_unlock(rw, slot) == 0);
  die_holding(hold_write);
  CHECK(read_lock(rw, 4, &slot) == EOWNERDEAD);
  CHECK(ux_rwlock_read_unlock(rw, slot) == 0);
  CHECK(write_lock(rw, 4) == EOWNERDEAD);
  CHECK(ux_rwlock_gate_try(rw, false) == EDEADLK);
  CHECK(ux_rwlock_write_unlock(rw) == 0);
  CHECK(write_lock(rw, 4) == 0);
  CHECK(ux_rwlock_write_unlock(rw) == 0);
}

static void test_semaphore(void) {
  struct ux_semaphore *s = make(shared->lock, UX_PSYNC_SEMAPHORE, 2);
  CHECK(ux_semaphore_try(s, false) == 0);
  CHECK(ux_semaphore_try(s, false) == 0);
  CHECK(ux_semaphore_try(s, false) == EAGAIN);
  int64_t until = soon(20);
  CHECK(ux_semaphore_sleep(s, until) == ETIMEDOUT);
  CHECK(ux_clock_now() >= until);
  CHECK(ux_semaphore_post(s, UX_SEMAPHORE_MAX) == 0);
  CHECK(ux_semaphore_post(s, 1) == EOVERFLOW);
  CHECK(ux_semaphore_value(s) == UX_SEMAPHORE_MAX);
  make(shared->lock, UX_PSYNC_SEMAPHORE, 0);
  CHECK(ux_semaphore_sleep(s, soon(1)) == ETIMEDOUT);
  CHECK(ux_semaphore_post(s, 0) == 0);
  CHECK(atomic_load(&s->word) == 1); /* somebody may sleep, still */
}

/* Whom a notify finds nobody for: it counts for who is about to sleep, and the
   mark that costs a system call is gone. */
static void test_condition(void) {
  struct ux_condition *c = make(shared->other, UX_PSYNC_CONDITION, 0);
  uint32_t ticket = ux_condition_prepare(c);
  CHECK(!ux_condition_is_over(c, ticket));
  ux_condition_notify_one(c);
  CHECK(ux_condition_is_over(c, ticket));
  CHECK(ux_condition_sleep(c, ticket, 0) == 0);
  ux_condition_notify_one(c);
  uint32_t before = atomic_load(&c->word);
  CHECK((before & 1) == 0);
  ux_condition_notify_one(c);
  ux_condition_notify_all(c);
  CHECK(atomic_load(&c->word) == before);
  ticket = ux_condition_prepare(c);
  CHECK(ux_condition_sleep(c, ticket, soon(1)) == ETIMEDOUT);
  ux_condition_notify_all(c);
  CHECK(ux_condition_is_over(c, ticket));
}

static void wait_at_barrier(void) {
  struct ux_arrival a;
  CHECK(ux_barrier_arrive((struct ux_barrier *)shared->lock, 2, &a, false) ==
        EINPROGRESS);
}

static void test_barrier(void) {
  struct ux_barrier *b = make(shared->lock, UX_PSYNC_BARRIER, 2);
  struct ux_arrival a;
  die_holding(wait_at_barrier);
  die_holding(wait_at_barrier);
  CHECK(ux_barrier_arrive(b, 2, &a, false) == EINPROGRESS);
  CHECK(!ux_barrier_leave(b, &a));
  CHECK(!ux_barrier_is_over(b, &a));
}

static void begin_once(void) {
  CHECK(ux_once_begin((struct ux_once *)shared->lock, false) == 0);
}

static void test_once(void) {
  struct ux_once *o = make(shared->lock, UX_PSYNC_ONCE, 0);
  die_holding(begin_once);
  CHECK(ux_once_begin(o, false) == EOWNERDEAD);
  CHECK(ux_once_begin(o, false) == EDEADLK);
  ux_once_finish(o, false);
  CHECK(ux_once_begin(o, false) == 0);
  ux_once_finish(o, true);
  CHECK(ux_once_begin(o, false) == EALREADY);
}

static void test_kinds(void) {
  uint32_t count = 0;
  make(shared->lock, UX_PSYNC_RWLOCK, 7);
  CHECK(ux_psync_check(shared->lock, AREA, UX_PSYNC_RWLOCK, &count) == 0);
  CHECK(count == 7);
  CHECK(ux_psync_check(shared->lock, AREA, UX_PSYNC_MUTEX, &count) == EINVAL);
  CHECK(ux_psync_check(shared->lock, 64, UX_PSYNC_RWLOCK, &count) == EINVAL);
  ((struct ux_psync *)shared->lock)->count = 1u << 31;
  CHECK(ux_psync_check(shared->lock, AREA, UX_PSYNC_RWLOCK, &count) == EINVAL);
  CHECK(ux_psync_init(shared->lock, 64, UX_PSYNC_RWLOCK, 7) == EINVAL);
  CHECK(ux_psync_init(shared->lock, AREA, UX_PSYNC_BARRIER, 0) == EINVAL);
}

/* ---- what workers do, again and again ---------------------------------- */

static void enter(bool is_recovered) {
  int before = atomic_exchange(&shared->inside, 1);
  CHECK(before == 0 || is_recovered);
}

static void leave(void) {
  atomic_store(&shared->inside, 0);
}

static void use_mutex(int turn) {
  struct ux_mutex *m = (struct ux_mutex *)shared->lock;
  (void)turn;
  int err = lock_mutex(m);
  CHECK(err == 0 || err == EOWNERDEAD);
  if (err == EOWNERDEAD) CHECK(ux_mutex_consistent(m) == 0);
  enter(err == EOWNERDEAD);
  shared->left++;
  leave();
  CHECK(ux_mutex_unlock(m) == 0);
}

static void use_rwlock(int turn) {
  struct ux_rwlock *rw = (struct ux_rwlock *)shared->lock;
  uint32_t slot;
  if (turn % 4 == 0) {
    int err = write_lock(rw, 4);
    CHECK(err == 0 || err == EOWNERDEAD);
    enter(err == EOWNERDEAD);
    shared->left = shared->right + 1;
    shared->right = shared->left;
    leave();
    CHECK(ux_rwlock_write_unlock(rw) == 0);
  } else {
    int err = read_lock(rw, 4, &slot);
    CHECK(err == 0 || err == EOWNERDEAD);
    CHECK(err == EOWNERDEAD || shared->left == shared->right);
    CHECK(ux_rwlock_read_unlock(rw, slot) == 0);
  }
}

/* To post first means that one who is killed leaves one too many. */
static void use_semaphore(int turn) {
  struct ux_semaphore *s = (struct ux_semaphore *)shared->lock;
  (void)turn;
  CHECK(ux_semaphore_post(s, 1) == 0);
  take_semaphore(s);
}

/* Work is handed out one by one by the parent, see feed. */
static void use_condition(int turn) {
  struct ux_mutex *m = (struct ux_mutex *)shared->lock;
  struct ux_condition *c = (struct ux_condition *)shared->other;
  (void)turn;
  int err = lock_mutex(m);
  if (err == EOWNERDEAD) CHECK(ux_mutex_consistent(m) == 0);
  while (shared->left == 0) {
    err = wait_condition(c, m);
    if (err == EOWNERDEAD) CHECK(ux_mutex_consistent(m) == 0);
  }
  shared->left--;
  CHECK(ux_mutex_unlock(m) == 0);
}

static void feed(void) {
  struct ux_mutex *m = (struct ux_mutex *)shared->lock;
  if (lock_mutex(m) == EOWNERDEAD) CHECK(ux_mutex_consistent(m) == 0);
  shared->left++;
  ux_condition_notify_one((struct ux_condition *)shared->other);
  CHECK(ux_mutex_unlock(m) == 0);
}

/* The mutex is let go before the notify. */
static void feed_then_notify(void) {
  struct ux_mutex *m = (struct ux_mutex *)shared->lock;
  if (lock_mutex(m) == EOWNERDEAD) CHECK(ux_mutex_consistent(m) == 0);
  shared->left++;
  CHECK(ux_mutex_unlock(m) == 0);
  ux_condition_notify_one((struct ux_condition *)shared->other);
}

static int begin(struct ux_once *o) {
  bool waited = false;
  int err;
  while ((err = ux_once_begin(o, waited)) == EBUSY) {
    waited = true;
    ux_mutex_sleep(&o->lock, 0);
  }
  return err;
}

/* Never to its end: one does it after the other. */
static void use_once(int turn) {
  struct ux_once *o = (struct ux_once *)shared->lock;
  (void)turn;
  int err = begin(o);
  CHECK(err == 0 || err == EOWNERDEAD);
  enter(err == EOWNERDEAD);
  shared->left++;
  leave();
  ux_once_finish(o, false);
}

static void use_barrier(int turn) {
  (void)turn;
  pass_barrier((struct ux_barrier *)shared->lock, WORKERS);
}

struct trial {
  const char *name;
  enum ux_psync_kind kind;
  uint32_t count;
  void (*use)(int turn);
  void (*help)(void); /* what the parent does meanwhile */
};

static const struct trial trials[] = {
  {"mutex", UX_PSYNC_MUTEX, 0, use_mutex, NULL},
  {"rwlock", UX_PSYNC_RWLOCK, 4, use_rwlock, NULL},
  {"semaphore", UX_PSYNC_SEMAPHORE, 1, use_semaphore, NULL},
  {"condition", UX_PSYNC_MUTEX, 0, use_condition, feed},
  {"condition, notified without the mutex",
   UX_PSYNC_MUTEX,
   0,
   use_condition,
   feed_then_notify},
  {"once, not to the end", UX_PSYNC_ONCE, 0, use_once, NULL},
  {"barrier", UX_PSYNC_BARRIER, WORKERS, use_barrier, NULL},
};

static void prepare(const struct trial *t) {
  memset(shared, 0, sizeof *shared);
  make(shared->lock, t->kind, t->count);
  make(shared->other, UX_PSYNC_CONDITION, 0);
}

/* ---- in threads -------------------------------------------------------- */

#define TURNS 3000

static const struct trial *current;

static void *run_thread(void *arg) {
  (void)arg;
  for (int i = 0; i < TURNS; i++) current->use(i);
  return NULL;
}

static void run_threads(const struct trial *t) {
  pthread_t threads[WORKERS];
  prepare(t);
  current = t;
  for (int i = 0; i < WORKERS; i++)
    CHECK(pthread_create(&threads[i], NULL, run_thread, NULL) == 0);
  for (int i = 0; t->help != NULL && i < WORKERS * TURNS; i++) t->help();
  for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
  if (t->use == use_mutex) CHECK(shared->left == WORKERS * TURNS);
}

/* ---- in processes that are killed -------------------------------------- */

static pid_t start(const struct trial *t, int i) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child > 0) return child;
  for (int turn = i;; turn++) {
    t->use(turn);
    atomic_fetch_add(&shared->progress[i], 1);
  }
}

static bool went_on(const struct trial *t, int i, uint64_t before) {
  for (int64_t end = soon(10000); ux_clock_now() < end;) {
    if (t->help != NULL) t->help();
    if (atomic_load(&shared->progress[i]) > before) return true;
    pause_for(20000);
  }
  return false;
}

/* An aborted check of a worker ends it: it must die of the signal alone. */
static void kill_worker(pid_t pid) {
  int status;
  kill(pid, SIGKILL);
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void run_processes(const struct trial *t, int rounds) {
  pid_t pids[WORKERS];
  prepare(t);
  for (int i = 0; i < WORKERS; i++) pids[i] = start(t, i);
  for (int round = 0; round < rounds; round++) {
    uint64_t before[WORKERS];
    int victim = rand() % WORKERS;
    if (t->help != NULL) t->help();
    pause_for(rand() % 300000);
    kill_worker(pids[victim]);
    pids[victim] = start(t, victim);
    for (int i = 0; i < WORKERS; i++)
      before[i] = atomic_load(&shared->progress[i]);
    for (int i = 0; i < WORKERS; i++)
      if (!went_on(t, i, before[i])) {
        fprintf(stderr, "%s: stuck in round %d\n", t->name, round);
        exit(1);
      }
  }
  for (int i = 0; i < WORKERS; i++) kill_worker(pids[i]);
}

/* ---- once: to the end, one killed ----------------------------------- */

static void do_once(void) {
  int err = begin((struct ux_once *)shared->lock);
  if (err == 0 || err == EOWNERDEAD) {
    atomic_fetch_add(&shared->progress[0], 1);
    ux_once_finish((struct ux_once *)shared->lock, true);
  } else {
    CHECK(err == EALREADY);
  }
  CHECK(atomic_load(&shared->progress[0]) >= 1);
}

static void run_once(void) {
  pid_t pids[WORKERS];
  int status, victim = rand() % WORKERS;
  memset(shared, 0, sizeof *shared);
  make(shared->lock, UX_PSYNC_ONCE, 0);
  for (int i = 0; i < WORKERS; i++) {
    pids[i] = fork();
    CHECK(pids[i] >= 0);
    if (pids[i] != 0) continue;
    alarm(10); /* ends one that is stuck */
    do_once();
    _exit(0);
  }
  pause_for(rand() % 300000);
  kill(pids[victim], SIGKILL);
  for (int i = 0; i < WORKERS; i++) {
    CHECK(waitpid(pids[i], &status, 0) == pids[i]);
    CHECK(i == victim || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
  CHECK(ux_once_begin((struct ux_once *)shared->lock, false) == EALREADY);
  CHECK(atomic_load(&shared->progress[0]) <= 2); /* one may have died in it */
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 50;
  shared = mmap(NULL,
                sizeof *shared,
                PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS,
                -1,
                0);
  CHECK(shared != MAP_FAILED);
  srand((unsigned)ux_clock_now());
  test_mutex();
  test_rwlock();
  test_semaphore();
  test_condition();
  test_barrier();
  test_once();
  test_kinds();
  for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
    run_threads(&trials[i]);
    run_processes(&trials[i], rounds);
  }
  for (int i = 0; i < rounds; i++) run_once();
  return 0;
}
