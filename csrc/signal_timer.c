/***
@module unixipc.signal
*/
#include "signal_timer.h"

#include "base/class.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/finalizer.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "base/process_id.h"
#include "base/signal_set.h"
#include "base/wait.h"
#include "lib/clock.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/timerfd.h>
#endif

/* ---- times: in Lua seconds, in C what each call takes ------------------ */

struct times {
  lua_Number after, every; /* seconds */
  bool is_absolute;        /* `after` is a moment of the timer's clock */
};

/* The options of all timers; the stack indices of what was given. */
enum { ITIMERS = ITIMER_PROF + 1 }; /* REAL, VIRTUAL and PROF are 0 to 2 */

struct timer_options {
  int after, at, every, signal, clock;
  lua_Integer value;
};

#define MEMBER(name) offsetof(struct timer_options, name)

/* The clocks of timers; the first three are those of timerfd, too. */
static const char *const clock_words[] = {"monotonic",
                                          "realtime",
#ifdef CLOCK_BOOTTIME
                                          "boottime",
#endif
                                          "process",
                                          NULL};
static const clockid_t clocks[] = {CLOCK_MONOTONIC,
                                   CLOCK_REALTIME,
#ifdef CLOCK_BOOTTIME
                                   CLOCK_BOOTTIME,
#endif
                                   CLOCK_PROCESS_CPUTIME_ID};

