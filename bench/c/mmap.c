/* A mapped file in C, records of it read and written at random places. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

#define SIZE (1 << 20)
#define RECORD 64

struct state {
  char *base, record[RECORD];
  uint32_t at;
};

static struct state make(void) {
  char path[] = "/tmp/bench-mmap-XXXXXX";
  struct state s = {0};
  int fd = mkstemp(path);
  if (fd < 0 || ftruncate(fd, SIZE) != 0) die("mkstemp");
  unlink(path);
  s.base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (s.base == MAP_FAILED) die("mmap");
  memset(s.base, 'x', SIZE);
  return s;
}

static void records(long n, void *p) {
  struct state *s = p;
  for (long i = 0; i < n; i++) {
    s->at = (s->at * 1103515245u + 12345u) % (SIZE / RECORD);
    char *place = s->base + (size_t)s->at * RECORD;
    memcpy(s->record, place, RECORD);
    memcpy(place, s->record, RECORD);
    __asm__ volatile("" : : "r"(s->record) : "memory");
  }
}

/* records n: 64 bytes read and written back. */
static void run_records(char **words) {
  struct state s = make();
  measure(number(words[0]), records, &s);
}

static void maps(long n, void *p) {
  (void)p;
  for (long i = 0; i < n; i++) {
    void *base = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) die("mmap");
    munmap(base, 4096);
  }
}

/* map n: a page mapped and unmapped. */
static void map(char **words) {
  measure(number(words[0]), maps, NULL);
}

static const struct command commands[] = {
    {"records", 1, run_records},
    {"map", 1, map},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
