/* Workers of ring_storm that are stopped at a step, for seconds. Who is
   stopped is not dead: what it holds stays its own. Looked at is that those
   who do not need that go on meanwhile, each within a second; that all calls
   of a newcomer end at their deadlines; and that all go on within a second
   once it does.

   Many modes and steps at once, each in a process of its own, with workers
   that rest between messages from the stop on. */
#ifndef RING_STORM_STOP_H
#define RING_STORM_STOP_H

#include "ring_storm_parent.h"

/* ---- to hit at a step (of steps, too) ---------------------------------- */

static void aim(int i, const char *target, int step, int sig) {
  atomic_store(&shared->hit_count, 0);
  atomic_store(&shared->hit[0].name, NULL);
  atomic_store(&shared->second, NULL);
  atomic_store(&shared->target, target);
  atomic_store(&shared->signal, sig);
  atomic_store(&shared->countdown, step);
  atomic_store(&shared->victim, i);
}

/* True: somebody was hit, or is about to be. */
static bool disarm(void) {
  atomic_store(&shared->victim, NOBODY);
  pause_for(UX_NS_PER_S / 1000);
  return atomic_load(&shared->hit_count) > 0;
}

static bool is_hit(int i, int64_t within) {
  int status;
  int64_t end = ux_clock_now() + within;
  do {
    if (waitpid(pids[i], &status, WNOHANG | WUNTRACED) == pids[i]) {
      if (WIFEXITED(status)) give_up("complained", i);
      return true;
    }
    pause_for(20000);
  } while (ux_clock_now() < end);
  return false;
}

/* The first of those that do the same. */
static bool is_role(const struct mode *m, int i) {
  if (m->bodies[i] == NULL) return false;
  for (int k = 0; k < i; k++)
    if (m->bodies[k] == m->bodies[i]) return false;
  return true;
}

/* ---- what one holds that is stopped ------------------------------------ */

enum {
  HOLDS_PUT = 1,    /* the producers' lock */
  HOLDS_GET = 2,    /* the consumers' */
  HOLDS_LOAN = 4,   /* a place in the ring, behind which nothing is seen */
  HOLDS_TAKEN = 8,  /* a message, behind which nothing is freed */
  HOLDS_REPLY = 16, /* a lock of a client's ring */
  HOLDS_GATE = 32,  /* publishers wait for it */
  HOLDS_ROLE = 64,  /* there is no other one */
};

static bool is_pid_of(uint32_t who, pid_t pid) {
  uint32_t slot = ux_who_slot(who);
  return slot < segment.options.slots &&
         atomic_load(&segment.at->slot[slot].pid) == pid;
}

static struct ux_ring_shared *ring_shared(uint32_t index) {
  uint64_t at = ux_segment_ring_offset(&segment.options, index);
  return (struct ux_ring_shared *)(void *)((char *)segment.at + at);
}

static int lock_of(const _Atomic uint32_t *lock, pid_t pid, int holds) {
  uint32_t v = atomic_load(lock);
  return v != 0 && is_pid_of(v & UX_WHO_MASK, pid) ? holds : 0;
}

static uint64_t oldest(const struct ux_ring_shared *q) {
  bool is_broadcast = segment.options.kind == UX_SEGMENT_BROADCAST;
  return atomic_load(is_broadcast ? &q->tail_at : &q->read_at);
}

/* Others may move on meanwhile; not past what it holds. */
static int records_of(pid_t pid) {
  struct ux_ring_shared *q = ring_shared(0);
  const char *data = (const char *)(q + 1);
  uint64_t mask = segment.options.capacity - 1;
  uint64_t end = atomic_load(&q->write_at), at = oldest(q);
  int holds = 0;
  for (; at != end && end - at <= mask + 1;) {
    const struct ux_record *rec =
      (const struct ux_record *)(const void *)(data + (at & mask));
    uint32_t tag = atomic_load(&rec->tag), kind = tag & 15u;
    bool is_its = is_pid_of(tag >> 8 & UX_WHO_MASK, pid);
    if (is_its && kind == UX_RECORD_LOAN) holds |= HOLDS_LOAN;
    if (is_its && kind == UX_RECORD_TAKEN) holds |= HOLDS_TAKEN;
    at += ux_span(atomic_load(&rec->length));
  }
  return holds;
}

