/* A program with Lua inside and signals of its own: what the signal module
   does to it while a Lua state is open, and what it leaves when that is closed.

     signal_host close DIRECTORY     the name of a test; DIRECTORY is for FIFOs

   The modules come from LUA_PATH_5_4 and LUA_CPATH_5_4. Prints nothing and
   exits with 0 if all is well. */
#include "lib/feature.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *test_name, *directory;

static void check(bool ok, int line, const char *what) {
  if (ok) return;
  fprintf(stderr,
          "signal_host.c:%d: %s: %s (errno %d)\n",
          line,
          test_name,
          what,
          errno);
  exit(1);
}

#define CHECK(what) check((what), __LINE__, #what)

/* ---- Lua --------------------------------------------------------------- */

static void run(lua_State *L, const char *script) {
  if (luaL_dostring(L, script) == LUA_OK) return;
  fprintf(stderr, "signal_host: %s: %s\n", test_name, lua_tostring(L, -1));
  exit(1);
}

static const char prelude[] =
  "ipc = require 'unixipc'\n"
  "signal, process = ipc.signal, ipc.process\n"
  "count = 0\n"
  "function add() count = count + 1 end\n"
  "function await(n)\n"
  "  local finish = process.now() + 10\n"
  "  while count < n and process.now() < finish do process.sleep(0.01) end\n"
  "  assert(count >= n, 'only ' .. count)\n"
  "end\n";

static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  CHECK(L != NULL);
  luaL_openlibs(L);
  run(L, prelude);
  return L;
}

static lua_Integer get_integer(lua_State *L, const char *name) {
  lua_getglobal(L, name);
  lua_Integer n = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n;
}

/* ---- signals ----------------------------------------------------------- */

static struct sigaction action_of(int sig) {
  struct sigaction sa;
  CHECK(sigaction(sig, NULL, &sa) == 0);
  return sa;
}

static void set_action(int sig, void (*fn)(int)) {
  struct sigaction sa = {.sa_handler = fn};
  CHECK(sigaction(sig, &sa, NULL) == 0);
}

