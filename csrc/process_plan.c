#include "process_plan.h"

#include "base/constants.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/options.h"
#include "base/signal_set.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/bin:/bin:/usr/bin"

/* An entry of the child's descriptors, and whether `from` is ours to close. */
struct plan {
  struct ux_object head;
  struct ux_spawn spawn; /* its arrays are userdata in ANCHOR */
  int *owned;            /* descriptors to close, `owned_count` of them */
  size_t owned_count;
  const char *bad_path; /* a file that could not be opened */
};

/* The plan's user value: a table that keeps alive what `spawn` points to. */
enum { ANCHOR = 1 };

struct options {
  int stdio[3]; /* stack indices of what was given; 0: nothing */
  int env, env_add, fds, pgroup, signal_mask, signal_default, death_signal;
  int groups;
  lua_Integer user, group; /* or NO_ID */
  lua_Integer nice;
  const char *cwd, *program;
  bool setsid;
  mode_t umask; /* or NO_UMASK */
};

#define NO_UMASK ((mode_t)-1)
#define NO_ID (-1)
#define MAX_ID 0xFFFFFFFELL /* the next one stands for none */

static const struct ux_option schema[] = {
  {"stdin", UX_OPT_VALUE, offsetof(struct options, stdio[0]), 0, 0, NULL},
  {"stdout", UX_OPT_VALUE, offsetof(struct options, stdio[1]), 0, 0, NULL},
  {"stderr", UX_OPT_VALUE, offsetof(struct options, stdio[2]), 0, 0, NULL},
  {"env", UX_OPT_VALUE, offsetof(struct options, env), 0, 0, NULL},
  {"env_add", UX_OPT_VALUE, offsetof(struct options, env_add), 0, 0, NULL},
  {"fds", UX_OPT_VALUE, offsetof(struct options, fds), 0, 0, NULL},
  {"pgroup", UX_OPT_VALUE, offsetof(struct options, pgroup), 0, 0, NULL},
  {"cwd", UX_OPT_STRING, offsetof(struct options, cwd), 0, 0, NULL},
  {"program", UX_OPT_STRING, offsetof(struct options, program), 0, 0, NULL},
  {"setsid", UX_OPT_BOOLEAN, offsetof(struct options, setsid), 0, 0, NULL},
  {"umask", UX_OPT_MODE, offsetof(struct options, umask), 0, 0, NULL},
  {"user", UX_OPT_INTEGER, offsetof(struct options, user), 0, MAX_ID, NULL},
  {"group", UX_OPT_INTEGER, offsetof(struct options, group), 0, MAX_ID, NULL},
  {"groups", UX_OPT_VALUE, offsetof(struct options, groups), 0, 0, NULL},
  {"nice", UX_OPT_INTEGER, offsetof(struct options, nice), -40, 40, NULL},
  {"parent_death_signal",
   UX_OPT_VALUE,
   offsetof(struct options, death_signal),
   0,
   0,
   NULL},
  {"signal_mask",
   UX_OPT_VALUE,
   offsetof(struct options, signal_mask),
   0,
   0,
   NULL},
  {"signal_default",
   UX_OPT_VALUE,
   offsetof(struct options, signal_default),
   0,
   0,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static const char *const stdio_names[] = {"stdin", "stdout", "stderr"};

/* ---- the plan as an object --------------------------------------------- */

static int l_close(lua_State *L);

static const luaL_Reg no_methods[] = {{NULL, NULL}};

static const struct ux_class plan_class = {
  .name = "spawn plan",
  .size = sizeof(struct plan),
  .uservalues = 1,
  .methods = no_methods,
  .close = l_close,
};

static int l_close(lua_State *L) {
  struct plan *p = ux_check(L, 1, &plan_class);
  while (p->owned_count > 0) ux_fd_close(&p->owned[--p->owned_count]);
  return 0;
}

void ux_process_plan_close(lua_State *L, int index) {
  lua_pushcfunction(L, l_close);
  lua_pushvalue(L, index);
  lua_call(L, 1, 0);
}

void ux_process_plan_close_streams(lua_State *L, int index) {
  for (int i = 0; i < 3; i++) {
    lua_pushcfunction(L, ux_stream_class.close);
    if (lua_getfield(L, index, stdio_names[i]) != LUA_TNIL)
      lua_call(L, 1, 0);
    else
      lua_pop(L, 2);
  }
}

/* Keeps the value at the top of the stack alive with the plan at index, and
   pops it. */
static void anchor(lua_State *L, int index) {
  lua_getiuservalue(L, index, ANCHOR);
  lua_insert(L, -2);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

static void *anchored_memory(lua_State *L, int index, size_t count,
                             size_t size) {
  void *memory = lua_newuserdatauv(L, count * size, 0);
  memset(memory, 0, count * size);
  anchor(L, index);
  return memory;
}

static struct plan *new_plan(lua_State *L) {
  ux_class_open(L, &plan_class);
  lua_pop(L, 1);
  struct plan *p = ux_new(L, &plan_class);
  lua_newtable(L);
  lua_setiuservalue(L, -2, ANCHOR);
  return p;
}

static int bad_option(lua_State *L, int arg, const char *name,
                      const char *why) {
  return luaL_argerror(
    L, arg, lua_pushfstring(L, "option '%s': %s", name, why));
}

/* ---- argv and environment ---------------------------------------------- */

/* Makes the string or number at the top a string without zeros that lives as
   long as the plan, pops it. */
static char *anchored_string(lua_State *L, int plan, int arg,
                             const char *what) {
  size_t len;
  if (!lua_isstring(L, -1))
    luaL_argerror(
      L,
      arg,
      lua_pushfstring(
        L, "%s must be a string, got %s", what, luaL_typename(L, -1)));
  const char *s = lua_tolstring(L, -1, &len);
  if (strlen(s) != len)
    luaL_argerror(
      L, arg, lua_pushfstring(L, "%s contains an embedded zero", what));
  anchor(L, plan);
  return (char *)(uintptr_t)s;
}

static char **read_argv(lua_State *L, int plan, int arg) {
  luaL_checktype(L, arg, LUA_TTABLE);
  lua_Integer count = luaL_len(L, arg);
  luaL_argcheck(L,
                count > 0 && count < INT_MAX / 8,
                arg,
                "no program: the table has no [1]");
  char **argv = anchored_memory(L, plan, (size_t)count + 1, sizeof *argv);
  for (lua_Integer i = 0; i < count; i++) {
    lua_geti(L, arg, i + 1);
    argv[i] = anchored_string(L, plan, arg, "program argument");
  }
  return argv;
}

static size_t count_pairs(lua_State *L, int index) {
  size_t count = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) count++;
  return count;
}

static size_t count_strings(char *const *list) {
  size_t count = 0;
  while (list[count] != NULL) count++;
  return count;
}

/* The table at the index and its name, as an option. */
struct variables {
  int index;
  const char *option; /* what messages call it */
};

static int bad_variables(lua_State *L, int arg, struct variables v,
                         const char *why) {
  return luaL_argerror(L, arg, lua_pushfstring(L, "%s: %s", v.option, why));
}

/* Its name and its value are at the top of the stack. */
static int bad_value(lua_State *L, int arg, struct variables v) {
  const char *why = lua_pushfstring(L,
                                    "'%s' is a %s, not a string or a number",
                                    lua_tostring(L, -2),
                                    luaL_typename(L, -1));
  return bad_variables(L, arg, v, why);
}

/* Appends NAME=value for each field; returns the new end. Fields that are
   false only take the name out. */
static char **append_env(lua_State *L, int plan, int arg, struct variables v,
                         char **end) {
  for (lua_pushnil(L); lua_next(L, v.index); lua_pop(L, 1)) {
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) continue;
    if (lua_type(L, -2) != LUA_TSTRING ||
        strchr(lua_tostring(L, -2), '=') != NULL)
      bad_variables(L, arg, v, "names without '=' expected as keys");
    if (!lua_isstring(L, -1)) bad_value(L, arg, v);
    lua_pushvalue(L, -2);
    lua_pushliteral(L, "=");
    lua_pushvalue(L, -3);
    lua_concat(L, 3);
    *end++ = anchored_string(L, plan, arg, v.option);
  }
  return end;
}

/* Has the table a field for this NAME=value? */
static bool is_named(lua_State *L, int index, const char *variable) {
  lua_pushlstring(L, variable, strcspn(variable, "="));
  bool is_there = lua_rawget(L, index) != LUA_TNIL;
  lua_pop(L, 1);
  return is_there;
}

static char **read_env(lua_State *L, int plan, int arg, struct variables v,
                       char *const *base) {
  if (!lua_istable(L, v.index)) bad_variables(L, arg, v, "table expected");
  size_t count = count_strings(base) + count_pairs(L, v.index) + 1;
  char **envp = anchored_memory(L, plan, count, sizeof *envp);
  char **end = envp;
  for (; *base != NULL; base++)
    if (!is_named(L, v.index, *base)) *end++ = *base;
  append_env(L, plan, arg, v, end);
  return envp;
}

static char *const *read_envs(lua_State *L, int plan, int arg,
                              const struct options *o) {
  extern char **environ;
  static char *const none[] = {NULL};
  struct variables all = {o->env, "option 'env'"};
  struct variables more = {o->env_add, "option 'env_add'"};
  char *const *envp = environ;
  if (all.index != 0) envp = read_env(L, plan, arg, all, none);
  if (more.index != 0) envp = read_env(L, plan, arg, more, envp);
  return envp;
}

/* Where the program may be: its path, or its name in each directory of PATH.
   An empty entry of PATH is the current directory. */
static const char *const *find_paths(lua_State *L, int plan, int arg,
                                     const char *program) {
  const char *path = getenv("PATH");
  if (path == NULL) path = DEFAULT_PATH;
  if (*program == '\0' || strchr(program, '/') != NULL) path = "";
  size_t count = 1, i = 0;
  for (const char *p = path; *p != '\0'; p++) count += *p == ':';
  const char **paths = anchored_memory(L, plan, count + 1, sizeof *paths);
  if (*path == '\0') {
    paths[0] = program;
    return paths;
  }
  for (;; path++) {
    size_t len = strcspn(path, ":");
    lua_pushlstring(L, len > 0 ? path : ".", len > 0 ? len : 1);
    lua_pushfstring(L, "%s/%s", lua_tostring(L, -1), program);
    lua_remove(L, -2);
    paths[i++] = anchored_string(L, plan, arg, "path");
    path += len;
    if (*path == '\0') return paths;
  }
}

/* ---- descriptors ------------------------------------------------------- */

static void add_fd(struct plan *p, int from, int to) {
  struct ux_spawn_fd *f = &p->spawn.fds[p->spawn.fd_count];
  for (; f > p->spawn.fds && f[-1].to > to; f--) f[0] = f[-1];
  *f = (struct ux_spawn_fd){.from = from, .to = to};
  p->spawn.fd_count++;
}

static void add_owned(struct plan *p, int from, int to) {
  p->owned[p->owned_count++] = from;
  add_fd(p, from, to);
}

static bool has_target(const struct plan *p, int to) {
  for (size_t i = 0; i < p->spawn.fd_count; i++)
    if (p->spawn.fds[i].to == to) return true;
  return false;
}

static int source_of(const struct plan *p, int to) {
  for (size_t i = 0; i < p->spawn.fd_count; i++)
    if (p->spawn.fds[i].to == to) return p->spawn.fds[i].from;
  return to;
}

static int add_file(struct plan *p, const char *path, int to) {
  int flags = to == STDIN_FILENO ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC;
  int fd = open(path, flags | O_CLOEXEC, 0666);
  if (fd < 0) {
    p->bad_path = path;
    return errno;
  }
  add_owned(p, fd, to);
  return 0;
}

/* A pipe between the child's `to` and a stream that is pushed. */
static int add_pipe(lua_State *L, struct plan *p, int to) {
  int fds[2];
  struct ux_stream *s = ux_stream_new(L, "pipe stream", 0);
  int err = ux_fd_pipe(fds, 0);
  if (err != 0) return err;
  bool is_input = to == STDIN_FILENO;
  int ours = is_input ? fds[1] : fds[0];
  ux_stream_set(
    s, is_input ? -1 : ours, is_input ? ours : -1, UX_RAWIO_NONBLOCK);
  add_owned(p, is_input ? fds[0] : fds[1], to);
  return fcntl(ours, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

/* Another program expects descriptors that block. */
static int add_object(lua_State *L, struct plan *p, int arg, int index,
                      const char *name, int to) {
  const char *why;
  int fd = to == STDIN_FILENO ? ux_to_fd(L, index, &why)
                              : ux_to_write_fd(L, index, &why);
  if (fd < 0) bad_option(L, arg, name, why);
  fd = ux_fd_dup_blocking(fd);
  if (fd < 0) return errno;
  add_owned(p, fd, to);
  return 0;
}

/* One of the three at the given stack index. `streams` is the table that
   takes what leads to the child. 0 or an errno. */
static int add_stdio(lua_State *L, struct plan *p, int arg, int index, int to,
                     int streams) {
  const char *name = stdio_names[to];
  if (has_target(p, to)) bad_option(L, arg, name, "is in 'fds' too");
  if (lua_type(L, index) != LUA_TSTRING)
    return add_object(L, p, arg, index, name, to);
  const char *word = lua_tostring(L, index);
  if (strlen(word) != lua_rawlen(L, index))
    bad_option(L, arg, name, "string contains an embedded zero");
  if (strcmp(word, "inherit") == 0) return 0;
  if (strcmp(word, "null") == 0) return add_file(p, "/dev/null", to);
  if (strchr(word, '/') != NULL) return add_file(p, word, to);
  if (strcmp(word, "stdout") == 0 && to == STDERR_FILENO) {
    add_fd(p, source_of(p, STDOUT_FILENO), to);
    return 0;
  }
  if (strcmp(word, "pipe") != 0)
    bad_option(L,
               arg,
               name,
               lua_pushfstring(L,
                               "unknown word '%s'; known: inherit, null, "
                               "pipe, %sa path with a '/'",
                               word,
                               to == STDERR_FILENO ? "stdout, " : ""));
  int err = add_pipe(L, p, to);
  if (err == 0) lua_setfield(L, streams, name);
  return err;
}

static int check_target(lua_State *L, int arg) {
  if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 0 ||
      lua_tointeger(L, -2) > 0xFFFF)
    luaL_argerror(L,
                  arg,
                  "option 'fds': descriptors of the child expected "
                  "as keys");
  return (int)lua_tointeger(L, -2);
}

static int add_fds(lua_State *L, struct plan *p, int arg, int index) {
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int to = check_target(L, arg);
    int err = add_object(L, p, arg, lua_gettop(L), "fds", to);
    if (err != 0) return err;
  }
  return 0;
}

/* ---- the whole --------------------------------------------------------- */

static void read_group(lua_State *L, struct ux_spawn *s, int arg, int index) {
  if (index == 0 || (lua_isboolean(L, index) && !lua_toboolean(L, index)))
    return;
  s->is_group = true;
  if (lua_isboolean(L, index)) return;
  if (!lua_isinteger(L, index) || lua_tointeger(L, index) < 0)
    luaL_argerror(
      L, arg, "option 'pgroup': true or the id of a group expected");
  s->group = (pid_t)lua_tointeger(L, index);
}

static const sigset_t *read_signals(lua_State *L, int plan, int arg,
                                    int index) {
  if (index == 0) return NULL;
  sigset_t *set = anchored_memory(L, plan, 1, sizeof *set);
  ux_check_signal_set(L, index, arg, set);
  return set;
}

static gid_t read_gid(lua_State *L, int arg, int index) {
  int is_integer;
  lua_Integer id = lua_tointegerx(L, index, &is_integer);
  if (lua_type(L, index) != LUA_TNUMBER || !is_integer || id < 0 ||
      id > MAX_ID)
    bad_option(L, arg, "groups", "ids of groups expected");
  return (gid_t)id;
}

/* Those of a privileged parent are not for another user. */
static void read_groups(lua_State *L, struct ux_spawn *s, int plan, int arg,
                        int index) {
  s->has_groups = index != 0 || (s->has_uid && geteuid() == 0);
  if (index == 0) return;
  if (lua_type(L, index) == LUA_TSTRING &&
      strcmp(lua_tostring(L, index), "inherit") == 0) {
    s->has_groups = false;
    return;
  }
  if (!lua_istable(L, index))
    bad_option(L, arg, "groups", "table or 'inherit' expected");
  lua_Integer count = ux_check_list(L, index, arg);
  if (count < 0 || count > INT_MAX / 8)
    bad_option(L, arg, "groups", "too many");
  gid_t *groups = anchored_memory(L, plan, (size_t)count, sizeof *groups);
  for (lua_Integer i = 0; i < count; i++) {
    lua_geti(L, index, i + 1);
    groups[i] = read_gid(L, arg, -1);
    lua_pop(L, 1);
  }
  s->groups = groups;
  s->group_count = (size_t)count;
}

static void read_ids(lua_State *L, struct ux_spawn *s, int plan, int arg,
                     const struct options *o) {
  s->has_uid = o->user != NO_ID;
  s->uid = (uid_t)o->user;
  s->has_gid = o->group != NO_ID;
  s->gid = (gid_t)o->group;
  read_groups(L, s, plan, arg, o->groups);
}

/* What is not descriptors. */
static void read_attributes(lua_State *L, struct ux_spawn *s, int plan,
                            int arg, const struct options *o) {
  s->cwd = o->cwd;
  s->is_session = o->setsid;
  s->has_umask = o->umask != NO_UMASK;
  s->umask = o->umask;
  s->mask = read_signals(L, plan, arg, o->signal_mask);
  s->defaults = read_signals(L, plan, arg, o->signal_default);
  read_group(L, s, arg, o->pgroup);
  read_ids(L, s, plan, arg, o);
  s->nice = (int)o->nice;
  if (o->death_signal != 0)
    s->death_signal = ux_check_signal_in(L, o->death_signal, arg);
}

static int add_all_fds(lua_State *L, struct plan *p, int arg,
                       const struct options *o, int streams) {
  if (o->fds != 0 && !lua_istable(L, o->fds))
    luaL_argerror(L, arg, "option 'fds': table expected");
  size_t most = 3 + (o->fds != 0 ? count_pairs(L, o->fds) : 0);
  int plan = streams - 1;
  p->owned = anchored_memory(L, plan, most, sizeof *p->owned);
  p->spawn.fds = anchored_memory(L, plan, most, sizeof *p->spawn.fds);
  int err = o->fds != 0 ? add_fds(L, p, arg, o->fds) : 0;
  for (int to = 0; to < 3 && err == 0; to++)
    if (o->stdio[to] != 0)
      err = add_stdio(L, p, arg, o->stdio[to], to, streams);
  return err;
}

struct ux_spawn *ux_process_plan(lua_State *L, int arg) {
  struct options o = {.umask = NO_UMASK, .user = NO_ID, .group = NO_ID};
  luaL_checktype(L, arg, LUA_TTABLE);
  lua_settop(L, arg + 1);
  ux_check_options(L, arg + 1, schema, &o);
  struct plan *p = new_plan(L);
  int plan = lua_gettop(L);
  lua_newtable(L);
  p->spawn.argv = read_argv(L, plan, arg);
  p->spawn.program = o.program != NULL ? o.program : p->spawn.argv[0];
  p->spawn.paths = find_paths(L, plan, arg, p->spawn.program);
  p->spawn.envp = read_envs(L, plan, arg + 1, &o);
  read_attributes(L, &p->spawn, plan, arg + 1, &o);
  int err = add_all_fds(L, p, arg + 1, &o, plan + 1);
  if (err == 0) {
    lua_settop(L, plan + 1);
    return &p->spawn;
  }
  ux_process_plan_close(L, plan);
  ux_process_plan_close_streams(L, plan + 1);
  if (p->bad_path != NULL)
    ux_fail(L, err, "open", p->bad_path);
  else
    ux_fail(L, err, "spawn", p->spawn.program);
  return NULL;
}
