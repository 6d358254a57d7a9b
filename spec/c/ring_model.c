/* All orders in which two or three participants of a ring can take their
   steps, with one of them killed at any step. usage: ring_model [scenario]

   The code is the library's own, built with its steps (make model). Each
   participant is a coroutine in this process; at each step any other may go
   on. A run is repeated from a copy of the memory with the next choices, until
   all were made (of three participants: all with so many changes that were not
   forced). Sleeping is modelled: who sleeps is woken by a wake alone, so a lost
   one is seen; slices end only once somebody was killed. */
#include "lib/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define ACTORS 3
#define DEPTH 4000
#define STACK 65536
#define MESSAGES 4

/* What the library calls when it is built for this. */
int ux_ring_test_spins = 1;
void ux_ring_step(const char *name);
int ux_ring_test_dead(uint32_t who);
int ux_ring_test_wait(const _Atomic uint32_t *word, uint32_t expected,
                      int64_t at);
int ux_ring_test_wake(const _Atomic uint32_t *word, int count);

/* ---- what an actor is and saw ------------------------------------------ */

struct actor {
  ucontext_t context;
  struct ux_segment segment;
  struct ux_ring ring, other;
  void (*body)(int self);
  bool is_there, is_finished, is_killed, is_inside;
  ptrdiff_t asleep_on; /* a word of the segment; 0: awake */
  int woken;           /* result of the wait */
  int sent, tried;
  int got[MESSAGES * 2], got_count;
  uint64_t lost;
  const char *step;
};

struct scenario {
  const char *name;
  struct ux_segment_options options;
  void (*bodies[ACTORS])(int self);
  void (*prepare)(void);
  void (*verify)(void);
  int changes; /* not forced, at most; -1: any */
  int kills;
  enum ux_ring_overflow overflow;
};

static const struct scenario *current;
static struct actor actors[ACTORS], saved_actors[ACTORS];
static char *saved_memory;
static char stacks[ACTORS][STACK];
static ucontext_t scheduler;
static int running, changes, kills, slices;

/* ---- choices ----------------------------------------------------------- */

static int chosen[DEPTH], options[DEPTH], depth, known;
static uint64_t runs;
static bool is_traced;

static void run(void);

static void fail(const char *why) {
  fprintf(stderr,
          "%s: %s, in run %llu\n",
          current->name,
          why,
          (unsigned long long)runs);
  for (int i = 0; i < ACTORS && actors[i].is_there; i++) {
    const struct actor *a = &actors[i];
    fprintf(stderr,
            "  actor %d%s%s at '%s': sent %d of %d, got",
            i,
            a->is_killed ? " killed" : "",
            a->is_finished ? " finished" : "",
            a->step,
            a->sent,
            a->tried);
    for (int k = 0; k < a->got_count; k++) fprintf(stderr, " %d", a->got[k]);
    fprintf(stderr, "\n");
  }
  fprintf(stderr, "  choices:");
  for (int i = 0; i < depth; i++)
    fprintf(stderr, " %d/%d", chosen[i], options[i]);
  fprintf(stderr, "\n");
  if (is_traced) exit(1);
  is_traced = true; /* once more, telling each step */
  depth = known;
  run();
  exit(1);
}

static void check(bool ok, const char *why) {
  if (!ok) fail(why);
}

static int choose(int count) {
  if (count == 1) return 0;
  if (depth == DEPTH) fail("a run without end");
  if (depth == known) {
    chosen[known] = 0;
    options[known++] = count;
  }
  check(options[depth] == count, "a run that is not the same twice");
  return chosen[depth++];
}

static bool next_choices(void) {
  while (known > 0 && chosen[known - 1] + 1 == options[known - 1]) known--;
  if (known == 0) return false;
  chosen[known - 1]++;
  return true;
}

/* ---- the scheduler ----------------------------------------------------- */

static bool can_run(int i) {
  const struct actor *a = &actors[i];
  return a->is_there && !a->is_finished && !a->is_killed && a->asleep_on == 0;
}

static bool may_die(int i) {
  const struct actor *a = &actors[i];
  return kills < current->kills && a->is_there && !a->is_finished &&
         !a->is_killed;
}

/* The end of a slice, for all that sleep. */
static bool end_slices(void) {
  bool is_any = false;
  if (kills == 0 || ++slices > 20) return false;
  for (int i = 0; i < ACTORS; i++) {
    struct actor *a = &actors[i];
    if (!a->is_there || a->is_killed || a->asleep_on == 0) continue;
    a->asleep_on = 0;
    a->woken = ETIMEDOUT;
    is_any = true;
  }
  return is_any;
}

