/* Child processes in C: posix_spawn, and fork + exec. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

#define BLOCK 1000

extern char **environ;

static char program[] = "/bin/true";
static char *const program_argv[] = {program, NULL};

/* Memory as a Lua program has it: many small blocks, all of them touched.
   One large block would get huge pages and make fork look cheap. */
static void occupy(long megabytes) {
  long count = megabytes * 1000000 / BLOCK;
  for (long i = 0; i < count; i++) {
    char *block = malloc(BLOCK);
    if (block == NULL) die("malloc");
    memset(block, (int)(i & 0xff), BLOCK);
  }
}

static void spawn_loop(long n, void *state) {
  (void)state;
  for (long i = 0; i < n; i++) {
    pid_t child;
    if (posix_spawn(&child, program, NULL, NULL, program_argv, environ) != 0)
      die("posix_spawn");
    reap(child);
  }
}

static void fork_loop(long n, void *state) {
  (void)state;
  for (long i = 0; i < n; i++) {
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
      execv(program, program_argv);
      _exit(127);
    }
    reap(child);
  }
}

/* spawn n megabytes */
static void spawn_command(char **words) {
  occupy(number(words[1]));
  measure(number(words[0]), spawn_loop, NULL);
}

/* fork n megabytes */
static void fork_command(char **words) {
  occupy(number(words[1]));
  measure(number(words[0]), fork_loop, NULL);
}

static const struct command commands[] = {
    {"spawn", 2, spawn_command},
    {"fork", 2, fork_command},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
