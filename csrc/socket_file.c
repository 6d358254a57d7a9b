#include "socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef O_PATH
#define O_PATH O_RDONLY /* fails on a socket: then none gives way */
#endif

/* Two seconds. */
#define LOCK_TRIES 2000
#define LOCK_PAUSE_NS 1000000

#define PROC_SIZE (sizeof "/proc/self/fd/" + 3 * sizeof(int))

/* ---- is anybody there? ------------------------------------------------- */

/* Asks whether any socket is bound to the file that fd stands for. A datagram
   socket asks, which a server of another type never sees, and one of its own
   type does not either; it is refused only where there is no socket at all. */
static bool is_dead(int fd) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return false;
  snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d", fd);
  bool is_refused =
    connect(probe, (const struct sockaddr *)&un, sizeof un) != 0 &&
    errno == ECONNREFUSED;
  close(probe);
  return is_refused;
}

static bool is_same(const struct stat *a, const struct stat *b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* ---- putting a dead one out of the way --------------------------------- */

/* A name beside the path that nobody has. */
static int make_aside(const char *path, char *aside, size_t size) {
  static unsigned count;
  const char *slash = strrchr(path, '/');
  int directory = slash == NULL ? 0 : (int)(slash - path) + 1;
  int n = snprintf(aside,
                   size,
                   "%.*s.stale-%ld-%u",
                   directory,
                   path,
                   (long)getpid(),
                   count++);
  return n > 0 && (size_t)n < size ? 0 : ENAMETOOLONG;
}

/* Servers that start at once take turns by a lock on the directory: what is
   looked at here, moved and bound to must not be another's by then. It is held
   for no longer than that takes; who holds it for long is no server of ours,
   and is not waited for. The lock goes with the descriptor; -1 for none. */
static int lock_directory(const char *path) {
  char directory[UX_SOCKET_PATH_MAX + 1];
  const char *slash = strrchr(path, '/');
  size_t length = slash == NULL ? 0 : (size_t)(slash - path) + 1;
  memcpy(directory, length > 0 ? path : ".", length > 0 ? length : 1);
  directory[length > 0 ? length : 1] = '\0';
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < LOCK_TRIES && fd >= 0; i++) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    if (errno != EWOULDBLOCK && errno != EINTR) break;
    nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
  }
  if (fd >= 0) close(fd);
  return -1;
}

/* Moves the path away, looks at what was moved, and removes it if it is the
   dead one. A server that knows nothing of our lock may have put a new one
   there just before: then it is put back. While fd is open no other file has
   its number. And it is asked once more: a server in the middle of bind(2) has
   a file already and no socket yet, but it holds the directory, which the
   rename waited for. */
static int remove_dead(const char *path, int fd, const struct stat *dead) {
  char aside[UX_SOCKET_PATH_MAX + 64];
  struct stat moved;
  int err = make_aside(path, aside, sizeof aside);
  if (err != 0) return err;
  if (rename(path, aside) != 0) return errno == ENOENT ? 0 : errno;
  if (lstat(aside, &moved) != 0) return errno;
  bool is_it = is_same(&moved, dead) && is_dead(fd);
  if (!is_it) err = link(aside, path) == 0 ? EADDRINUSE : errno;
  if (is_it || err == EADDRINUSE) unlink(aside);
  return err;
}

/* 0 when the path is free now, EADDRINUSE when it is not to be. */
static int make_way(const char *path) {
  struct stat st;
  int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), err;
  if (fd < 0) return errno == ENOENT ? 0 : EADDRINUSE;
  if (fstat(fd, &st) != 0)
    err = errno;
  else
    err = S_ISSOCK(st.st_mode) && is_dead(fd) ? remove_dead(path, fd, &st)
                                              : EADDRINUSE;
  close(fd);
  return err;
}

/* ---- the mode ---------------------------------------------------------- */

/* The file of a socket gets the mode of the socket, less the umask: never more
   than was asked for, and what is missing is added after. */
static int complete_mode(const char *path, mode_t mode, struct stat *st) {
  char proc[PROC_SIZE];
  int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno;
  int err = fstat(fd, st) == 0 ? 0 : errno;
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  if (err == 0 && (st->st_mode & 0777) != mode && chmod(proc, mode) != 0)
    err = errno;
  close(fd);
  return err;
}

/* ---- binding ----------------------------------------------------------- */

static int bind_once(int fd, const struct ux_address *a) {
  int failed = bind(fd, (const struct sockaddr *)&a->sa, a->length);
  return failed == 0 ? 0 : errno;
}

static int note_file(const char *path, mode_t mode,
                     struct ux_socket_file *file) {
  struct stat st = {.st_mode = 0};
  int err = complete_mode(path, mode, &st);
  if (err != 0) {
    unlink(path);
    return err;
  }
  file->is_made = true;
  file->dev = st.st_dev;
  file->ino = st.st_ino;
  snprintf(file->path, sizeof file->path, "%s", path);
  return 0;
}

#define TRIES 10

static int bind_in_turn(int fd, const struct ux_address *a, const char *path) {
  int lock = lock_directory(path), err = EADDRINUSE;
  for (int i = 0; i < TRIES && err == EADDRINUSE; i++) {
    err = make_way(path);
    if (err != 0) break;
    err = bind_once(fd, a);
  }
  if (lock >= 0) close(lock);
  return err;
}

int ux_socket_bind(int fd, const struct ux_address *a, mode_t mode,
                   bool is_stale_ok, struct ux_socket_file *file) {
  const char *path = ux_address_path(a);
  if (path == NULL) return bind_once(fd, a);
  if (fchmod(fd, mode) != 0) return errno;
  int err = bind_once(fd, a);
  if (err == EADDRINUSE && is_stale_ok) err = bind_in_turn(fd, a, path);
  return err == 0 ? note_file(path, mode, file) : err;
}

void ux_socket_unbind(struct ux_socket_file *file) {
  struct stat st;
  if (!file->is_made) return;
  file->is_made = false;
  if (lstat(file->path, &st) == 0 && st.st_dev == file->dev &&
      st.st_ino == file->ino)
    unlink(file->path);
}
