/* Tests of csrc/lib/spawn: what a program gets and what it does not, the errors
   of each step, and that nothing is left after one. */
#include "spawn_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- it works -------------------------------------------------------- */

static void test_exit_code(void) {
  CHECK(run_script("exit 0") == 0);
  CHECK(run_script("exit 7") == 7);
  CHECK(run_script("kill -KILL $$") == -SIGKILL);
}

static void test_arguments_and_environment(void) {
  char *argv[] = {(char *)(uintptr_t) "any name",
                  (char *)(uintptr_t) "-c",
                  (char *)(uintptr_t) "echo \"$0|$1|$2|$A|$HOME\"",
                  (char *)(uintptr_t) "zero",
                  (char *)(uintptr_t) "",
                  (char *)(uintptr_t) "a b",
                  NULL};
  char *envp[] = {(char *)(uintptr_t) "A=1 2", NULL};
  struct ux_spawn s = {.paths = shell_paths, .argv = argv, .envp = envp};
  CHECK(strcmp(output_of(&s), "zero||a b|1 2|\n") == 0);
}

static void test_directory(void) {
  char *argv[4];
  struct ux_spawn s = shell("pwd -P", argv);
  s.cwd = "/";
  CHECK(strcmp(output_of(&s), "/\n") == 0);
}

static void test_session_and_group(void) {
  char *argv[4];
  struct ux_spawn s = shell("read x", argv);
  int gate[2];
  CHECK(pipe2(gate, O_CLOEXEC) == 0);
  struct ux_spawn_fd in = {.from = gate[0], .to = STDIN_FILENO};
  s.fds = &in;
  s.fd_count = 1;
  pid_t plain = start(&s);
  s.is_group = true;
  pid_t leader = start(&s);
  s.group = leader;
  pid_t member = start(&s);
  s.is_group = false;
  s.is_session = true;
  pid_t session = start(&s);
  CHECK(getpgid(plain) == getpgrp() && getsid(plain) == getsid(0));
  CHECK(getpgid(leader) == leader && getsid(leader) == getsid(0));
  CHECK(getpgid(member) == leader);
  CHECK(getsid(session) == session && getpgid(session) == session);
  close(gate[0]);
  close(gate[1]);
  CHECK(exit_code(plain) == 1 && exit_code(leader) == 1);
  CHECK(exit_code(member) == 1 && exit_code(session) == 1);
}

/* ---- where the program is -------------------------------------------- */

static void make_file(const char *path, const char *bytes, mode_t mode) {
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0700);
  CHECK(fd >= 0 && write(fd, bytes, strlen(bytes)) == (ssize_t)strlen(bytes));
  CHECK(fchmod(fd, mode) == 0);
  close(fd);
}

static void test_paths(void) {
  char dir[] = "/tmp/spawn_test.XXXXXX";
  char one[64], two[64], denied[64], text[64], beyond[64];
  CHECK(mkdtemp(dir) != NULL);
  snprintf(one, sizeof one, "%s/one", dir);
  snprintf(two, sizeof two, "%s/two", dir);
  snprintf(denied, sizeof denied, "%s/denied", dir);
  snprintf(text, sizeof text, "%s/text", dir);
  snprintf(beyond, sizeof beyond, "%s/denied/x", dir);
  make_file(one, "#!/bin/sh\nexit 1\n", 0700);
  make_file(two, "#!/bin/sh\nexit 2\n", 0700);
  make_file(denied, "#!/bin/sh\nexit 3\n", 0600);
  make_file(text, "no program\n", 0700);
  char *argv[] = {(char *)(uintptr_t) "name", NULL};
  struct ux_spawn s = {.argv = argv, .envp = environ};
  const struct {
    const char *paths[4];
    int code, err;
  } cases[] = {
    {{one, two, NULL}, 1, 0},
    {{two, one, NULL}, 2, 0},
    {{"/nonexistent/x", beyond, two, NULL}, 2, 0},
    {{denied, two, NULL}, 2, 0}, /* passed over */
    {{"/nonexistent/x", NULL}, 0, ENOENT},
    {{"/nonexistent/x", "/nonexistent/y", NULL}, 0, ENOENT},
    {{"", NULL}, 0, ENOENT},
    {{beyond, NULL}, 0, ENOTDIR},
    {{denied, "/nonexistent/x", NULL}, 0, EACCES}, /* but remembered */
    {{dir, NULL}, 0, EACCES},
    {{text, two, NULL}, 0, ENOEXEC}, /* that was it */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    s.paths = cases[i].paths;
    if (cases[i].err != 0)
      refused(&s, cases[i].err, "exec");
    else
      CHECK(exit_code(start(&s)) == cases[i].code);
  }
  unlink(one), unlink(two), unlink(denied), unlink(text);
  CHECK(rmdir(dir) == 0);
}

/* ---- errors ---------------------------------------------------------- */

