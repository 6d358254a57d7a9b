#include "common.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

long number(const char *word) {
  char *end;
  long value = strtol(word, &end, 10);
  if (end == word || *end != '\0' || value < 0) {
    fprintf(stderr, "not a number: %s\n", word);
    exit(2);
  }
  return value;
}

void pin(pid_t pid, long cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((int)cpu, &set);
  if (sched_setaffinity(pid, sizeof set, &set) != 0) die("sched_setaffinity");
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void measure(long n, void (*loop)(long n, void *state), void *state) {
  loop(WARM_UP(n), state);
  double start = now();
  loop(n, state);
  printf("%.3f\n", (now() - start) / (double)n);
  fflush(stdout);
}

size_t read_full(int fd, void *buffer, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t got = read(fd, (char *)buffer + done, size - done);
    if (got < 0) die("read");
    if (got == 0) return 0;
    done += (size_t)got;
  }
  return done;
}

void write_full(int fd, const void *buffer, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t put = write(fd, (const char *)buffer + done, size - done);
    if (put < 0) die("write");
    done += (size_t)put;
  }
}

void reap(pid_t child) {
  int status;
  if (waitpid(child, &status, 0) != child) die("waitpid");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "the child failed\n");
    exit(1);
  }
}

int dispatch(int argc, char **argv, const struct command *commands) {
  for (; commands->name != NULL; commands++) {
    if (argc == commands->words + 2 && strcmp(argv[1], commands->name) == 0) {
      commands->run(argv + 2);
      return 0;
    }
  }
  fprintf(stderr, "%s: no such subcommand, or not its words\n", argv[0]);
  return 2;
}
