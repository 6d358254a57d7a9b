/* The one loop under every call that can block. First try without blocking;
   when that says EAGAIN come here, and try again after. While it waits,
   signal handlers run on L and may raise: hold no lock and nothing malloc'ed
   that only you know of. */
#ifndef UX_BASE_WAIT_H
#define UX_BASE_WAIT_H

#include "base/deadline.h"

#include <poll.h>

/* Sleeps until one of the descriptors is ready (0, with revents set), the
   deadline passed (ETIMEDOUT), handlers ran (EINTR) or poll failed. */
int ux_wait_fds(lua_State *L, struct pollfd *fds, nfds_t count,
                struct ux_deadline *deadline);

/* The same for one descriptor. */
int ux_wait_fd(lua_State *L, int fd, short events,
               struct ux_deadline *deadline);

/* The same, and lets `call` sleep itself where it can, which costs half as
   much: it makes a system call on the descriptor that may block, and returns 0
   or the errno; it must not touch L. 0: it was made, and has done something;
   EAGAIN: it is worth another try. */
int ux_wait_fd_call(lua_State *L, int (*call)(void *arg), void *arg, int fd,
                    short events, struct ux_deadline *deadline);

/* Who waits for answers finds none at the first try, nearly always. After such
   a try some calls go to sleep at once; then one tries again. Begins with
   zeros. */
struct ux_habit {
  unsigned char sleeps; /* how many more do */
};

#define UX_HABIT_SLEEPS 15

static inline bool ux_habit_tries(struct ux_habit *h,
                                  const struct ux_deadline *deadline) {
  if (h->sleeps == 0 || deadline->left != UX_FOREVER) return true;
  h->sleeps--;
  return false;
}

static inline void ux_habit_learn(struct ux_habit *h, bool has_to_wait) {
  h->sleeps = has_to_wait ? UX_HABIT_SLEEPS : 0;
}

/* Sleeps in a system call that only a signal can end: msgrcv, flock, opening
   a FIFO. `call` makes it and returns 0 or the errno; it must not touch L.
   Returns what `call` returned, ETIMEDOUT, or EINTR when handlers ran. */
int ux_wait_call(lua_State *L, int (*call)(void *arg), void *arg,
                 struct ux_deadline *deadline);

#endif
