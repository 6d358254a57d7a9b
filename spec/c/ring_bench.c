/* How fast the ring is, alone. usage: ring_bench [millions of messages]
   Messages of 64 bytes between processes, copied in and out; with two
   processors, each side on its own. ns a message, best and middle of seven. */
#include "lib/clock.h"
#include "lib/ring.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES 64
#define BATCH 32
#define ROUNDS 7

static struct ux_segment segment;
static struct ux_ring ring;
static uint64_t count;
static bool is_one_core;

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(is_one_core ? 0 : (unsigned)cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

static void must(int err) {
  if (err == 0) return;
  fprintf(stderr, "ring_bench: %s\n", strerror(err));
  exit(1);
}

static bool again(enum ux_ring_side side, int err) {
  if (err == 0) return false;
  if (err != EAGAIN && err != EBUSY) must(err);
  if (!ux_ring_spin(&ring, side)) must(ux_ring_sleep(&ring, side, 0));
  return true;
}

static void send_each(uint64_t n) {
  char text[BYTES] = "";
  for (uint64_t i = 0; i < n; i++) {
    memcpy(text, &i, sizeof i);
    must(ux_ring_send(&ring, text, BYTES, -1));
  }
}

static void receive_each(uint64_t n) {
  char text[BYTES];
  struct ux_ring_message m;
  for (uint64_t i = 0; i < n; i++)
    must(ux_ring_receive(&ring, text, BYTES, &m, -1));
}

static void send_many(uint64_t n) {
  static char text[BATCH][BYTES];
  struct ux_ring_item items[BATCH];
  size_t done = 0;
  for (int i = 0; i < BATCH; i++)
    items[i] = (struct ux_ring_item){text[i], BYTES, 0};
  for (uint64_t i = 0; i < n; i += done) {
    size_t some = n - i < BATCH ? n - i : BATCH;
    while (again(UX_RING_PUT, ux_ring_put_many(&ring, items, some, &done))) {
    }
  }
}

static void receive_many(uint64_t n) {
  static char buffer[BATCH * (BYTES + sizeof(struct ux_ring_packed))];
  size_t got = 0, needed;
  for (uint64_t i = 0; i < n; i += got) {
    size_t some = n - i < BATCH ? n - i : BATCH;
    while (again(
      UX_RING_GET,
      ux_ring_get_many(&ring, buffer, sizeof buffer, some, &got, &needed))) {
    }
  }
}

static void send_quietly(uint64_t n) {
  char text[BYTES] = "";
  for (uint64_t i = 0; i < n; i++) {
    while (again(UX_RING_PUT, ux_ring_put_quietly(&ring, text, BYTES, 0))) {
    }
    if (i % BATCH == BATCH - 1) ux_ring_publish(&ring);
  }
  ux_ring_publish(&ring);
}

struct row {
  const char *name;
  enum ux_segment_kind kind;
  void (*send)(uint64_t n);
  void (*receive)(uint64_t n);
  int each_side;
};

static const struct row rows[] = {
  {"spsc", UX_SEGMENT_SPSC, send_each, receive_each, 1},
  {"spsc, published each 32nd",
   UX_SEGMENT_SPSC,
   send_quietly,
   receive_each,
   1},
  {"spsc, batches of 32", UX_SEGMENT_SPSC, send_many, receive_many, 1},
  {"queue, 1 to 1", UX_SEGMENT_QUEUE, send_each, receive_each, 1},
  {"queue, batches of 32", UX_SEGMENT_QUEUE, send_many, receive_many, 1},
  {"queue, 2 to 2", UX_SEGMENT_QUEUE, send_each, receive_each, 2},
};

static void start(int cpu, uint64_t n, void (*work)(uint64_t n)) {
  if (fork() != 0) return;
  pin(cpu);
  must(ux_ring_init(&ring, &segment, 0));
  work(n);
  ux_ring_done(&ring);
  _exit(0);
}

static double run(const struct row *row) {
  struct ux_segment_options o = {.kind = row->kind};
  uint64_t n = count / (uint64_t)row->each_side;
  must(ux_segment_create(&segment, NULL, 0600, &o));
  int64_t begin = ux_clock_now();
  for (int i = 0; i < row->each_side; i++) {
    start(i, n, row->send);
    start(1 - i, n, row->receive);
  }
  while (wait(NULL) > 0) {
  }
  double ns = (double)(ux_clock_now() - begin) / (double)count;
  ux_segment_detach(&segment);
  return ns;
}

static void echo(uint64_t n, uint32_t end) {
  struct ux_ring out, in;
  struct ux_ring_message m;
  char text[BYTES] = "";
  must(ux_duplex_init(&out, &in, &segment, end));
  for (uint64_t i = 0; i < n; i++) {
    if (end == 0) must(ux_ring_send(&out, text, BYTES, -1));
    must(ux_ring_receive(&in, text, BYTES, &m, -1));
    if (end == 1) must(ux_ring_send(&out, text, BYTES, -1));
  }
}

static double round_trip(void) {
  struct ux_segment_options o = {.kind = UX_SEGMENT_DUPLEX};
  uint64_t n = count / 20;
  must(ux_segment_create(&segment, NULL, 0600, &o));
  if (fork() == 0) {
    pin(1);
    echo(n, 1);
    _exit(0);
  }
  pin(0);
  int64_t begin = ux_clock_now();
  echo(n, 0);
  double ns = (double)(ux_clock_now() - begin) / (double)n;
  wait(NULL);
  ux_segment_detach(&segment);
  return ns;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void tell(const char *name, double ns[ROUNDS]) {
  qsort(ns, ROUNDS, sizeof ns[0], by_size);
  printf("%-32s %8.1f %8.1f\n", name, ns[0], ns[ROUNDS / 2]);
  fflush(stdout);
}

int main(int argc, char **argv) {
  double ns[ROUNDS];
  count = (argc > 1 ? strtoull(argv[1], NULL, 10) : 2) * 1000000;
  printf("%-32s %8s %8s\n", "64 bytes, ns", "best", "middle");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    for (int k = 0; k < ROUNDS; k++) ns[k] = run(&rows[i]);
    tell(rows[i].name, ns);
  }
  for (int k = 0; k < ROUNDS; k++) ns[k] = round_trip();
  tell("round trip", ns);
  is_one_core = true;
  for (int k = 0; k < ROUNDS; k++) ns[k] = round_trip();
  tell("round trip, one core", ns);
  return 0;
}