static void sleep_ms(long ms) {
  struct timespec left = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

/* Another process that sends signals until it is told to stop. */
static pid_t start_sender(const int *sigs, int count) {
  pid_t host = getpid(), pid = fork();
  CHECK(pid >= 0);
  if (pid != 0) return pid;
  for (unsigned i = 0; getppid() == host; i++) {
    kill(host, sigs[i % (unsigned)count]);
    if (i % 16 == 0) sleep_ms(1);
  }
  _exit(0);
}

static void stop(pid_t pid) {
  int status;
  CHECK(kill(pid, SIGKILL) == 0);
  CHECK(waitpid(pid, &status, 0) == pid);
}

/* A thread that signals are sent to; sigwait would take them from handlers. */
static _Atomic bool is_over;

static void *idle(void *arg) {
  (void)arg;
  while (!atomic_load(&is_over)) sleep_ms(1);
  return NULL;
}

/* ---- closing while signals come ---------------------------------------- */

static void close_and_open_again(void) {
  for (int i = 0; i < 20; i++) {
    lua_State *L = open_state();
    run(L,
        "assert(signal.handle('SIGUSR1', add))\n"
        "assert(signal.handle('SIGRTMIN', add))\n"
        "await(20)\n"
        "local thread = coroutine.wrap(function() await(40) end)\n"
        "thread()\n");
    lua_close(L);
    CHECK(action_of(SIGUSR1).sa_handler == SIG_IGN);
    CHECK(action_of(SIGRTMIN).sa_handler == SIG_IGN);
    sleep_ms(2);
  }
}

/* Its timers go on until it is closed, and no longer: what they send would kill
   then. They are older than the handlers. */
static void test_close_timers(void) {
  for (int i = 0; i < 50; i++) {
    lua_State *L = open_state();
    run(L,
        "timer = assert(signal.timer{signal = 'SIGUSR1', after = 0.05,\n"
        "  every = 1e-4})\n"
        "signal.handle('SIGUSR1', add)\n"
        "signal.handle('SIGALRM', add)\n"
        "signal.handle('SIGPROF', add)\n"
        "assert(signal.interval('real', {every = 1e-4}))\n"
        "assert(signal.interval('prof', {every = 1e-3}))\n"
        "timer:set{every = 1e-4}\n"
        "await(20)\n");
    lua_close(L);
    CHECK(action_of(SIGUSR1).sa_handler == SIG_DFL);
    CHECK(action_of(SIGALRM).sa_handler == SIG_DFL);
    sleep_ms(2);
  }
}

/* Another process sends. */
static void test_close(void) {
  const int sigs[] = {SIGRTMIN, SIGUSR1};
  set_action(SIGUSR1, SIG_IGN);
  set_action(SIGRTMIN, SIG_IGN);
  pid_t sender = start_sender(sigs, 2);
  close_and_open_again();
  stop(sender);
}

static pthread_t target;

static void *send_to_target(void *arg) {
  (void)arg;
  for (unsigned i = 0; !atomic_load(&is_over); i++) {
    pthread_kill(target, i % 2 == 0 ? SIGUSR1 : SIGRTMIN);
    if (i % 16 == 0) sleep_ms(1);
  }
  return NULL;
}

/* Another thread sends, to the one that runs Lua. */
static void test_close_thread(void) {
  pthread_t sender;
  set_action(SIGUSR1, SIG_IGN);
  set_action(SIGRTMIN, SIG_IGN);
  target = pthread_self();
  CHECK(pthread_create(&sender, NULL, send_to_target, NULL) == 0);
  close_and_open_again();
  atomic_store(&is_over, true);
  CHECK(pthread_join(sender, NULL) == 0);
}

/* A thread raises signals in itself, while the owner's state is closed. */
static void test_close_elsewhere(void) {
  pthread_t sender, receiver;
  set_action(SIGUSR1, SIG_IGN);
  set_action(SIGRTMIN, SIG_IGN);
  CHECK(pthread_create(&receiver, NULL, idle, NULL) == 0);
  target = receiver;
  CHECK(pthread_create(&sender, NULL, send_to_target, NULL) == 0);
  close_and_open_again();
  atomic_store(&is_over, true);
  CHECK(pthread_join(sender, NULL) == 0);
  CHECK(pthread_join(receiver, NULL) == 0);
}

/* More are pending than the library has room for: nothing of that is left. */
static void test_close_pending(void) {
  union sigval value = {0};
  sigset_t set;
  set_action(SIGRTMIN, SIG_IGN);
  lua_State *L = open_state();
  run(L, "assert(signal.handle('SIGRTMIN', add))");
  for (int i = 0; i < 5000; i++)
    CHECK(sigqueue(getpid(), SIGRTMIN, value) == 0);
  lua_close(L);
  CHECK(action_of(SIGRTMIN).sa_handler == SIG_IGN);
  CHECK(pthread_sigmask(SIG_BLOCK, NULL, &set) == 0);
  CHECK(!sigismember(&set, SIGRTMIN));
  CHECK(sigpending(&set) == 0 && !sigismember(&set, SIGRTMIN));
}

/* ---- what was there before --------------------------------------------- */

static volatile sig_atomic_t host_signals;

static void on_host_signal(int sig) {
  (void)sig;
  host_signals++;
}

static volatile sig_atomic_t host_value;

static void on_host_info(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)context;
  host_value = info->si_value.sival_int;
}

static struct sigaction host_action(int flags) {
  struct sigaction sa = {.sa_flags = flags};
  if (flags & SA_SIGINFO)
    sa.sa_sigaction = on_host_info;
  else
    sa.sa_handler = on_host_signal;
  sigaddset(&sa.sa_mask, SIGUSR1);
  return sa;
}

