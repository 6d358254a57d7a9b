/* A program in C that runs Lua, for what the interpreter itself cannot show.

   oom_host memory SCRIPT [ARGUMENT...]
     The script returns a function, the task. It is run again and again, each
     time in a new Lua state whose allocator fails a little later: at the first
     allocation, at the second … until the task gets through; once so that only
     that one fails (and Lua's second try), once so that all do from there on.
     Each time it must end with "not enough memory" or go well; then leave no
     descriptor, child or memory behind; and work when it is called again.

   oom_host plain SCRIPT [ARGUMENT...]
     Runs the script, looks whether the program's own handler of SIGINT is as it
     was, and writes "atexit" at the end of the process. */
#include "lib/feature.h"

#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_ALLOCATIONS 20000
#define PATIENCE_MS 5000

struct memory {
  size_t bytes;  /* that are allocated */
  bool is_armed; /* counts and fails */
  bool is_once;  /* only one fails */
  long left;     /* allocations that still succeed */
  int failed;
};

static pid_t host;

_Noreturn static void die(const char *what, const char *detail, long n) {
  fprintf(stderr,
          "oom_host: allocation %ld: %s%s%s\n",
          n,
          what,
          *detail != '\0' ? ": " : "",
          detail);
  fflush(stderr);
  _exit(1);
}

/* ---- the allocator --------------------------------------------------- */

/* Lua tries a second time, after a collection; only then it has failed. */
static bool fails(struct memory *m) {
  if (!m->is_armed || m->left-- > 0) return false;
  if (m->is_once && m->failed == 2) return false;
  m->failed++;
  return true;
}

static void *allocate(void *arg, void *block, size_t old, size_t size) {
  struct memory *m = arg;
  if (block == NULL) old = 0;
  if (size == 0) {
    m->bytes -= old;
    free(block);
    return NULL;
  }
  if (size > old && fails(m)) return NULL;
  void *result = realloc(block, size);
  if (result != NULL) m->bytes += size - old;
  return result;
}

/* ---- what is left behind --------------------------------------------- */

static int count_fds(void) {
  int count = 0;
  DIR *dir = opendir("/proc/self/fd");
  if (dir == NULL) die("opendir", strerror(errno), 0);
  while (readdir(dir) != NULL) count++;
  closedir(dir);
  return count;
}

/* A child that nobody knows any more ends by itself, as its pipes do. */
static bool children_end(void) {
  for (int i = 0; i < PATIENCE_MS; i++) {
    pid_t pid = waitpid(-1, NULL, WNOHANG);
    if (pid < 0) return errno == ECHILD;
    if (pid == 0) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return false;
}

/* ---- one round ------------------------------------------------------- */

static lua_State *new_state(struct memory *m, char **argv, long n) {
  int count = 0;
  lua_State *L = lua_newstate(allocate, m);
  if (L == NULL) die("no Lua state", "", n);
  luaL_openlibs(L);
  if (luaL_loadfile(L, argv[0]) != LUA_OK) die("load", lua_tostring(L, -1), n);
  for (char **arg = argv + 1; *arg != NULL; arg++, count++)
    lua_pushstring(L, *arg);
  if (lua_pcall(L, count, 1, 0) != LUA_OK)
    die("script", lua_tostring(L, -1), n);
  return L;
}

/* "stack overflow" is what luaL_checkstack says, whatever the reason. */
static bool is_out_of_memory(lua_State *L) {
  const char *message = luaL_tolstring(L, -1, NULL);
  return strstr(message, "not enough memory") != NULL ||
         strstr(message, "stack overflow") != NULL ||
         strstr(message, "Cannot allocate memory") != NULL;
}

/* Runs the task at stack index 1. */
static int run_task(lua_State *L) {
  lua_pushvalue(L, 1);
  int status = lua_pcall(L, 0, 0, 0);
  if (getpid() != host) {
    fputs("oom_host: a forked child came back\n", stderr);
    _exit(99);
  }
  return status;
}

static void collect(lua_State *L) {
  lua_settop(L, 1);
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCCOLLECT); /* what finalizers let go */
}

/* True when the task went through without a failure. */
static bool try_task(char **argv, bool is_once, long n) {
  struct memory m = {.is_once = is_once, .left = n};
  int before = count_fds();
  lua_State *L = new_state(&m, argv, n);
  collect(L);
  int opened = count_fds();
  lua_gc(L, LUA_GCSTOP); /* Lua drops a finalizer it has no memory to call */
  m.is_armed = true;
  int status = run_task(L);
  m.is_armed = false;
  lua_gc(L, LUA_GCRESTART);
  if (status != LUA_OK && m.failed == 0)
    die("the task fails by itself", lua_tostring(L, -1), n);
  if (status != LUA_OK && !is_out_of_memory(L))
    die("another error", lua_tostring(L, -1), n);
  collect(L);
  if (count_fds() != opened) die("descriptors are left open", "", n);
  if (run_task(L) != LUA_OK)
    die("it does not work again", luaL_tolstring(L, -1, NULL), n);
  collect(L);
  if (count_fds() != opened) die("the second time leaves descriptors", "", n);
  lua_close(L);
  if (m.bytes != 0) die("memory is left", "", n);
  if (count_fds() != before) die("lua_close leaves descriptors", "", n);
  if (!children_end()) die("a child is left", "", n);
  return m.failed == 0;
}

static void run_memory(char **argv) {
  for (int is_once = 1; is_once >= 0; is_once--) {
    long n = 0;
    while (!try_task(argv, is_once, n))
      if (++n > MOST_ALLOCATIONS) die("it does not get through", "", n);
    printf("%s: through with %ld\n", is_once ? "once" : "from then on", n);
  }
}

/* ---- plain ----------------------------------------------------------- */

static void at_exit(void) {
  static const char words[] = "atexit\n";
  if (write(STDOUT_FILENO, words, sizeof words - 1) < 0) _exit(2);
}

static void on_interrupt(int sig) {
  (void)sig;
}

/* With a flag that the library cannot use while it waits. */
static void set_handler(void) {
  struct sigaction sa = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
  sigaction(SIGINT, &sa, NULL);
}

static bool has_handler(void) {
  struct sigaction sa;
  sigaction(SIGINT, NULL, &sa);
  return sa.sa_handler == on_interrupt && (sa.sa_flags & SA_RESTART) &&
         !(sa.sa_flags & SA_SIGINFO);
}

static void run_plain(char **argv) {
  struct memory m = {.bytes = 0};
  atexit(at_exit);
  set_handler();
  lua_State *L = new_state(&m, argv, 0);
  if (!has_handler()) die("the handler is not the program's own", "", 0);
  lua_close(L);
  if (!has_handler()) die("lua_close has changed the handler", "", 0);
  if (m.bytes != 0) die("memory is left", "", 0);
}

int main(int argc, char **argv) {
  host = getpid();
  if (argc < 3) die("usage: oom_host memory|plain SCRIPT", "", 0);
  if (strcmp(argv[1], "memory") == 0)
    run_memory(argv + 2);
  else
    run_plain(argv + 2);
  return 0;
}
