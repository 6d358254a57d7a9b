/* What the workers of ring_storm do, each without end, and the modes in which
   they do it together. */
#ifndef RING_STORM_WORKERS_H
#define RING_STORM_WORKERS_H

#include "ring_storm.h"
#include "ring_storm_names.h"

#include <sys/prctl.h>
#include <sys/wait.h>

/* ---- waiting ----------------------------------------------------------- */

/* With a publisher that throws out who leaves no room. */
static int sleep_or_evict(struct ux_ring *r, enum ux_ring_side side) {
  uint32_t n;
  bool evicts = side == UX_RING_PUT &&
                r->segment->options.kind == UX_SEGMENT_BROADCAST &&
                r->segment->options.policy == UX_SEGMENT_EVICT;
  if (!evicts) return ux_ring_sleep(r, side, 0);
  int err = ux_ring_sleep(r, side, ux_clock_now() + UX_NS_PER_S / 200);
  if (err != ETIMEDOUT) return err;
  err = ux_ring_evict(r, sizeof(struct message), &n);
  return err == EBUSY ? 0 : err;
}

static bool again(struct ux_ring *r, enum ux_ring_side side, int err) {
  if (err == 0) return false;
  bool is_wait = err == EAGAIN || err == EBUSY;
  if (!is_wait) complain(side == UX_RING_PUT ? "put" : "get", 0, err);
  if (ux_ring_is_role_taken(r, side)) { /* of one that is not quite dead */
    usleep(1000);
    return true;
  }
  if (ux_ring_spin(r, side)) return true;
  err = sleep_or_evict(r, side);
  if (err != 0 && err != EINTR) complain("sleep", 0, err);
  return true;
}

static void start(struct ux_ring *r, uint32_t index) {
  int err = ux_ring_init(r, &segment, index);
  if (err != 0) complain("init", 0, err);
  r->overflow = mode->overflow;
}

/* ---- producers --------------------------------------------------------- */

static void send_one(struct ux_ring *r) {
  struct message m;
  size_t n = make(&m);
  while (again(r, UX_RING_PUT, ux_ring_put(r, &m, n, 0))) {
  }
  was_sent(&m);
}

static void produce(void) {
  struct ux_ring r;
  start(&r, 0);
  for (;;) send_one(&r);
}

static void produce_many(void) {
  struct ux_ring r;
  struct message m[8];
  struct ux_ring_item items[8];
  start(&r, 0);
  for (;;) {
    size_t done = 0, some;
    for (int i = 0; i < 8; i++)
      items[i] = (struct ux_ring_item){&m[i], make(&m[i]), 0};
    while (done < 8) {
      int err = ux_ring_put_many(&r, items + done, 8 - done, &some);
      if (again(&r, UX_RING_PUT, err)) continue;
      for (size_t i = done; i < done + some; i++) was_sent(&m[i]);
      done += some;
    }
  }
}

/* A message that stands where it was reserved. */
struct lent {
  struct ux_ring_loan loan;
  struct message message;
  size_t length;
};

static void reserve(struct ux_ring *r, struct lent *l) {
  size_t most = sizeof l->message;
  while (again(r, UX_RING_PUT, ux_ring_reserve(r, most, &l->loan))) {
  }
  l->length = make(&l->message);
}

static void commit(struct ux_ring *r, const struct lent *l) {
  ux_ring_step("filling");
  memcpy(l->loan.data, &l->message, l->length);
  int err = ux_ring_commit(r, &l->loan, l->length, 0);
  if (err != 0) complain("commit", l->message.id, err);
  was_sent(&l->message);
}

static void lend(void) {
  struct ux_ring r;
  struct lent l;
  start(&r, 0);
  for (;;) {
    reserve(&r, &l);
    commit(&r, &l);
  }
}

/* ---- a producer whose children use the ring too, and are killed -------- */

static void send_some_and_die(struct ux_ring *r, int count, pid_t parent) {
  struct message m;
  is_spare = true;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  for (int i = 0; i < count; i++) {
    size_t n = make(&m);
    if (ux_ring_put(r, &m, n, 0) != 0) break; /* behind a loan, perhaps */
    was_sent(&m);
  }
  raise(SIGKILL);
}

/* What the parent has lent stays its own. */
static void produce_forking(void) {
  struct ux_ring r;
  struct lent l;
  pid_t us = getpid();
  start(&r, 0);
  for (int i = 0;; i++) {
    bool is_lending = i % 2 == 1;
    if (is_lending) reserve(&r, &l);
    pid_t child = fork();
    if (child == 0) send_some_and_die(&r, i % 5, us);
    if (child > 0) waitpid(child, NULL, 0);
    if (is_lending) commit(&r, &l);
    for (int k = 0; k < 10; k++) send_one(&r);
  }
}

/* ---- consumers --------------------------------------------------------- */

static int how_spsc(void) {
  return mode->options.kind == UX_SEGMENT_SPSC ? GAPLESS : 0;
}

