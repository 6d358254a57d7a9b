/* Kills participants of a ring and looks whether the others notice.
   usage: ring_storm rounds [mode [slowness]]      at any instruction
          ring_storm steps [mode [slowness]]       at each step, and who
                                                   recovers from that, too
          ring_storm stop SECONDS [mode [slowness]] stopped at each step

   (The latter two are built with UX_RING_TEST.) A worker puts, gets or does
   both without end. In each round one of them is killed and a new one takes
   its place. Then all must go on within a second (times the slowness), and:
   each producer's messages come in order, what a killed consumer had peeked at
   behind what others took meanwhile; none comes twice; none is lost, but for
   what a killed consumer may have taken and not have told of. */
#include "ring_storm_parent.h"
#include "ring_storm_stop.h"

#define CHUNK 1000

/* ---- at any instruction ------------------------------------------------ */

static int pick_victim(void) {
  int i;
  do i = rand() % WORKERS;
  while (mode->bodies[i] == NULL);
  return i;
}

static void storm(const struct mode *m, int rounds) {
  open_mode(m);
  for (int k = 0; k < rounds; k++) {
    int i = pick_victim();
    pause_for(rand() % 300000);
    end_worker(i);
    if (k % 4 == 0) expect_without(i);
    if (k % 8 == 1) ux_segment_reap(&segment);
    begin(i);
    expect_progress(NOBODY);
    if (k % 4 == 0) expect_all();
  }
  close_mode();
  tell_mode();
  printf("\n");
  fflush(stdout);
}

/* ---- at each step ------------------------------------------------------ */

#define STEPS 60
#define REST (UX_NS_PER_S / 500)

static struct {
  const char *name;
  unsigned count;
} tally[2 * NAMES];

static void note_hit(int which) {
  const char *name = atomic_load(&shared->hit[which].name);
  if (name == NULL) return;
  for (int i = 0; i < 2 * NAMES; i++) {
    if (tally[i].name != NULL && !is_name(tally[i].name, name)) continue;
    tally[i].name = name;
    tally[i].count++;
    return;
  }
}

/* Kills, or stops for a moment, a worker at one of its next steps. */
static bool hit_step(int i, const char *target, int step, int sig) {
  aim(i, target, step, sig);
  if (!is_hit(i, UX_NS_PER_S / 2)) {
    if (!disarm()) return false;
    if (!is_hit(i, patience)) give_up("was hit, and is not", i);
  }
  disarm();
  note_hit(0);
  if (sig == SIGSTOP) {
    pause_for(REST);
    kill(pids[i], SIGCONT);
  } else {
    note_kill(i);
    begin(i);
  }
  expect_all();
  return true;
}

/* Steps that are taken once, at the start. */
static void hit_name(int i, const char *name, int sig) {
  if (hit_step(i, name, 0, sig)) return;
  aim(i, name, 0, sig);
  end_worker(i);
  begin(i);
  hit_step(i, name, 0, sig);
}

/* One is killed at a step, and whoever recovers what it left behind at that. */
static void hit_two(int i, const char *name, const char *second) {
  aim(i, name, 0, SIGKILL);
  atomic_store(&shared->second, second);
  if (!is_hit(i, UX_NS_PER_S / 5)) {
    if (disarm()) is_hit(i, patience);
    if (atomic_load(&shared->hit_count) == 0) return;
  }
  note_kill(i);
  note_hit(0);
  for (int k = 0; k < 30 && atomic_load(&shared->hit_count) < 2; k++)
    pause_for(REST);
  disarm();
  if (atomic_load(&shared->hit_count) == 2) {
    int other = atomic_load(&shared->hit[1].who);
    if (!is_hit(other, patience)) give_up("was hit, and is not", other);
    note_hit(1);
    note_kill(other);
    begin(other);
  }
  begin(i);
  expect_all();
}

static void hit_all(int i) {
  const char *names_of[NAMES];
  for (int step = 0; step < STEPS; step++) {
    hit_step(i, NULL, step, SIGKILL);
    hit_step(i, NULL, step, SIGSTOP);
  }
  for (int k = 0; k < NAMES; k++)
    names_of[k] = atomic_load(&shared->names[i][k]);
  for (int k = 0; k < NAMES && names_of[k] != NULL; k++) {
    hit_name(i, names_of[k], SIGKILL);
    hit_name(i, names_of[k], SIGSTOP);
    hit_two(i, names_of[k], "*dead");
    hit_two(i, names_of[k], "*dead");
    hit_two(i, names_of[k], NULL); /* the next step of anybody */
  }
}

static void steps(const struct mode *m) {
  open_mode(m);
  memset(tally, 0, sizeof tally);
  for (int i = 0; i < WORKERS; i++)
    if (is_role(m, i)) hit_all(i);
  close_mode();
  tell_mode();
  printf("\n  at");
  for (int k = 0; k < 2 * NAMES && tally[k].count > 0; k++)
    printf(" '%s' %u", tally[k].name, tally[k].count);
  printf("\n");
  fflush(stdout);
}

/* ---- which ------------------------------------------------------------- */

static void run(const struct mode *m, const char *what, int number) {
  if (strcmp(what, "steps") == 0)
    steps(m);
  else if (strcmp(what, "stop") == 0)
    stop_at_steps(m, number);
  else
    for (int left = number; left > 0; left -= CHUNK) /* numbers run out */
      storm(m, left < CHUNK ? left : CHUNK);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "100";
  bool is_stop = strcmp(what, "stop") == 0;
  int number = atoi(is_stop && argc > 2 ? argv[2] : what);
  if (is_stop) argv++, argc--;
  const char *only = argc > 2 && argv[2][0] != '\0' ? argv[2] : NULL;
  patience = (argc > 3 ? atoi(argv[3]) : 1) * UX_NS_PER_S;
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  new_shared();
  srand((unsigned)ux_clock_now());
  for (int i = 0; i < MODES; i++)
    if (only == NULL || strcmp(only, modes[i].name) == 0)
      run(&modes[i], what, number);
  return 0;
}