/* Who goes on: first the one that runs, then the others, then deaths. -1:
   nobody is left. */
static int pick(void) {
  for (;;) {
    int list[2 * ACTORS], n = 0;
    bool is_free = can_run(running);
    if (is_free) list[n++] = running;
    if (!is_free || current->changes < 0 || changes < current->changes)
      for (int i = 0; i < ACTORS; i++)
        if (i != running && can_run(i)) list[n++] = i;
    if (n == 0) {
      if (end_slices()) continue;
      return -1;
    }
    for (int i = 0; i < ACTORS; i++)
      if (may_die(i)) list[n++] = ACTORS + i;
    int who = list[choose(n)];
    if (who < ACTORS) {
      if (is_free && who != running) changes++;
      return who;
    }
    actors[who - ACTORS].is_killed = true;
    kills++;
  }
}

/* From a step, a wait or the end of an actor to whoever is picked. */
static void go_on(void) {
  int from = running, to = pick();
  if (to == from) return;
  if (to < 0) {
    setcontext(&scheduler);
  } else {
    running = to;
    swapcontext(&actors[from].context, &actors[to].context);
  }
}

static bool is_modelled;

void ux_ring_step(const char *name) {
  if (!is_modelled) return;
  actors[running].step = name;
  if (is_traced) fprintf(stderr, "    %d %s\n", running, name);
  go_on();
}

int ux_ring_test_dead(uint32_t who) {
  for (int i = 0; i < ACTORS; i++)
    if (actors[i].is_there && ux_segment_self(&actors[i].segment) == who)
      return actors[i].is_killed;
  return -1;
}

/* Each has the memory at another address. */
static ptrdiff_t place_of(const _Atomic uint32_t *word) {
  return (const char *)word - (const char *)actors[running].segment.at;
}

int ux_ring_test_wait(const _Atomic uint32_t *word, uint32_t expected,
                      int64_t at) {
  (void)at;
  struct actor *a = &actors[running];
  if (!is_modelled) return ETIMEDOUT;
  ux_ring_step("wait");
  if (*word != expected) return EAGAIN;
  a->asleep_on = place_of(word);
  a->woken = 0;
  go_on();
  return a->woken;
}

/* Which one of several is woken is a choice too. */
int ux_ring_test_wake(const _Atomic uint32_t *word, int count) {
  int woken = 0;
  if (!is_modelled) return 0;
  ux_ring_step("waking");
  while (woken < count) {
    int list[ACTORS], n = 0;
    for (int i = 0; i < ACTORS; i++)
      if (actors[i].asleep_on == place_of(word) && !actors[i].is_killed)
        list[n++] = i;
    if (n == 0) break;
    actors[list[choose(n)]].asleep_on = 0;
    woken++;
  }
  return woken;
}

static void enter(unsigned self) {
  actors[self].body((int)self);
  actors[self].is_finished = true;
  actors[self].step = "end";
  go_on();
}

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

