#include "lib/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#ifdef UX_HAVE_PDEATHSIG
#include <sys/prctl.h>
#endif
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child writes into the pipe when it cannot become the program. The
   pipe works also where vfork is a plain fork, as under valgrind. */
struct failure {
  int err;
  enum step {
    STEP_DUP,
    STEP_GROUP,
    STEP_SESSION,
    STEP_CHDIR,
    STEP_NICE,
    STEP_GROUPS,
    STEP_GID,
    STEP_UID,
    STEP_DEATH_SIGNAL,
    STEP_EXEC,
  } step;
};

static const char *const step_names[] = {
  [STEP_DUP] = "dup2",
  [STEP_GROUP] = "setpgid",
  [STEP_SESSION] = "setsid",
  [STEP_CHDIR] = "chdir",
  [STEP_NICE] = "nice",
  [STEP_GROUPS] = "setgroups",
  [STEP_GID] = "setgid",
  [STEP_UID] = "setuid",
  [STEP_DEATH_SIGNAL] = "prctl",
  [STEP_EXEC] = "exec",
};

/* ---- in the child: async-signal-safe calls only, no writes to memory that
   the parent looks at */

_Noreturn static void fail(int fd, enum step step) {
  struct failure f = {errno, step};
  while (write(fd, &f, sizeof f) < 0 && errno == EINTR) {
  }
  _exit(127);
}

/* A handler must not run here: this is the parent's memory. exec would reset
   them, but signals are let in again before that. */
static void reset_handlers(const sigset_t *defaults) {
  struct sigaction sa;
  for (int sig = 1; sig < NSIG; sig++) {
    if (sigaction(sig, NULL, &sa) != 0) continue;
    bool is_asked = defaults != NULL && sigismember(defaults, sig) == 1;
    if (!(sa.sa_flags & SA_SIGINFO) &&
        (sa.sa_handler == SIG_DFL || (sa.sa_handler == SIG_IGN && !is_asked)))
      continue;
    sa = (struct sigaction){.sa_handler = SIG_DFL};
    sigaction(sig, &sa, NULL);
  }
}

static int lowest_free_target(const struct ux_spawn *s) {
  if (s->fd_count == 0) return STDERR_FILENO + 1;
  int last = s->fds[s->fd_count - 1].to;
  return (last > STDERR_FILENO ? last : STDERR_FILENO) + 1;
}

/* First all of them out of the way of the targets, then into place. */
static int place_fds(struct ux_spawn *s) {
  int above = lowest_free_target(s);
  for (size_t i = 0; i < s->fd_count; i++) {
    struct ux_spawn_fd *f = &s->fds[i];
    f->spare = fcntl(f->from, F_DUPFD_CLOEXEC, above);
    if (f->spare < 0) return -1;
  }
  for (size_t i = 0; i < s->fd_count; i++)
    if (dup2(s->fds[i].spare, s->fds[i].to) < 0) return -1;
  return 0;
}