static void consume(void) {
  struct ux_ring r;
  struct message m;
  struct ux_ring_message got;
  start(&r, 0);
  for (;;) {
    while (again(&r, UX_RING_GET, ux_ring_get(&r, &m, sizeof m, &got))) {
    }
    was_got(&m, got.length, how_spsc(), 0);
  }
}

static void consume_many(void) {
  struct ux_ring r;
  _Alignas(8) char buffer[8 * 512];
  size_t count, needed;
  start(&r, 0);
  for (;;) {
    while (
      again(&r,
            UX_RING_GET,
            ux_ring_get_many(&r, buffer, sizeof buffer, 8, &count, &needed))) {
    }
    const char *at = buffer;
    for (size_t i = 0; i < count; i++) {
      struct ux_ring_packed head;
      struct message m;
      const void *data = ux_ring_packed_next(&at, &head);
      memcpy(&m, data, head.length < sizeof m ? head.length : sizeof m);
      was_got(&m, head.length, how_spsc(), 0);
    }
  }
}

static void peek_at(struct ux_ring *r, int how) {
  struct message m;
  struct ux_ring_message got;
  int err;
  while (again(r, UX_RING_GET, ux_ring_peek(r, &got))) {
  }
  memcpy(&m, got.data, got.length < sizeof m ? got.length : sizeof m);
  ux_ring_step("reading");
  while ((err = ux_ring_release(r, got.position)) == EBUSY)
    ux_ring_sleep(r, UX_RING_GET, 0);
  if (err != 0) complain("release", m.id, err);
  was_got(&m, got.length, how, 0);
}

static void peek(void) {
  struct ux_ring r;
  start(&r, 0);
  for (;;) peek_at(&r, how_spsc());
}

/* ---- subscribers ------------------------------------------------------- */

/* Its position is lost with it: a new one begins at the newest. */
static void join_broadcast(struct ux_ring *r) {
  int err;
  while ((err = ux_ring_subscribe(r, UX_RING_NEW, 0)) == EBUSY)
    ux_ring_sleep(r, UX_RING_PUT, 0);
  if (err != 0) complain("subscribe", 0, err);
}

static void subscribe(void) {
  struct ux_ring r;
  struct message m;
  struct ux_ring_message got;
  bool is_new = false;
  start(&r, 0);
  join_broadcast(&r);
  for (;;) {
    int err = ux_ring_get(&r, &m, sizeof m, &got);
    if (err == ENOTCONN && mode->options.policy == UX_SEGMENT_EVICT) {
      join_broadcast(&r);
      is_new = true;
    } else if (!again(&r, UX_RING_GET, err)) {
      was_got(&m, got.length, EACH | GAPLESS, got.lost + is_new);
      is_new = false;
    }
  }
}

static void subscribe_peeking(void) {
  struct ux_ring r;
  start(&r, 0);
  join_broadcast(&r);
  for (;;) peek_at(&r, EACH | GAPLESS);
}

/* ---- duplex: both ends put and get ------------------------------------- */

static int take_some(struct ux_ring *in, int *count) {
  struct message m;
  struct ux_ring_message got;
  int err = 0;
  for (*count = 0; *count < 16; ++*count) {
    err = ux_ring_get(in, &m, sizeof m, &got);
    if (err != 0) break;
    was_got(&m, got.length, GAPLESS, 0);
  }
  return err;
}

/* It stays when the other one is gone, for the next one. */
static void exchange(void) {
  struct ux_ring out, in;
  struct message m;
  size_t n = 0;
  int count;
  if (ux_duplex_init(&out, &in, &segment, (uint32_t)self) != 0)
    complain("init", 0, 0);
  for (;;) {
    if (n == 0) n = make(&m);
    int put = ux_ring_put(&out, &m, n, 0);
    if (put == 0) {
      was_sent(&m);
      n = 0;
    }
    int get = take_some(&in, &count);
    if (put == EPIPE || get == EPIPE) {
      if (put == EPIPE && get == EPIPE)
        atomic_fetch_add(&shared->gone[self], 1);
      usleep(500);
    } else if (put != 0 && count == 0) {
      again(&out, UX_RING_PUT, put);
    } else if (count == 0) {
      again(&in, UX_RING_GET, get);
    }
  }
}

/* ---- service: every question is answered, though servers die ----------- */

static void wait_for_reply(struct ux_ring *replies, const struct message *m,
                           size_t length) {
  struct message back;
  struct ux_ring_message got;
  char buffer[UX_SERVICE_HEAD + sizeof back];
  for (uint64_t id = ~m->id;;) { /* a second reply to one before is left out */
    int err = ux_service_collect(replies, buffer, sizeof buffer, &got, &id);
    if (err == ECANCELED && segment.options.retry)
      complain("failed", m->id, err);
    if (err == ECANCELED && id == m->id) return;
    if (err == ECANCELED || again(replies, UX_RING_GET, err)) continue;
    if (id != m->id) continue;
    if (got.length != length) complain("another reply", m->id, 0);
    memcpy(&back, got.data, got.length);
    if (back.id != m->id) complain("a reply to another", m->id, 0);
    return;
  }
}

