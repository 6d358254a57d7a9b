/***
Processes: fork, spawn, wait, and who we are.

A Process stands for a child, or for what `open` opened. Fields: `child.pid`,
its number; `child.stdin`, `child.stdout` and `child.stderr`, a Stream each if
`spawn` was to make it a `"pipe"`, else nil. To set a field raises.
@module unixipc.process
*/
#include "base/class.h"
#include "base/constants.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/notes.h"
#include "base/process_id.h"
#include "base/wait.h"
#include "lib/clock.h"
#include "lib/spawn.h"
#include "process_plan.h"
#include "process_self.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct process {
  struct ux_object head;
  pid_t pid;
  int pidfd;       /* -1 where the system has none */
  bool is_watched; /* opened by its number: its status is not ours to take */
  bool is_reaped;
  int status; /* once reaped, as is the next */
  struct rusage usage;
};

/* User values. */
enum {
  STREAMS = 1, /* a table: stdin, stdout, stderr */
  NAME = 2,    /* of the program */
};

static const struct ux_class process_class;

static struct process *check_process(lua_State *L) {
  return ux_check_open(L, 1, &process_class);
}

static const char *name_of(lua_State *L, int index) {
  lua_getiuservalue(L, index, NAME);
  return lua_tostring(L, -1);
}

/* ---- pidfd ------------------------------------------------------------- */

static int open_pidfd(pid_t pid) {
#if defined(UX_HAVE_PIDFD) && defined(SYS_pidfd_open)
  return (int)syscall(SYS_pidfd_open, pid, 0); /* is close-on-exec */
#else
  (void)pid;
  errno = ENOTSUP;
  return -1;
#endif
}

/* Through the pidfd a signal cannot hit a stranger who got the number. */
static int send_signal(const struct process *p, int sig) {
#if defined(UX_HAVE_PIDFD) && defined(SYS_pidfd_send_signal)
  if (p->pidfd >= 0)
    return syscall(SYS_pidfd_send_signal, p->pidfd, sig, NULL, 0) == 0 ? 0
                                                                       : errno;
#endif
  return kill(p->pid, sig) == 0 ? 0 : errno;
}

/* ---- reaping ----------------------------------------------------------- */

/* What is waited for besides the end. */
enum changes {
  END_ONLY = 0,
  ANY_CHANGE = WUNTRACED | WCONTINUED,
};

/* Takes what there is to tell of the child; EAGAIN: nothing. Its end is told
   again. */
static int try_take(struct process *p, enum changes changes, int *status) {
  struct rusage usage;
  *status = p->status;
  if (p->is_reaped) return 0;
  if (p->is_watched) return ECHILD;
  pid_t pid = wait4(p->pid, status, WNOHANG | (int)changes, &usage);
  if (pid <= 0) return pid == 0 ? EAGAIN : errno;
  if (WIFSTOPPED(*status) || WIFCONTINUED(*status)) return 0;
  p->status = *status;
  p->usage = usage;
  p->is_reaped = true;
  return 0;
}

static int try_reap(struct process *p) {
  int status;
  return try_take(p, END_ONLY, &status);
}

/* Sleep until there is something to tell, without a pidfd. It is not taken
   yet. */
static int sleep_until(pid_t pid, int changes) {
  siginfo_t info;
  int failed = waitid(P_PID, (id_t)pid, &info, changes | WNOWAIT);
  return failed ? errno : 0;
}

static int sleep_until_end(void *arg) {
  const struct process *p = arg;
  return sleep_until(p->pid, WEXITED);
}

static int sleep_until_change(void *arg) {
  const struct process *p = arg;
  return sleep_until(p->pid, WEXITED | WSTOPPED | WCONTINUED);
}

/* A pidfd tells of the end alone. */
static int wait_for(lua_State *L, struct process *p, enum changes changes,
                    struct ux_deadline *deadline) {
  if (deadline->left == 0) return ETIMEDOUT;
  if (changes == ANY_CHANGE)
    return ux_wait_call(L, sleep_until_change, p, deadline);
  if (p->pidfd < 0) return ux_wait_call(L, sleep_until_end, p, deadline);
  return ux_wait_fd(L, p->pidfd, POLLIN, deadline);
}