static void test_errors(void) {
  char *argv[4];
  struct ux_spawn s = shell("exit 0", argv);
  s.cwd = "/nonexistent";
  refused(&s, ENOENT, "chdir");
  s.cwd = "/etc/passwd";
  refused(&s, ENOTDIR, "chdir");
  s.cwd = NULL;
  s.is_group = true;
  s.group = 999999;
  refused(&s, EPERM, "setpgid");
  s.group = 0;
  s.is_session = true;
  refused(&s, EPERM, "setpgid"); /* of the leader of a session */
  s.is_group = s.is_session = false;
  struct ux_spawn_fd bad = {.from = 9999, .to = 3};
  s.fds = &bad;
  s.fd_count = 1;
  refused(&s, EBADF, "dup2");
}

static void test_limit(void) {
  char *argv[4];
  struct ux_spawn s = shell("exit 0", argv);
  struct rlimit old, few;
  int opened[64], count = 0;
  CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
  few = old;
  few.rlim_cur = 64;
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  struct ux_spawn_fd high = {.from = 0, .to = 100};
  s.fds = &high;
  s.fd_count = 1;
  const char *call = "none";
  pid_t pid;
  int err = ux_spawn(&s, &pid, &call);
  CHECK(err == EINVAL || err == EMFILE); /* the latter under valgrind */
  CHECK(strcmp(call, "dup2") == 0);
  s.fd_count = 0;
  while (count < 64 && (opened[count] = dup(0)) >= 0) count++;
  CHECK(ux_spawn(&s, &pid, &call) == EMFILE);
  CHECK(strcmp(call, "pipe") == 0);
  while (count > 0) close(opened[--count]);
  CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
  CHECK(exit_code(start(&s)) == 0);
}

/* ---- descriptors ----------------------------------------------------- */

/* Each pipe gets the name of the descriptor that the child has it as. */
static void check_mapping(const int *from, const int *to, size_t count) {
  struct ux_spawn_fd fds[8];
  int pipes[8][2];
  char script[1024] = "", *argv[4];
  for (size_t i = 0; i < count; i++) {
    CHECK(pipe2(pipes[i], O_CLOEXEC) == 0);
    CHECK(dup3(pipes[i][1], from[i], O_CLOEXEC) == from[i]);
    fds[i] = (struct ux_spawn_fd){.from = from[i], .to = to[i]};
    snprintf(script + strlen(script),
             sizeof script - strlen(script),
             "echo %d >/proc/self/fd/%d;",
             to[i],
             to[i]);
  }
  for (size_t i = 0; i < count; i++)
    for (size_t j = i + 1; j < count; j++)
      if (fds[j].to < fds[i].to) {
        struct ux_spawn_fd swap = fds[i];
        fds[i] = fds[j];
        fds[j] = swap;
      }
  struct ux_spawn s = shell(script, argv);
  s.fds = fds;
  s.fd_count = count;
  pid_t pid = start(&s);
  for (size_t i = 0; i < count; i++) {
    char line[32] = "", expected[32];
    close(from[i]);
    close(pipes[i][1]);
    CHECK(read(pipes[i][0], line, sizeof line - 1) > 0);
    snprintf(expected, sizeof expected, "%d\n", to[i]);
    CHECK(strcmp(line, expected) == 0);
    close(pipes[i][0]);
  }
  CHECK(exit_code(pid) == 0);
}

static void test_mapping(void) {
  static const int low[] = {40, 41, 42, 43}, swapped[] = {41, 40, 43, 42};
  static const int round[] = {43, 40, 41, 42}, apart[] = {3, 60, 300, 1};
  check_mapping(low, low, 4);
  check_mapping(low, swapped, 4);
  check_mapping(low, round, 4);
  check_mapping(round, low, 4);
  check_mapping(low, apart, 4);
}

/* Descriptors that a library forgot to close at exec. */
static void test_hidden(void) {
  char *argv[4];
  int low = open("/dev/null", O_RDONLY);
  CHECK(dup2(low, 50) == 50 && dup2(low, 52) == 52 && dup2(low, 700) == 700);
  struct ux_spawn s = shell("for n in 3 4 5 6 7 8 9 50 51 52 700; do"
                            " [ -e /proc/$$/fd/$n ] && echo $n; done; :",
                            argv);
  CHECK(strcmp(output_of(&s), "") == 0);
  struct ux_spawn_fd fds[] = {{.from = low, .to = 51}, {.from = 50, .to = 52}};
  s = shell("for n in 3 4 5 6 7 8 9 50 53 700; do"
            " [ -e /proc/$$/fd/$n ] && exit 1; done;"
            " [ -e /proc/$$/fd/51 ] && [ -e /proc/$$/fd/52 ]",
            argv);
  s.fds = fds;
  s.fd_count = 2;
  CHECK(exit_code(start(&s)) == 0);
  CHECK(fcntl(50, F_GETFD) == 0); /* here all is as it was */
  close(low), close(50), close(52), close(700);
}

