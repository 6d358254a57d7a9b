/* System V semaphores in C: what the system itself costs. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <unistd.h>

#include "common.h"

static int make(void) {
  int id = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
  if (id < 0) die("semget");
  return id;
}

static void operate(int id, int i, int change) {
  struct sembuf op = {(unsigned short)i, (short)change, 0};
  if (semop(id, &op, 1) != 0) die("semop");
}

static void both(long n, void *p) {
  for (long i = 0; i < n; i++) {
    operate(*(int *)p, 0, 1);
    operate(*(int *)p, 0, -1);
  }
}

/* self n: release and acquire in one process, nobody sleeps. */
static void self(char **words) {
  int id = make();
  measure(number(words[0]), both, &id);
  semctl(id, 0, IPC_RMID);
}

static void trips(long n, void *p) {
  for (long i = 0; i < n; i++) {
    operate(*(int *)p, 0, 1);
    operate(*(int *)p, 1, -1);
  }
}

/* roundtrip n cpu: two processes take turns. */
static void roundtrip(char **words) {
  long n = number(words[0]);
  int id = make();
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    for (long i = n + WARM_UP(n); i > 0; i--) {
      operate(id, 0, -1);
      operate(id, 1, 1);
    }
    _exit(0);
  }
  pin(child, number(words[1]));
  measure(n, trips, &id);
  reap(child);
  semctl(id, 0, IPC_RMID);
}

static const struct command commands[] = {
    {"self", 1, self},
    {"roundtrip", 2, roundtrip},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
