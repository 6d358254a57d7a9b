#include "base/handlers.h"

#include "base/constants.h"
#include "base/finalizer.h"
#include "base/notes.h"
#include "base/siginfo.h"

#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <string.h>

/* What is kept of one signal. */
struct entry {
  bool is_changed; /* `original` is to be put back */
  struct sigaction original;
  struct ux_handler handler;
};

/* A userdata in the registry of the Lua state that owns the signals. Its user
   value is the table of functions by signal number. */
struct handlers {
  sigset_t deferred; /* whose handlers run now, and those in their masks */
  struct entry entries[NSIG];
};

static struct handlers *owner; /* of the one state that owns the signals */
static const char handlers_key = 'h';

/* ---- the owner --------------------------------------------------------- */

/* The handlers of this state, or NULL. */
static struct handlers *own_handlers(lua_State *L) {
  if (owner == NULL) return NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &handlers_key);
  struct handlers *h = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return h == owner ? h : NULL;
}

static bool is_still_ours(const struct sigaction *now) {
  return ux_notes_is_ours(now) ||
         (!(now->sa_flags & SA_SIGINFO) &&
          (now->sa_handler == SIG_DFL || now->sa_handler == SIG_IGN));
}

/* Puts back what was there, unless somebody else has changed it since. */
static void restore(struct entry *e, int sig) {
  struct sigaction now;
  if (e->is_changed && sigaction(sig, NULL, &now) == 0 && is_still_ours(&now))
    sigaction(sig, &e->original, NULL);
  e->is_changed = false;
}

/* The state is being closed. Signals held back come in first, while the
   handler still takes them. */
static int l_gc(lua_State *L) {
  struct handlers *h = lua_touserdata(L, 1);
  if (owner != h) return 0;
  ux_notes_drain();
  for (int sig = 1; sig < NSIG; sig++) restore(&h->entries[sig], sig);
  ux_notes_clear();
  ux_notes_disown();
  owner = NULL;
  return 0;
}

static struct handlers *new_handlers(lua_State *L) {
  struct handlers *h = lua_newuserdatauv(L, sizeof *h, 1);
  memset(h, 0, sizeof *h);
  sigemptyset(&h->deferred);
  lua_newtable(L);
  lua_setiuservalue(L, -2, 1);
  ux_set_finalizer(L, "unixipc handlers", l_gc);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &handlers_key);
  return h;
}

/* What a child does that was forked inside a handler is not that handler. */
static void after_fork(void) {
  if (owner != NULL) sigemptyset(&owner->deferred);
}

static void watch_forks(void) {
  pthread_atfork(NULL, NULL, after_fork);
}

static struct handlers *get_handlers(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &handlers_key);
  struct handlers *h = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return h != NULL ? h : new_handlers(L);
}

void ux_handlers_open(lua_State *L) {
  get_handlers(L);
}

static struct handlers *claim(lua_State *L) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  struct handlers *h = own_handlers(L);
  if (h != NULL) return h;
  if (owner != NULL)
    luaL_error(L, "signals belong to another Lua state of this process");
  h = get_handlers(L);
  pthread_once(&once, watch_forks);
  int err = ux_notes_own();
  if (err != 0) luaL_error(L, "cannot take signals: error %d", err);
  owner = h;
  return h;
}

/* Pushes the table of functions. */
static void push_functions(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &handlers_key);
  lua_getiuservalue(L, -1, 1);
  lua_remove(L, -2);
}

static void set_function(lua_State *L, int sig, int function) {
  push_functions(L);
  if (function == 0)
    lua_pushnil(L);
  else
    lua_pushvalue(L, function);
  lua_rawseti(L, -2, sig);
  lua_pop(L, 1);
}

/* ---- setting ----------------------------------------------------------- */

static int change(const struct ux_handler *h, int sig,
                  const struct sigaction *original, struct sigaction *old) {
  if (h->disposition == UX_SIGNAL_FUNCTION)
    return ux_notes_install(sig, h->flags, old);
  struct sigaction sa = {.sa_flags = h->flags};
  sa.sa_handler = h->disposition == UX_SIGNAL_IGNORE ? SIG_IGN : SIG_DFL;
  if (h->disposition == UX_SIGNAL_ORIGINAL) sa = *original;
  return sigaction(sig, &sa, old) == 0 ? 0 : errno;
}

