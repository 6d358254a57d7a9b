/* What the tests of csrc/lib/spawn share. */
#ifndef SPAWN_TEST_H
#define SPAWN_TEST_H

#include "lib/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *test_name;

static inline void check(bool ok, const char *file, int line,
                         const char *what) {
  if (ok) return;
  fprintf(
    stderr, "%s:%d: %s: %s (errno %d)\n", file, line, test_name, what, errno);
  exit(1);
}

#define CHECK(what) check((what), __FILE__, __LINE__, #what)

/* ---- helpers --------------------------------------------------------- */

extern char **environ;

#define SHELL_PATH "/bin/sh"

static const char *const shell_paths[] = {SHELL_PATH, NULL};

/* A plan that runs a script; the arguments live as long as `store`. */
static inline struct ux_spawn shell(const char *script, char *store[4]) {
  store[0] = (char *)(uintptr_t) "sh";
  store[1] = (char *)(uintptr_t) "-c";
  store[2] = (char *)(uintptr_t)script;
  store[3] = NULL;
  return (struct ux_spawn){
    .paths = shell_paths, .argv = store, .envp = environ};
}

static inline int exit_code(pid_t pid) {
  int status;
  CHECK(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Starts it; it has to work. */
static inline pid_t start(struct ux_spawn *s) {
  const char *call = "none";
  pid_t pid = -1;
  CHECK(ux_spawn(s, &pid, &call) == 0);
  CHECK(pid > 0);
  return pid;
}

static inline int run_script(const char *script) {
  char *argv[4];
  struct ux_spawn s = shell(script, argv);
  return exit_code(start(&s));
}

/* What a script writes to standard output. */
static inline char *output_of(struct ux_spawn *s) {
  static char bytes[4096];
  int fds[2];
  CHECK(pipe2(fds, O_CLOEXEC) == 0);
  struct ux_spawn_fd out = {.from = fds[1], .to = STDOUT_FILENO};
  s->fds = &out;
  s->fd_count = 1;
  pid_t pid = start(s);
  close(fds[1]);
  size_t n = 0;
  for (ssize_t got; (got = read(fds[0], bytes + n, sizeof bytes - 1 - n)) > 0;)
    n += (size_t)got;
  bytes[n] = '\0';
  close(fds[0]);
  CHECK(exit_code(pid) == 0);
  return bytes;
}

static inline int count_fds(void) {
  int count = 0;
  DIR *dir = opendir("/proc/self/fd");
  CHECK(dir != NULL);
  while (readdir(dir) != NULL) count++;
  closedir(dir);
  return count;
}

static inline bool has_no_child(void) {
  return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
}

/* It has to fail at that call with that errno, and leave nothing. */
static inline void refused(struct ux_spawn *s, int err, const char *at) {
  const char *call = "none";
  pid_t pid = -1;
  int before = count_fds();
  int got = ux_spawn(s, &pid, &call);
  errno = got;
  CHECK(got == err);
  CHECK(strcmp(call, at) == 0);
  CHECK(has_no_child());
  CHECK(count_fds() == before);
}

/* ---- running them ---------------------------------------------------- */

struct test {
  const char *name;
  void (*run)(void);
};

#define TEST(name) \
  { #name, test_##name }

static inline int run_tests(const struct test *tests, size_t count) {
  for (size_t i = 0; i < count; i++) {
    test_name = tests[i].name;
    int before = count_fds();
    tests[i].run();
    CHECK(count_fds() == before);
    CHECK(has_no_child());
  }
  return 0;
}

#endif
