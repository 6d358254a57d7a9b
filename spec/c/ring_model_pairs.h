/* Actors of ring_model that answer each other: the ends of a duplex, clients
   and servers. */
#ifndef RING_MODEL_PAIRS_H
#define RING_MODEL_PAIRS_H

#include "ring_model.h"

/* ---- duplex ------------------------------------------------------------ */

/* `ring` is what it puts into, `other` what it gets from. */
static void connect_ends(void) {
  for (uint32_t i = 0; i < 2; i++)
    check(ux_duplex_init(
            &actors[i].ring, &actors[i].other, &actors[i].segment, i) == 0,
          "duplex");
}

/* False: the other end is gone. */
static bool say(int self, int n) {
  struct actor *a = &actors[self];
  char buffer[LENGTH];
  int err;
  a->tried = n;
  fill(buffer, self * 16 + n);
  do err = ux_ring_put(&a->ring, buffer, LENGTH, 0);
  while (err != EPIPE && wait_again(&a->ring, UX_RING_PUT, err));
  if (err == 0) a->sent = n;
  return err == 0;
}

static bool hear(int self) {
  struct actor *a = &actors[self];
  struct ux_ring_message m;
  char buffer[LENGTH];
  int err;
  a->is_inside = true;
  do err = ux_ring_get(&a->other, buffer, sizeof buffer, &m);
  while (err != EPIPE && wait_again(&a->other, UX_RING_GET, err));
  if (err == 0) note(a, value_of(buffer, m.length));
  a->is_inside = false;
  return err == 0;
}

static void ask_end(int self) {
  actors[self].is_told = !(say(self, 1) && hear(self));
}

static void answer_end(int self) {
  actors[self].is_told = !(hear(self) && say(self, 1));
}

static void say_and_leave(int self) {
  say(self, 1);
  ux_ring_done(&actors[self].ring);
  ux_ring_done(&actors[self].other);
  actors[self].has_left = true;
}

static void hear_until_end(int self) {
  actors[self].is_listening = true;
  for (int i = 0; i < 2 && !actors[self].is_told; i++)
    actors[self].is_told = !hear(self);
}

static bool has_come(int self) {
  return atomic_load(&actors[self].ring.at->role[UX_RING_PUT]) != 0 ||
         atomic_load(&actors[self].other.at->role[UX_RING_GET]) != 0;
}

/* Nobody waits for one that has come and gone; who is told that lost nothing
   of what was sent before. */
static void verify_ends(void) {
  for (int i = 0; i < 2; i++) {
    const struct actor *a = &actors[i], *b = &actors[1 - i];
    bool is_gone = b->is_killed || b->has_left;
    if (!a->is_finished && !a->is_killed)
      check(b->is_killed && !has_come(1 - i), "asleep for ever");
    if (a->is_told) check(is_gone, "told of an end that is there");
    for (int k = 0; k < a->got_count; k++)
      check(a->got[k] == (1 - i) * 16 + k + 1, "another message");
    if (a->is_told && a->is_listening) check(a->got_count >= b->sent, "lost");
  }
}

/* ---- service ----------------------------------------------------------- */

static void begin_clients(void) {
  for (int i = 0; i < ACTORS; i++)
    if (actors[i].is_there)
      check(ux_service_replies(&actors[i].other, &actors[i].segment) == 0,
            "replies");
}

static void ask(int self) {
  struct actor *a = &actors[self];
  struct ux_ring_message m;
  char text[LENGTH], buffer[LENGTH + UX_SERVICE_HEAD];
  struct iovec iov = {text, LENGTH};
  uint64_t id = 0;
  int err;
  fill(text, self + 1);
  a->is_client = true;
  a->tried = 1;
  while (wait_again(
    &a->ring, UX_RING_PUT, ux_service_ask(&a->ring, &iov, 1, 0, 7))) {
  }
  a->sent = 1;
  do err = ux_service_collect(&a->other, buffer, sizeof buffer, &m, &id);
  while (err != ECANCELED && wait_again(&a->other, UX_RING_GET, err));
  check(id == 7, "another reply");
  a->is_told = err == ECANCELED;
  if (err == 0)
    check(value_of(m.data, m.length) == self + 1, "a reply to another");
}

static void reply(struct actor *a, struct ux_ring *to,
                  const struct ux_service_request *q) {
  struct iovec iov = {(void *)(uintptr_t)q->message.data, q->message.length};
  for (;;) {
    int err = ux_service_reply(&a->ring, to, q, &iov, 1, 0);
    if (err == ECONNRESET) return;
    bool is_request = err == EBUSY && a->ring.lock != NULL;
    if (!wait_again(is_request ? &a->ring : to, UX_RING_PUT, err)) return;
  }
}

static void serve(int self, int count) {
  struct actor *a = &actors[self];
  struct ux_service_request q;
  struct ux_ring to = {.segment = NULL};
  char buffer[LENGTH + UX_SERVICE_HEAD];
  for (int i = 0; i < count; i++) {
    while (wait_again(&a->ring,
                      UX_RING_GET,
                      ux_service_take(&a->ring, buffer, sizeof buffer, &q))) {
    }
    a->is_inside = true;
    reply(a, &to, &q);
    a->is_inside = false;
  }
}

static void serve_1(int self) {
  serve(self, 1);
}

static void serve_2(int self) {
  serve(self, 2);
}

static int count_requests(void) {
  struct ux_ring_message m;
  char buffer[LENGTH + UX_SERVICE_HEAD];
  int n = 0;
  for (int tries = 0; tries < 4;) {
    int err = ux_ring_get(&leftover.ring, buffer, sizeof buffer, &m);
    if (err == 0)
      n++;
    else
      tries++;
  }
  return n;
}

/* A request is with a server, or in the queue for one that is still to come;
   else its client was told something. */
static void verify_service(void) {
  int waiting = 0, idle = 0, requests = count_requests();
  for (int i = 0; i < ACTORS; i++) {
    const struct actor *a = &actors[i];
    if (!a->is_there || a->is_killed || a->is_finished) continue;
    check(!a->is_inside, "a server that sleeps with a request");
    if (a->is_client)
      waiting++;
    else
      idle++;
  }
  check(waiting <= requests, "a client that waits for nobody");
  check(idle == 0 || requests == 0, "asleep beside a request");
  check(waiting == 0 || kills > 0, "asleep for ever");
  for (int i = 0; i < ACTORS; i++)
    check(!actors[i].is_told || (kills > 0 && !current->options.retry),
          "failed for no reason");
}

#endif
