/* An actor of ring_model that stands in a poller, and those that ring it. */
#ifndef RING_MODEL_BELL_H
#define RING_MODEL_BELL_H

#include "ring_model_actors.h"

#include <sys/socket.h>

static bool is_rung(void) {
  char byte;
  ssize_t n =
    recv(actors[0].ring.bell[UX_RING_GET], &byte, 1, MSG_DONTWAIT | MSG_PEEK);
  return n >= 0;
}

/* Sleeps in the poller, which is the end of it if nobody rings. */
static bool polls(void) {
  ux_ring_step("poll");
  return is_rung();
}

static void get_all(struct actor *a) {
  struct ux_ring_message m;
  char buffer[LENGTH];
  int err;
  a->is_inside = true;
  do {
    err = ux_ring_get(&a->ring, buffer, sizeof buffer, &m);
    if (err == 0) note(a, value_of(buffer, m.length));
    if (err == EBUSY) wait_again(&a->ring, UX_RING_GET, err);
  } while (err != EAGAIN);
  a->is_inside = false;
}

static void poll_and_get(int self) {
  struct actor *a = &actors[self];
  do {
    get_all(a);
    check(ux_ring_bell_rearm(&a->ring, UX_RING_GET) == 0, "rearm");
  } while (polls());
}

/* Sockets are no part of what is done again and again. */
static void hang_bells(void) {
  int fd;
  check(ux_ring_bell(&actors[0].ring, UX_RING_GET, &fd) == 0, "bell");
  for (int i = 0; i < ACTORS; i++)
    actors[i].segment.ringer = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* Who polls in vain has nothing to get; or a producer was killed before it
   could ring, and the next one will. */
static void verify_bell(void) {
  const struct actor *a = &actors[0];
  const struct ux_slot_shared *slot = &a->segment.at->slot[a->segment.slot];
  bool is_armed = (slot->bell[UX_RING_GET] & 1u) != 0 &&
                  (a->ring.at->not_empty & UX_EVENT_BELL) != 0;
  char byte;
  verify_queue();
  if (!a->is_killed && !is_rung()) {
    check(is_armed, "a bell that nobody will ring");
    check(is_anybody_killed() || leftover.got_count == 0, "not rung");
  }
  while (recv(a->ring.bell[UX_RING_GET], &byte, 1, MSG_DONTWAIT) >= 0) {
  }
}

#endif
