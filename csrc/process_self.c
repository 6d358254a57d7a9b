/***
@module unixipc.process
*/
#include "process_self.h"

#include "base/error.h"
#include "base/options.h"
#include "base/process_id.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

/* ---- who we are -------------------------------------------------------- */

int ux_process_fail(lua_State *L, int err, const char *call, pid_t pid) {
  if (pid == 0) return ux_fail(L, err, call, NULL);
  lua_pushfstring(L, "pid %d", (int)pid);
  return ux_fail(L, err, call, lua_tostring(L, -1));
}

static int push_id(lua_State *L, long id, const char *call, pid_t whose) {
  if (id < 0) return ux_process_fail(L, errno, call, whose);
  lua_pushinteger(L, id);
  return 1;
}

/***
The number of this process.
@function pid
@treturn integer
@see getpid(2)
*/
static int l_pid(lua_State *L) {
  return push_id(L, ux_process_id(), "getpid", 0);
}

/***
The number of the parent; 1 or that of a reaper when it has ended.
@function parent
@treturn integer
@see getppid(2)
*/
static int l_parent(lua_State *L) {
  return push_id(L, getppid(), "getppid", 0);
}

/***
All ids of this process: `pid`, `parent`, `group`, `session`, `uid`, `gid`,
`euid`, `egid`.
@function ids
@treturn table
@see credentials(7)
*/
static int l_ids(lua_State *L) {
  const struct {
    const char *name;
    long id;
  } ids[] = {
    {"pid", getpid()},
    {"parent", getppid()},
    {"group", getpgrp()},
    {"session", getsid(0)},
    {"uid", getuid()},
    {"gid", getgid()},
    {"euid", geteuid()},
    {"egid", getegid()},
  };
  lua_newtable(L);
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
    lua_pushinteger(L, ids[i].id);
    lua_setfield(L, -2, ids[i].name);
  }
  return 1;
}

static pid_t opt_pid(lua_State *L, int arg) {
  lua_Integer n = luaL_optinteger(L, arg, 0);
  luaL_argcheck(L, n >= 0 && n <= INT32_MAX, arg, "no process number");
  return (pid_t)n;
}

/***
The process group of a process.
@function group
@tparam[opt] integer pid this process when left out
@treturn[1] integer
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ESRCH
@see getpgid(2)
*/
static int l_group(lua_State *L) {
  pid_t pid = opt_pid(L, 1);
  return push_id(L, getpgid(pid), "getpgid", pid);
}

/***
Puts a process into a process group.
@function set_group
@tparam[opt] integer pid this process when left out
@tparam[opt] integer group a new one of its own when left out
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES (a child that has called exec), EPERM, ESRCH
@see setpgid(2)
*/
static int l_set_group(lua_State *L) {
  pid_t pid = opt_pid(L, 1), group = opt_pid(L, 2);
  if (setpgid(pid, group) != 0)
    return ux_process_fail(L, errno, "setpgid", pid);
  lua_pushboolean(L, 1);
  return 1;
}

/***
The session of a process.
@function session
@tparam[opt] integer pid this process when left out
@treturn[1] integer
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ESRCH, EPERM
@see getsid(2)
*/
static int l_session(lua_State *L) {
  pid_t pid = opt_pid(L, 1);
  return push_id(L, getsid(pid), "getsid", pid);
}

/***
Makes this process the leader of a new session.
@function new_session
@treturn[1] integer the session
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (it leads a process group)
@see setsid(2)
*/
static int l_new_session(lua_State *L) {
  return push_id(L, setsid(), "setsid", 0);
}

/* ---- what was used ------------------------------------------------------ */

static lua_Number seconds(struct timeval t) {
  return (lua_Number)t.tv_sec + (lua_Number)t.tv_usec / 1e6;
}

int ux_push_usage(lua_State *L, const struct rusage *usage) {
  const struct {
    const char *name;
    lua_Integer value;
  } counts[] = {
    {"max_resident", (lua_Integer)usage->ru_maxrss * UX_MAXRSS_UNIT},
    {"minor_faults", usage->ru_minflt},
    {"major_faults", usage->ru_majflt},
    {"blocks_read", usage->ru_inblock},
    {"blocks_written", usage->ru_oublock},
    {"voluntary_switches", usage->ru_nvcsw},
    {"involuntary_switches", usage->ru_nivcsw},
  };
  lua_newtable(L);
  lua_pushnumber(L, seconds(usage->ru_utime));
  lua_setfield(L, -2, "user");
  lua_pushnumber(L, seconds(usage->ru_stime));
  lua_setfield(L, -2, "system");
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    lua_pushinteger(L, counts[i].value);
    lua_setfield(L, -2, counts[i].name);
  }
  return 1;
}

/***
What this process has used so far, or those of its children that have ended and
were waited for, and theirs: `user` and `system`, seconds of the processor in
the program and in the kernel; `max_resident`, the most bytes of memory it had
at a time (of children: the largest one's); `minor_faults` and `major_faults`,
pages that were fetched without and with reading; `blocks_read` and
`blocks_written`, blocks of 512 bytes that were moved; `voluntary_switches`,
when it waited, and `involuntary_switches`, when it had to make room.
@function usage
@tparam[opt="self"] string who or `"children"`
@treturn table
@see getrusage(2)
*/
static int l_usage(lua_State *L) {
  static const char *const words[] = {"self", "children", NULL};
  static const int whos[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
  struct rusage usage;
  int who = whos[ux_check_word(L, 1, "self", words)];
  if (getrusage(who, &usage) != 0) return ux_fail(L, errno, "getrusage", NULL);
  return ux_push_usage(L, &usage);
}

const luaL_Reg ux_process_self_functions[] = {
  {"pid", l_pid},
  {"parent", l_parent},
  {"ids", l_ids},
  {"group", l_group},
  {"set_group", l_set_group},
  {"session", l_session},
  {"new_session", l_new_session},
  {"usage", l_usage},
  {NULL, NULL},
};
