/* Locks on files in C: what the system itself costs. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "common.h"

static int open_file(void) {
  char path[] = "/tmp/bench-lock-XXXXXX";
  int fd = mkstemp(path);
  if (fd < 0) die("mkstemp");
  unlink(path);
  return fd;
}

static void change(int fd, int command, short type) {
  struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};
  if (fcntl(fd, command, &fl) != 0) die("fcntl");
}

static void fcntl_pairs(long n, void *state) {
  int fd = *(int *)state;
  for (long i = 0; i < n; i++) {
    change(fd, F_SETLKW, F_WRLCK);
    change(fd, F_SETLKW, F_UNLCK);
  }
}

static void ofd_pairs(long n, void *state) {
  int fd = *(int *)state;
  for (long i = 0; i < n; i++) {
    change(fd, F_OFD_SETLKW, F_WRLCK);
    change(fd, F_OFD_SETLKW, F_UNLCK);
  }
}

static void flock_pairs(long n, void *state) {
  int fd = *(int *)state;
  for (long i = 0; i < n; i++)
    if (flock(fd, LOCK_EX) != 0 || flock(fd, LOCK_UN) != 0) die("flock");
}

static void run(char **words, void (*pairs)(long n, void *state)) {
  int fd = open_file();
  measure(number(words[0]), pairs, &fd);
}

/* fcntl n: one byte locked and unlocked. */
static void by_fcntl(char **words) {
  run(words, fcntl_pairs);
}

static void by_ofd(char **words) {
  run(words, ofd_pairs);
}

static void by_flock(char **words) {
  run(words, flock_pairs);
}

static const struct command commands[] = {
    {"fcntl", 1, by_fcntl},
    {"ofd", 1, by_ofd},
    {"flock", 1, by_flock},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
