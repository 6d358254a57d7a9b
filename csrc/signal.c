/***
Signals: handlers in Lua that always run, queued signals that are never lost,
timers.

A handler is called as `fn(name, info)`: inside a call of this library that
blocks, on the coroutine that made the call, or between two instructions of
Lua code. It may call anything, raise (the error leaves the blocked call, or
comes up in the Lua code that runs), and set handlers; it may not yield. While
it runs other signals' handlers can run inside it, its own signal waits.
`info` has `code` (`"user"`, `"queue"`, `"tkill"`, `"timer"`, `"mesgq"`,
`"kernel"`; for SIGCHLD `"exited"`, `"killed"`, `"dumped"`, `"stopped"`,
`"continued"`), and what the kernel gives: `pid`, `uid`, `value`, `status`,
`overrun`.

Everywhere a signal is a name, with or without SIG (`"SIGUSR1"`, `"USR1"`,
`"SIGRTMIN+3"`, `"SIGRTMAX-2"`), or a number, and a set of signals is one, a
list of them, or `"all"`. SIGRTMAX-1 is the library's own.
@module unixipc.signal
*/
#include "base/class.h"
#include "base/constants.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/handlers.h"
#include "base/interrupt.h"
#include "base/modules.h"
#include "base/notes.h"
#include "base/options.h"
#include "base/process_id.h"
#include "base/region.h"
#include "base/siginfo.h"
#include "base/signal_set.h"
#include "base/wait.h"
#include "signal_timer.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/signalfd.h>
#endif

/* ---- handlers ---------------------------------------------------------- */

struct handle_options {
  bool restart, once, nodefer, nostop, nowait;
  int mask;
};

#define MEMBER(name) offsetof(struct handle_options, name)