static int held_by(int i) {
  const struct ux_segment_options *o = &mode->options;
  pid_t pid = pids[i];
  if (mode->check != NULL) return 0;
  if (o->kind == UX_SEGMENT_SPSC || o->kind == UX_SEGMENT_DUPLEX)
    return HOLDS_ROLE;
  int holds = records_of(pid) | lock_of(&ring_shared(0)->put_lock, pid, 1) |
              lock_of(&ring_shared(0)->get_lock, pid, HOLDS_GET);
  for (uint32_t k = 1; k < ux_segment_rings(&segment.options); k++)
    holds |= lock_of(&ring_shared(k)->put_lock, pid, HOLDS_REPLY);
  if (o->kind == UX_SEGMENT_BROADCAST && o->policy == UX_SEGMENT_GATE &&
      (mode->bodies[i] == subscribe || mode->bodies[i] == subscribe_peeking))
    holds |= HOLDS_GATE;
  return holds;
}

/* ---- what goes on nevertheless ----------------------------------------- */

static int count_alike(int i, const uint64_t *before) {
  int alike = 0;
  for (int k = 0; k < WORKERS; k++)
    if (mode->bodies[k] != NULL && k != i)
      alike += atomic_load(&shared->progress[k]) == before[k];
  return alike;
}

/* How many of the others do not, for a second. */
static int count_stuck(int i) {
  uint64_t before[WORKERS];
  struct watch w = watch();
  for (int k = 0; k < WORKERS; k++)
    before[k] = atomic_load(&shared->progress[k]);
  while (count_alike(i, before) > 0 && !is_over(&w, 0)) {
  }
  return count_alike(i, before);
}

static uint64_t used(uint32_t index) {
  const struct ux_ring_shared *q = ring_shared(index);
  return atomic_load(&q->write_at) - atomic_load(&q->read_at);
}

#define ROOM (2 * sizeof(struct message)) /* too little for the next ones */

static void expect_used(int i, uint32_t index, uint64_t from, uint64_t to,
                        const char *what) {
  struct watch w = watch();
  for (uint64_t n = used(index); n < from || n > to; n = used(index))
    if (is_over(&w, 0)) give_up(what, i);
}

static void expect_emptied(int i, uint32_t index) {
  expect_used(i, index, 0, 0, "is stopped, and what is there is not got");
}

static void expect_filled(int i, uint32_t index) {
  uint64_t capacity = mode->options.capacity;
  expect_used(
    i, index, capacity - ROOM, capacity, "is stopped, and room is not used");
}

static void expect_no_stuck(int i) {
  if (count_stuck(i) > 0) give_up("is stopped, and others are stuck", i);
}

/* Who asked waits for it; the others go on, or have filled what room there is
   behind its request. */
static void expect_served(int i) {
  if (count_stuck(i) > 1) expect_filled(i, 0);
}

/* Producers' lock: what is there can be got. Consumers': room can be used. */
static void expect_others(int i, int holds) {
  enum ux_segment_kind kind = mode->options.kind;
  if (holds == 0) {
    expect_no_stuck(i);
  } else if (kind == UX_SEGMENT_DUPLEX) {
    expect_emptied(i, (uint32_t)i);
  } else if (kind == UX_SEGMENT_SPSC) {
    i == 0 ? expect_emptied(i, 0) : expect_filled(i, 0);
  } else if (kind == UX_SEGMENT_SERVICE) {
    if (holds == HOLDS_TAKEN) expect_served(i);
  } else if (kind == UX_SEGMENT_QUEUE) {
    if (holds == HOLDS_PUT) expect_emptied(i, 0);
    if (holds == HOLDS_GET || holds == HOLDS_TAKEN) expect_filled(i, 0);
  }
}

/* ---- a newcomer's deadlines -------------------------------------------- */

#define PROBE_NS (UX_NS_PER_S / 10)

static void expect_deadline(struct watch *w, int err, const char *what) {
  bool is_right = err == 0 || err == ETIMEDOUT || err == EBUSY;
  if (!is_right) complain(what, 0, err);
  if (is_over(w, PROBE_NS)) complain("a deadline was missed", 0, err);
}

static void probe_put(struct ux_ring *r) {
  struct message m;
  struct watch w = watch();
  size_t n = make(&m);
  int err = ux_ring_send(r, &m, n, PROBE_NS);
  expect_deadline(&w, err, "a newcomer's put");
  if (err != 0) atomic_fetch_sub(&shared->numbers[PROBE], 1);
  if (err == 0) was_sent(&m);
}

static void probe_get(struct ux_ring *r) {
  struct message m;
  struct ux_ring_message got;
  struct watch w = watch();
  int err = ux_ring_receive(r, &m, sizeof m, &got, PROBE_NS);
  expect_deadline(&w, err, "a newcomer's get");
  if (err == 0) was_got(&m, got.length, 0, 0);
}

