/* What the C baselines share: clock, core, whole reads and writes. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stddef.h>
#include <sys/types.h>

/* One subcommand: receives the words after its name. */
struct command {
  const char *name;
  int words;
  void (*run)(char **words);
};

/* Part of the run that only warms up; the same share as in Lua. */
#define WARM_UP(n) ((n) / 10)

void die(const char *what);
long number(const char *word);
void pin(pid_t pid, long cpu);

/* Times loop(n, state) after loop(n / 10, state), prints ns per operation. */
void measure(long n, void (*loop)(long n, void *state), void *state);

/* Whole messages; read_full returns 0 at the end of file. */
size_t read_full(int fd, void *buffer, size_t size);
void write_full(int fd, const void *buffer, size_t size);

void reap(pid_t child);
int dispatch(int argc, char **argv, const struct command *commands);

#endif