static const struct ux_option handle_schema[] = {
  {"restart", UX_OPT_BOOLEAN, MEMBER(restart), 0, 0, NULL},
  {"once", UX_OPT_BOOLEAN, MEMBER(once), 0, 0, NULL},
  {"nodefer", UX_OPT_BOOLEAN, MEMBER(nodefer), 0, 0, NULL},
  {"nostop", UX_OPT_BOOLEAN, MEMBER(nostop), 0, 0, NULL},
  {"nowait", UX_OPT_BOOLEAN, MEMBER(nowait), 0, 0, NULL},
  {"mask", UX_OPT_VALUE, MEMBER(mask), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static void check_handler(lua_State *L, int arg, struct ux_handler *h) {
  static const char *const words[] = {"default", "ignore", "original", NULL};
  static const enum ux_disposition dispositions[] = {
    UX_SIGNAL_DEFAULT, UX_SIGNAL_IGNORE, UX_SIGNAL_ORIGINAL};
  if (lua_isfunction(L, arg)) {
    h->disposition = UX_SIGNAL_FUNCTION;
  } else {
    if (lua_type(L, arg) != LUA_TSTRING)
      luaL_typeerror(
        L, arg, "function, \"default\", \"ignore\" or \"original\"");
    h->disposition = dispositions[ux_check_word(L, arg, NULL, words)];
  }
}

static void check_handle_options(lua_State *L, int arg, struct ux_handler *h) {
  struct handle_options o = {.restart = true};
  ux_check_options(L, arg, handle_schema, &o);
  h->is_once = o.once;
  h->is_nested = o.nodefer;
  h->flags = (o.restart ? SA_RESTART : 0) | (o.nostop ? SA_NOCLDSTOP : 0) |
             (o.nowait ? SA_NOCLDWAIT : 0);
  sigemptyset(&h->mask);
  if (o.mask != 0) ux_check_signal_set(L, o.mask, arg, &h->mask);
}

static int fail_sigaction(lua_State *L, int err, int sig) {
  ux_push_signal(L, sig);
  return ux_fail(L, err, "sigaction", lua_tostring(L, -1));
}

/***
Says what a signal does: calls a function, `"default"`, `"ignore"`, or
`"original"`: what was there before this module changed it. Dispositions that
were set go back to that when the Lua state is closed. One Lua state of a
process handles signals; a second one that tries raises an error.

Options: `once`: back to the default when it is called; `mask`: handlers of
these signals wait while it runs; `nodefer`: its own does not; `restart`:
system calls of other libraries go on after the signal (true by default; calls
of this library always go on); `nostop`: for SIGCHLD, not when a child stops or
continues; `nowait`: for SIGCHLD, children leave no zombie.
@function handle
@tparam string|integer sig
@tparam function|string action
@tparam[opt] table options
@treturn[1] function|string what was there; `"original"` for a handler that is
not this module's
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (SIGKILL, SIGSTOP, no such signal)
@see sigaction(2)
*/
static int l_handle(lua_State *L) {
  struct ux_handler h;
  int sig = ux_check_user_signal(L, 1, 1);
  check_handler(L, 2, &h);
  check_handle_options(L, 3, &h);
  int err = ux_handlers_push(L, sig);
  if (err == 0) err = ux_handlers_set(L, sig, &h, 2);
  if (err != 0) return fail_sigaction(L, err, sig);
  ux_interrupt_open(L);
  return 1;
}

/***
What a signal does now.
@function handler
@tparam string|integer sig
@treturn[1] function|string as `handle` returns it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (no such signal)
@see sigaction(2)
*/
static int l_handler(lua_State *L) {
  int sig = ux_check_signal(L, 1);
  int err = ux_handlers_push(L, sig);
  return err == 0 ? 1 : fail_sigaction(L, err, sig);
}

/***
Runs the handlers of what came in so far. Blocking calls and Lua code do so by
themselves.
@function dispatch
@treturn boolean true
*/
static int l_dispatch(lua_State *L) {
  ux_interrupt_enter(L);
  ux_interrupt_run(L);
  lua_pushboolean(L, 1);
  return 1;
}

/***
All signals of this system that can be used: a table from names to numbers,
real-time ones as `SIGRTMIN`, `SIGRTMIN+1`, … `SIGRTMAX`.
@function list
@treturn table
@see signal(7)
*/
static int l_list(lua_State *L) {
  lua_newtable(L);
  for (const struct ux_constant *c = ux_signals; c->name != NULL; c++) {
    lua_pushinteger(L, c->value);
    lua_setfield(L, -2, c->name);
  }
  for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++) {
    if (sig == UX_SIGNAL_TICK) continue;
    ux_push_signal(L, sig);
    lua_pushinteger(L, sig);
    lua_rawset(L, -3);
  }
  return 1;
}

/***
The name of a signal.
@function name
@tparam integer|string sig
@treturn string such as `"SIGTERM"`
*/
static int l_name(lua_State *L) {
  ux_push_signal(L, ux_check_signal(L, 1));
  return 1;
}

/***
The number of a signal.
@function number
@tparam string|integer sig
@treturn integer
*/
static int l_number(lua_State *L) {
  lua_pushinteger(L, ux_check_signal(L, 1));
  return 1;
}

/* ---- sending ----------------------------------------------------------- */

/* A group is below -1. */
static int fail_sending(lua_State *L, int err, const char *call,
                        lua_Integer whom) {
  if (whom == 0 || whom == -1) return ux_fail(L, err, call, NULL);
  if (whom > 0)
    lua_pushfstring(L, "pid %I", whom);
  else
    lua_pushfstring(L, "group %I", -whom);
  return ux_fail(L, err, call, lua_tostring(L, -1));
}

/* One to this process has run its handler when the call returns. */
static int sent(lua_State *L, int err, const char *call, lua_Integer whom) {
  ux_interrupt_enter(L);
  if (err != 0) return fail_sending(L, err, call, whom);
  if (ux_notes_count() > 0) ux_interrupt_run(L);
  return ux_result(L, 0, NULL, NULL);
}

static pid_t check_pid(lua_State *L, int arg) {
  lua_Integer pid = luaL_checkinteger(L, arg);
  luaL_argcheck(L, pid >= INT_MIN && pid <= INT_MAX, arg, "no process number");
  return (pid_t)pid;
}

/***
Sends a signal to a process; as kill(2) has it, 0 is everyone in this process
group, a negative number the group of that number, and signal 0 only asks
whether it is there.
@function send
@tparam integer pid
@tparam string|integer sig
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ESRCH (no such process), EPERM (it is there, but
another user's), EINVAL (no such signal)
@see kill(2)
*/
static int l_send(lua_State *L) {
  pid_t pid = check_pid(L, 1);
  int failed = kill(pid, ux_check_signal(L, 2)) != 0;
  return sent(L, failed ? errno : 0, "kill", pid);
}

/***
Sends a signal to all processes of a group.
@function send_group
@tparam integer group 0 is this process's own
@tparam string|integer sig
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ESRCH, EPERM, EINVAL
@see killpg(3)
*/
static int l_send_group(lua_State *L) {
  pid_t group = check_pid(L, 1);
  luaL_argcheck(L, group >= 0, 1, "no process group");
  int failed = killpg(group, ux_check_signal(L, 2)) != 0;
  return sent(L, failed ? errno : 0, "killpg", -(lua_Integer)group);
}

/***
Sends a signal to this process. Its handler has run when the call returns,
unless it is blocked.
@function raise
@tparam string|integer sig
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (no such signal)
@see raise(3)
*/
static int l_raise(lua_State *L) {
  int failed = raise(ux_check_user_signal(L, 1, 1)) != 0;
  return sent(L, failed ? errno : 0, "raise", 0);
}

/***
Queues a signal with a value. A real-time signal (SIGRTMIN to SIGRTMAX) arrives
as often as it was queued, in order.
@function queue
@tparam integer pid
@tparam string|integer sig
@tparam[opt=0] integer value of a C int: -2147483648 to 2147483647
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EAGAIN (RLIMIT_SIGPENDING), ESRCH, EPERM, EINVAL
@see sigqueue(3)
*/
static int l_queue(lua_State *L) {
  pid_t pid = check_pid(L, 1);
  int sig = ux_check_signal(L, 2);
  lua_Integer n = luaL_optinteger(L, 3, 0);
  luaL_argcheck(L, n >= INT_MIN && n <= INT_MAX, 3, "value out of range");
  union sigval value = {.sival_int = (int)n};
  int failed = sigqueue(pid, sig, value) != 0;
  return sent(L, failed ? errno : 0, "sigqueue", pid);
}

/* ---- the mask ---------------------------------------------------------- */

static void merge(sigset_t *set, const sigset_t *other, bool is_in) {
  for (int sig = 1; sig < NSIG; sig++) {
    if (sigismember(other, sig) != 1) continue;
    if (is_in)
      sigaddset(set, sig);
    else
      sigdelset(set, sig);
  }
}

/* Signals that base/notes holds back are blocked for its own reasons: users
   do not see them in the mask, and do not let them in. */
static void change_mask(int how, sigset_t *set, sigset_t *old) {
  sigset_t all, mask, held;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &mask);
  held = ux_notes_held();
  *old = mask;
  ux_notes_fix_mask(old);
  if (how == SIG_BLOCK || how == SIG_SETMASK) {
    ux_notes_forget_held(set);
    held = ux_notes_held();
  }
  if (how == SIG_SETMASK)
    mask = *set;
  else
    merge(&mask, set, how == SIG_BLOCK);
  merge(&mask, &held, true);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static int apply_mask(lua_State *L, int how) {
  sigset_t set, old;
  ux_interrupt_enter(L);
  ux_check_signal_set(L, 1, 1, &set);
  change_mask(how, &set, &old);
  ux_push_signal_set(L, &old);
  if (ux_interrupt_pending(L)) ux_interrupt_run(L);
  return 1;
}

/***
Blocks signals: they stay pending until they are let in or waited for.
@function block
@param set signals
@treturn table the names of those that were blocked before
@see sigprocmask(2)
*/
static int l_block(lua_State *L) {
  return apply_mask(L, SIG_BLOCK);
}

/***
Lets signals in. The handlers of those that were pending have run when it
returns.
@function unblock
@param set signals
@treturn table the names of those that were blocked before
@see sigprocmask(2)
*/
static int l_unblock(lua_State *L) {
  return apply_mask(L, SIG_UNBLOCK);
}

/***
Blocks these signals and lets in all others.
@function set_mask
@param set signals
@treturn table the names of those that were blocked before
@see sigprocmask(2)
*/
static int l_set_mask(lua_State *L) {
  return apply_mask(L, SIG_SETMASK);
}

/***
The signals that are blocked.
@function mask
@treturn table names
@see sigprocmask(2)
*/
static int l_mask(lua_State *L) {
  sigset_t none, old;
  sigemptyset(&none);
  change_mask(SIG_BLOCK, &none, &old);
  ux_push_signal_set(L, &old);
  return 1;
}

/***
The signals that are blocked and have come.
@function pending
@treturn table names
@see sigpending(2)
*/
static int l_pending(lua_State *L) {
  sigset_t set;
  sigpending(&set);
  ux_notes_fix_mask(&set);
  ux_push_signal_set(L, &set);
  return 1;
}

/* ---- waiting ----------------------------------------------------------- */

struct waiting {
  const sigset_t *set;
  siginfo_t info;
};

static int wait_for_signal(void *arg) {
  struct waiting *w = arg;
  return sigwaitinfo(w->set, &w->info) > 0 ? 0 : errno;
}

/***
Waits for one of these signals, which should be blocked, and takes it: no
handler is called for it. Handlers of others run meanwhile.
@function wait
@param set signals
@tparam[opt] number timeout seconds
@treturn[1] string name
@treturn[1] table info, as handlers get it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT
@see sigtimedwait(2)
*/
static int l_wait(lua_State *L) {
  static const struct timespec at_once = {0, 0};
  sigset_t set;
  ux_check_signal_set(L, 1, 1, &set);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  struct waiting w = {.set = &set};
  int err = sigtimedwait(&set, &w.info, &at_once) > 0 ? 0 : errno;
  while (err == EINTR || (err == EAGAIN && deadline.left != 0))
    err = ux_wait_call(L, wait_for_signal, &w, &deadline);
  if (err == EAGAIN) err = ETIMEDOUT;
  if (err != 0) return ux_fail(L, err, "sigtimedwait", NULL);
  ux_push_signal(L, w.info.si_signo);
  ux_push_siginfo(L, &w.info);
  return 2;
}

struct suspension {
  int how;
  sigset_t set, old;
  struct ux_deadline deadline;
};

/* In a call of its own: the mask has to be put back when a handler raises. It
   is changed in here, for the call is where the hook would run handlers, and
   nothing would wake the sleep after that. */
static int l_sleep(lua_State *L) {
  struct suspension *s = lua_touserdata(L, 1);
  change_mask(s->how, &s->set, &s->old);
  lua_pushinteger(L, ux_wait_fds(L, NULL, 0, &s->deadline));
  return 1;
}

/***
Waits until the handler of a signal has run, with a mask of its own for that
time: nothing is lost between the change of the mask and the sleep. So block
what is waited for, look whether it has come, and call this.
@function suspend
@param[opt] set the signals that are blocked meanwhile; nil: those that are now
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT
@see sigsuspend(2)
@see pause(2)
*/
static int l_suspend(lua_State *L) {
  struct suspension s = {.how = SIG_SETMASK};
  sigset_t none;
  sigemptyset(&none);
  if (lua_isnoneornil(L, 1))
    change_mask(SIG_BLOCK, &none, &s.set);
  else
    ux_check_signal_set(L, 1, 1, &s.set);
  s.deadline = ux_check_deadline(L, 2);
  ux_interrupt_enter(L);
  change_mask(SIG_BLOCK, &none, &s.old);
  lua_pushcfunction(L, l_sleep);
  lua_pushlightuserdata(L, &s);
  int status = lua_pcall(L, 1, 1, 0);
  change_mask(SIG_SETMASK, &s.old, &s.set);
  if (status != LUA_OK) return lua_error(L);
  int err = (int)lua_tointeger(L, -1);
  return ux_result(L, err == EINTR ? 0 : err, "sigsuspend", NULL);
}

/* ---- signalfd ---------------------------------------------------------- */

struct signal_fd {
  struct ux_object head;
  int fd;
};

static const struct ux_class signal_fd_class;

/***
Closes it. The signals stay blocked. Also what `<close>` and the collector do.
@function SignalFd:close
@treturn boolean true
*/
static int l_fd_close(lua_State *L) {
  struct signal_fd *s = ux_check(L, 1, &signal_fd_class);
  if (s->head.open) ux_fd_close(&s->fd);
  s->head.open = false;
  lua_pushboolean(L, 1);
  return 1;
}

static void describe_fd(lua_State *L, const void *self) {
  const struct signal_fd *s = self;
  lua_pushfstring(L, "signalfd fd=%d", s->fd);
}

static int fileno_of(const void *self) {
  const struct signal_fd *s = self;
  return s->fd;
}

#ifdef __linux__

static void to_siginfo(const struct signalfd_siginfo *from, siginfo_t *to) {
  memset(to, 0, sizeof *to);
  to->si_signo = (int)from->ssi_signo;
  to->si_code = from->ssi_code;
  if (to->si_code == SI_TIMER) {
    to->si_overrun = (int)from->ssi_overrun;
  } else {
    to->si_pid = (pid_t)from->ssi_pid;
    to->si_uid = from->ssi_uid;
  }
  if (to->si_signo == SIGCHLD && to->si_code > 0)
    to->si_status = from->ssi_status;
  else
    to->si_value.sival_int = from->ssi_int;
}

static int read_signal(int fd, siginfo_t *info) {
  struct signalfd_siginfo raw;
  if (read(fd, &raw, sizeof raw) != (ssize_t)sizeof raw) return errno;
  to_siginfo(&raw, info);
  return 0;
}

static int open_signal_fd(int fd, const sigset_t *set) {
  return signalfd(fd, set, SFD_CLOEXEC | SFD_NONBLOCK);
}

#else

static int read_signal(int fd, siginfo_t *info) {
  (void)fd, (void)info;
  return ENOTSUP;
}

static int open_signal_fd(int fd, const sigset_t *set) {
  (void)fd, (void)set;
  errno = ENOTSUP;
  return -1;
}

#endif

/***
Takes a signal.
@function SignalFd:read
@tparam[opt] number timeout seconds
@treturn[1] string name
@treturn[1] table info, as handlers get it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT
@see signalfd(2)
*/
static int l_fd_read(lua_State *L) {
  struct signal_fd *s = ux_check_open(L, 1, &signal_fd_class);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  siginfo_t info = {.si_signo = 0};
  int err;
  while ((err = read_signal(s->fd, &info)) == EAGAIN || err == EINTR) {
    err = ux_wait_fd(L, s->fd, POLLIN, &deadline);
    if (err != 0 && err != EINTR) break;
    if (!s->head.open) return ux_closed_error(L, &signal_fd_class);
  }
  if (err != 0) return ux_fail(L, err, "signalfd", NULL);
  ux_push_signal(L, info.si_signo);
  ux_push_siginfo(L, &info);
  return 2;
}

static const luaL_Reg fd_methods[] = {
  {"read", l_fd_read},
  {NULL, NULL},
};

static const struct ux_class signal_fd_class = {
  .name = "signalfd",
  .size = sizeof(struct signal_fd),
  .methods = fd_methods,
  .close = l_fd_close,
  .describe = describe_fd,
  .fileno = fileno_of,
};

/***
Blocks these signals and makes an object that reads them, for any poller.
@function fd
@param set signals
@treturn[1] SignalFd
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EMFILE, ENOTSUP (not on this system)
@see signalfd(2)
*/
static int l_fd(lua_State *L) {
  sigset_t set, old;
  ux_check_signal_set(L, 1, 1, &set);
  ux_class_open(L, &signal_fd_class);
  struct signal_fd *s = ux_new(L, &signal_fd_class);
  s->fd = open_signal_fd(-1, &set);
  if (s->fd < 0) return ux_fail(L, errno, "signalfd", NULL);
  s->head.open = true;
  change_mask(SIG_BLOCK, &set, &old);
  return 1;
}

/* ---- tables ------------------------------------------------------------ */

static const luaL_Reg functions[] = {
  {"handle", l_handle},
  {"handler", l_handler},
  {"dispatch", l_dispatch},
  {"list", l_list},
  {"name", l_name},
  {"number", l_number},
  {"send", l_send},
  {"send_group", l_send_group},
  {"raise", l_raise},
  {"queue", l_queue},
  {"block", l_block},
  {"unblock", l_unblock},
  {"set_mask", l_set_mask},
  {"mask", l_mask},
  {"pending", l_pending},
  {"wait", l_wait},
  {"suspend", l_suspend},
  {"fd", l_fd},
  {NULL, NULL},
};

int ux_open_signal(lua_State *L) {
  ux_handlers_open(L);
  luaL_newlib(L, functions);
  ux_signal_timer_open(L);
  return 1;
}