/* Children whose objects are gone while they run: their ends are taken
   whenever a process is started or let go. Never their number's next bearer:
   while a child is not reaped its number is its own. */
static struct {
  pid_t *pids;
  size_t count, size;
  pid_t owner;
} abandoned;

static void reap_abandoned(void) {
  if (abandoned.owner != ux_process_id()) abandoned.count = 0;
  for (size_t i = 0; i < abandoned.count;) {
    if (waitpid(abandoned.pids[i], NULL, WNOHANG) == 0)
      i++;
    else
      abandoned.pids[i] = abandoned.pids[--abandoned.count];
  }
}

/* Without memory the child stays a zombie until we end: no worse. */
static void abandon(pid_t pid) {
  reap_abandoned();
  if (abandoned.count == abandoned.size) {
    size_t size = abandoned.size * 2 + 8;
    pid_t *pids = realloc(abandoned.pids, size * sizeof *pids);
    if (pids == NULL) return;
    abandoned.pids = pids;
    abandoned.size = size;
  }
  abandoned.owner = ux_process_id();
  abandoned.pids[abandoned.count++] = pid;
}

/* ---- the object -------------------------------------------------------- */

/* Pushes a closed Process. The streams are the table at the given stack
   index; 0 for none. */
static struct process *new_process(lua_State *L, int streams) {
  struct process *p = ux_new(L, &process_class);
  p->pidfd = -1;
  if (streams == 0)
    lua_newtable(L);
  else
    lua_pushvalue(L, streams);
  lua_setiuservalue(L, -2, STREAMS);
  return p;
}

static void set_process(struct process *p, pid_t pid) {
  p->pid = pid;
  p->head.open = true;
  p->pidfd = open_pidfd(pid);
}