static void ask(void) {
  struct ux_ring r, replies;
  struct message m;
  start(&r, 0);
  int err = ux_service_replies(&replies, &segment);
  if (err != 0) complain("replies", 0, err);
  for (;;) {
    struct iovec iov = {&m, make(&m)};
    while (again(&r, UX_RING_PUT, ux_service_ask(&r, &iov, 1, 0, m.id))) {
    }
    wait_for_reply(&replies, &m, iov.iov_len);
    was_sent(&m);
  }
}

static void serve(void) {
  struct ux_ring r, replies = {.segment = NULL};
  struct ux_service_request q;
  char buffer[UX_SERVICE_HEAD + sizeof(struct message)];
  start(&r, 0);
  for (;;) {
    while (
      again(&r, UX_RING_GET, ux_service_take(&r, buffer, sizeof buffer, &q))) {
    }
    struct iovec iov = {(void *)(uintptr_t)q.message.data, q.message.length};
    for (;;) {
      int err = ux_service_reply(&r, &replies, &q, &iov, 1, 0);
      if (err == ECONNRESET) break;
      if (!again(
            err == EBUSY && r.lock != NULL ? &r : &replies, UX_RING_PUT, err))
        break;
    }
    went_on();
  }
}

/* ---- what is left at the end ------------------------------------------- */

static void drain_ring(uint32_t index) {
  struct ux_ring r;
  struct message m;
  struct ux_ring_message got;
  start(&r, index);
  for (int tries = 0; tries < 100;) {
    int err = ux_ring_get(&r, &m, sizeof m, &got);
    if (err == EPIPE) break;
    if (err == EAGAIN || err == EBUSY) {
      ux_ring_sleep(&r, UX_RING_GET, ux_clock_now() + UX_NS_PER_S / 200);
      tries++;
      continue;
    }
    if (err != 0) complain("drain", 0, err);
    uint8_t before = atomic_fetch_or(&shared->state[m.id], GOT);
    if (before & GOT) complain("twice, at the end", m.id, 0);
  }
}

static bool drain(void) {
  uint32_t rings = ux_segment_rings(&segment.options);
  for (uint32_t i = 0; i < rings; i++) drain_ring(i);
  return true;
}

static bool drain_nothing(void) {
  return false;
}

/* ---- modes ------------------------------------------------------------- */

static bool may_have_taken(int i) {
  void (*body)(void) = mode->bodies[i];
  return body == consume || body == consume_many || body == peek ||
         body == exchange;
}

/* taken: 1 unless it is said. */
#define QUEUE .options = {.kind = UX_SEGMENT_QUEUE, .capacity = 4096}
#define SPSC .options = {.kind = UX_SEGMENT_SPSC, .capacity = 4096}
#define DUPLEX .options = {.kind = UX_SEGMENT_DUPLEX, .capacity = 4096}
#define BROADCAST(p) \
  .options = { \
    .kind = UX_SEGMENT_BROADCAST, \
    .capacity = 4096, \
    .policy = UX_SEGMENT_##p, \
  }
#define SERVICE(r) \
  .options = { \
    .kind = UX_SEGMENT_SERVICE, \
    .capacity = 4096, \
    .reply_capacity = 4096, \
    .slots = 16, \
    .retry = (r), \
  }

static const struct mode modes[] = {
  {"queue", {produce, produce, consume, consume}, drain, QUEUE},
  {"many",
   {produce_many, produce, consume, consume_many},
   drain,
   QUEUE,
   .taken = 8},
  {"loan", {lend, lend, peek, peek}, drain, QUEUE, .is_redelivered = true},
  {"mixed",
   {lend, produce, peek, consume},
   drain,
   QUEUE,
   .is_redelivered = true},
  {"drop",
   {produce, produce_many, consume, consume},
   drain_nothing,
   QUEUE,
   .overflow = UX_RING_DROP_OLDEST},
  {"fork", {produce_forking, produce, consume, consume}, drain, QUEUE},
  {"spsc", {produce, consume}, drain, SPSC},
  {"spsc-many", {produce_many, consume_many}, drain, SPSC, .taken = 8},
  {"spsc-loan", {lend, peek}, drain, SPSC},
  {"duplex", {exchange, exchange}, drain, DUPLEX},
  {"gate",
   {produce, produce_many, subscribe, subscribe},
   drain_nothing,
   BROADCAST(GATE)},
  {"gate-loan",
   {lend, produce, subscribe_peeking, subscribe},
   drain_nothing,
   BROADCAST(GATE)},
  {"lap",
   {produce, produce, subscribe, subscribe},
   drain_nothing,
   BROADCAST(LAP)},
  {"evict",
   {produce, produce, subscribe, subscribe},
   drain_nothing,
   BROADCAST(EVICT)},
  {"retry", {ask, ask, serve, serve}, drain_nothing, SERVICE(true)},
  {"fail", {ask, ask, serve, serve}, drain_nothing, SERVICE(false)},
  {"names",
   {live_with_names, live_with_names, live_with_names, live_with_names},
   drain_names,
   QUEUE,
   .check = check_names},
};

#define MODES ((int)(sizeof modes / sizeof modes[0]))

#endif
