#include "lib/rawio.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE is set on the socket instead */
#endif

#if defined(UX_HAVE_RWF) && !defined(RWF_NOSIGNAL)
#define RWF_NOSIGNAL 0x00000100 /* Linux 6.18, younger than its headers */
#endif

/* Cleared for good when the kernel refuses the flag. */
static atomic_bool has_nowait = true;
static atomic_bool has_nosignal = true;

void ux_rawio_pretend_old_kernel(bool old) {
  atomic_store(&has_nowait, !old);
  atomic_store(&has_nosignal, !old);
}

enum ux_rawio ux_rawio_classify(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return UX_RAWIO_POLL;
  if (S_ISSOCK(st.st_mode)) return UX_RAWIO_SOCKET;
  if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) return UX_RAWIO_FILE;
  if (S_ISFIFO(st.st_mode)) return UX_RAWIO_NOWAIT;
  return UX_RAWIO_POLL;
}

static bool is_ready(int fd, short events) {
  struct pollfd p = {.fd = fd, .events = events};
  if (poll(&p, 1, 0) > 0) return true;
  errno = EAGAIN;
  return false;
}

static bool is_refused(int err) {
  return err == EOPNOTSUPP || err == EINVAL || err == ENOSYS;
}

/* RWF_NOWAIT works on pipes since Linux 6.4, but not on FIFOs. */
static ssize_t read_nowait(int fd, enum ux_rawio *how, void *buf, size_t n) {
#ifdef UX_HAVE_RWF
  if (atomic_load_explicit(&has_nowait, memory_order_relaxed)) {
    struct iovec iov = {buf, n};
    ssize_t got = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
    if (got >= 0 || !is_refused(errno)) return got;
  }
#endif
  *how = UX_RAWIO_POLL;
  return ux_rawio_read(fd, how, buf, n);
}

ssize_t ux_rawio_read(int fd, enum ux_rawio *how, void *buf, size_t n) {
  switch (*how) {
    case UX_RAWIO_NOWAIT: return read_nowait(fd, how, buf, n);
    case UX_RAWIO_SOCKET: return recv(fd, buf, n, MSG_DONTWAIT);
    case UX_RAWIO_POLL: return is_ready(fd, POLLIN) ? read(fd, buf, n) : -1;
    default: return read(fd, buf, n);
  }
}

/* SIGPIPE is blocked around the write and, if this write made it, eaten:
   one that was pending before belongs to somebody else. */
static ssize_t writev_masked(int fd, const struct iovec *iov, int count) {
  sigset_t sigpipe, old, pending;
  sigemptyset(&sigpipe);
  sigaddset(&sigpipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &sigpipe, &old);
  sigpending(&pending);
  ssize_t put = writev(fd, iov, count);
  int err = errno;
  if (put < 0 && err == EPIPE && !sigismember(&pending, SIGPIPE)) {
    while (sigtimedwait(&sigpipe, NULL, &(struct timespec){0, 0}) < 0 &&
           errno == EINTR) {
    }
  }
  if (!sigismember(&old, SIGPIPE))
    pthread_sigmask(SIG_UNBLOCK, &sigpipe, NULL);
  errno = err;
  return put;
}

static ssize_t writev_quiet(int fd, const struct iovec *iov, int count) {
#ifdef UX_HAVE_RWF
  if (atomic_load_explicit(&has_nosignal, memory_order_relaxed)) {
    ssize_t put = pwritev2(fd, iov, count, -1, RWF_NOSIGNAL);
    if (put >= 0 || !is_refused(errno)) return put;
    ssize_t masked = writev_masked(fd, iov, count);
    if (masked >= 0 || !is_refused(errno))
      atomic_store_explicit(&has_nosignal, false, memory_order_relaxed);
    return masked;
  }
#endif
  return writev_masked(fd, iov, count);
}

static ssize_t writev_nowait(int fd, enum ux_rawio *how,
                             const struct iovec *iov, int count) {
#ifdef UX_HAVE_RWF
  if (atomic_load_explicit(&has_nowait, memory_order_relaxed) &&
      atomic_load_explicit(&has_nosignal, memory_order_relaxed)) {
    ssize_t put = pwritev2(fd, iov, count, -1, RWF_NOWAIT | RWF_NOSIGNAL);
    if (put >= 0 || !is_refused(errno)) return put;
  }
#endif
  *how = UX_RAWIO_POLL;
  return ux_rawio_writev(fd, how, iov, count);
}

/* A pipe that polls as writable takes PIPE_BUF bytes without blocking, and
   for more than that there is no promise. */
static ssize_t write_polled(int fd, const struct iovec *iov, int count) {
  if (!is_ready(fd, POLLOUT)) return -1;
  struct iovec some[16];
  size_t room = PIPE_BUF;
  int used = 0;
  for (; used < count && used < 16 && room > 0; used++) {
    some[used] = iov[used];
    if (some[used].iov_len > room) some[used].iov_len = room;
    room -= some[used].iov_len;
  }
  return writev_quiet(fd, some, used);
}

ssize_t ux_rawio_writev(int fd, enum ux_rawio *how, const struct iovec *iov,
                        int count) {
  switch (*how) {
    case UX_RAWIO_NOWAIT: return writev_nowait(fd, how, iov, count);
    case UX_RAWIO_SOCKET: {
      struct msghdr msg = {
        .msg_iov = (struct iovec *)(uintptr_t)iov,
        .msg_iovlen = (size_t)count,
      };
      return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    case UX_RAWIO_POLL: return write_polled(fd, iov, count);
    default: return writev_quiet(fd, iov, count);
  }
}
