/* The parent of ring_storm's workers: begins and ends them, and looks whether
   all go on and nothing is lost. */
#ifndef RING_STORM_PARENT_H
#define RING_STORM_PARENT_H

#include "ring_storm_workers.h"

#include <time.h>

static pid_t pids[WORKERS];
static uint64_t kills[2]; /* of others; of those that may have taken some */

/* ---- workers ----------------------------------------------------------- */

static void begin(int i) {
  atomic_fetch_add(&shared->births[i], 1);
  atomic_store(&shared->numbers[i], 0);
  pids[i] = fork();
  if (pids[i] != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  self = i;
  mode->bodies[i]();
}

static void end_all(void) {
  for (int k = 0; k < WORKERS; k++)
    if (pids[k] > 0 && kill(pids[k], SIGKILL) == 0) waitpid(pids[k], NULL, 0);
}

/* What the kernel says of a worker: running, asleep and where, a zombie. */
static void tell_state(int i) {
  char path[64], line[512] = "";
  const char *files[] = {"stat", "wchan", "syscall"};
  for (int k = 0; k < 3; k++) {
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pids[i], files[k]);
    FILE *f = fopen(path, "r");
    if (f == NULL) continue;
    if (fgets(line, sizeof line, f) != NULL)
      fprintf(stderr, "  worker %d %s: %.60s\n", i, files[k], line);
    fclose(f);
  }
}

static void give_up(const char *what, int i) {
  tell_state(i);
  const char *hit = atomic_load(&shared->hit[0].name);
  fprintf(stderr,
          "%s: worker %d %s (last hit at '%s')\n",
          mode->name,
          i,
          what,
          hit != NULL ? hit : "");
  end_all();
  sweep_names();
  _exit(1);
}

static void pause_for(int64_t ns) {
  struct timespec ts = ux_clock_timespec(ns);
  nanosleep(&ts, NULL);
}

/* Children of workers, once those are dead, are ours. */
static void bury(pid_t pid, int status) {
  for (int i = 0; i < WORKERS; i++)
    if (pids[i] == pid && !WIFSIGNALED(status)) give_up("complained", i);
}

static void bury_orphans(void) {
  int status;
  pid_t pid;
  if (mode->bodies[0] != produce_forking) return;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) bury(pid, status);
}

static void note_kill(int i) {
  kills[may_have_taken(i)]++;
  pids[i] = 0;
}

static void end_worker(int i) {
  int status;
  kill(pids[i], SIGKILL);
  waitpid(pids[i], &status, 0);
  if (!WIFSIGNALED(status)) give_up("complained", i);
  note_kill(i);
  bury_orphans();
}

/* ---- patience ---------------------------------------------------------- */

/* Nobody is stuck who only waits for a processor on a busy machine: what all
   wait for that together (of /proc/PID/schedstat) is not counted. */
struct watch {
  int64_t begun;
  bool is_late;
  struct share {
    int64_t ran, waited;
  } before[WORKERS + 1]; /* since it was late; the last one is the parent */
};

static int64_t slowest; /* with the waits for processors */

static pid_t pid_of(int i) {
  return i < WORKERS ? pids[i] : getpid();
}

static struct share share_of(int i) {
  char path[64];
  long long ran = 0, waited = 0;
  snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid_of(i));
  FILE *f = fopen(path, "r");
  if (f == NULL || fscanf(f, "%lld %lld", &ran, &waited) != 2) ran = 0;
  if (f != NULL) fclose(f);
  return (struct share){ran, waited};
}

static bool is_runnable(int i) {
  char path[64], line[256] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid_of(i));
  FILE *f = fopen(path, "r");
  if (f == NULL) return false;
  const char *name_end = fgets(line, sizeof line, f);
  name_end = name_end != NULL ? strrchr(line, ')') : NULL;
  fclose(f);
  return name_end != NULL && name_end[1] != '\0' && name_end[2] == 'R';
}

