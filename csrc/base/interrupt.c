#include "base/interrupt.h"

#include "base/handlers.h"
#include "base/notes.h"

#include <lauxlib.h>
#include <signal.h>
#include <string.h>

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

/* ---- the hook that brings signals into plain Lua code ------------------ */

static void on_hook(lua_State *L, lua_Debug *ar);

static const struct hook our_hook = {
  on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1};

/* The threads of Lua that get it: the main one, and the one that last called
   the library, which is kept alive for that. A user's own hook is put back
   when ours is done. Read by signal handlers. */
enum { TARGET_MAIN, TARGET_LAST, TARGETS };

static struct target {
  lua_State *volatile thread;
  struct hook theirs;
} targets[TARGETS];

_Thread_local lua_State *ux_interrupt_thread
  __attribute__((tls_model("initial-exec")));

static const char last_key = 'l';

/* In a signal handler. lua_sethook may be called there: lua.c does. One that is
   ours but with a mask that is not was half changed when the signal came. */
static void set_our_hook(struct target *t) {
  if (t->thread == NULL) return;
  struct hook now = get_hook(t->thread);
  if (now.fn != our_hook.fn) t->theirs = now;
  if (!is_same_hook(now, our_hook)) set_hook(t->thread, our_hook);
}

static void wake(void) {
  for (int i = 0; i < TARGETS; i++) set_our_hook(&targets[i]);
}

/* Outside of signal handlers: none may come in the middle of it. */
static void set_hook_safely(lua_State *L, struct hook h) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  set_hook(L, h);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* A thread that is no target inherited our hook when it was made. */
static void put_back_hook(lua_State *L) {
  struct hook theirs = {NULL, 0, 0};
  if (lua_gethook(L) != our_hook.fn) return;
  for (int i = 0; i < TARGETS; i++)
    if (targets[i].thread == L) theirs = targets[i].theirs;
  set_hook_safely(L, theirs);
}

static void set_last_target(lua_State *L, bool is_waking) {
  sigset_t all, old;
  struct target *last = &targets[TARGET_LAST];
  if (L == targets[TARGET_MAIN].thread) L = NULL; /* has it already */
  if (L == last->thread) return;
  if (last->thread != NULL) put_back_hook(last->thread);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  last->thread = L;
  if (L != NULL && is_waking && ux_handlers_pending(L)) wake();
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void ux_interrupt_enter_slowly(lua_State *L) {
  ux_interrupt_thread = L;
  if (!ux_handlers_is_owner(L)) return;
  luaL_checkstack(L, 2, NULL);
  lua_pushthread(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &last_key);
  set_last_target(L, true);
}

static _Thread_local int holds;

void ux_interrupt_hold(void) {
  holds++;
}

void ux_interrupt_release(lua_State *L) {
  if (--holds == 0 && ux_handlers_pending(L)) wake();
}

static int run_handlers(lua_State *L) {
  ux_handlers_run(L);
  return 0;
}

/* Makes the thread at the top of the stack the last that called, and pops
   it. */
static void restore_last(lua_State *L, bool is_waking) {
  ux_interrupt_thread = lua_tothread(L, -1);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &last_key);
  set_last_target(ux_interrupt_thread, is_waking);
  lua_pop(L, 1);
}

/* On a thread of Lua of their own: on this one no hook works until ours
   returns, so that in the loops of a handler, and in a child forked there, no
   other handler would run and no Ctrl-C get through. */
static void on_hook(lua_State *L, lua_Debug *ar) {
  int results;
  (void)ar;
  put_back_hook(L);
  if (holds > 0) return;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &last_key);
  lua_State *own = lua_newthread(L);
  lua_sethook(own, NULL, 0, 0); /* lua.c's, at Ctrl-C, is for L */
  lua_pushcfunction(own, run_handlers);
  lua_pushvalue(L, -1);
  restore_last(L, false); /* its loops get signals that come now */
  int status = lua_resume(own, L, 0, &results);
  lua_insert(L, -2);
  restore_last(L, true);
  if (status != LUA_OK) {
    lua_xmove(own, L, 1);
    lua_error(L);
  }
  lua_pop(L, 1);
  if (ux_handlers_pending(L)) wake();
}

void ux_interrupt_open(lua_State *L) {
  if (ux_notes_wake == wake) {
    ux_interrupt_enter(L);
    return;
  }
  targets[TARGET_LAST].thread = NULL;
  targets[TARGET_MAIN].thread = get_state(L)->main;
  ux_notes_wake = wake;
  ux_interrupt_enter_slowly(L);
}

/* ---- the hook that lua.c sets at Ctrl-C -------------------------------- */

/* The main thread's, behind ours. */
static struct hook their_hook(const struct state *s) {
  struct hook h = get_hook(s->main);
  return h.fn == our_hook.fn ? targets[TARGET_MAIN].theirs : h;
}

/* A hook on the main thread that was not there before, and that a call would
   set off, is taken for a note left by a signal handler. If it is a user's
   own it sees one call more, and is known from then on. */
static bool is_new_hook(const struct state *s, struct hook h) {
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
  if (L != s->main) set_hook_safely(L, own);
  if (status == LUA_OK) {
    s->known = get_hook(s->main);
    return;
  }
  if (L != s->main || lua_gethook(L) == NULL)
    set_hook_safely(s->main, s->known);
  lua_error(L);
}

/* ---- both -------------------------------------------------------------- */

static bool has_new_hook(const struct state *s) {
  return is_new_hook(s, their_hook(s));
}

/* Looks once: where signals are let in, a hook that one sets meanwhile must not
   be taken for one that was known. */
bool ux_interrupt_pending(lua_State *L) {
  struct state *s = get_state(L);
  struct hook now = their_hook(s);
  if (is_new_hook(s, now)) return true;
  s->known = now;
  return holds == 0 && ux_handlers_pending(L);
}

void ux_interrupt_run(lua_State *L) {
  struct state *s = get_state(L);
  put_back_hook(s->main); /* it is done here what it was set for */
  if (has_new_hook(s)) run_new_hook(L, s);
  if (holds == 0 && ux_handlers_run(L)) wake();
}
