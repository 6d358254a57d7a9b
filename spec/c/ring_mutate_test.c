/* Every byte of a segment is changed, in several ways, and then everything is
   tried: an error is right, and so is a wrong message; a crash, an access
   outside, or a call that does not end is not. usage: ring_mutate_test */
#include "lib/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check(bool ok, int line, const char *what) {
  if (ok) return;
  fprintf(stderr, "ring_mutate_test.c:%d: %s\n", line, what);
  exit(1);
}

#define CHECK(what) check((what), __LINE__, #what)

#define MESSAGE 100

static struct ux_segment segment;
static struct ux_ring ring, replies;
static char *saved, *buffer; /* exactly MESSAGE bytes: a checker sees more */

static void fill(void) {
  char text[MESSAGE];
  struct iovec iov = {text, 20};
  struct ux_ring_message m;
  memset(text, 'x', sizeof text);
  if (segment.options.kind == UX_SEGMENT_BROADCAST)
    CHECK(ux_ring_subscribe(&ring, UX_RING_NEW, 0) == 0);
  for (size_t i = 0; i < 4; i++)
    if (segment.options.kind == UX_SEGMENT_SERVICE)
      CHECK(ux_service_ask(&ring, &iov, 1, 0, i) == 0);
    else
      CHECK(ux_ring_put(&ring, text, 60 + i, 0) == 0);
  if (segment.options.kind != UX_SEGMENT_QUEUE) return;
  CHECK(ux_ring_peek(&ring, &m) == 0); /* one that is taken */
}

static void try_service(void) {
  struct ux_service_request q;
  struct ux_ring client = {.segment = NULL};
  struct ux_ring_message m;
  struct iovec iov = {"reply", 5};
  uint64_t id;
  while (ux_service_take(&ring, buffer, MESSAGE, &q) == 0)
    ux_service_reply(&ring, &client, &q, &iov, 1, 0);
  ux_service_collect(&replies, buffer, MESSAGE, &m, &id);
}

/* A loan is written to in all its length. */
static void try_loans(void) {
  struct ux_ring_loan loan;
  struct ux_ring_message m;
  if (ux_ring_reserve(&ring, 40, &loan) == 0) {
    memset(loan.data, 'y', loan.length);
    ux_ring_commit(&ring, &loan, 30, 1);
  }
  if (ux_ring_peek(&ring, &m) == 0) {
    unsigned char sum = 0;
    for (size_t i = 0; i < m.length; i++)
      sum ^= ((const unsigned char *)m.data)[i];
    buffer[0] = (char)sum;
    ux_ring_release(&ring, m.position);
  }
}

static void try_rest(void) {
  struct ux_ring_stats stats;
  struct ux_segment_participant p;
  uint32_t n;
  ux_ring_stats(&ring, &stats);
  for (uint32_t i = 0; i < 4; i++) ux_segment_participant(&segment, i, &p);
  ux_segment_is_alive(&segment, 1);
  ux_segment_reap(&segment);
  if (segment.options.kind == UX_SEGMENT_BROADCAST) {
    ux_ring_evict(&ring, 100, &n);
    ux_ring_subscribe(&ring, UX_RING_LAST, 2);
  }
  ux_ring_sleep(&ring, UX_RING_GET, 1);
  ux_ring_sleep(&ring, UX_RING_PUT, 1);
}

static void try_all(void) {
  struct ux_ring_message m;
  struct ux_ring_item items[3] = {{"a", 1, 0}, {"bc", 2, 0}, {"def", 3, 0}};
  size_t done, count, needed;
  ux_ring_get(&ring, buffer, MESSAGE, &m);
  ux_ring_put(&ring, buffer, MESSAGE, 0);
  ux_ring_get_many(&ring, buffer, MESSAGE, 5, &count, &needed);
  if (segment.options.kind == UX_SEGMENT_SERVICE) try_service();
  try_loans();
  ux_ring_put_many(&ring, items, 3, &done);
  try_rest();
  for (int i = 0; i < 20; i++) ux_ring_put(&ring, buffer, MESSAGE, 0);
  for (int i = 0; i < 30; i++) ux_ring_get(&ring, buffer, MESSAGE, &m);
}

/* Others that come now see it, or refuse. */
static void try_opening(void) {
  struct ux_segment other;
  if (ux_segment_adopt(&other, segment.fd) == 0) ux_segment_detach(&other);
}

static void change(size_t i, int way) {
  unsigned char *byte = (unsigned char *)segment.at + i;
  switch (way) {
    case 0: *byte ^= 0xff; break;
    case 1: *byte = 0; break;
    case 2: *byte += 1; break;
    case 3: *byte ^= 0x80; break;
    case 4: *byte -= 16; break;
    default: *byte ^= 0x40; break;
  }
}

static void mutate(struct ux_segment_options o) {
  o.capacity = o.reply_capacity = 1024;
  o.slots = 4;
  CHECK(ux_segment_create(&segment, NULL, 0600, &o) == 0);
  CHECK(ux_ring_init(&ring, &segment, 0) == 0);
  if (o.kind == UX_SEGMENT_SERVICE)
    CHECK(ux_service_replies(&replies, &segment) == 0);
  fill();
  struct ux_ring before = ring;
  saved = malloc(segment.size);
  memcpy(saved, segment.at, segment.size);
  for (size_t i = 0; i < segment.size; i++)
    for (int way = 0; way < 6; way++) {
      memcpy(segment.at, saved, segment.size);
      ring = before;
      change(i, way);
      if (i < 512 && way < 3) try_opening();
      alarm(10); /* ends it */
      try_all();
      alarm(0);
    }
  free(saved);
  ux_segment_detach(&segment);
}

int main(void) {
  buffer = malloc(MESSAGE);
  mutate((struct ux_segment_options){.kind = UX_SEGMENT_QUEUE});
  mutate((struct ux_segment_options){.kind = UX_SEGMENT_SPSC});
  mutate((struct ux_segment_options){.kind = UX_SEGMENT_DUPLEX});
  for (unsigned p = UX_SEGMENT_GATE; p <= UX_SEGMENT_EVICT; p++)
    mutate(
      (struct ux_segment_options){.kind = UX_SEGMENT_BROADCAST, .policy = p});
  mutate((struct ux_segment_options){.kind = UX_SEGMENT_SERVICE});
  mutate(
    (struct ux_segment_options){.kind = UX_SEGMENT_SERVICE, .retry = true});
  free(buffer);
  return 0;
}
