/* What actors of ring_model do in queues, spsc and broadcasts, and what must be
   true of them after each run. */
#ifndef RING_MODEL_ACTORS_H
#define RING_MODEL_ACTORS_H

#include "ring_model.h"

/* One who comes before, or afterwards. */
static struct actor leftover;

/* ---- what actors do ---------------------------------------------------- */

#define LENGTH 200 /* four of them fill a ring of 1024 */

static void fill(char *buffer, int value) {
  memset(buffer, value, LENGTH);
}

static int value_of(const char *buffer, size_t length) {
  check(length == LENGTH, "a message of another length");
  for (size_t i = 1; i < length; i++)
    check(buffer[i] == buffer[0], "a message half written");
  return buffer[0];
}

static bool wait_again(struct ux_ring *r, enum ux_ring_side side, int err) {
  if (err == 0) return false;
  check(err == EAGAIN || err == EBUSY, strerror(err));
  err = ux_ring_sleep(r, side, 0);
  check(err == 0, "sleep");
  return true;
}

static void produce_from(int self, int first, int last) {
  struct actor *a = &actors[self];
  char buffer[LENGTH];
  for (int i = first; i <= last; i++) {
    a->tried = i;
    fill(buffer, self * 16 + i);
    while (wait_again(
      &a->ring, UX_RING_PUT, ux_ring_put(&a->ring, buffer, LENGTH, 0))) {
    }
    a->sent = i;
  }
}

static void produce(int self, int count) {
  produce_from(self, 1, count);
}

static void produce_1(int self) {
  produce(self, 1);
}

static void produce_2(int self) {
  produce(self, 2);
}

static void produce_3(int self) {
  produce(self, 3);
}

static void produce_4(int self) {
  produce(self, 4);
}

static void lend(int self) {
  struct actor *a = &actors[self];
  struct ux_ring_loan loan;
  for (int i = 1; i <= 2; i++) {
    a->tried = i;
    while (wait_again(
      &a->ring, UX_RING_PUT, ux_ring_reserve(&a->ring, LENGTH + 50, &loan))) {
    }
    fill(loan.data, self * 16 + i);
    ux_ring_step("filled");
    check(ux_ring_commit(&a->ring, &loan, LENGTH, 0) == 0, "commit");
    a->sent = i;
  }
}

static void note(struct actor *a, int value) {
  a->got[a->got_count++] = value;
}

static void consume(int self, int count) {
  struct actor *a = &actors[self];
  struct ux_ring_message m;
  char buffer[LENGTH];
  for (int i = 0; i < count; i++) {
    a->is_inside = true;
    while (wait_again(&a->ring,
                      UX_RING_GET,
                      ux_ring_get(&a->ring, buffer, sizeof buffer, &m))) {
    }
    a->lost += m.lost;
    note(a, value_of(buffer, m.length));
    a->is_inside = false;
  }
}

static void consume_1(int self) {
  consume(self, 1);
}

static void consume_2(int self) {
  consume(self, 2);
}

static void consume_3(int self) {
  consume(self, 3);
}

static void peek_2(int self) {
  struct actor *a = &actors[self];
  struct ux_ring_message m;
  for (int i = 0; i < 2; i++) {
    while (wait_again(&a->ring, UX_RING_GET, ux_ring_peek(&a->ring, &m))) {
    }
    int value = value_of(m.data, m.length);
    ux_ring_step("read");
    a->is_inside = true;
    int err;
    while ((err = ux_ring_release(&a->ring, m.position)) == EBUSY)
      ux_ring_sleep(&a->ring, UX_RING_GET, 0);
    check(err == 0, "release");
    note(a, value);
    a->is_inside = false;
  }
}

static void peek_1(int self) {
  struct actor *a = &actors[self];
  struct ux_ring_message m;
  while (wait_again(&a->ring, UX_RING_GET, ux_ring_peek(&a->ring, &m))) {
  }
  int value = value_of(m.data, m.length), err;
  ux_ring_step("read");
  a->is_inside = true;
  while ((err = ux_ring_release(&a->ring, m.position)) == EBUSY)
    ux_ring_sleep(&a->ring, UX_RING_GET, 0);
  check(err == 0, "release");
  note(a, value);
  a->is_inside = false;
}

