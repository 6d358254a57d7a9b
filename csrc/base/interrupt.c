#include "base/interrupt.h"

#include "base/process_id.h"
#include "lib/clock.h"

#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- the hook that lua.c sets at Ctrl-C -------------------------------- */

/* A debug hook, whole. */
struct hook {
  lua_Hook fn;
  int mask, count;
};

/* What is kept for each Lua state, in its registry. */
struct state {
  lua_State *main; /* lua.c sets its hook on this thread only */
  struct hook known;
};

static const char state_key = 's';

static struct hook get_hook(lua_State *L) {
  return (struct hook){
    lua_gethook(L), lua_gethookmask(L), lua_gethookcount(L)};
}

static void set_hook(lua_State *L, struct hook h) {
  lua_sethook(L, h.fn, h.mask, h.count);
}

static bool is_same_hook(struct hook a, struct hook b) {
  return a.fn == b.fn && a.mask == b.mask && a.count == b.count;
}

static struct state *new_state(lua_State *L) {
  struct state *s = lua_newuserdatauv(L, sizeof *s, 0);
  memset(s, 0, sizeof *s);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  s->main = lua_tothread(L, -1);
  lua_pop(L, 1);
  return s;
}

static struct state *get_state(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
  struct state *s = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return s != NULL ? s : new_state(L);
}

/* A hook on the main thread that was not there before, and that a call would
   set off, is taken for a note left by a signal handler. If it is a user's
   own it sees one call more, and is known from then on. */
static bool has_new_hook(const struct state *s) {
  struct hook h = get_hook(s->main);
  return h.fn != NULL && (h.mask & LUA_MASKCALL) != 0 &&
         !is_same_hook(h, s->known);
}

/* Calls the hook as Lua would at the call of a function. A direct call works
   on a coroutine, where Lua would not look for it, and inside another hook,
   where Lua runs none. */
static int call_hook(lua_State *L) {
  const struct hook *h = lua_touserdata(L, 1);
  lua_Debug ar;
  memset(&ar, 0, sizeof ar);
  lua_getstack(L, 0, &ar);
  ar.event = LUA_HOOKCALL;
  ar.currentline = -1;
  h->fn(L, &ar);
  return 0;
}

static void run_new_hook(lua_State *L, struct state *s) {
  struct hook h = get_hook(s->main), own = get_hook(L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushcfunction(L, call_hook);
  lua_pushlightuserdata(L, &h);
  int status = lua_pcall(L, 1, 0, 0);
  if (L != s->main) set_hook(L, own);
  if (status == LUA_OK) {
    s->known = get_hook(s->main);
    return;
  }
  if (L != s->main || lua_gethook(L) == NULL) set_hook(s->main, s->known);
  lua_error(L);
}

bool ux_interrupt_pending(lua_State *L) {
  return has_new_hook(get_state(L));
}

void ux_interrupt_run(lua_State *L) {
  struct state *s = get_state(L);
  if (has_new_hook(s)) run_new_hook(L, s);
}

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

static void on_tick(int sig) {
  (void)sig; /* to have interrupted is all */
}

static void set_timer(int64_t at, int flags) {
  struct itimerspec when = {
    .it_value = ux_clock_timespec(at),
    .it_interval = ux_clock_timespec(at == 0 ? 0 : TICK_NS),
  };
  region.ticking = at != 0;
  timer_settime(region.timer, flags, &when, NULL);
}

static int new_timer(void) {
  struct sigaction sa = {.sa_handler = on_tick}; /* and not SA_RESTART */
  struct sigevent sev = {.sigev_signo = UX_SIGNAL_TICK};
  sigset_t tick;
#ifdef UX_HAVE_THREAD_TIMER
  sev.sigev_notify = SIGEV_THREAD_ID;
  sev._sigev_un._tid = gettid();
#else
  sev.sigev_notify = SIGEV_SIGNAL;
#endif
  sigfillset(&sa.sa_mask);
  if (sigaction(UX_SIGNAL_TICK, &sa, NULL) != 0) return errno;
  sigemptyset(&tick);
  sigaddset(&tick, UX_SIGNAL_TICK);
  pthread_sigmask(SIG_UNBLOCK, &tick, NULL);
  if (timer_create(CLOCK_MONOTONIC, &sev, &region.timer) != 0) return errno;
  region.pid = ux_process_id();
  return 0;
}

/* For signal handlers: gets this thread out of the call it is in, or is just
   about to make. */
static void poke(void) {
  if (region.inside) set_timer(TICK_NS, 0);
}

/* ---- Ctrl-C with a handler that is not ours ----------------------------- */

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
  poke();
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

/* ---- regions ------------------------------------------------------------ */

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