static void test_restore(void) {
  struct sigaction plain = host_action(SA_RESTART), now;
  struct sigaction full = host_action(SA_SIGINFO | SA_NODEFER);
  set_action(SIGUSR1, SIG_DFL);
  set_action(SIGHUP, SIG_IGN);
  CHECK(sigaction(SIGUSR2, &plain, NULL) == 0);
  CHECK(sigaction(SIGRTMIN, &full, NULL) == 0);
  lua_State *L = open_state();
  run(L,
      "for _, name in ipairs {'USR1', 'HUP', 'USR2', 'RTMIN', 'TERM'} do\n"
      "  assert(signal.handle(name, add))\n"
      "  if name ~= 'TERM' then assert(signal.raise(name)) end\n"
      "end\n"
      "signal.handle('USR2', 'ignore')\n"
      "signal.handle('TERM', 'default')\n"
      "assert(count == 4)\n");
  CHECK(host_signals == 0);
  lua_close(L);
  CHECK(action_of(SIGUSR1).sa_handler == SIG_DFL);
  CHECK(action_of(SIGTERM).sa_handler == SIG_DFL);
  CHECK(action_of(SIGHUP).sa_handler == SIG_IGN);
  now = action_of(SIGUSR2);
  CHECK(now.sa_handler == on_host_signal);
  CHECK((now.sa_flags & (SA_RESTART | SA_SIGINFO)) == SA_RESTART);
  CHECK(sigismember(&now.sa_mask, SIGUSR1));
  CHECK(!sigismember(&now.sa_mask, SIGUSR2));
  now = action_of(SIGRTMIN);
  CHECK(now.sa_sigaction == on_host_info);
  CHECK((now.sa_flags & SA_NODEFER) != 0 && (now.sa_flags & SA_RESTART) == 0);
  CHECK(raise(SIGUSR2) == 0 && host_signals == 1);
  union sigval value = {.sival_int = 17};
  CHECK(sigqueue(getpid(), SIGRTMIN, value) == 0 && host_value == 17);
}

/* "original" gives it back at once, and closing changes nothing then. */
static void test_original(void) {
  set_action(SIGUSR2, on_host_signal);
  lua_State *L = open_state();
  run(L,
      "assert(signal.handler('USR2') == 'original')\n"
      "assert(signal.handle('USR2', add) == 'original')\n"
      "assert(signal.handle('USR2', 'original') == add)\n"
      "assert(signal.raise('USR2') and count == 0)\n");
  CHECK(host_signals == 1);
  lua_close(L);
  CHECK(action_of(SIGUSR2).sa_handler == on_host_signal);
}

/* What the host has set in the meantime stays. */
static void test_changed_since(void) {
  lua_State *L = open_state();
  run(L, "assert(signal.handle('USR2', add))");
  set_action(SIGUSR2, on_host_signal);
  run(L, "assert(signal.handler('USR2') == 'original')");
  lua_close(L);
  CHECK(action_of(SIGUSR2).sa_handler == on_host_signal);
}

/* ---- several states ---------------------------------------------------- */

static void test_two_states(void) {
  set_action(SIGUSR1, SIG_IGN);
  lua_State *A = open_state(), *B = open_state();
  run(A, "assert(signal.handle('USR1', add))");
  run(B,
      "local ok, message = pcall(signal.handle, 'USR1', add)\n"
      "assert(not ok and message:find 'another Lua state', message)\n"
      "ok, message = pcall(signal.handle, 'USR2', add)\n"
      "assert(not ok and message:find 'another Lua state', message)\n"
      "assert(signal.handler('USR1') == 'original')\n"
      "assert(signal.handler('USR2') == 'default')\n"
      "assert(signal.raise('USR1') and count == 0)\n"
      "assert(process.sleep(0.01))\n");
  run(A, "assert(process.sleep(0)) await(1) assert(count == 1)");
  /* The one that does not own the signals may be closed. */
  lua_State *C = open_state();
  lua_close(C);
  run(A, "signal.raise('USR1') assert(count == 2)");
  lua_close(A);
  CHECK(action_of(SIGUSR1).sa_handler == SIG_IGN);
  /* Now they are nobody's. */
  run(B,
      "assert(signal.handle('USR1', add) == 'ignore')\n"
      "signal.raise('USR1') assert(count == 1)\n");
  lua_close(B);
  CHECK(action_of(SIGUSR1).sa_handler == SIG_IGN);
}

/* A signal that comes while the other state runs is for the first one. */
static void test_turns(void) {
  lua_State *A = open_state(), *B = open_state();
  run(A, "assert(signal.handle('USR1', add))");
  for (int i = 1; i <= 100; i++) {
    CHECK(raise(SIGUSR1) == 0);
    run(B, "for i = 1, 100 do tostring(i) end process.sleep(0)");
    CHECK(get_integer(A, "count") == i - 1);
    run(A, "for i = 1, 100 do tostring(i) end");
    CHECK(get_integer(A, "count") == i);
  }
  lua_close(B);
  lua_close(A);
}