/* One has peeked at the first message, and only lets it go. */
static void peek_first(void) {
  struct ux_ring_message m;
  char buffer[LENGTH];
  fill(buffer, 1);
  check(ux_ring_put(&actors[0].ring, buffer, LENGTH, 0) == 0, "put");
  check(ux_ring_peek(&actors[2].ring, &m) == 0, "peek");
  actors[0].tried = actors[0].sent = 1;
  note(&actors[2], value_of(m.data, m.length));
  actors[2].position = m.position;
}

/* One looks at the first and gives it back, another has the second. */
static void peek_both(void) {
  struct ux_ring_message m;
  char buffer[LENGTH];
  for (int i = 1; i <= 3; i++) {
    fill(buffer, 16 + i);
    check(ux_ring_put(&actors[1].ring, buffer, LENGTH, 0) == 0, "put");
  }
  actors[1].tried = actors[1].sent = 3;
  for (int i = 0; i < 2; i++) {
    check(ux_ring_peek(&actors[i].ring, &m) == 0, "peek");
    actors[i].position = m.position;
  }
  note(&actors[1], 16 + 2);
}

static void give_back_first(int self) {
  struct actor *a = &actors[self];
  int err;
  while ((err = ux_ring_untake(&a->ring, a->position)) == EBUSY)
    ux_ring_sleep(&a->ring, UX_RING_GET, 0);
  check(err == 0, "give back");
}

static void take_many(int self) {
  struct actor *a = &actors[self];
  struct ux_ring_packed head;
  char buffer[3 * (LENGTH + sizeof head)];
  const char *at = buffer;
  size_t count, needed;
  a->is_inside = true;
  while (wait_again(
    &a->ring,
    UX_RING_GET,
    ux_ring_get_many(&a->ring, buffer, sizeof buffer, 3, &count, &needed))) {
  }
  for (size_t i = 0; i < count; i++) {
    const char *data = ux_ring_packed_next(&at, &head);
    note(a, value_of(data, head.length));
  }
  a->is_inside = false;
}

static void release_first(int self) {
  struct actor *a = &actors[self];
  int err;
  while ((err = ux_ring_release(&a->ring, a->position)) == EBUSY)
    ux_ring_sleep(&a->ring, UX_RING_GET, 0);
  check(err == 0, "release");
}

static void produce_second(int self) {
  produce_from(self, 2, 2);
}

/* The first message is as long as two others, of which there are two. */
static void fill_up(void) {
  static const char zeros[490];
  for (int i = 0; i < 3; i++)
    check(ux_ring_put(
            &leftover.ring, zeros, i == 0 ? sizeof zeros : LENGTH, 0) == 0,
          "put");
}

static void get_first(int self) {
  struct ux_ring_message m;
  char buffer[490];
  struct ux_ring *r = &actors[self].ring;
  while (
    wait_again(r, UX_RING_GET, ux_ring_get(r, buffer, sizeof buffer, &m))) {
  }
}

static void produce_or_end(int self) {
  struct actor *a = &actors[self];
  char buffer[LENGTH];
  int err;
  a->tried = 1;
  fill(buffer, self * 16 + 1);
  do err = ux_ring_put(&a->ring, buffer, LENGTH, 0);
  while (err != EPIPE && wait_again(&a->ring, UX_RING_PUT, err));
  if (err == 0) a->sent = 1;
}

static void consume_until_end(int self) {
  struct actor *a = &actors[self];
  struct ux_ring_message m;
  char buffer[LENGTH];
  int err;
  do {
    a->is_inside = true;
    err = ux_ring_get(&a->ring, buffer, sizeof buffer, &m);
    if (err == 0) note(a, value_of(buffer, m.length));
    a->is_inside = false;
  } while (err == 0 ||
           (err != EPIPE && wait_again(&a->ring, UX_RING_GET, err)));
  a->is_told = true;
}

static void shut(int self) {
  check(ux_segment_close(&actors[self].segment) == 0, "close");
}