/* ---- signals --------------------------------------------------------- */

static pid_t parent;
static volatile sig_atomic_t handled, handled_by_stranger;

static void handler(int sig) {
  (void)sig;
  handled++;
  if (getpid() != parent) handled_by_stranger = 1;
}

/* A line of /proc/self/status, of the child that prints it. */
static unsigned long long field(const char *text, const char *name) {
  const char *at = strstr(text, name);
  CHECK(at != NULL);
  return strtoull(at + strlen(name), NULL, 16);
}

static unsigned long long bit(int sig) {
  return 1ull << (sig - 1);
}

static bool saw_all_blocked;

static void let_usr1_in(sigset_t *mask) {
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  saw_all_blocked = sigismember(&now, SIGUSR2) && sigismember(&now, SIGINT);
  sigdelset(mask, SIGUSR1);
}

static void test_mask_and_dispositions(void) {
  char *argv[4];
  struct ux_spawn s = shell("exec cat /proc/self/status", argv);
  sigset_t some, old, now;
  sigemptyset(&some);
  sigaddset(&some, SIGUSR1);
  sigaddset(&some, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &some, &old);
  signal(SIGUSR2, handler);
  signal(SIGPIPE, SIG_IGN);
  const char *text = output_of(&s);
  CHECK(field(text, "SigBlk:") == (bit(SIGUSR1) | bit(SIGTERM)));
  CHECK((field(text, "SigIgn:") & bit(SIGPIPE)) != 0);
  CHECK((field(text, "SigCgt:") & bit(SIGUSR2)) == 0);
  s.fix_mask = let_usr1_in;
  CHECK(field(output_of(&s), "SigBlk:") == bit(SIGTERM));
  CHECK(saw_all_blocked);
  pthread_sigmask(SIG_SETMASK, &old, &now);
  CHECK(sigismember(&now, SIGUSR1) && sigismember(&now, SIGTERM));
  CHECK(!sigismember(&now, SIGUSR2));
  signal(SIGUSR2, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
}

/* Until exec the child shares our memory, handlers and all: none may run
   there. Those that come in for it afterwards may kill it. */
static void test_signals_meanwhile(void) {
  char *argv[4];
  struct ux_spawn s = shell("exit 7", argv);
  parent = getpid();
  CHECK(setpgid(0, 0) == 0 || getpgrp() == parent);
  struct sigaction sa = {.sa_handler = handler}; /* no SA_RESTART */
  sigaction(SIGUSR1, &sa, NULL);
  pid_t sender = fork();
  CHECK(sender >= 0);
  if (sender == 0) {
    signal(SIGUSR1, SIG_IGN);
    while (getppid() == parent) kill(0, SIGUSR1);
    _exit(0);
  }
  int normal = 0;
  for (int i = 0; i < 200; i++) {
    const char *call;
    pid_t pid;
    CHECK(ux_spawn(&s, &pid, &call) == 0);
    int status;
    while (waitpid(pid, &status, 0) < 0) CHECK(errno == EINTR);
    CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 7);
    normal += WIFEXITED(status);
  }
  kill(sender, SIGKILL);
  while (waitpid(sender, NULL, 0) < 0) CHECK(errno == EINTR);
  signal(SIGUSR1, SIG_DFL);
  CHECK(handled > 0);
  CHECK(!handled_by_stranger);
  CHECK(normal < 200); /* or no signal came when it mattered */
}

/* ---- threads --------------------------------------------------------- */

static void *spawn_many(void *arg) {
  const int *code = arg;
  char script[32], *argv[4];
  snprintf(script, sizeof script, "exit %d", *code);
  for (int i = 0; i < 20; i++) {
    struct ux_spawn s = shell(script, argv);
    CHECK(exit_code(start(&s)) == *code);
    s.cwd = "/nonexistent";
    const char *call;
    pid_t pid;
    CHECK(ux_spawn(&s, &pid, &call) == ENOENT);
    CHECK(strcmp(call, "chdir") == 0);
  }
  return NULL;
}

static void test_threads(void) {
  pthread_t threads[4];
  int codes[4] = {11, 12, 13, 14};
  for (int i = 0; i < 4; i++)
    CHECK(pthread_create(&threads[i], NULL, spawn_many, &codes[i]) == 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static const struct test tests[] = {
  TEST(exit_code),
  TEST(arguments_and_environment),
  TEST(directory),
  TEST(session_and_group),
  TEST(paths),
  TEST(errors),
  TEST(limit),
  TEST(mapping),
  TEST(hidden),
  TEST(mask_and_dispositions),
  TEST(threads),
  TEST(signals_meanwhile),
};

int main(void) {
  return run_tests(tests, sizeof tests / sizeof *tests);
}
