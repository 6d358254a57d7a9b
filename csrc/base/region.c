#include "base/region.h"

#include "base/process_id.h"
#include "lib/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
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

/* lua.c's handler has SA_RESTART: the kernel would resume the call it came
   into. So for the time of a region it is called through this one, without. */
static struct {
  pthread_mutex_t lock;
  int users; /* threads inside a region */
  struct sigaction theirs;
} relay = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_relay(int sig, siginfo_t *info, void *context) {
  int err = errno;
  if (relay.theirs.sa_flags & SA_SIGINFO)
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

static void relay_begin(void) {
  struct sigaction now;
  pthread_mutex_lock(&relay.lock);
  sigaction(SIGINT, NULL, &now);
  if (!is_relay(&now) && is_plain_handler(&now)) {
    relay.theirs = now;
    now.sa_flags = (now.sa_flags | SA_SIGINFO) & ~SA_RESTART;
    now.sa_sigaction = on_relay;
    sigaction(SIGINT, &now, NULL);
  }
  relay.users++;
  pthread_mutex_unlock(&relay.lock);
}

static void relay_end(void) {
  struct sigaction now;
  pthread_mutex_lock(&relay.lock);
  relay.users--;
  if (relay.users == 0 && sigaction(SIGINT, NULL, &now) == 0 &&
      is_relay(&now)) /* their handler may have changed it */
    sigaction(SIGINT, &relay.theirs, NULL);
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
