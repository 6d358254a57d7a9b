/* Pairs of ends. What an end does is lib/ring_spsc.c's. */
#include "lib/ring_duplex.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef UX_HAVE_EPOLL
#include <sys/epoll.h>
#endif

int ux_duplex_init(struct ux_ring *out, struct ux_ring *in,
                   struct ux_segment *s, uint32_t end) {
  if (s->options.kind != UX_SEGMENT_DUPLEX || end > 1) return EINVAL;
  int err = ux_ring_init(out, s, end);
  return err != 0 ? err : ux_ring_init(in, s, 1 - end);
}

/* 0: nobody alive has it. */
static int check_end(struct ux_segment *s, uint32_t end) {
  struct ux_ring r;
  int err = ux_ring_init(&r, s, end);
  if (err != 0) return err;
  uint32_t role = ux_see(&r.at->role[UX_RING_PUT]);
  bool is_here = (role & 3u) == UX_ROLE_HERE;
  return is_here && !ux_segment_is_dead(s, role >> 2 & UX_WHO_MASK) ? EUSERS
                                                                    : 0;
}

int ux_duplex_free_end(struct ux_segment *s, uint32_t *end) {
  if (s->options.kind != UX_SEGMENT_DUPLEX || *end > 1) return EINVAL;
  int err = check_end(s, *end);
  if (err != EUSERS) return err;
  *end = 1 - *end;
  return check_end(s, *end);
}

int ux_duplex_tie(struct ux_segment *one, struct ux_segment *other) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    return errno;
  one->line = fds[0];
  other->line = fds[1];
  return 0;
}

int ux_duplex_expect(struct ux_segment *s) {
  struct ux_ring r;
  if (s->options.kind != UX_SEGMENT_DUPLEX) return EINVAL;
  for (uint32_t i = 0; i < 2; i++) {
    int err = ux_ring_init(&r, s, i);
    if (err != 0) return err;
    for (int side = 0; side < 2; side++) {
      uint32_t role = UX_ROLE_NEVER;
      atomic_compare_exchange_strong(
        &r.at->role[side], &role, UX_ROLE_EXPECTED);
    }
  }
  return 0;
}

bool ux_duplex_is_cut(const struct ux_segment *s) {
  struct pollfd p = {.fd = s->line};
  return s->line >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}

/* ---- in a poller ------------------------------------------------------- */

#ifdef UX_HAVE_EPOLL

/* Of the line nothing but its hang-up, which is always told. */
static int make_watch(const struct ux_segment *s, int bell) {
  struct epoll_event ring = {.events = EPOLLIN}, cut = {.events = 0};
  int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return -1;
  if (epoll_ctl(fd, EPOLL_CTL_ADD, bell, &ring) == 0 &&
      epoll_ctl(fd, EPOLL_CTL_ADD, s->line, &cut) == 0)
    return fd;
  close(fd);
  return -1;
}

int ux_duplex_watch(struct ux_segment *s, int bell) {
  if (s->line < 0 || bell < 0) return bell;
  if (s->watch < 0) s->watch = make_watch(s, bell);
  return s->watch >= 0 ? s->watch : bell;
}

void ux_duplex_rewatch(struct ux_ring *r, enum ux_ring_side side) {
  struct ux_segment *s = r->segment;
  if (s->watch < 0 || !ux_duplex_is_cut(s)) return;
  if (!r->mode->look(r, side))
    epoll_ctl(s->watch, EPOLL_CTL_DEL, s->line, NULL);
}

#else

int ux_duplex_watch(struct ux_segment *s, int bell) {
  (void)s;
  return bell;
}

void ux_duplex_rewatch(struct ux_ring *r, enum ux_ring_side side) {
  (void)r;
  (void)side;
}

#endif