static void close_on_exec(int first, int last) {
  if (first > last) return;
#if defined(SYS_close_range)
  if (syscall(SYS_close_range, first, last, 4 /* CLOEXEC */) == 0) return;
#endif
  long most = sysconf(_SC_OPEN_MAX);
  for (int fd = first; fd <= last && (most < 0 || fd < most); fd++)
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Whatever a library forgot to make close-on-exec stays here. */
static void hide_other_fds(const struct ux_spawn *s) {
  int next = STDERR_FILENO + 1;
  for (size_t i = 0; i < s->fd_count; i++) {
    if (s->fds[i].to < next) continue;
    close_on_exec(next, s->fds[i].to - 1);
    next = s->fds[i].to + 1;
  }
  close_on_exec(next, INT_MAX);
}

static int add_nice(int n) {
  errno = 0; /* -1 may also be what it is now */
  return nice(n) == -1 && errno != 0 ? -1 : 0;
}

/* From the last right to the first. Real, effective and saved: none is kept to
   come back to. */
static void change_ids(const struct ux_spawn *s, int report) {
  if (s->has_groups && setgroups(s->group_count, s->groups) != 0)
    fail(report, STEP_GROUPS);
  if (s->has_gid && setregid(s->gid, s->gid) != 0) fail(report, STEP_GID);
  if (s->has_uid && setreuid(s->uid, s->uid) != 0) fail(report, STEP_UID);
}

/* Comes after the ids: to change them forgets it. A parent that is gone by now
   sends nothing any more. 0 is one in another pid namespace. */
static void follow_parent(const struct ux_spawn *s, int report) {
#ifdef UX_HAVE_PDEATHSIG
  if (prctl(PR_SET_PDEATHSIG, s->death_signal) != 0)
    fail(report, STEP_DEATH_SIGNAL);
  pid_t parent = getppid();
  if (parent != 0 && parent != s->parent) kill(getpid(), s->death_signal);
#else
  errno = ENOTSUP;
  fail(report, STEP_DEATH_SIGNAL);
#endif
}

/* As execvp goes through PATH: what is not there is passed over, and one that
   may not be run is remembered. */
static void exec_first(const struct ux_spawn *s) {
  int err = ENOENT;
  if (s->paths[1] == NULL) {
    execve(s->paths[0], s->argv, s->envp);
    return;
  }
  for (const char *const *path = s->paths; *path != NULL; path++) {
    execve(*path, s->argv, s->envp);
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) return;
    bool is_there = errno == EACCES && access(*path, F_OK) == 0;
    if (is_there) err = EACCES; /* not just a directory closed to us */
  }
  errno = err;
}

_Noreturn static void become(struct ux_spawn *s, int report,
                             const sigset_t *mask) {
  int fd = fcntl(report, F_DUPFD_CLOEXEC, lowest_free_target(s));
  if (fd < 0) fail(report, STEP_DUP);
  if (s->is_session && setsid() < 0) fail(fd, STEP_SESSION);
  if (s->is_group && setpgid(0, s->group) != 0) fail(fd, STEP_GROUP);
  if (s->cwd != NULL && chdir(s->cwd) != 0) fail(fd, STEP_CHDIR);
  if (s->nice != 0 && add_nice(s->nice) != 0) fail(fd, STEP_NICE);
  if (place_fds(s) != 0) fail(fd, STEP_DUP);
  hide_other_fds(s);
  if (s->has_umask) umask(s->umask);
  change_ids(s, fd);
  if (s->death_signal != 0) follow_parent(s, fd);
  reset_handlers(s->defaults);
  pthread_sigmask(SIG_SETMASK, mask, NULL);
  exec_first(s);
  fail(fd, STEP_EXEC);
}

/* ---- in the parent ----------------------------------------------------- */

/* Another user's process is not to run in our memory; and what of that may be
   dumped and traced would change with the ids, for us too. */
static bool may_share_memory(const struct ux_spawn *s) {
  return !s->has_uid && !s->has_gid && !s->has_groups;
}

/* Alone in its function: what the child does to these variables, the parent
   sees. */
static pid_t start(struct ux_spawn *s, int report, const sigset_t *mask) {
  s->parent = getpid();
  pid_t pid = may_share_memory(s) ? vfork() : fork();
  if (pid == 0) become(s, report, mask);
  return pid;
}

/* 0 when exec closed the pipe, else the errno. */
static int read_report(int fd, const char **call) {
  struct failure f;
  ssize_t n;
  do {
    n = read(fd, &f, sizeof f);
  } while (n < 0 && errno == EINTR);
  if (n != (ssize_t)sizeof f) return 0;
  *call = step_names[f.step];
  return f.err;
}

static void reap(pid_t pid) {
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
  }
}

static int spawn_reporting(struct ux_spawn *s, const int report[2], pid_t *pid,
                           const char **call) {
  sigset_t all, old, childs;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  childs = old;
  if (s->fix_mask != NULL) s->fix_mask(&childs);
  if (s->mask != NULL) childs = *s->mask;
  *pid = start(s, report[1], &childs);
  int err = *pid < 0 ? errno : 0;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  close(report[1]);
  if (err != 0) {
    *call = "fork";
    return err;
  }
  err = read_report(report[0], call);
  if (err != 0) reap(*pid);
  return err;
}

int ux_spawn(struct ux_spawn *s, pid_t *pid, const char **call) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) {
    *call = "pipe";
    return errno;
  }
  int err = spawn_reporting(s, report, pid, call);
  close(report[0]);
  return err;
}