static bool is_signal(int sig) {
  return sig > 0 && sig < NSIG;
}

int ux_handlers_set(lua_State *L, int sig, const struct ux_handler *h,
                    int function) {
  struct handlers *all = claim(L);
  struct sigaction old;
  if (!is_signal(sig)) return EINVAL;
  struct entry *e = &all->entries[sig];
  if (h->disposition == UX_SIGNAL_ORIGINAL && !e->is_changed) return 0;
  bool has_function = h->disposition == UX_SIGNAL_FUNCTION;
  if (has_function) set_function(L, sig, function);
  int err = change(h, sig, &e->original, &old);
  if (err != 0) {
    if (has_function && !e->is_changed) set_function(L, sig, 0);
    return err;
  }
  if (!e->is_changed) e->original = old;
  e->is_changed = h->disposition != UX_SIGNAL_ORIGINAL;
  e->handler = *h;
  if (!has_function) set_function(L, sig, 0);
  return 0;
}

int ux_handlers_push(lua_State *L, int sig) {
  struct sigaction now;
  if (sigaction(sig, NULL, &now) != 0) return errno;
  if (ux_notes_is_ours(&now) && own_handlers(L) != NULL) {
    push_functions(L);
    lua_rawgeti(L, -1, sig);
    lua_remove(L, -2);
  } else if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL) {
    lua_pushliteral(L, "default");
  } else if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN) {
    lua_pushliteral(L, "ignore");
  } else {
    lua_pushliteral(L, "original");
  }
  return 0;
}

/* ---- running ----------------------------------------------------------- */

/* The disposition goes back before the function runs, as SA_RESETHAND has
   it. */
static void end_once(lua_State *L, struct entry *e, int sig) {
  struct ux_handler h = {.disposition = UX_SIGNAL_DEFAULT};
  if (!e->handler.is_once) return;
  ux_handlers_set(L, sig, &h, 0);
}

static void defer(sigset_t *set, const struct entry *e, int sig) {
  if (!e->handler.is_nested) sigaddset(set, sig);
  for (int other = 1; other < NSIG; other++)
    if (sigismember(&e->handler.mask, other) == 1) sigaddset(set, other);
}

/* What is left comes with the next instruction of Lua. */
static void wake_if_wanted(void) {
  if (ux_notes_wake != NULL && ux_notes_any(&owner->deferred)) ux_notes_wake();
}

bool ux_handlers_is_owner(lua_State *L) {
  return own_handlers(L) != NULL;
}

/* Under pcall, with the function and the siginfo: memory may be short. */
static int l_call(lua_State *L) {
  const siginfo_t *info = lua_touserdata(L, 2);
  lua_pushvalue(L, 1);
  ux_push_signal(L, info->si_signo);
  ux_push_siginfo(L, info);
  lua_call(L, 2, 0);
  return 0;
}

/* A signal whose function was taken away since it came is dropped. There is
   room on the stack. */
static void run_handler(lua_State *L, struct handlers *h,
                        const siginfo_t *info) {
  int sig = info->si_signo;
  struct entry *e = &h->entries[sig];
  sigset_t before = h->deferred;
  lua_pushcfunction(L, l_call);
  push_functions(L);
  bool is_set = lua_rawgeti(L, -1, sig) == LUA_TFUNCTION;
  lua_remove(L, -2);
  if (!is_set) {
    lua_pop(L, 2);
    return;
  }
  defer(&h->deferred, e, sig);
  lua_pushlightuserdata(L, (void *)(uintptr_t)info);
  end_once(L, e, sig);
  int status = lua_pcall(L, 2, 0, 0);
  h->deferred = before;
  if (status == LUA_OK) return;
  ux_notes_release();
  wake_if_wanted();
  lua_error(L);
}

bool ux_handlers_pending(lua_State *L) {
  const struct handlers *h = own_handlers(L);
  return h != NULL && ux_notes_any(&h->deferred);
}

/* No more than there were at the start: the caller has work to do too. */
bool ux_handlers_run(lua_State *L) {
  struct handlers *h = own_handlers(L);
  siginfo_t info;
  if (h == NULL) return false;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  for (unsigned n = ux_notes_count(); n > 0; n--) {
    if (!ux_notes_take(&h->deferred, &info)) break;
    run_handler(L, h, &info);
  }
  ux_notes_release();
  return ux_notes_any(&h->deferred);
}
