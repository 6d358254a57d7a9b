/* Shared memory in C: memcpy into it and out of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "common.h"

struct state {
  size_t size;
  char *shared, *own;
};

#define SEGMENT (8 << 20) /* more than stays in the nearest cache */

static struct state make(const char *size) {
  struct state s = {.size = (size_t)number(size)};
  int id = shmget(IPC_PRIVATE, SEGMENT, IPC_CREAT | 0600);
  if (id < 0) die("shmget");
  s.shared = shmat(id, NULL, 0);
  if (s.shared == (char *)-1) die("shmat");
  shmctl(id, IPC_RMID, NULL);
  s.own = malloc(s.size);
  if (s.own == NULL) die("malloc");
  memset(s.own, 'x', s.size);
  return s;
}

/* The compiler is not to leave any of them out. */
static void use(char *p) {
  __asm__ volatile("" : : "r"(p) : "memory");
}

static void copy_in(long n, void *p) {
  struct state *s = p;
  size_t offset = 0;
  for (long i = 0; i < n; i++) {
    memcpy(s->shared + offset, s->own, s->size);
    use(s->shared);
    offset = (offset + s->size) % SEGMENT;
  }
}

/* write n size */
static void write_bytes(char **words) {
  struct state s = make(words[1]);
  measure(number(words[0]), copy_in, &s);
}

static const struct command commands[] = {
    {"write", 2, write_bytes},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
