#include "base/wait.h"

#include "base/interrupt.h"
#include "base/notes.h"
#include "base/region.h"
#include "lib/clock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

/* From the check to the sleep no signal may come in: its note would be
   missed. ppoll lets them in as it falls asleep. */
static int sleep_in_poll(lua_State *L, struct pollfd *fds, nfds_t count,
                         struct ux_deadline *deadline) {
  sigset_t all, old;
  ux_interrupt_enter(L);
  struct timespec store, *left = ux_deadline_left(deadline, &store);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int ready = -1, err = EINTR;
  if (!ux_interrupt_pending(L)) {
    ready = ppoll(fds, count, left, &old);
    err = errno;
  }
  ux_notes_keep_held(&old);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (ready > 0) return 0;
  return ready == 0 ? ETIMEDOUT : err;
}

int ux_wait_fds(lua_State *L, struct pollfd *fds, nfds_t count,
                struct ux_deadline *deadline) {
  for (;;) {
    int err = sleep_in_poll(L, fds, count, deadline);
    if (err == EINTR) ux_interrupt_run(L);
    if (err != ETIMEDOUT || ux_deadline_passed(deadline)) return err;
  }
}

int ux_wait_fd(lua_State *L, int fd, short events,
               struct ux_deadline *deadline) {
  if (deadline->left == 0) return ETIMEDOUT; /* it was tried already */
  struct pollfd p = {.fd = fd, .events = events};
  return ux_wait_fds(L, &p, 1, deadline);
}

/* When the tick has to start in any case. A deadline of 0 still lets the call
   be made: the clock was not read, any moment that has passed will do. */
static int64_t tick_at(struct ux_deadline *deadline) {
  if (deadline->left == UX_FOREVER) return 0;
  if (deadline->left == 0) return 1;
  ux_deadline_start(deadline);
  return deadline->at;
}

static int sleep_in_call(lua_State *L, int (*call)(void *arg), void *arg,
                         int64_t at) {
  ux_interrupt_enter(L);
  int err = ux_region_begin(at);
  if (err != 0) return err;
  err = ux_interrupt_pending(L) ? EINTR : call(arg);
  ux_region_end();
  return err;
}

int ux_wait_call(lua_State *L, int (*call)(void *arg), void *arg,
                 struct ux_deadline *deadline) {
  int err = sleep_in_call(L, call, arg, tick_at(deadline));
  if (err != EINTR) return err;
  ux_interrupt_run(L);
  return ux_deadline_passed(deadline) ? ETIMEDOUT : EINTR;
}

/* With a deadline poll is the shorter way: the tick takes a timer to set and
   another to stop. A descriptor that does not block says EAGAIN, and so does a
   system without another timer. */
int ux_wait_fd_call(lua_State *L, int (*call)(void *arg), void *arg, int fd,
                    short events, struct ux_deadline *deadline) {
  if (deadline->left == UX_FOREVER) {
    int err = ux_wait_call(L, call, arg, deadline);
    if (err != EAGAIN && err != EWOULDBLOCK) return err;
  }
  int err = ux_wait_fd(L, fd, events, deadline);
  return err == 0 ? EAGAIN : err;
}