/* ---- threads ----------------------------------------------------------- */

static lua_State *owner_state;
static pthread_t owner_thread;
static int strangers; /* calls of handlers in a wrong thread */

static int l_note_thread(lua_State *L) {
  (void)L;
  if (!pthread_equal(pthread_self(), owner_thread)) strangers++;
  return 0;
}

static void open_owner(void) {
  owner_state = open_state();
  owner_thread = pthread_self();
  lua_register(owner_state, "note_thread", l_note_thread);
  run(owner_state,
      "assert(signal.handle('USR1', function()\n"
      "  note_thread()\n"
      "  add()\n"
      "end))\n");
}

/* Raises it in this thread, when the owner is surely in its call. */
static void *raise_later(void *arg) {
  (void)arg;
  sleep_ms(50);
  CHECK(raise(SIGUSR1) == 0);
  return NULL;
}

/* The handler runs in the owner's thread, in whatever it does. */
static void test_other_thread(void) {
  static const char *const scripts[] = {
    "while count == 0 do end",
    "signal.handle('USR1', function() note_thread() add() error('x', 0) end)\n"
    "assert(not pcall(process.sleep, 10))",
    "local r, w = assert(ipc.pipe.open())\n"
    "assert(not pcall(r.read, r, 1, 10))",
    "local path = directory .. '/fifo'\n"
    "ipc.fifo.create(path)\n"
    "assert(not pcall(ipc.fifo.open, path, 'r', nil, 10))",
    "signal.block('USR2')\n"
    "assert(not pcall(signal.wait, 'USR2', 10))",
    "local child = assert(process.spawn {'sleep', '10'})\n"
    "assert(not pcall(child.wait, child, 10))\n"
    "child:kill()\n"
    "signal.handle('USR1', add)\n"
    "child:wait()",
  };
  open_owner();
  lua_pushstring(owner_state, directory);
  lua_setglobal(owner_state, "directory");
  for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
    pthread_t other;
    run(owner_state, "count = 0");
    CHECK(pthread_create(&other, NULL, raise_later, NULL) == 0);
    time_t start = time(NULL);
    run(owner_state, scripts[i]);
    CHECK(time(NULL) - start < 5);
    CHECK(get_integer(owner_state, "count") == 1 && strangers == 0);
    CHECK(pthread_join(other, NULL) == 0);
  }
  lua_close(owner_state);
}

/* At a random moment around the one when the owner falls asleep. */
static _Atomic int wanted, given;

static void spin_ns(long ns) {
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - start.tv_sec) * 1000000000 +
           (now.tv_nsec - start.tv_nsec) <
         ns);
}

static void *raise_often(void *arg) {
  unsigned seed = 1;
  (void)arg;
  while (!atomic_load(&is_over)) {
    if (atomic_load(&wanted) == atomic_load(&given)) continue;
    seed = seed * 1103515245 + 12345;
    spin_ns((long)(seed >> 8) % 60000);
    raise(SIGUSR1);
    atomic_fetch_add(&given, 1);
  }
  return NULL;
}

static int l_want(lua_State *L) {
  (void)L;
  atomic_fetch_add(&wanted, 1);
  return 0;
}

static void aim(const char *call) {
  char script[1024];
  snprintf(
    script,
    sizeof script,
    "signal.handle('USR1', function() note_thread() error('x', 0) end)\n"
    "local function call() want() %s end\n"
    "for i = 1, 2000 do\n"
    "  local start = process.now()\n"
    "  assert(not pcall(call))\n"
    "  local seconds = process.now() - start\n"
    "  assert(seconds < 2.5, 'round ' .. i .. ' took ' .. seconds)\n"
    "end\n"
    "signal.handle('USR1', add)\n",
    call);
  run(owner_state, script);
}