/***
Lets go of the child: it is not killed and not waited for, and when it ends its
status is taken and dropped. The streams that lead to it stay open. Also what
`<close>` and the collector do.
@function Process:close
@treturn boolean true
*/
static int l_close(lua_State *L) {
  struct process *p = ux_check(L, 1, &process_class);
  if (p->head.open) {
    p->head.open = false;
    ux_fd_close(&p->pidfd);
    if (ux_is_owner(&p->head) && try_reap(p) == EAGAIN) abandon(p->pid);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static void describe(lua_State *L, const void *self) {
  const struct process *p = self;
  const char *name = name_of(L, 1);
  lua_pushfstring(
    L, "process pid=%d%s%s", (int)p->pid, name ? " " : "", name ? name : "");
  if (!p->is_reaped) return;
  if (WIFEXITED(p->status))
    lua_pushfstring(L, " (exit %d)", WEXITSTATUS(p->status));
  else {
    ux_push_signal(L, WTERMSIG(p->status));
    lua_pushfstring(L, " (%s)", lua_tostring(L, -1));
    lua_remove(L, -2);
  }
  lua_concat(L, 2);
}

static int fileno_of(const void *self) {
  const struct process *p = self;
  return p->pidfd;
}

/*
The child's number, as a field: `child.pid`. The streams that lead to it are
`child.stdin`, `child.stdout` and `child.stderr`: those that `spawn` was asked
to make pipes.
*/
static int l_index(lua_State *L) {
  const struct process *p = ux_check(L, 1, &process_class);
  if (lua_type(L, 2) == LUA_TSTRING &&
      strcmp(lua_tostring(L, 2), "pid") == 0) {
    lua_pushinteger(L, p->pid);
    return 1;
  }
  lua_getiuservalue(L, 1, STREAMS);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  ux_class_open(L, &process_class);
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

/* ---- methods ----------------------------------------------------------- */

static int push_signal(lua_State *L, const char *how, int sig) {
  lua_pushstring(L, how);
  ux_push_signal(L, sig);
  return 2;
}

static int push_status(lua_State *L, int status) {
  if (WIFSTOPPED(status)) return push_signal(L, "stopped", WSTOPSIG(status));
  if (WIFCONTINUED(status)) return push_signal(L, "continued", SIGCONT);
  if (!WIFEXITED(status)) return push_signal(L, "signal", WTERMSIG(status));
  lua_pushliteral(L, "exit");
  lua_pushinteger(L, WEXITSTATUS(status));
  return 2;
}

static int wait_and_push(lua_State *L, enum changes changes) {
  struct process *p = check_process(L);
  struct ux_deadline deadline = ux_check_deadline(L, 2);
  int err, status;
  while ((err = try_take(p, changes, &status)) == EAGAIN) {
    err = wait_for(L, p, changes, &deadline);
    if (err != 0 && err != EINTR) break;
    if (!p->head.open) return ux_closed_error(L, &process_class);
  }
  if (err == 0) return push_status(L, status);
  return ux_fail(L, err, "wait4", name_of(L, 1));
}

/***
Waits until the child has ended; that it is stopped meanwhile does not matter.
Asked again it says the same.
@function Process:wait
@tparam[opt] number timeout seconds
@treturn[1] string `"exit"`
@treturn[1] integer its exit code
@treturn[2] string `"signal"`
@treturn[2] string the name of the signal that killed it: `"SIGKILL"`
@treturn[3] nil
@treturn[3] string message
@treturn[3] integer errno: ETIMEDOUT, ECHILD (another process's child, or
opened by its number: only a poller waits for that; or its status was taken by
somebody else)
@see wait4(2)
*/
static int l_wait(lua_State *L) {
  return wait_and_push(L, END_ONLY);
}

/***
Waits until the child is stopped, goes on or ends, and tells each stop and each
going on once. One that was over before anybody asked is not told: of a child
that was stopped and goes on, only that it goes on.
@function Process:wait_change
@tparam[opt] number timeout seconds
@treturn[1] string `"stopped"`
@treturn[1] string the name of the signal that stopped it: `"SIGTSTP"`
@treturn[2] string `"continued"`
@treturn[2] string `"SIGCONT"`
@treturn[3] string `"exit"` or `"signal"`, as `wait` says it, also when asked
again
@treturn[3] integer|string
@treturn[4] nil
@treturn[4] string message
@treturn[4] integer errno: ETIMEDOUT, ECHILD (as of `wait`)
@see Process:wait
@see wait4(2)
*/
static int l_wait_change(lua_State *L) {
  return wait_and_push(L, ANY_CHANGE);
}

/***
What the child used, once it has ended, with the children it waited for: a table
as `process.usage` gives it. At its start a child has the memory of its parent,
so `max_resident` is no less than what that had then.
@function Process:usage
@treturn[1] table
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EAGAIN (it is running), ECHILD (as of `wait`)
@see usage
@see wait4(2)
*/
static int l_usage(lua_State *L) {
  struct process *p = check_process(L);
  int err = try_reap(p);
  if (err == EAGAIN) return ux_fail_words(L, err, "usage", "it is running");
  if (err != 0) return ux_fail(L, err, "wait4", name_of(L, 1));
  return ux_push_usage(L, &p->usage);
}

/***
Sends the child a signal.
@function Process:kill
@tparam[opt="SIGTERM"] string|integer signal name or number; 0 only asks
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ESRCH (it has ended), EPERM, EINVAL
@see kill(2)
@see pidfd_send_signal(2)
*/
static int l_kill(lua_State *L) {
  const struct process *p = check_process(L);
  int sig = lua_isnoneornil(L, 2) ? SIGTERM : ux_check_signal(L, 2);
  int err = p->is_reaped ? ESRCH : send_signal(p, sig);
  return ux_result(L, err, "kill", name_of(L, 1));
}

/* Of a process that is not our child. A pidfd can be read when it has ended,
   also while its parent has not taken its status. */
static bool is_running(const struct process *p) {
  struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};
  return p->pidfd >= 0 ? poll(&fd, 1, 0) == 0 : send_signal(p, 0) == 0;
}

/***
Is the child running still?
@function Process:is_alive
@treturn boolean
*/
static int l_is_alive(lua_State *L) {
  struct process *p = check_process(L);
  int err = try_reap(p);
  if (err == ECHILD) err = is_running(p) ? EAGAIN : 0;
  lua_pushboolean(L, err == EAGAIN);
  return 1;
}

static const luaL_Reg methods[] = {
  {"wait", l_wait},
  {"wait_change", l_wait_change},
  {"usage", l_usage},
  {"kill", l_kill},
  {"is_alive", l_is_alive},
  {"__index", l_index},
  {NULL, NULL},
};

static const struct ux_class process_class = {
  .name = "process",
  .size = sizeof(struct process),
  .uservalues = 2,
  .methods = methods,
  .close = l_close,
  .describe = describe,
  .fileno = fileno_of,
};

/* ---- starting ---------------------------------------------------------- */

static int with_traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

static int flush_streams(lua_State *L) {
  ux_stream_flush_all(L);
  return 0;
}

/* Leaves like a child: what this process wrote goes out; no finalizer and no
   atexit runs, for those things are the parent's. */
_Noreturn static void leave(lua_State *L, int code) {
  fflush(NULL);
  lua_pushcfunction(L, flush_streams);
  lua_pcall(L, 0, 0, 0);
  _exit(code);
}

static int exit_code(lua_State *L, int index) {
  if (lua_isinteger(L, index)) return (int)lua_tointeger(L, index) & 0xFF;
  return lua_isboolean(L, index) && !lua_toboolean(L, index);
}

static void complain(lua_State *L, int index) {
  const char *message = lua_tostring(L, index);
  fprintf(stderr, "%s\n", message ? message : "error in a forked child");
}

/* The function and its arguments fill the stack from index 1. nil and a message
   is how this library says that something failed. */
_Noreturn static void run_child(lua_State *L) {
  lua_pushcfunction(L, with_traceback);
  lua_insert(L, 1);
  int status = lua_pcall(L, lua_gettop(L) - 2, 2, 1);
  if (status != LUA_OK) {
    complain(L, -1);
    leave(L, 1);
  }
  bool has_failed = lua_isnil(L, -2) && lua_isstring(L, -1);
  if (has_failed) complain(L, -1);
  leave(L, has_failed ? 1 : exit_code(L, -2));
}

/***
Forks. The child calls the function, then leaves without finalizers or atexit:
with the integer it returned, 0 for true or nothing, 1 for false, for nil and a
message, or after an error; the message, or the error's traceback, goes to
standard error. What is in the buffers of Lua's
files is written before, so that it does not come out twice; what the parent
keeps back in a Stream stays the parent's. Objects made before the fork can be
used on both sides; the child's collector only closes them.
@function fork
@tparam function fn
@param ... its arguments
@treturn[1] Process the child
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EAGAIN (too many processes), ENOMEM
@see fork(2)
*/
static int l_fork(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  reap_abandoned();
  struct process *p = new_process(L, 0);
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) return ux_fail(L, errno, "fork", NULL);
  if (pid == 0) {
    lua_pop(L, 1);
    run_child(L);
  }
  set_process(p, pid);
  return 1;
}

/***
Starts a program: without a shell, and in a time that does not grow with the
memory of this process. Of this process's descriptors it gets standard input,
output and error and those named in `fds`, no other.

Options: `stdin`, `stdout`, `stderr`: `"inherit"` (the default), `"null"`,
`"pipe"` (then the field of that name of the Process is a Stream), a path (one
with a `/` in it), anything with a descriptor, and for `stderr` `"stdout"`.
`env`: a table that replaces the environment; `env_add`: one that is added to
it, where false takes a name out. `cwd`: its directory. `fds`: a
table from descriptor numbers of the child to things with a descriptor.
`pgroup`: true for a process group of its own, or the id of one to join.
`setsid`: true for a session of its own. `program`: what is started, when the
first of the arguments is to be another name. `umask`: as modes are given.
`signal_mask`: the signals that are blocked there, `{}` for none, those that are
blocked here by default; `signal_default`: signals that are ignored here and
shall not be there. `user`, `group`: the numbers of its user and group, and not
one of ours is left; `groups`: a list of its supplementary groups, or
`"inherit"`; none when `user` is given and this process is root. `nice`: added
to the nice value. `parent_death_signal`: a signal that it gets when the thread
that started it ends, however that happens (Linux; ENOTSUP elsewhere). It has no
effect on a program that gains rights by exec.
@function spawn
@tparam table argv the program, looked for in PATH if it has no `/`, and its
arguments
@tparam[opt] table options
@treturn[1] Process the child
@treturn[2] nil when it could not be started: no child is left
@treturn[2] string message
@treturn[2] integer errno: ENOENT (no such program), EACCES, ENOEXEC, ENOTDIR,
EMFILE, E2BIG, EAGAIN, ENOMEM, EPERM (`user`, `group`, `groups`, a negative
`nice`), EINVAL (no such signal; too many groups)
@see posix_spawn(3)
@see credentials(7)
@see prctl(2)
@see vfork(2)
@see execve(2)
*/
static int l_spawn(lua_State *L) {
  const char *call = NULL;
  pid_t pid;
  reap_abandoned();
  fflush(NULL); /* as popen does: what was printed before comes before */
  struct ux_spawn *plan = ux_process_plan(L, 1);
  if (plan == NULL) return 3;
  int streams = lua_gettop(L);
  struct process *p = new_process(L, streams);
  lua_pushstring(L, plan->program);
  lua_setiuservalue(L, -2, NAME);
  plan->fix_mask = ux_notes_fix_mask;
  int err = ux_spawn(plan, &pid, &call);
  if (err == 0) set_process(p, pid);
  ux_process_plan_close(L, streams - 1);
  if (err == 0) return 1;
  ux_process_plan_close_streams(L, streams);
  bool is_cwd = strcmp(call, "chdir") == 0;
  return ux_fail(L, err, call, is_cwd ? plan->cwd : plan->program);
}

/***
Opens a process that need not be a child: to signal it, to ask whether it is
alive, and to wait for its end with `poll`. When it has ended its number may be
another one's; this object still stands for the one that was opened. Make sure
that it is the one you mean after opening it, not before.
@function open
@tparam integer pid
@treturn[1] Process
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ESRCH (there is none), EINVAL (no process number),
EMFILE, ENOTSUP (not on this system)
@see pidfd_open(2)
*/
static int l_open(lua_State *L) {
  lua_Integer pid = luaL_checkinteger(L, 1);
  luaL_argcheck(L, pid >= INT_MIN && pid <= INT_MAX, 1, "no process number");
  struct process *p = new_process(L, 0);
  p->pid = (pid_t)pid;
  p->is_watched = true;
  p->pidfd = open_pidfd(p->pid);
  if (p->pidfd < 0) return ux_process_fail(L, errno, "pidfd_open", p->pid);
  p->head.open = true;
  return 1;
}

/* ---- here and now ------------------------------------------------------ */

/***
Sleeps; signal handlers run meanwhile.
@function sleep
@tparam number seconds
@treturn boolean true
@see ppoll(2)
*/
static int l_sleep(lua_State *L) {
  luaL_checknumber(L, 1);
  struct ux_deadline deadline = ux_check_deadline(L, 1);
  while (!ux_deadline_passed(&deadline)) ux_wait_fds(L, NULL, 0, &deadline);
  lua_pushboolean(L, 1);
  return 1;
}

/***
The time of the monotonic clock that all timeouts are measured by, from some
moment in the past.
@function now
@treturn number seconds
@see clock_gettime(2)
*/
static int l_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)ux_clock_now() / (lua_Number)UX_NS_PER_S);
  return 1;
}

/***
Leaves this process at once, as a forked child should: what it wrote goes out,
but no finalizer and no atexit function runs.
@function exit
@tparam[opt=0] integer|boolean code
@see _exit(2)
*/
static int l_exit(lua_State *L) {
  bool is_code = lua_isnoneornil(L, 1) || lua_isboolean(L, 1);
  if (!is_code && !lua_isinteger(L, 1))
    luaL_typeerror(L, 1, "integer or boolean");
  leave(L, exit_code(L, 1));
}

static const luaL_Reg functions[] = {
  {"fork", l_fork},
  {"spawn", l_spawn},
  {"open", l_open},
  {"sleep", l_sleep},
  {"now", l_now},
  {"exit", l_exit},
  {NULL, NULL},
};

int ux_open_process(lua_State *L) {
  ux_stream_open(L);
  luaL_newlib(L, functions);
  luaL_setfuncs(L, ux_process_self_functions, 0);
  ux_class_open(L, &process_class);
  lua_setfield(L, -2, "Process");
  return 1;
}
