/* Pairs of ends. What an end does is lib/ring_spsc.c's. */
#include "lib/ring_duplex.h"

#include <poll.h>
#include <sys/socket.h>

int ux_duplex_init(struct ux_ring *out, struct ux_ring *in,
                   struct ux_segment *s, uint32_t end) {
  if (s->options.kind != UX_SEGMENT_DUPLEX || end > 1) return EINVAL;
  int err = ux_ring_init(out, s, end);
  return err != 0 ? err : ux_ring_init(in, s, 1 - end);
}

int ux_duplex_free_end(struct ux_segment *s, uint32_t *end) {
  struct ux_ring r;
  if (s->options.kind != UX_SEGMENT_DUPLEX) return EINVAL;
  for (*end = 0; *end < 2; ++*end) {
    int err = ux_ring_init(&r, s, *end);
    if (err != 0) return err;
    uint32_t role = ux_see(&r.at->role[UX_RING_PUT]);
    if ((role & 3u) != UX_ROLE_HERE ||
        ux_segment_is_dead(s, role >> 2 & UX_WHO_MASK))
      return 0;
  }
  return EUSERS;
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
