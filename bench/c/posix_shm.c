/* Shared memory and mappings in C: what the system itself costs. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

struct segment {
  char name[64];
  size_t size;
};

static void *map(int fd, size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) die("mmap");
  return p;
}

static void open_and_map(long n, void *state) {
  struct segment *s = state;
  for (long i = 0; i < n; i++) {
    int fd = shm_open(s->name, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) die("shm_open");
    void *p = map(fd, s->size);
    munmap(p, s->size);
    close(fd);
  }
}

/* open n size: opened, mapped, unmapped and closed. */
static void open_segment(char **words) {
  struct segment s = {.size = (size_t)number(words[1])};
  snprintf(s.name, sizeof s.name, "/bench-%ld", (long)getpid());
  int fd = shm_open(s.name, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)s.size) != 0) die("shm_open");
  measure(number(words[0]), open_and_map, &s);
  shm_unlink(s.name);
}

static void make_and_remove(long n, void *state) {
  struct segment *s = state;
  for (long i = 0; i < n; i++) {
    int fd = shm_open(s->name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0) die("shm_open");
    if (posix_fallocate(fd, 0, (off_t)s->size) != 0) die("posix_fallocate");
    close(fd);
    shm_unlink(s->name);
  }
}

/* make n size: made, its space taken, and removed. */
static void make(char **words) {
  struct segment s = {.size = (size_t)number(words[1])};
  snprintf(s.name, sizeof s.name, "/bench-%ld", (long)getpid());
  measure(number(words[0]), make_and_remove, &s);
}

static const struct command commands[] = {
    {"open", 2, open_segment},
    {"make", 2, make},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
