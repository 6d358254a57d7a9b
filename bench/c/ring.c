/* The ring of channels in C, without Lua: what csrc/lib itself costs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "lib/ring.h"

struct ends {
  struct ux_segment segment;
  struct ux_ring ring;
  struct ux_ring out, in; /* of a duplex */
  pid_t child;
  size_t size;
  char *buffer;
};

static void check(int err, const char *what) {
  errno = err;
  if (err != 0) die(what);
}

static void make(struct ends *e, enum ux_segment_kind kind, long size) {
  struct ux_segment_options o = {.kind = kind};
  check(ux_segment_create(&e->segment, NULL, 0600, &o), "segment");
  e->size = (size_t)size;
  e->buffer = malloc(e->size);
  if (e->buffer == NULL) die("malloc");
  memset(e->buffer, 'x', e->size); /* or all its pages are the zero page */
}

static void start(struct ends *e, void (*peer)(struct ends *, long), long n,
                  long cpu) {
  e->child = fork();
  if (e->child < 0) die("fork");
  if (e->child == 0) {
    peer(e, n);
    _exit(0);
  }
  pin(e->child, cpu);
}

static void supply(struct ends *e, long n) {
  for (n += WARM_UP(n); n > 0; n--)
    check(ux_ring_send(&e->ring, e->buffer, e->size, -1), "send");
}

static void drain(long n, void *state) {
  struct ends *e = state;
  struct ux_ring_message m;
  while (n-- > 0)
    check(ux_ring_receive(&e->ring, e->buffer, e->size, &m, -1), "receive");
}

static void one_way(enum ux_segment_kind kind, char **words) {
  struct ends e;
  long n = number(words[0]);
  make(&e, kind, number(words[1]));
  check(ux_ring_init(&e.ring, &e.segment, 0), "ring");
  start(&e, supply, n, number(words[2]));
  measure(n, drain, &e);
  reap(e.child);
}

/* single n size cpu: one producer, one consumer, each message published. */
static void single(char **words) {
  one_way(UX_SEGMENT_SPSC, words);
}

/* queue n size cpu: the same through a queue for many. */
static void queue(char **words) {
  one_way(UX_SEGMENT_QUEUE, words);
}

static void echo(struct ends *e, long n) {
  struct ux_ring_message m;
  check(ux_duplex_init(&e->out, &e->in, &e->segment, 1), "duplex");
  for (n += WARM_UP(n); n > 0; n--) {
    check(ux_ring_receive(&e->in, e->buffer, e->size, &m, -1), "receive");
    check(ux_ring_send(&e->out, e->buffer, m.length, -1), "send");
  }
}

static void trips(long n, void *state) {
  struct ends *e = state;
  struct ux_ring_message m;
  while (n-- > 0) {
    check(ux_ring_send(&e->out, e->buffer, e->size, -1), "send");
    check(ux_ring_receive(&e->in, e->buffer, e->size, &m, -1), "receive");
  }
}

/* roundtrip n size cpu: through a duplex. */
static void roundtrip(char **words) {
  struct ends e;
  long n = number(words[0]);
  make(&e, UX_SEGMENT_DUPLEX, number(words[1]));
  start(&e, echo, n, number(words[2]));
  check(ux_duplex_init(&e.out, &e.in, &e.segment, 0), "duplex");
  measure(n, trips, &e);
  reap(e.child);
}

static void read_in_place(long n, void *state) {
  struct ends *e = state;
  struct ux_ring_message m;
  while (n > 0) {
    int err = ux_ring_peek(&e->ring, &m);
    if (err == 0) {
      memcpy(e->buffer, (const char *)m.data + m.length - 8, 8);
      check(ux_ring_release(&e->ring, m.position), "release");
      n--;
    } else if (err != EAGAIN) {
      check(err, "peek");
    } else if (!ux_ring_spin(&e->ring, UX_RING_GET)) {
      ux_ring_sleep(&e->ring, UX_RING_GET, 0);
    }
  }
}

/* inplace n size cpu: as single, but read where it stands. */
static void inplace(char **words) {
  struct ends e;
  long n = number(words[0]);
  make(&e, UX_SEGMENT_SPSC, number(words[1]));
  check(ux_ring_init(&e.ring, &e.segment, 0), "ring");
  start(&e, supply, n, number(words[2]));
  measure(n, read_in_place, &e);
  reap(e.child);
}

int main(int argc, char **argv) {
  const struct command commands[] = {
    {"single", 3, single},
    {"queue", 3, queue},
    {"inplace", 3, inplace},
    {"roundtrip", 3, roundtrip},
    {NULL, 0, NULL},
  };
  return dispatch(argc, argv, commands);
}
