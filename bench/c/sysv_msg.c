/* System V message queues in C: what the system itself costs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <unistd.h>

#include "common.h"

struct state {
  int id;
  size_t size;
  struct {
    long type;
    char body[8192];
  } message;
};

static struct state state;

static void make(const char *size) {
  state.size = (size_t)number(size);
  state.id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
  if (state.id < 0 || state.size > sizeof state.message.body) die("msgget");
}

static void put(struct state *s, long type) {
  s->message.type = type;
  if (msgsnd(s->id, &s->message, s->size, 0) != 0) die("msgsnd");
}

static void take(struct state *s, long type) {
  if (msgrcv(s->id, &s->message, sizeof s->message.body, type, 0) < 0)
    die("msgrcv");
}

static void both(long n, void *p) {
  for (long i = 0; i < n; i++) {
    put(p, 1);
    take(p, 1);
  }
}

/* self n size: send and receive in one process, nobody sleeps. */
static void self(char **words) {
  make(words[1]);
  measure(number(words[0]), both, &state);
  msgctl(state.id, IPC_RMID, NULL);
}

static void trips(long n, void *p) {
  for (long i = 0; i < n; i++) {
    put(p, 1);
    take(p, 2);
  }
}

/* roundtrip n size cpu: a message there and back, by types. */
static void roundtrip(char **words) {
  long n = number(words[0]);
  make(words[1]);
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    for (long i = n + WARM_UP(n); i > 0; i--) {
      take(&state, 1);
      put(&state, 2);
    }
    _exit(0);
  }
  pin(child, number(words[2]));
  measure(n, trips, &state);
  reap(child);
  msgctl(state.id, IPC_RMID, NULL);
}

static const struct command commands[] = {
    {"self", 2, self},
    {"roundtrip", 3, roundtrip},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
