/* POSIX message queues in C: what the system itself costs. */
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <unistd.h>

#include "common.h"

struct state {
  mqd_t there, back;
  size_t size;
  char body[8192];
};

static struct state state;

static mqd_t make(int which) {
  char name[64];
  struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 256};
  snprintf(name, sizeof name, "/bench-%ld-%d", (long)getpid(), which);
  mqd_t mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
  if (mq == (mqd_t)-1) die("mq_open");
  mq_unlink(name);
  return mq;
}

static void put(struct state *s, mqd_t mq) {
  if (mq_send(mq, s->body, s->size, 0) != 0) die("mq_send");
}

static void take(struct state *s, mqd_t mq) {
  if (mq_receive(mq, s->body, sizeof s->body, NULL) < 0) die("mq_receive");
}

static void both(long n, void *p) {
  struct state *s = p;
  for (long i = 0; i < n; i++) {
    put(s, s->there);
    take(s, s->there);
  }
}

/* self n size: send and receive in one process, nobody sleeps. */
static void self(char **words) {
  state.size = (size_t)number(words[1]);
  state.there = make(0);
  measure(number(words[0]), both, &state);
}

static void trips(long n, void *p) {
  struct state *s = p;
  for (long i = 0; i < n; i++) {
    put(s, s->there);
    take(s, s->back);
  }
}

/* roundtrip n size cpu: a message there and back, by two queues. */
static void roundtrip(char **words) {
  long n = number(words[0]);
  state.size = (size_t)number(words[1]);
  state.there = make(0);
  state.back = make(1);
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    for (long i = n + WARM_UP(n); i > 0; i--) {
      take(&state, state.there);
      put(&state, state.back);
    }
    _exit(0);
  }
  pin(child, number(words[2]));
  measure(n, trips, &state);
  reap(child);
}

static const struct command commands[] = {
    {"self", 2, self},
    {"roundtrip", 3, roundtrip},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
