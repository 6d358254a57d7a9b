#include "lib/lookup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Not memory of Lua: the thread may need it for longer than the Lua state
   lives. The last of the two users frees it. */
struct ux_lookup {
  _Atomic int users;
  int reader, writer; /* a pipe: a byte tells the end */
  struct addrinfo hints;
  int problem, err;
  struct addrinfo *found;
  char port[16];
  char host[];
};

static void leave(struct ux_lookup *l) {
  if (atomic_fetch_sub(&l->users, 1) != 1) return;
  if (l->found != NULL) freeaddrinfo(l->found);
  free(l);
}

static void *run(void *arg) {
  struct ux_lookup *l = arg;
  l->problem = getaddrinfo(l->host, l->port, &l->hints, &l->found);
  l->err = errno;
  int writer = l->writer;
  ssize_t n = write(writer, "x", 1); /* SIGPIPE is blocked: nobody listens */
  (void)n;
  close(writer);
  leave(l);
  return NULL;
}

/* A signal that came to the thread would not wake the one that waits. */
static int start_thread(struct ux_lookup *l) {
  pthread_t thread;
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int err = pthread_create(&thread, NULL, run, l);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (err == 0) pthread_detach(thread);
  return err;
}

static struct ux_lookup *new_lookup(const char *host, const char *port,
                                    const struct addrinfo *hints) {
  size_t size = strlen(host) + 1;
  struct ux_lookup *l = calloc(1, sizeof *l + size);
  if (l == NULL) return NULL;
  atomic_store(&l->users, 2);
  l->hints = *hints;
  snprintf(l->port, sizeof l->port, "%s", port);
  memcpy(l->host, host, size);
  return l;
}

int ux_lookup_start(const char *host, const char *port,
                    const struct addrinfo *hints, struct ux_lookup **started) {
  int fds[2];
  struct ux_lookup *l = new_lookup(host, port, hints);
  if (l == NULL) return ENOMEM;
  int err = pipe2(fds, O_CLOEXEC) == 0 ? 0 : errno;
  if (err == 0) {
    l->reader = fds[0];
    l->writer = fds[1];
    err = start_thread(l);
    if (err != 0) {
      close(fds[0]);
      close(fds[1]);
    }
  }
  if (err == 0)
    *started = l;
  else
    free(l);
  return err;
}

int ux_lookup_fd(const struct ux_lookup *l) {
  return l->reader;
}

int ux_lookup_result(const struct ux_lookup *l, const struct addrinfo **found,
                     int *err) {
  *found = l->found;
  *err = l->err;
  return l->problem;
}

void ux_lookup_release(struct ux_lookup *l) {
  close(l->reader);
  leave(l);
}
