/* All orders in which two or three participants of a ring can take their
   steps, with one of them killed at any step. usage: ring_model [scenario]

   The code is the library's own, built with its steps (make model). Each
   participant is a coroutine in this process; at each step any other may go
   on. A run is repeated from a copy of the memory with the next choices, until
   all were made (of three participants: all with so many changes that were not
   forced). Sleeping is modelled: who sleeps is woken by a wake alone, so a lost
   one is seen; slices end only once somebody was killed. */
#include "ring_model_actors.h"
#include "ring_model_bell.h"
#include "ring_model_pairs.h"

/* ---- scenarios --------------------------------------------------------- */

#define QUEUE \
  { .kind = UX_SEGMENT_QUEUE, .capacity = 1024, .slots = 4 }
#define SPSC \
  { .kind = UX_SEGMENT_SPSC, .capacity = 1024, .slots = 4 }
#define DUPLEX \
  { .kind = UX_SEGMENT_DUPLEX, .capacity = 1024, .slots = 4 }
#define SERVICE(r) \
  { \
    .kind = UX_SEGMENT_SERVICE, .capacity = 1024, .reply_capacity = 1024, \
    .slots = 4, .retry = (r) \
  }
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
  {"room",
   QUEUE,
   {get_first, produce_1, produce_1},
   fill_up,
   check_finished,
   3,
   0,
   0},
  {"shut",
   QUEUE,
   {produce_or_end, consume_until_end, shut},
   none,
   verify_end,
   4,
   1,
   0},
  {"shut-gate",
   BROADCAST(UX_SEGMENT_GATE),
   {produce_or_end, consume_until_end, shut},
   subscribe,
   verify_end,
   4,
   1,
   0},
  {"give-back",
   QUEUE,
   {give_back_first, release_first, take_many},
   peek_both,
   verify_queue,
   4,
   0,
   0},
  {"release",
   QUEUE,
   {produce_second, consume_1, release_first},
   peek_first,
   verify_awake,
   5,
   0,
   0},
  {"bell",
   QUEUE,
   {poll_and_get, produce_1, produce_1},
   hang_bells,
   verify_bell,
   3,
   1,
   0},
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
  {"duplex",
   DUPLEX,
   {ask_end, answer_end},
   connect_ends,
   verify_ends,
   5,
   1,
   0},
  {"duplex-both",
   DUPLEX,
   {ask_end, ask_end},
   connect_ends,
   verify_ends,
   5,
   1,
   0},
  {"duplex-leave",
   DUPLEX,
   {say_and_leave, hear_until_end},
   connect_ends,
   verify_ends,
   5,
   1,
   0},
  {"service-fail",
   SERVICE(false),
   {ask, serve_1},
   begin_clients,
   verify_service,
   4,
   1,
   0},
  {"service-retry",
   SERVICE(true),
   {ask, serve_1},
   begin_clients,
   verify_service,
   4,
   1,
   0},
  {"servers-fail",
   SERVICE(false),
   {ask, serve_1, serve_1},
   begin_clients,
   verify_service,
   2,
   1,
   0},
  {"servers-retry",
   SERVICE(true),
   {ask, serve_1, serve_1},
   begin_clients,
   verify_service,
   2,
   1,
   0},
  {"clients-fail",
   SERVICE(false),
   {ask, ask, serve_2},
   begin_clients,
   verify_service,
   2,
   1,
   0},
  {"clients-retry",
   SERVICE(true),
   {ask, ask, serve_2},
   begin_clients,
   verify_service,
   2,
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
