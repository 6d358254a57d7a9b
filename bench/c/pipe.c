/* Pipes in C: what the system itself costs. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common.h"

/* Two pipes: the child reads from down and writes to up. */
struct pair {
  int down[2], up[2];
  pid_t child;
  size_t size;
  char *buffer;
};

static void open_pair(struct pair *p, size_t size) {
  if (pipe2(p->down, 0) != 0 || pipe2(p->up, 0) != 0) die("pipe2");
  p->size = size;
  p->buffer = calloc(1, size);
  if (p->buffer == NULL) die("calloc");
}

static void start(struct pair *p, void (*peer)(struct pair *, long),
                  long n, long cpu) {
  p->child = fork();
  if (p->child < 0) die("fork");
  if (p->child == 0) {
    close(p->down[1]);
    close(p->up[0]);
    peer(p, n);
    _exit(0);
  }
  close(p->down[0]);
  close(p->up[1]);
  pin(p->child, cpu);
}

static void finish(struct pair *p) {
  close(p->down[1]);
  close(p->up[0]);
  reap(p->child);
  free(p->buffer);
}

static void echo(struct pair *p, long n) {
  (void)n;
  while (read_full(p->down[0], p->buffer, p->size) > 0)
    write_full(p->up[1], p->buffer, p->size);
}

static void trips(long n, void *state) {
  struct pair *p = state;
  for (long i = 0; i < n; i++) {
    write_full(p->down[1], p->buffer, p->size);
    if (read_full(p->up[0], p->buffer, p->size) == 0) die("echo ended");
  }
}

/* roundtrip n size cpu: a message there and back. */
static void roundtrip(char **words) {
  struct pair p;
  open_pair(&p, (size_t)number(words[1]));
  start(&p, echo, 0, number(words[2]));
  measure(number(words[0]), trips, &p);
  finish(&p);
}

static void supply(struct pair *p, long n) {
  for (long i = n + WARM_UP(n); i > 0; i--)
    write_full(p->up[1], p->buffer, p->size);
}

static void drain(long n, void *state) {
  struct pair *p = state;
  for (long i = 0; i < n; i++)
    if (read_full(p->up[0], p->buffer, p->size) == 0) die("writer ended");
}

/* oneway n size cpu: the child writes, whole messages are read here. */
static void oneway(char **words) {
  struct pair p;
  long n = number(words[0]);
  open_pair(&p, (size_t)number(words[1]));
  start(&p, supply, n, number(words[2]));
  measure(n, drain, &p);
  finish(&p);
}

static void write_and_read(long n, void *state) {
  const int *ends = state;
  char byte = 'x';
  for (long i = 0; i < n; i++) {
    if (write(ends[1], &byte, 1) != 1) die("write");
    if (read(ends[0], &byte, 1) != 1) die("read");
  }
}

/* self n: one byte through a pipe within one process, nobody sleeps. */
static void self(char **words) {
  int ends[2];
  if (pipe2(ends, 0) != 0) die("pipe2");
  measure(number(words[0]), write_and_read, ends);
}

static const struct command commands[] = {
    {"roundtrip", 3, roundtrip},
    {"oneway", 3, oneway},
    {"self", 1, self},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