static int64_t starved(const struct watch *w, int64_t elapsed) {
  int64_t sum = 0;
  for (int i = 0; i <= WORKERS; i++) {
    if (pid_of(i) <= 0) continue;
    struct share now = share_of(i);
    int64_t waits = i < WORKERS && is_runnable(i)
                      ? elapsed - (now.ran - w->before[i].ran)
                      : now.waited - w->before[i].waited;
    if (waits > 0) sum += waits;
  }
  return sum;
}

static struct watch watch(void) {
  return (struct watch){.begun = ux_clock_now()};
}

#define MOST (30 * UX_NS_PER_S) /* whatever the machine does */

/* Pauses for a little. True: it took too long, `more` ns more than usual. */
static bool is_over(struct watch *w, int64_t more) {
  int64_t elapsed = ux_clock_now() - w->begun;
  if (elapsed > slowest) slowest = elapsed;
  if (!w->is_late && elapsed > patience / 4) {
    for (int i = 0; i <= WORKERS; i++) w->before[i] = share_of(i);
    w->is_late = true;
  }
  pause_for(w->is_late ? UX_NS_PER_S / 200 : 50000);
  if (elapsed <= patience + more) return false;
  return elapsed > MOST || elapsed > patience + more + starved(w, elapsed);
}

/* ---- what must be so --------------------------------------------------- */

static void expect_more(_Atomic uint64_t *count, uint64_t before, int i) {
  struct watch w = watch();
  while (atomic_load(count) == before)
    if (is_over(&w, 0) && atomic_load(count) == before) give_up("is stuck", i);
}

/* Everybody (but one, or NOBODY) gets further. */
static void expect_progress(int but) {
  uint64_t before[WORKERS];
  for (int i = 0; i < WORKERS; i++)
    before[i] = atomic_load(&shared->progress[i]);
  for (int i = 0; i < WORKERS; i++)
    if (mode->bodies[i] != NULL && i != but)
      expect_more(&shared->progress[i], before[i], i);
}

/* While one is dead; of two that need each other the other one is told so. */
static void expect_without(int i) {
  if (mode->options.kind == UX_SEGMENT_DUPLEX)
    expect_more(
      &shared->gone[1 - i], atomic_load(&shared->gone[1 - i]), 1 - i);
  else if (mode->bodies[2] != NULL)
    expect_progress(i);
}

static void expect_all(void) {
  expect_progress(NOBODY);
  if (mode->check != NULL) mode->check();
}

static void check_ids(bool is_complete) {
  uint64_t missing = 0, last = atomic_load(&shared->next_id);
  uint64_t most = kills[1] * (mode->taken > 0 ? mode->taken : 1);
  for (uint64_t i = 0; is_complete && i < last && i < IDS; i++) {
    uint8_t state = atomic_load(&shared->state[i]);
    if ((state & SENT) && !(state & GOT)) missing++;
  }
  if (missing > most) {
    fprintf(stderr, "%s: messages were lost\n", mode->name);
    exit(1);
  }
}

/* ---- a mode ------------------------------------------------------------ */

static void open_mode(const struct mode *m) {
  mode = m;
  kills[0] = kills[1] = 0;
  madvise(shared, sizeof *shared, MADV_REMOVE);
  memset(shared, 0, offsetof(struct shared, state));
  atomic_store(&shared->victim, NOBODY);
  atomic_store(&shared->births[PROBE], 1);
  if (m->check != NULL) make_names();
  int err = ux_segment_create(&segment, NULL, 0600, &m->options);
  if (err != 0) complain("create", 0, err);
  for (int i = 0; i < WORKERS; i++)
    if (m->bodies[i] != NULL) begin(i);
  expect_progress(NOBODY);
}

static void close_mode(void) {
  for (int i = 0; i < WORKERS; i++)
    if (pids[i] > 0) end_worker(i);
  check_ids(mode->drain());
  ux_segment_detach(&segment);
}

static void tell_mode(void) {
  printf("%-9s %9llu messages, %llu kills, all went on after at most %d ms",
         mode->name,
         (unsigned long long)atomic_load(&shared->next_id),
         (unsigned long long)(kills[0] + kills[1]),
         (int)(slowest / 1000000));
  slowest = 0;
}

#endif