/* ---- what must be true after a run ------------------------------------- */

static bool is_anybody_killed(void) {
  return kills > 0;
}

/* Of each producer: what others got from it, in order and nothing left out,
   as far as it was sent; it may be one more, if it was killed in the middle. */
static int seen[ACTORS][MESSAGES + 1];

static void count_seen(void) {
  memset(seen, 0, sizeof seen);
  for (int i = 0; i < ACTORS; i++) {
    int last[ACTORS] = {0};
    for (int k = 0; k < actors[i].got_count; k++) {
      int from = actors[i].got[k] / 16, n = actors[i].got[k] % 16;
      check(from < ACTORS && n >= 1 && n <= actors[from].tried, "invented");
      check(n > last[from], "out of order");
      last[from] = n;
      seen[from][n]++;
    }
  }
}

/* What is left in the ring. */
static void drain(void) {
  struct ux_ring_message m;
  char buffer[LENGTH];
  int err, tries = 0;
  struct actor *a = &leftover;
  a->got_count = 0;
  if (current->options.kind ==
      UX_SEGMENT_SPSC) /* the role is the consumer's */
    check(ux_ring_init(&a->ring, &actors[1].segment, 0) == 0, "init");
  for (;;) {
    err = ux_ring_get(&a->ring, buffer, sizeof buffer, &m);
    if (err == EAGAIN && ++tries > 3) break;
    if (err == EAGAIN || err == EBUSY) continue;
    check(err == 0, "what is left cannot be read");
    int value = value_of(buffer, m.length);
    int from = value / 16, n = value % 16;
    check(from < ACTORS && n >= 1 && n <= actors[from].tried, "invented");
    seen[from][n]++;
    a->got_count++;
  }
}

/* May have been taken by one who was killed before it could say so. */
static int unsaid(void) {
  int n = 0;
  for (int i = 0; i < ACTORS; i++)
    if (actors[i].is_killed && actors[i].is_inside) n++;
  return n;
}

static void check_finished(void) {
  for (int i = 0; i < ACTORS; i++) {
    const struct actor *a = &actors[i];
    if (!a->is_there || a->is_finished || a->is_killed) continue;
    if (!is_anybody_killed()) fail("asleep for ever");
  }
}

static void verify_queue(void) {
  check_finished();
  count_seen();
  drain();
  int missing = 0;
  for (int i = 0; i < ACTORS; i++)
    for (int n = 1; n <= actors[i].sent; n++) {
      if (seen[i][n] == 0) missing++;
      check(seen[i][n] <= 1, "twice");
    }
  check(missing <= unsaid(), "lost");
}

/* One who waits although there is something for it. */
static void verify_awake(void) {
  verify_queue();
  for (int i = 0; i < ACTORS; i++) {
    const struct actor *a = &actors[i];
    if (!a->is_there || a->is_finished || a->is_killed) continue;
    bool is_producer = a->tried > 0;
    check(is_producer || leftover.got_count == 0, "asleep beside a message");
    check(!is_producer || leftover.got_count >= 3, "asleep beside room");
  }
}

/* What was sent was got, by who was there until the end. */
static void verify_end(void) {
  check_finished();
  count_seen();
  check(!actors[1].is_told || seen[0][1] >= actors[0].sent, "came too late");
}

static void verify_each(void) {
  check_finished();
  for (int i = 1; i < ACTORS; i++) {
    const struct actor *a = &actors[i];
    if (!a->is_there) continue;
    uint64_t last = 0, skipped = 0;
    for (int k = 0; k < a->got_count; k++) {
      uint64_t n = (uint64_t)a->got[k] % 16;
      check(n > last, "out of order");
      skipped += n - last - 1;
      last = n;
    }
    check(skipped == a->lost, "lost, and not told so");
    check(a->is_killed || a->is_finished || actors[0].is_killed,
          "asleep for ever");
  }
}

static void subscribe(void) {
  for (int i = 1; i < ACTORS; i++)
    if (actors[i].is_there)
      check(ux_ring_subscribe(&actors[i].ring, UX_RING_NEW, 0) == 0,
            "subscribe");
}

static void none(void) {}

#endif