static void probe(void) {
  struct ux_segment s;
  struct ux_ring r;
  enum ux_segment_kind kind = mode->options.kind;
  if (mode->check != NULL || kind == UX_SEGMENT_DUPLEX) return;
  self = PROBE;
  int err = ux_segment_adopt(&s, segment.fd);
  if (err == 0) err = ux_ring_init(&r, &s, 0);
  if (err != 0) complain("a newcomer", 0, err);
  probe_put(&r);
  if (kind == UX_SEGMENT_QUEUE) probe_get(&r);
  ux_ring_done(&r);
  ux_segment_detach(&s);
  self = NOBODY;
}

/* ---- one job: one step of one role ------------------------------------- */

#define PACE_US 10000
#define TRIES 16

struct job {
  int who;
  const char *step;
  pid_t pid;
  bool is_reached;
  int holds;
  int64_t ns; /* until all went on */
};

static struct job *jobs;
static int job_count;

static void restart(int i) {
  end_worker(i);
  begin(i);
}

/* Steps at the start, and those that look after the dead, need deaths. */
static bool reach(const struct job *j) {
  aim(j->who, j->step, 0, SIGSTOP);
  for (int k = 0; k < TRIES; k++) {
    if (is_hit(j->who, UX_NS_PER_S / 5)) return true;
    if (disarm()) return is_hit(j->who, patience);
    int other = k % 2 == 0 ? j->who : (j->who + k) % WORKERS;
    if (mode->bodies[other] == NULL) continue;
    aim(j->who, j->step, 0, SIGSTOP);
    restart(other);
  }
  return disarm();
}

static void stay_stopped(const struct job *j, int seconds) {
  int64_t begun = ux_clock_now();
  for (int s = 1; s <= seconds; s++) {
    expect_others(j->who, j->holds);
    probe();
    int64_t left = begun + s * UX_NS_PER_S - ux_clock_now();
    if (left > 0) pause_for(left);
  }
}

static void run_job(struct job *j, const struct mode *m, int seconds) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  new_shared();
  srand((unsigned)ux_clock_now());
  open_mode(m);
  atomic_store(&shared->pace_when_hit, PACE_US);
  j->is_reached = reach(j);
  if (j->is_reached) {
    j->holds = held_by(j->who);
    stay_stopped(j, seconds);
    int64_t begun = ux_clock_now();
    kill(pids[j->who], SIGCONT);
    expect_progress(NOBODY);
    j->ns = ux_clock_now() - begun;
    expect_all();
  }
  close_mode();
  _exit(0);
}

/* ---- all of a mode ----------------------------------------------------- */

static void learn_steps(const struct mode *m) {
  open_mode(m);
  for (int k = 0; k < 24; k++) {
    int i = k % WORKERS;
    if (m->bodies[i] == NULL) continue;
    pause_for(UX_NS_PER_S / 100);
    restart(i);
    expect_progress(NOBODY);
  }
  close_mode();
  job_count = 0;
  for (int i = 0; i < WORKERS; i++)
    for (int k = 0; k < NAMES && is_role(m, i); k++)
      if (atomic_load(&shared->names[i][k]) != NULL)
        jobs[job_count++] =
          (struct job){.who = i, .step = atomic_load(&shared->names[i][k])};
}

static void await_job(void) {
  for (int status;;) {
    pid_t pid = wait(&status);
    if (pid < 0) exit(1);
    for (int i = 0; i < job_count; i++) {
      if (jobs[i].pid != pid) continue;
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) exit(1);
      return;
    }
  }
}

static void tell_jobs(const struct mode *m, int seconds) {
  int reached = 0, held = 0;
  int64_t worst = 0;
  for (int i = 0; i < job_count; i++) {
    const struct job *j = &jobs[i];
    reached += j->is_reached;
    held += j->holds != 0;
    if (j->ns > worst) worst = j->ns;
  }
  printf("%-9s %d stops of %d s, %d of them holding something; all went on "
         "after at most %d ms",
         m->name,
         reached,
         seconds,
         held,
         (int)(worst / 1000000));
  for (int i = 0, n = 0; i < job_count; i++)
    if (!jobs[i].is_reached)
      printf("%s '%s'", n++ == 0 ? "; not come to:" : "", jobs[i].step);
  printf("\n");
  fflush(stdout);
}

#define AT_ONCE 24

static void stop_at_steps(const struct mode *m, int seconds) {
  size_t size = WORKERS * NAMES * sizeof *jobs;
  jobs = mmap(
    NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (jobs == MAP_FAILED) exit(1);
  learn_steps(m);
  for (int i = 0; i < job_count; i++) {
    if (i >= AT_ONCE) await_job();
    pid_t pid = fork();
    if (pid == 0) run_job(&jobs[i], m, seconds);
    jobs[i].pid = pid;
  }
  for (int i = 0; i < job_count && i < AT_ONCE; i++) await_job();
  tell_jobs(m, seconds);
  munmap(jobs, size);
}

#endif
