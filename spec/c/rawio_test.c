/* Tests of csrc/lib/rawio: it never blocks, raises no SIGPIPE, and leaves
   descriptor, mask and disposition as they are; with the flags of this kernel
   and as if it had none. */
#include "lib/rawio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_old;
static const char *test_name;

static void check(bool ok, int line, const char *what) {
  if (ok) return;
  fprintf(stderr,
          "rawio_test.c:%d: %s%s: %s (errno %d)\n",
          line,
          test_name,
          is_old ? ", old kernel" : "",
          what,
          errno);
  exit(1);
}

#define CHECK(what) check((what), __LINE__, #what)

/* ---- what is written to and read from ---------------------------------- */

struct ends {
  int r, w;
};

static struct ends make_pipe(int flags) {
  int fds[2];
  CHECK(pipe2(fds, flags | O_CLOEXEC) == 0);
  return (struct ends){fds[0], fds[1]};
}

static struct ends make_sockets(void) {
  int fds[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return (struct ends){fds[0], fds[1]};
}

static struct ends make_fifo(void) {
  char dir[] = "/tmp/rawio_test.XXXXXX", path[sizeof dir + 2];
  CHECK(mkdtemp(dir) != NULL);
  snprintf(path, sizeof path, "%s/f", dir);
  CHECK(mkfifo(path, 0600) == 0);
  int both = open(path, O_RDWR | O_CLOEXEC);
  struct ends e = {open(path, O_RDONLY | O_CLOEXEC),
                   open(path, O_WRONLY | O_CLOEXEC)};
  CHECK(both >= 0 && e.r >= 0 && e.w >= 0);
  close(both);
  unlink(path);
  rmdir(dir);
  return e;
}

static void close_both(struct ends e) {
  close(e.r);
  close(e.w);
}

static bool is_nonblocking(int fd) {
  return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

static ssize_t put(int fd, enum ux_rawio *how, const void *bytes, size_t n) {
  struct iovec iov = {(void *)(uintptr_t)bytes, n};
  return ux_rawio_writev(fd, how, &iov, 1);
}

/* Writes until there is no room, with an alarm set for a write that blocks. */
static size_t fill(int fd, enum ux_rawio *how) {
  static char block[32 * 1024];
  size_t total = 0;
  for (;;) {
    ssize_t n = put(fd, how, block, sizeof block);
    if (n < 0) break;
    CHECK(n > 0);
    total += (size_t)n;
  }
  CHECK(errno == EAGAIN);
  return total;
}

static size_t drain(int fd, enum ux_rawio *how) {
  static char block[32 * 1024];
  size_t total = 0;
  for (;;) {
    ssize_t n = ux_rawio_read(fd, how, block, sizeof block);
    if (n < 0) break;
    CHECK(n > 0);
    total += (size_t)n;
  }
  CHECK(errno == EAGAIN);
  return total;
}

/* ---- what suits a descriptor ------------------------------------------- */

static void test_classify(void) {
  struct ends p = make_pipe(0), s = make_sockets(), f = make_fifo();
  FILE *file = tmpfile();
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  CHECK(file != NULL && null >= 0);
  CHECK(ux_rawio_classify(p.r) == UX_RAWIO_NOWAIT);
  CHECK(ux_rawio_classify(p.w) == UX_RAWIO_NOWAIT);
  CHECK(ux_rawio_classify(s.r) == UX_RAWIO_SOCKET);
  CHECK(ux_rawio_classify(f.r) == UX_RAWIO_NOWAIT);
  CHECK(ux_rawio_classify(fileno(file)) == UX_RAWIO_FILE);
  CHECK(ux_rawio_classify(null) == UX_RAWIO_POLL);
  CHECK(ux_rawio_classify(-1) == UX_RAWIO_POLL);
  close_both(p);
  close_both(s);
  close_both(f);
  fclose(file);
  close(null);
}

/* ---- never blocking ---------------------------------------------------- */

static void test_empty_full_end(struct ends e, enum ux_rawio how) {
  enum ux_rawio rhow = how, whow = how;
  bool was = is_nonblocking(e.r);
  char c;
  CHECK(ux_rawio_read(e.r, &rhow, &c, 1) == -1 && errno == EAGAIN);
  size_t size = fill(e.w, &whow);
  CHECK(size >= PIPE_BUF);
  CHECK(drain(e.r, &rhow) == size);
  CHECK(put(e.w, &whow, "abc", 3) == 3);
  CHECK(ux_rawio_read(e.r, &rhow, &c, 1) == 1 && c == 'a');
  CHECK(is_nonblocking(e.r) == was && is_nonblocking(e.w) == was);
  close(e.w);
  CHECK(ux_rawio_read(e.r, &rhow, &c, 1) == 1 && c == 'b');
  CHECK(ux_rawio_read(e.r, &rhow, &c, 1) == 1 && c == 'c');
  CHECK(ux_rawio_read(e.r, &rhow, &c, 1) == 0);
  close(e.r);
}

static void test_never_blocks(void) {
  test_empty_full_end(make_pipe(O_NONBLOCK), UX_RAWIO_NONBLOCK);
  test_empty_full_end(make_pipe(0), UX_RAWIO_NOWAIT);
  test_empty_full_end(make_pipe(0), UX_RAWIO_POLL);
  test_empty_full_end(make_fifo(), UX_RAWIO_NOWAIT);
  test_empty_full_end(make_fifo(), UX_RAWIO_POLL);
  test_empty_full_end(make_sockets(), UX_RAWIO_SOCKET);
}

/* No kernel takes RWF_NOWAIT on a FIFO; an old one on no pipe at all. */
static void test_falls_to_poll(void) {
  struct ends f = make_fifo(), p = make_pipe(0);
  enum ux_rawio r = UX_RAWIO_NOWAIT, w = UX_RAWIO_NOWAIT;
  char c;
  CHECK(ux_rawio_read(f.r, &r, &c, 1) == -1 && errno == EAGAIN);
  CHECK(r == UX_RAWIO_POLL);
  CHECK(put(f.w, &w, "x", 1) == 1);
  CHECK(w == UX_RAWIO_POLL);
  CHECK(ux_rawio_read(f.r, &r, &c, 1) == 1 && c == 'x');
  r = w = UX_RAWIO_NOWAIT;
  CHECK(put(p.w, &w, "y", 1) == 1);
  CHECK(ux_rawio_read(p.r, &r, &c, 1) == 1 && c == 'y');
  CHECK(!is_old || (r == UX_RAWIO_POLL && w == UX_RAWIO_POLL));
  close_both(f);
  close_both(p);
}

/* A pipe that polls as writable has room for PIPE_BUF bytes, no more. */
static void test_polled_write_is_short(void) {
  struct ends p = make_pipe(0);
  enum ux_rawio how = UX_RAWIO_POLL;
  static char bytes[2 * PIPE_BUF], back[2 * PIPE_BUF];
  struct iovec iov[20];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
  for (int i = 0; i < 20; i++) iov[i] = (struct iovec){bytes + i * 9, 9};
  CHECK(put(p.w, &how, bytes, sizeof bytes) == PIPE_BUF);
  CHECK(read(p.r, back, sizeof back) == PIPE_BUF);
  CHECK(memcmp(bytes, back, PIPE_BUF) == 0);
  ssize_t n = ux_rawio_writev(p.w, &how, iov, 20);
  CHECK(n >= 9 && n <= 180);
  CHECK(read(p.r, back, sizeof back) == n);
  CHECK(memcmp(bytes, back, (size_t)n) == 0);
  iov[0] = (struct iovec){bytes, 10};
  iov[1] = (struct iovec){bytes + 10, sizeof bytes - 10};
  CHECK(ux_rawio_writev(p.w, &how, iov, 2) == PIPE_BUF);
  CHECK(read(p.r, back, sizeof back) == PIPE_BUF);
  CHECK(memcmp(bytes, back, PIPE_BUF) == 0);
  close_both(p);
}

static void test_regular_file(void) {
  FILE *file = tmpfile();
  CHECK(file != NULL);
  int fd = fileno(file);
  enum ux_rawio how = UX_RAWIO_FILE;
  struct iovec iov[2] = {{(void *)(uintptr_t) "hello ", 6},
                         {(void *)(uintptr_t) "world", 5}};
  char back[16];
  CHECK(ux_rawio_writev(fd, &how, iov, 2) == 11);
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK(ux_rawio_read(fd, &how, back, sizeof back) == 11);
  CHECK(memcmp(back, "hello world", 11) == 0);
  CHECK(ux_rawio_read(fd, &how, back, sizeof back) == 0);
  fclose(file);
}

/* What has to be polled first is not ready that way, so it never says. */
static void test_wrong_way(void) {
  struct ends p = make_pipe(0);
  char c;
  int last = is_old ? UX_RAWIO_NONBLOCK : UX_RAWIO_NOWAIT;
  for (int i = UX_RAWIO_NONBLOCK; i <= last; i++) {
    enum ux_rawio how = (enum ux_rawio)i;
    CHECK(put(p.w, &how, "x", 1) == 1); /* so that there is input */
    CHECK(ux_rawio_read(p.w, &how, &c, 1) == -1 && errno == EBADF);
    how = (enum ux_rawio)i;
    CHECK(put(p.r, &how, "x", 1) == -1 && errno == EBADF);
  }
  close_both(p);
}

/* ---- SIGPIPE ----------------------------------------------------------- */

static volatile sig_atomic_t seen;

static void on_sigpipe(int sig) {
  (void)sig;
  seen++;
}

static sigset_t only_sigpipe(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  return set;
}

static bool is_pending(void) {
  sigset_t set;
  sigpending(&set);
  return sigismember(&set, SIGPIPE) == 1;
}

static bool is_blocked(void) {
  sigset_t set;
  sigprocmask(SIG_SETMASK, NULL, &set);
  return sigismember(&set, SIGPIPE) == 1;
}

static void handle_sigpipe(void (*handler)(int)) {
  struct sigaction sa = {.sa_handler = handler};
  sigaction(SIGPIPE, &sa, NULL);
}

static bool is_handled_by(void (*handler)(int)) {
  struct sigaction sa;
  sigaction(SIGPIPE, NULL, &sa);
  return sa.sa_handler == handler;
}

/* Writes to all kinds of things that nobody reads any more. */
static void break_pipes(void) {
  const struct {
    struct ends ends;
    enum ux_rawio how;
  } kinds[] = {
    {make_pipe(O_NONBLOCK), UX_RAWIO_NONBLOCK},
    {make_pipe(0), UX_RAWIO_NOWAIT},
    {make_pipe(0), UX_RAWIO_POLL},
    {make_pipe(0), UX_RAWIO_FILE},
    {make_fifo(), UX_RAWIO_NOWAIT},
    {make_sockets(), UX_RAWIO_SOCKET},
  };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    enum ux_rawio how = kinds[i].how;
    close(kinds[i].ends.r);
    CHECK(put(kinds[i].ends.w, &how, "x", 1) == -1 && errno == EPIPE);
    CHECK(put(kinds[i].ends.w, &how, "x", 1) == -1 && errno == EPIPE);
    close(kinds[i].ends.w);
  }
}

/* The default disposition: a signal that came through would end us. */
static void test_sigpipe_does_not_kill(void) {
  CHECK(is_handled_by(SIG_DFL) && !is_blocked());
  break_pipes();
  CHECK(is_handled_by(SIG_DFL) && !is_blocked() && !is_pending());
}

static void test_sigpipe_is_not_handled(void) {
  handle_sigpipe(on_sigpipe);
  seen = 0;
  break_pipes();
  CHECK(seen == 0 && is_handled_by(on_sigpipe));
  raise(SIGPIPE);
  CHECK(seen == 1); /* it works still */
  handle_sigpipe(SIG_DFL);
}

static void test_sigpipe_is_ignored(void) {
  handle_sigpipe(SIG_IGN);
  break_pipes();
  CHECK(is_handled_by(SIG_IGN));
  handle_sigpipe(SIG_DFL);
}

static void test_sigpipe_is_eaten(void) {
  sigset_t set = only_sigpipe();
  sigprocmask(SIG_BLOCK, &set, NULL);
  break_pipes();
  CHECK(is_blocked() && !is_pending());
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* One that was pending before is somebody else's, and stays: for the thread or
   for the process. */
static void keep_pending(bool for_process) {
  sigset_t set = only_sigpipe();
  handle_sigpipe(on_sigpipe);
  sigprocmask(SIG_BLOCK, &set, NULL);
  CHECK(!is_pending());
  if (for_process)
    kill(getpid(), SIGPIPE);
  else
    raise(SIGPIPE);
  CHECK(is_pending());
  seen = 0;
  break_pipes();
  CHECK(is_pending() && is_blocked() && seen == 0);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  CHECK(seen >= 1 && !is_pending());
  handle_sigpipe(SIG_DFL);
}

static void test_pending_sigpipe_stays(void) {
  keep_pending(false);
  keep_pending(true);
}

/* ---- all --------------------------------------------------------------- */

static const struct {
  const char *name;
  void (*run)(void);
} tests[] = {
  {"classify", test_classify},
  {"never blocks", test_never_blocks},
  {"falls to poll", test_falls_to_poll},
  {"polled write is short", test_polled_write_is_short},
  {"regular file", test_regular_file},
  {"wrong way", test_wrong_way},
  {"SIGPIPE does not kill", test_sigpipe_does_not_kill},
  {"SIGPIPE is not handled", test_sigpipe_is_not_handled},
  {"SIGPIPE is ignored", test_sigpipe_is_ignored},
  {"SIGPIPE is eaten", test_sigpipe_is_eaten},
  {"pending SIGPIPE stays", test_pending_sigpipe_stays},
};

int main(void) {
  sigset_t set = only_sigpipe();
  handle_sigpipe(SIG_DFL); /* whatever we were started with */
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  alarm(60);
  for (int old = 0; old <= 1; old++) {
    is_old = old;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
      test_name = tests[i].name;
      ux_rawio_pretend_old_kernel(is_old);
      tests[i].run();
    }
  }
  return 0;
}