static void test_aimed(void) {
  pthread_t other;
  open_owner();
  lua_pushstring(owner_state, directory);
  lua_setglobal(owner_state, "directory");
  lua_register(owner_state, "want", l_want);
  run(owner_state,
      "path = directory .. '/fifo' ipc.fifo.create(path)\n"
      "r, w = assert(ipc.pipe.open())\n"
      "signal.block('USR2')\n");
  CHECK(pthread_create(&other, NULL, raise_often, NULL) == 0);
  aim("r:read(1, 3)");
  aim("process.sleep(3)");
  aim("signal.wait('USR2', 3)");
  aim("ipc.fifo.open(path, 'r', nil, 3)");
  atomic_store(&is_over, true);
  CHECK(pthread_join(other, NULL) == 0);
  CHECK(strangers == 0);
  lua_close(owner_state);
}

/* A state that another thread opens, uses and closes; then this one does. */
static void *live_in_thread(void *arg) {
  (void)arg;
  open_owner();
  CHECK(raise(SIGUSR1) == 0);
  run(owner_state, "process.sleep(0) await(1)");
  lua_close(owner_state);
  return NULL;
}

static void test_thread_after_thread(void) {
  set_action(SIGUSR1, SIG_IGN);
  for (int i = 0; i < 20; i++) {
    pthread_t other;
    CHECK(pthread_create(&other, NULL, live_in_thread, NULL) == 0);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(raise(SIGUSR1) == 0);
  }
  live_in_thread(NULL);
  CHECK(strangers == 0);
}

static void *raise_queued(void *arg) {
  (void)arg;
  for (int i = 0; i < 4; i++) raise(SIGRTMIN + i);
  return NULL;
}

/* More threads than the library has room for, each with signals of its own,
   while Lua does not run: what comes later still arrives. */
static void test_many_threads(void) {
  enum { THREADS = 300 };
  pthread_t threads[THREADS];
  union sigval value = {0};
  lua_State *L = open_state();
  run(L, "for i = 0, 3 do signal.handle('SIGRTMIN+' .. i, add) end");
  for (int i = 0; i < 890; i++)
    CHECK(sigqueue(getpid(), SIGRTMIN, value) == 0);
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, raise_queued, NULL) == 0);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  run(L, "process.sleep(0.01) await(890)");
  for (int i = 1; i <= 3000; i++) {
    run(L, "count = 0");
    CHECK(raise(SIGRTMIN + i % 4) == 0);
    run(L, "await(1)");
  }
  run(L, "assert(#signal.mask() == 0)");
  lua_close(L);
}

/* ---- forks ------------------------------------------------------------- */

/* A child has the state and its handlers; what it does is its own. */
static void test_fork(void) {
  set_action(SIGUSR1, SIG_IGN);
  lua_State *L = open_state();
  run(L, "assert(signal.handle('USR1', add))");
  CHECK(raise(SIGUSR1) == 0); /* noted, and not run: the parent's */
  pid_t pid = fork();
  if (pid == 0) {
    run(L, "process.sleep(0.01) assert(count == 0)");
    CHECK(raise(SIGUSR1) == 0);
    run(L, "process.sleep(0) await(1) assert(count == 1)");
    lua_close(L);
    CHECK(action_of(SIGUSR1).sa_handler == SIG_IGN);
    _exit(0);
  }
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  run(L, "await(1) assert(count == 1)");
  lua_close(L);
}

/* ---- all --------------------------------------------------------------- */

static const struct {
  const char *name;
  void (*fn)(void);
} tests[] = {
  {"close", test_close},
  {"close_timers", test_close_timers},
  {"close_thread", test_close_thread},
  {"close_elsewhere", test_close_elsewhere},
  {"close_pending", test_close_pending},
  {"restore", test_restore},
  {"original", test_original},
  {"changed_since", test_changed_since},
  {"two_states", test_two_states},
  {"turns", test_turns},
  {"other_thread", test_other_thread},
  {"aimed", test_aimed},
  {"many_threads", test_many_threads},
  {"thread_after_thread", test_thread_after_thread},
  {"fork", test_fork},
};

int main(int argc, char **argv) {
  test_name = argc > 1 ? argv[1] : "";
  directory = argc > 2 ? argv[2] : "/tmp";
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
    if (strcmp(tests[i].name, test_name) != 0) continue;
    tests[i].fn();
    return 0;
  }
  fprintf(stderr, "signal_host: there is no test '%s'\n", test_name);
  return 2;
}
