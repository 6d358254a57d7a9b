/* Mutex, semaphore, atomics in C: what the C library itself costs. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

static void *shared_page(void) {
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) die("mmap");
  return page;
}

static void lock_and_unlock(long n, void *state) {
  pthread_mutex_t *mutex = state;
  for (long i = 0; i < n; i++) {
    if (pthread_mutex_lock(mutex) != 0) die("pthread_mutex_lock");
    if (pthread_mutex_unlock(mutex) != 0) die("pthread_mutex_unlock");
  }
}

/* mutex n: a robust mutex, shared between processes. */
static void mutex(char **words) {
  pthread_mutex_t *m = shared_page();
  pthread_mutexattr_t a;
  pthread_mutexattr_init(&a);
  pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(m, &a);
  measure(number(words[0]), lock_and_unlock, m);
}

static void post_and_wait(long n, void *state) {
  sem_t *sem = state;
  for (long i = 0; i < n; i++) {
    if (sem_post(sem) != 0) die("sem_post");
    if (sem_wait(sem) != 0) die("sem_wait");
  }
}

/* semaphore n: raised and lowered. */
static void semaphore(char **words) {
  sem_t *sem = shared_page();
  sem_init(sem, 1, 0);
  measure(number(words[0]), post_and_wait, sem);
}

static void add_one(long n, void *state) {
  _Atomic uint64_t *word = state;
  for (long i = 0; i < n; i++) atomic_fetch_add(word, 1);
}

/* add n: a word of shared memory is added to. */
static void add(char **words) {
  measure(number(words[0]), add_one, shared_page());
}

struct turns {
  sem_t there, back;
};

static void trips(long n, void *state) {
  struct turns *t = state;
  for (long i = 0; i < n; i++) {
    sem_post(&t->there);
    sem_wait(&t->back);
  }
}

/* roundtrip n cpu: two processes take turns, by two semaphores. */
static void roundtrip(char **words) {
  struct turns *t = shared_page();
  long n = number(words[0]);
  sem_init(&t->there, 1, 0);
  sem_init(&t->back, 1, 0);
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    for (long i = n + WARM_UP(n); i > 0; i--) {
      sem_wait(&t->there);
      sem_post(&t->back);
    }
    _exit(0);
  }
  pin(child, number(words[1]));
  measure(n, trips, t);
  reap(child);
}

struct game {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int turn;
};

static void play(struct game *g, long n, int mine) {
  for (long i = 0; i < n; i++) {
    pthread_mutex_lock(&g->mutex);
    while (g->turn != mine) pthread_cond_wait(&g->changed, &g->mutex);
    g->turn = 1 - mine;
    pthread_cond_signal(&g->changed);
    pthread_mutex_unlock(&g->mutex);
  }
}

static void play_first(long n, void *state) {
  play(state, n, 0);
}

/* condition n cpu: the same by a mutex and a condition variable. */
static void condition(char **words) {
  struct game *g = shared_page();
  long n = number(words[0]);
  pthread_mutexattr_t a;
  pthread_condattr_t c;
  pthread_mutexattr_init(&a);
  pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&g->mutex, &a);
  pthread_condattr_init(&c);
  pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED);
  pthread_cond_init(&g->changed, &c);
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    play(g, n + WARM_UP(n), 1);
    _exit(0);
  }
  pin(child, number(words[1]));
  measure(n, play_first, g);
  reap(child);
}

static const struct command commands[] = {
    {"roundtrip", 2, roundtrip},
    {"condition", 2, condition},
    {"mutex", 1, mutex},
    {"semaphore", 1, semaphore},
    {"add", 1, add},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
