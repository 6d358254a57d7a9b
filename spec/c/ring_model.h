/* The scheduler of ring_model: actors are coroutines, and every choice, who
   goes on, who is woken, who dies, is made in all ways. Included once. */
#ifndef RING_MODEL_H
#define RING_MODEL_H

#include "lib/ring.h"
#include "lib/ring_layout.h"
#include "lib/segment_inner.h"

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
  bool is_told, has_left, is_listening, is_client;
  ptrdiff_t asleep_on; /* a word of the segment; 0: awake */
  int woken;           /* result of the wait */
  int sent, tried;
  int got[MESSAGES * 2], got_count;
  uint64_t lost, position;
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

#endif
