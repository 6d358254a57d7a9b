/* Round trips by a futex alone, without spinning: what a channel is compared
   with where spinning cannot help. */
#include "common.h"

#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The turn is 0 or 1; it wakes the other one after it has changed. */
struct shared {
  _Alignas(128) _Atomic uint32_t turn;
  _Alignas(128) char bytes[64];
};

struct state {
  struct shared *at;
  uint32_t mine;
};

static void pass(struct shared *s, uint32_t mine) {
  char message[64];
  while (atomic_load(&s->turn) != mine)
    syscall(SYS_futex, &s->turn, FUTEX_WAIT, 1 - mine, NULL, NULL, 0);
  memcpy(message, s->bytes, sizeof message);
  memcpy(s->bytes, message, sizeof message);
  atomic_store(&s->turn, 1 - mine);
  syscall(SYS_futex, &s->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void trips(long n, void *arg) {
  struct state *state = arg;
  while (n-- > 0) pass(state->at, state->mine);
}

/* A program that only counts, on the core, until this one ends. */
static void make_busy(long cpu) {
  pid_t parent = getpid(), child = fork();
  if (child < 0) die("fork");
  if (child > 0) {
    pin(child, cpu);
    return;
  }
  for (volatile unsigned long i = 1;; i++)
    if (i % 1000000 == 0 && getppid() != parent) _exit(0);
}

static void run(char **words, int is_busy) {
  struct state state = {.mine = 0};
  long n = number(words[0]), cpu = number(words[1]);
  state.at = mmap(NULL,
                  sizeof *state.at,
                  PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS,
                  -1,
                  0);
  if (state.at == MAP_FAILED) die("mmap");
  if (is_busy) {
    make_busy(sched_getcpu());
    make_busy(cpu);
  }
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    trips(n + WARM_UP(n), &(struct state){state.at, 1});
    _exit(0);
  }
  pin(child, cpu);
  measure(n, trips, &state);
  reap(child);
}

/* roundtrip n cpu */
static void roundtrip(char **words) {
  run(words, 0);
}

/* busy n cpu: the same with a busy program on each core. */
static void busy(char **words) {
  run(words, 1);
}

int main(int argc, char **argv) {
  const struct command commands[] = {
    {"roundtrip", 2, roundtrip},
    {"busy", 2, busy},
    {NULL, 0, NULL},
  };
  return dispatch(argc, argv, commands);
}
