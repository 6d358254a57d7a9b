#include "base/region.h"

#include "base/process_id.h"
#include "lib/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void (*ux_region_on_tick)(void);

/* ---- the tick ---------------------------------------------------------- */

/* Short beside what a person or a deadline notices, long beside a call. */
#define TICK_NS 1000000

/* Each thread's own. initial-exec: a signal handler must not be the first to
   touch it, which in a loaded library could allocate. */
static _Thread_local struct {
  volatile sig_atomic_t inside; /* between begin and end */
  volatile sig_atomic_t ticking;
  pid_t pid; /* whose timer: a fork does not inherit it */
  timer_t timer;
} region __attribute__((tls_model("initial-exec")));

/* To have interrupted is all; and what another thread noted is ours. */
static void on_tick(int sig) {
  (void)sig;
  int err = errno;
  if (ux_region_on_tick != NULL) ux_region_on_tick();
  errno = err;
}

static void set_timer(int64_t at, int flags) {
  struct itimerspec when = {
    .it_value = ux_clock_timespec(at),
    .it_interval = ux_clock_timespec(at == 0 ? 0 : TICK_NS),
  };
  region.ticking = at != 0;
  timer_settime(region.timer, flags, &when, NULL);
}

int ux_region_prepare(void) {
  struct sigaction sa = {.sa_handler = on_tick}; /* and not SA_RESTART */
  sigset_t tick;
  sigfillset(&sa.sa_mask);
  if (sigaction(UX_SIGNAL_TICK, &sa, NULL) != 0) return errno;
  sigemptyset(&tick);
  sigaddset(&tick, UX_SIGNAL_TICK);
  return pthread_sigmask(SIG_UNBLOCK, &tick, NULL);
}

static int new_timer(void) {
  struct sigevent sev = {.sigev_signo = UX_SIGNAL_TICK};
#ifdef UX_HAVE_THREAD_TIMER
  sev.sigev_notify = SIGEV_THREAD_ID;
  sev._sigev_un._tid = gettid();
#else
  sev.sigev_notify = SIGEV_SIGNAL;
#endif
  int err = ux_region_prepare();
  if (err != 0) return err;
  if (timer_create(CLOCK_MONOTONIC, &sev, &region.timer) != 0) return errno;
  region.pid = ux_process_id();
  return 0;
}

void ux_region_poke(void) {
  if (region.inside) set_timer(TICK_NS, 0);
}

/* ---- Ctrl-C with a handler that is not ours ---------------------------- */

/* It may have SA_RESTART: the kernel would resume the call it came into. And it
   does not make the tick start. So for the time of a region it is called
   through this one.

   That is two system calls for each region, one to put the relay in and one to
   take it out: each brings to light what was there. Nearly always that is what
   was there the last time; if not, it is put right at once. A signal that comes
   in between is raised again. */
static struct {
  pthread_mutex_t lock;
  int users;     /* threads inside a region */
  bool is_known; /* is the handler theirs, and is the relay in? */
  struct sigaction theirs, ours;
  volatile sig_atomic_t is_settling, came; /* which one it is to call */
} relay = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_relay(int sig, siginfo_t *info, void *context) {
  int err = errno;
  if (relay.is_settling)
    relay.came = 1;
  else if (relay.theirs.sa_flags & SA_SIGINFO)
    relay.theirs.sa_sigaction(sig, info, context);
  else
    relay.theirs.sa_handler(sig);
  ux_region_poke();
  errno = err;
}

static bool is_relay(const struct sigaction *sa) {
  return (sa->sa_flags & SA_SIGINFO) && sa->sa_sigaction == on_relay;
}

static bool is_plain_handler(const struct sigaction *sa) {
  return (sa->sa_flags & SA_SIGINFO) ||
         (sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN);
}

/* What the system knows of a mask; the rest is the C library's. */
#define MASK_BYTES ((NSIG - 1) / 8)

static bool is_theirs(const struct sigaction *sa) {
  const struct sigaction *was = &relay.theirs;
  bool is_same = (sa->sa_flags & SA_SIGINFO)
                   ? sa->sa_sigaction == was->sa_sigaction
                   : sa->sa_handler == was->sa_handler;
  return is_same && sa->sa_flags == was->sa_flags &&
         memcmp(&sa->sa_mask, &was->sa_mask, MASK_BYTES) == 0;
}

/* `now` is what was there. */
static void put_relay_in(const struct sigaction *now) {
  relay.theirs = relay.ours = *now;
  relay.ours.sa_flags = (now->sa_flags | SA_SIGINFO) & ~SA_RESTART;
  relay.ours.sa_sigaction = on_relay;
  sigaction(SIGINT, &relay.ours, NULL);
  relay.is_known = true;
}

/* Leaves it in if there is a handler at all. */
static void look_at_handler(void) {
  struct sigaction now = {.sa_flags = 0};
  sigaction(SIGINT, relay.is_known ? &relay.ours : NULL, &now);
  if (is_relay(&now)) return; /* another thread is inside, too */
  if (is_plain_handler(&now)) {
    if (!relay.is_known || !is_theirs(&now)) put_relay_in(&now);
  } else if (relay.is_known) {
    sigaction(SIGINT, &now, NULL);
    relay.is_known = false;
  }
}

static void relay_begin(void) {
  pthread_mutex_lock(&relay.lock);
  relay.is_settling = 1;
  look_at_handler();
  relay.is_settling = 0;
  bool has_come = relay.came;
  relay.came = 0;
  relay.users++;
  pthread_mutex_unlock(&relay.lock);
  if (has_come) raise(SIGINT);
}

/* Their handler may have made way for another one. */
static void relay_end(void) {
  struct sigaction now = {.sa_flags = 0};
  pthread_mutex_lock(&relay.lock);
  if (--relay.users == 0 && relay.is_known) {
    sigaction(SIGINT, &relay.theirs, &now);
    if (!is_relay(&now)) sigaction(SIGINT, &now, NULL);
  }
  pthread_mutex_unlock(&relay.lock);
}

/* ---- regions ----------------------------------------------------------- */

int ux_region_begin(int64_t at) {
  if (region.pid != ux_process_id()) {
    int err = new_timer();
    if (err != 0) return err;
  }
  relay_begin();
  region.inside = 1;
  if (at != 0) set_timer(at, TIMER_ABSTIME);
  return 0;
}

void ux_region_end(void) {
  region.inside = 0;
  if (region.ticking) set_timer(0, 0);
  relay_end();
}
