/* A descriptor to stand in a poller: a datagram socket with an abstract name
   that tells the participant, so that anybody who takes part can ring it. It
   is rung only while it is armed. */
#include "lib/ring_bell.h"

#include "lib/ring_duplex.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static socklen_t address(const struct ux_ring *r, uint32_t who, int side,
                         struct sockaddr_un *un) {
  *un = (struct sockaddr_un){.sun_family = AF_UNIX};
  int n = snprintf(un->sun_path + 1,
                   sizeof un->sun_path - 1,
                   "unixipc/%016llx/%06x/%u/%d",
                   (unsigned long long)r->segment->at->generation,
                   (unsigned)who,
                   (unsigned)r->index,
                   side);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static int new_socket(void) {
  return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Of the bell of one slot, below its count: 0, or which ring's it is and that
   it is armed. */
static uint32_t armed_mark(const struct ux_ring *r) {
  return r->index << 1 | 1u;
}

static bool is_armed(const struct ux_ring *r, uint32_t bell) {
  return (bell & (UX_BELL_ONE - 1)) == armed_mark(r);
}

static int ring_one(struct ux_ring *r, uint32_t who, int side) {
  struct sockaddr_un un;
  socklen_t n = address(r, who, side, &un);
  int *ringer = &r->segment->ringer;
  if (*ringer < 0) *ringer = new_socket();
  if (*ringer < 0) return errno;
  int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  ssize_t sent =
    sendto(*ringer, "", 1, flags, (const struct sockaddr *)&un, n);
  return sent >= 0 ? 0 : errno;
}

/* A lack of ours, who rings: the next one shall. Else it was rung, or there is
   nobody. */
static bool is_lack(int err) {
  return err == EMFILE || err == ENFILE || err == ENOMEM || err == ENOBUFS;
}

/* Rings if it is armed. False: it could not, and it is armed still. */
static bool ring_slot(struct ux_ring *r, uint32_t i, int side) {
  struct ux_slot_shared *slot = &r->segment->at->slot[i];
  uint32_t bell = ux_see(&slot->bell[side]);
  if (!is_armed(r, bell)) return true;
  UX_STEP("bell");
  if (is_lack(ring_one(r, ux_who(i, ux_get(&slot->epoch)), side)))
    return false;
  UX_STEP("rung");
  atomic_compare_exchange_strong(
    &slot->bell[side], &bell, bell & ~(UX_BELL_ONE - 1));
  return true;
}

/* First it is rung, then the marks are taken off: who is killed in between
   leaves them for the next one. The event's mark stays if anybody armed his
   bell meanwhile, which changes the word. */
void ux_ring_ring_bells(struct ux_ring *r, _Atomic uint32_t *event) {
  int side = event == &r->at->not_full ? UX_RING_PUT : UX_RING_GET;
  uint32_t v = ux_see(event);
  bool is_done = true;
  for (uint32_t i = 0; i < r->segment->options.slots; i++)
    is_done = ring_slot(r, i, side) && is_done;
  UX_STEP("bells rung");
  if (is_done) atomic_compare_exchange_strong(event, &v, v & ~UX_EVENT_BELL);
}

static void arm(struct ux_ring *r, enum ux_ring_side side) {
  struct ux_slot_shared *slot = &r->segment->at->slot[r->segment->slot];
  _Atomic uint32_t *event = ux_ring_event(r, side);
  uint32_t count = ux_get(&slot->bell[side]) / UX_BELL_ONE + 1;
  atomic_store(&slot->bell[side], count * UX_BELL_ONE | armed_mark(r));
  UX_STEP("bell armed");
  uint32_t v = ux_get(event);
  while (!atomic_compare_exchange_weak(
    event, &v, (v + UX_EVENT_ONE) | UX_EVENT_BELL)) {
  }
}

/* One handle has one bell a side; a duplex has its two rings for that. */
static int make(struct ux_ring *r, enum ux_ring_side side) {
  struct sockaddr_un un;
  uint32_t us = ux_segment_self(r->segment);
  socklen_t n = address(r, us, side, &un);
  int fd = new_socket();
  if (fd < 0) return errno;
  if (bind(fd, (const struct sockaddr *)&un, n) != 0) {
    int err = errno;
    close(fd);
    return err;
  }
  r->bell[side] = fd;
  return 0;
}

static void quieten(int fd) {
  char byte;
  while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) {
  }
}

/* What the last EAGAIN waited for has come; or there was none. */
static bool is_worth(const struct ux_ring *r, enum ux_ring_side side) {
  const struct ux_ring_watch *w = &r->watch[side];
  bool is_known = w->word64 != NULL || w->word32 != NULL;
  return !is_known || ux_ring_would_go_on(r, side);
}

int ux_ring_bell_rearm(struct ux_ring *r, enum ux_ring_side side) {
  int err = ux_ring_begin(r);
  if (err != 0) return err;
  if (r->bell[side] < 0) return EBADF;
  quieten(r->bell[side]);
  ux_duplex_rewatch(r, side);
  arm(r, side);
  ux_full_fence();
  bool is_over = is_worth(r, side);
  if (!is_over && !ux_ring_is_closed(r)) return 0;
  return ring_one(r, ux_segment_self(r->segment), side);
}

int ux_ring_bell(struct ux_ring *r, enum ux_ring_side side, int *fd) {
  int err = ux_ring_begin(r);
  if (err == 0 && r->bell[side] < 0) {
    err = make(r, side);
    if (err == 0) arm(r, side);
    if (err == 0) err = ring_one(r, ux_segment_self(r->segment), side);
  }
  *fd = ux_duplex_watch(r->segment, r->bell[side]);
  return err;
}

void ux_ring_bell_forget(struct ux_ring *r) {
  for (int side = 0; side < 2; side++) {
    if (r->bell[side] >= 0) close(r->bell[side]);
    r->bell[side] = -1;
  }
}