static void produce(int self, int count) {
  struct actor *a = &actors[self];
  char buffer[LENGTH];
  for (int i = 1; i <= count; i++) {
    a->tried = i;
    fill(buffer, self * 16 + i);
    while (wait_again(
      &a->ring, UX_RING_PUT, ux_ring_put(&a->ring, buffer, LENGTH, 0))) {
    }
    a->sent = i;
  }
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

/* What is left in the ring, as one finds it who comes afterwards. */
static struct actor leftover;

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

#define QUEUE \
  { .kind = UX_SEGMENT_QUEUE, .capacity = 1024, .slots = 4 }
#define SPSC \
  { .kind = UX_SEGMENT_SPSC, .capacity = 1024, .slots = 4 }
#define BROADCAST(p) \
  { .kind = UX_SEGMENT_BROADCAST, .capacity = 1024, .slots = 4, .policy = (p) }

static const struct scenario scenarios[] = {
  {"queue", QUEUE, {produce_2, consume_2}, none, verify_awake, 5, 1, 0},
  {"queue-full", QUEUE, {produce_4, consume_3}, none, verify_queue, 3, 1, 0},
  {"producers",
   QUEUE,
   {produce_1, produce_1, consume_2},
   none,
   verify_awake,
   3,
   1,
   0},
  {"consumers",
   QUEUE,
   {produce_2, consume_1, consume_1},
   none,
   verify_awake,
   2,
   1,
   0},
  {"loan", QUEUE, {lend, consume_2}, none, verify_awake, 4, 1, 0},
  {"loan-and-put",
   QUEUE,
   {lend, produce_1, consume_2},
   none,
   verify_queue,
   2,
   1,
   0},
  {"peek", QUEUE, {produce_2, peek_2}, none, verify_queue, 4, 1, 0},
  {"peekers",
   QUEUE,
   {produce_2, peek_1, consume_1},
   none,
   verify_queue,
   2,
   1,
   0},
  {"peek-full", QUEUE, {produce_4, peek_2}, none, verify_awake, 2, 1, 0},
  {"drop-oldest",
   QUEUE,
   {produce_4, consume_1},
   none,
   none,
   4,
   1,
   UX_RING_DROP_OLDEST},
  {"spsc", SPSC, {produce_3, consume_3}, none, verify_awake, 5, 1, 0},
  {"spsc-full", SPSC, {produce_4, consume_3}, none, verify_queue, 5, 1, 0},
  {"gate",
   BROADCAST(UX_SEGMENT_GATE),
   {produce_3, consume_3},
   subscribe,
   verify_each,
   4,
   1,
   0},
  {"gate-two",
   BROADCAST(UX_SEGMENT_GATE),
   {produce_4, consume_3, consume_3},
   subscribe,
   verify_each,
   2,
   1,
   0},
  {"lap",
   BROADCAST(UX_SEGMENT_LAP),
   {produce_4, consume_1},
   subscribe,
   verify_each,
   5,
   1,
   0},
};

/* ---- runs -------------------------------------------------------------- */

static struct ux_segment root;

static void attach(struct actor *a, int fd) {
  int err = ux_segment_adopt(&a->segment, fd);
  check(err == 0, "adopt");
  check(ux_ring_init(&a->ring, &a->segment, 0) == 0, "init");
  a->ring.overflow = current->overflow;
}

static void set_up(const struct scenario *s) {
  current = s;
  memset(actors, 0, sizeof actors);
  check(ux_segment_create(&root, NULL, 0600, &s->options) == 0, "create");
  for (int i = 0; i < ACTORS && s->bodies[i] != NULL; i++) {
    attach(&actors[i], root.fd);
    actors[i].is_there = true;
    actors[i].body = s->bodies[i];
    actors[i].step = "start";
  }
  leftover = (struct actor){.is_there = true};
  leftover.ring.segment = &root;
  check(ux_ring_init(&leftover.ring, &root, 0) == 0, "init");
  s->prepare();
  saved_memory = malloc(root.size);
  memcpy(saved_memory, root.at, root.size);
  memcpy(saved_actors, actors, sizeof actors);
}

static void restore(void) {
  memcpy(root.at, saved_memory, root.size);
  memcpy(actors, saved_actors, sizeof actors);
  check(ux_ring_init(&leftover.ring, &root, 0) == 0, "init");
  running = changes = kills = slices = depth = 0;
  for (unsigned i = 0; i < ACTORS && actors[i].is_there; i++) {
    getcontext(&actors[i].context);
    actors[i].context.uc_stack.ss_sp = stacks[i];
    actors[i].context.uc_stack.ss_size = STACK;
    makecontext(&actors[i].context, (void (*)(void))enter, 1, i);
  }
}

static void run(void) {
  volatile bool is_back = false;
  restore();
  is_modelled = true;
  getcontext(&scheduler);
  if (!is_back) {
    is_back = true;
    setcontext(&actors[0].context);
  }
  is_modelled = false;
  current->verify();
  runs++;
}

static void tear_down(void) {
  for (int i = 0; i < ACTORS; i++)
    if (saved_actors[i].is_there) ux_segment_detach(&actors[i].segment);
  ux_segment_detach(&root);
  free(saved_memory);
}

static void explore(const struct scenario *s) {
  set_up(s);
  runs = 0;
  known = 0;
  do {
    run();
  } while (next_choices());
  printf("%-14s %10llu runs\n", s->name, (unsigned long long)runs);
  fflush(stdout);
  tear_down();
}

int main(int argc, char **argv) {
  for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
    if (argc < 2 || strcmp(argv[1], scenarios[i].name) == 0)
      explore(&scenarios[i]);
  return 0;
}