static const struct ux_option interval_schema[] = {
  {"after", UX_OPT_VALUE, MEMBER(after), 0, 0, NULL},
  {"every", UX_OPT_VALUE, MEMBER(every), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option times_schema[] = {
  {"after", UX_OPT_VALUE, MEMBER(after), 0, 0, NULL},
  {"at", UX_OPT_VALUE, MEMBER(at), 0, 0, NULL},
  {"every", UX_OPT_VALUE, MEMBER(every), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option timerfd_schema[] = {
  {"after", UX_OPT_VALUE, MEMBER(after), 0, 0, NULL},
  {"at", UX_OPT_VALUE, MEMBER(at), 0, 0, NULL},
  {"every", UX_OPT_VALUE, MEMBER(every), 0, 0, NULL},
  {"clock", UX_OPT_WORD, MEMBER(clock), 0, 0, clock_words},
  {NULL, 0, 0, 0, 0, NULL},
};

static const struct ux_option timer_schema[] = {
  {"after", UX_OPT_VALUE, MEMBER(after), 0, 0, NULL},
  {"at", UX_OPT_VALUE, MEMBER(at), 0, 0, NULL},
  {"every", UX_OPT_VALUE, MEMBER(every), 0, 0, NULL},
  {"clock", UX_OPT_WORD, MEMBER(clock), 0, 0, clock_words},
  {"signal", UX_OPT_VALUE, MEMBER(signal), 0, 0, NULL},
  {"value", UX_OPT_INTEGER, MEMBER(value), INT_MIN, INT_MAX, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

#define MOST_SECONDS 1e9
#define LAST_MOMENT 9e9 /* nanoseconds of it fit in 64 bits */

static lua_Number check_seconds(lua_State *L, int arg, int index,
                                const char *name, lua_Number most) {
  if (index == 0) return 0;
  lua_Number n = lua_tonumber(L, index);
  if (lua_type(L, index) != LUA_TNUMBER || !(n >= 0 && n <= most))
    luaL_argerror(L,
                  arg,
                  lua_pushfstring(L,
                                  "option '%s': seconds from 0 to %f "
                                  "expected",
                                  name,
                                  most));
  return n;
}

/* Without `after` the first time comes after `every`, too. A moment, however
   long ago, is not never. */
static struct times check_times(lua_State *L, int arg,
                                const struct timer_options *o) {
  struct times t = {
    check_seconds(L, arg, o->after, "after", MOST_SECONDS),
    check_seconds(L, arg, o->every, "every", MOST_SECONDS),
    o->at != 0,
  };
  luaL_argcheck(L,
                o->after == 0 || o->at == 0,
                arg,
                "'after' and 'at' exclude each other");
  if (t.is_absolute) {
    t.after = check_seconds(L, arg, o->at, "at", LAST_MOMENT);
    if (t.after == 0) t.after = 1e-9;
  } else if (o->after == 0) {
    t.after = t.every;
  }
  return t;
}

/* Zero would mean off: the smallest time is one unit. */
static int64_t to_units(lua_Number seconds, lua_Number units) {
  int64_t n = (int64_t)(seconds * units);
  return n == 0 && seconds > 0 ? 1 : n;
}

static struct itimerspec to_itimerspec(struct times t) {
  return (struct itimerspec){
    .it_value = ux_clock_timespec(to_units(t.after, 1e9)),
    .it_interval = ux_clock_timespec(to_units(t.every, 1e9)),
  };
}

static int abstime(struct times t) {
  return t.is_absolute ? TIMER_ABSTIME : 0;
}

static lua_Number from_timespec(struct timespec ts) {
  return (lua_Number)ts.tv_sec + (lua_Number)ts.tv_nsec / 1e9;
}

static struct timeval to_timeval(lua_Number seconds) {
  int64_t us = to_units(seconds, 1e6);
  return (struct timeval){.tv_sec = (time_t)(us / 1000000),
                          .tv_usec = (suseconds_t)(us % 1000000)};
}

static lua_Number from_timeval(struct timeval tv) {
  return (lua_Number)tv.tv_sec + (lua_Number)tv.tv_usec / 1e6;
}

static int push_times(lua_State *L, lua_Number after, lua_Number every) {
  lua_pushnumber(L, after);
  lua_pushnumber(L, every);
  return 2;
}

/* ---- alarm and interval timers ----------------------------------------- */

/* Those that this Lua state set in this process. They end with it: SIGALRM
   would find no handler any more, and kill. In the registry. */
struct intervals {
  pid_t owner; /* a child inherits none */
  bool is_set[ITIMERS];
};

static const char intervals_key = 'i';

static int l_intervals_gc(lua_State *L) {
  static const struct itimerval off;
  const struct intervals *i = lua_touserdata(L, 1);
  for (int which = 0; which < ITIMERS; which++)
    if (i->is_set[which] && i->owner == ux_process_id())
      setitimer(which, &off, NULL);
  return 0;
}

static void new_intervals(lua_State *L) {
  struct intervals *i = lua_newuserdatauv(L, sizeof *i, 0);
  memset(i, 0, sizeof *i);
  ux_set_finalizer(L, "unixipc intervals", l_intervals_gc);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &intervals_key);
}

static void note_interval(lua_State *L, int which, bool is_set) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &intervals_key);
  struct intervals *i = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (i->owner != ux_process_id()) memset(i, 0, sizeof *i);
  i->owner = ux_process_id();
  i->is_set[which] = is_set;
}

static int set_interval(lua_State *L, int which, struct times t) {
  struct itimerval old, now = {.it_value = to_timeval(t.after),
                               .it_interval = to_timeval(t.every)};
  if (setitimer(which, &now, &old) != 0)
    return ux_fail(L, errno, "setitimer", NULL);
  note_interval(L, which, t.after > 0);
  return push_times(
    L, from_timeval(old.it_value), from_timeval(old.it_interval));
}

/***
Sends this process SIGALRM after so many seconds; 0 takes that back.
@function alarm
@tparam number seconds fractions count
@treturn number the seconds that were left of the alarm before, 0 for none
@see alarm(2)
@see setitimer(2)
*/
static int l_alarm(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  luaL_argcheck(L,
                seconds >= 0 && seconds <= MOST_SECONDS,
                1,
                "seconds from 0 to 1e9 expected");
  int results = set_interval(L, ITIMER_REAL, (struct times){.after = seconds});
  lua_pop(L, results - 1);
  return 1;
}

/***
Sets an interval timer of this process: `"real"` sends SIGALRM and is the one
of `alarm`; `"virtual"` counts the processor time of the process and sends
SIGVTALRM; `"prof"` the system's for it too, and sends SIGPROF.
@function interval
@tparam string which
@tparam table times `after` and `every`, in seconds; 0 or none is off
@treturn[1] number seconds that were left before
@treturn[1] number its interval in seconds
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL
@see setitimer(2)
*/
static int l_interval(lua_State *L) {
  static const char *const words[] = {"real", "virtual", "prof", NULL};
  static const int timers[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
  struct timer_options o = {0};
  int which = timers[ux_check_word(L, 1, NULL, words)];
  luaL_checktype(L, 2, LUA_TTABLE);
  ux_check_options(L, 2, interval_schema, &o);
  return set_interval(L, which, check_times(L, 2, &o));
}

/* ---- Timer ------------------------------------------------------------- */

struct timer {
  struct ux_object head;
  timer_t id;
};

static const struct ux_class timer_class;

/* Timers do not pass to a child: there the object is as good as closed, and
   the number may be another timer's. */
static struct timer *check_timer(lua_State *L) {
  struct timer *t = ux_check_open(L, 1, &timer_class);
  if (!ux_is_owner(&t->head))
    luaL_error(L, "attempt to use the timer of another process");
  return t;
}

/***
Deletes the timer. Also what `<close>` and the collector do.
@function Timer:close
@treturn boolean true
@see timer_delete(2)
*/
static int l_timer_close(lua_State *L) {
  struct timer *t = ux_check(L, 1, &timer_class);
  if (t->head.open && ux_is_owner(&t->head)) timer_delete(t->id);
  t->head.open = false;
  lua_pushboolean(L, 1);
  return 1;
}

static void describe_timer(lua_State *L, const void *self) {
  (void)self;
  lua_pushliteral(L, "timer");
}

/***
Sets the timer anew.
@function Timer:set
@tparam table times `after` or `at`, and `every`, as `timer` takes them; 0 or
none is off
@treturn[1] number seconds that were left before
@treturn[1] number its interval in seconds
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL
@see timer_settime(2)
*/
static int l_timer_set(lua_State *L) {
  struct timer *t = check_timer(L);
  struct timer_options o = {0};
  luaL_checktype(L, 2, LUA_TTABLE);
  ux_check_options(L, 2, times_schema, &o);
  struct times when = check_times(L, 2, &o);
  struct itimerspec old, now = to_itimerspec(when);
  if (timer_settime(t->id, abstime(when), &now, &old) != 0)
    return ux_fail(L, errno, "timer_settime", NULL);
  return push_times(
    L, from_timespec(old.it_value), from_timespec(old.it_interval));
}

/***
How long until it goes off.
@function Timer:remaining
@treturn number seconds, 0 when it is off
@treturn number its interval in seconds
@see timer_gettime(2)
*/
static int l_timer_remaining(lua_State *L) {
  const struct timer *t = check_timer(L);
  struct itimerspec now;
  if (timer_gettime(t->id, &now) != 0)
    return ux_fail(L, errno, "timer_gettime", NULL);
  return push_times(
    L, from_timespec(now.it_value), from_timespec(now.it_interval));
}

/***
How often it went off between the last signal's being sent and its being
taken, beyond the once.
@function Timer:overrun
@treturn integer
@see timer_getoverrun(2)
*/
static int l_timer_overrun(lua_State *L) {
  const struct timer *t = check_timer(L);
  lua_pushinteger(L, timer_getoverrun(t->id));
  return 1;
}

static const luaL_Reg timer_methods[] = {
  {"set", l_timer_set},
  {"remaining", l_timer_remaining},
  {"overrun", l_timer_overrun},
  {NULL, NULL},
};

static const struct ux_class timer_class = {
  .name = "timer",
  .size = sizeof(struct timer),
  .methods = timer_methods,
  .close = l_timer_close,
  .describe = describe_timer,
};

static struct sigevent check_event(lua_State *L,
                                   const struct timer_options *o) {
  struct sigevent sev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
  sev.sigev_value.sival_int = (int)o->value;
  if (o->signal == 0) return sev;
  if (lua_isboolean(L, o->signal) && !lua_toboolean(L, o->signal))
    sev.sigev_notify = SIGEV_NONE;
  else
    sev.sigev_signo = ux_check_user_signal(L, o->signal, 1);
  return sev;
}

/***
Makes a timer that sends this process a signal.

Options: `after`: seconds until the first time (`every` if left out); or `at`:
the moment of its clock when it first goes off, at once if that has passed;
`every`: seconds between the times after that, none if left out; `clock`:
`"monotonic"`, the default, of `process.now`; `"realtime"`, of `os.time`, which
may be set; `"boottime"`, which runs on while the machine sleeps; `"process"`,
the processor time of this process. `signal`: SIGALRM by default, false for
none: it is only asked then; `value`: an integer that handlers find in
`info.value`. `info.overrun` is how often it went off since, beyond the once.
@function timer
@tparam table options
@treturn[1] Timer
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EAGAIN (RLIMIT_SIGPENDING), EINVAL (no such signal)
@see timer_create(2)
*/
static int l_timer(lua_State *L) {
  struct timer_options o = {0};
  luaL_checktype(L, 1, LUA_TTABLE);
  ux_check_options(L, 1, timer_schema, &o);
  struct times when = check_times(L, 1, &o);
  struct itimerspec now = to_itimerspec(when);
  struct sigevent sev = check_event(L, &o);
  ux_class_open(L, &timer_class);
  struct timer *t = ux_new(L, &timer_class);
  if (timer_create(clocks[o.clock], &sev, &t->id) != 0)
    return ux_fail(L, errno, "timer_create", NULL);
  t->head.open = true;
  if (timer_settime(t->id, abstime(when), &now, NULL) == 0) return 1;
  return ux_fail(L, errno, "timer_settime", NULL);
}

/* ---- timerfd ----------------------------------------------------------- */

struct timer_fd {
  struct ux_object head;
  int fd;
};

static const struct ux_class timer_fd_class;

/***
Closes it. Also what `<close>` and the collector do.
@function TimerFd:close
@treturn boolean true
*/
static int l_fd_close(lua_State *L) {
  struct timer_fd *t = ux_check(L, 1, &timer_fd_class);
  if (t->head.open) ux_fd_close(&t->fd);
  t->head.open = false;
  lua_pushboolean(L, 1);
  return 1;
}

static void describe_fd(lua_State *L, const void *self) {
  const struct timer_fd *t = self;
  lua_pushfstring(L, "timerfd fd=%d", t->fd);
}

static int fileno_of(const void *self) {
  const struct timer_fd *t = self;
  return t->fd;
}

#ifdef __linux__

static int open_timer_fd(clockid_t clock) {
  return timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK);
}

static int set_timer_fd(int fd, struct times when, struct itimerspec *old) {
  struct itimerspec now = to_itimerspec(when);
  int flags = when.is_absolute ? TFD_TIMER_ABSTIME : 0;
  return timerfd_settime(fd, flags, &now, old) == 0 ? 0 : errno;
}

static int get_timer_fd(int fd, struct itimerspec *now) {
  return timerfd_gettime(fd, now) == 0 ? 0 : errno;
}

#else

static int open_timer_fd(clockid_t clock) {
  (void)clock;
  errno = ENOTSUP;
  return -1;
}

static int set_timer_fd(int fd, struct times when, struct itimerspec *old) {
  (void)fd, (void)when, (void)old;
  return ENOTSUP;
}

static int get_timer_fd(int fd, struct itimerspec *now) {
  (void)fd, (void)now;
  return ENOTSUP;
}

#endif

/***
Waits until it goes off.
@function TimerFd:read
@tparam[opt] number timeout seconds
@treturn[1] integer how often it went off since the last time
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT
@see timerfd_create(2)
*/
static int l_fd_read(lua_State *L) {
  struct timer_fd *t = ux_check_open(L, 1, &timer_fd_class);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  uint64_t count;
  while (read(t->fd, &count, sizeof count) != (ssize_t)sizeof count) {
    int err = errno;
    if (err == EAGAIN) err = ux_wait_fd(L, t->fd, POLLIN, &deadline);
    if (err != 0 && err != EINTR) return ux_fail(L, err, "timerfd", NULL);
    if (!t->head.open) return ux_closed_error(L, &timer_fd_class);
  }
  lua_pushinteger(L, (lua_Integer)count);
  return 1;
}

/***
Sets the timer anew.
@function TimerFd:set
@tparam table times `after` or `at`, and `every`, as `timer` takes them; 0 or
none is off
@treturn[1] number seconds that were left before
@treturn[1] number its interval in seconds
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL
@see timerfd_create(2)
*/
static int l_fd_set(lua_State *L) {
  struct timer_fd *t = ux_check_open(L, 1, &timer_fd_class);
  struct timer_options o = {0};
  luaL_checktype(L, 2, LUA_TTABLE);
  ux_check_options(L, 2, times_schema, &o);
  struct itimerspec old;
  int err = set_timer_fd(t->fd, check_times(L, 2, &o), &old);
  if (err != 0) return ux_fail(L, err, "timerfd", NULL);
  return push_times(
    L, from_timespec(old.it_value), from_timespec(old.it_interval));
}

/***
How long until it goes off.
@function TimerFd:remaining
@treturn number seconds, 0 when it is off
@treturn number its interval in seconds
@see timerfd_create(2)
*/
static int l_fd_remaining(lua_State *L) {
  const struct timer_fd *t = ux_check_open(L, 1, &timer_fd_class);
  struct itimerspec now;
  int err = get_timer_fd(t->fd, &now);
  if (err != 0) return ux_fail(L, err, "timerfd", NULL);
  return push_times(
    L, from_timespec(now.it_value), from_timespec(now.it_interval));
}

static const luaL_Reg fd_methods[] = {
  {"read", l_fd_read},
  {"set", l_fd_set},
  {"remaining", l_fd_remaining},
  {NULL, NULL},
};

static const struct ux_class timer_fd_class = {
  .name = "timerfd",
  .size = sizeof(struct timer_fd),
  .methods = fd_methods,
  .close = l_fd_close,
  .describe = describe_fd,
  .fileno = fileno_of,
};

/***
Makes a timer that is read, for any poller.
@function timerfd
@tparam table options `after` or `at`, `every` and `clock`, as `timer` takes
them
@treturn[1] TimerFd
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EMFILE, EINVAL (the clock `"process"`), ENOTSUP (not
on this system)
@see timerfd_create(2)
*/
static int l_timerfd(lua_State *L) {
  struct timer_options o = {0};
  luaL_checktype(L, 1, LUA_TTABLE);
  ux_check_options(L, 1, timerfd_schema, &o);
  struct times when = check_times(L, 1, &o);
  ux_class_open(L, &timer_fd_class);
  struct timer_fd *t = ux_new(L, &timer_fd_class);
  t->fd = open_timer_fd(clocks[o.clock]);
  if (t->fd < 0) return ux_fail(L, errno, "timerfd", NULL);
  t->head.open = true;
  int err = set_timer_fd(t->fd, when, NULL);
  return err == 0 ? 1 : ux_fail(L, err, "timerfd", NULL);
}

static const luaL_Reg functions[] = {
  {"alarm", l_alarm},
  {"interval", l_interval},
  {"timer", l_timer},
  {"timerfd", l_timerfd},
  {NULL, NULL},
};

void ux_signal_timer_open(lua_State *L) {
  new_intervals(L);
  luaL_setfuncs(L, functions, 0);
}
