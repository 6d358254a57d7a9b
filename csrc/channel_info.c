/***
@module unixipc.channel
*/
/* What can be known of channels: numbers, who takes part, which there are. */
#include "channel_object.h"

#include "base/error.h"
#include "base/options.h"

#include <errno.h>

static void set_integer(lua_State *L, const char *name, uint64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

/***
Numbers about the channel, of what all have done: `capacity` and `used`, bytes
of the ring; `sent`, `received`, messages; `bytes` sent; `dropped` by overflow;
`aborted`: loans given back, or of the dead; `redelivered`: taken by one who
died; `recovered`: locks taken over from the dead; and of a broadcast
`subscribers`, and `lag`: messages that this one is behind.
@function Channel:stats
@treturn[1] table
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADMSG
*/
static int l_stats(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  struct ux_ring_stats s;
  int err = ux_ring_stats(&c->rings[0], &s);
  if (err != 0) return ux_channel_fail(L, c, err, "stats");
  lua_createtable(L, 0, 11);
  set_integer(L, "capacity", s.capacity);
  set_integer(L, "used", s.used);
  set_integer(L, "sent", s.puts);
  set_integer(L, "received", s.gets);
  set_integer(L, "bytes", s.put_bytes);
  set_integer(L, "dropped", s.dropped);
  set_integer(L, "aborted", s.aborted);
  set_integer(L, "redelivered", s.redelivered);
  set_integer(L, "recovered", s.recovered);
  set_integer(L, "subscribers", s.subscribers);
  set_integer(L, "lag", s.lag);
  return 1;
}

static void push_participant(lua_State *L,
                             const struct ux_segment_participant *p) {
  lua_createtable(L, 0, 4);
  set_integer(L, "pid", (uint64_t)p->pid);
  lua_pushboolean(L, p->is_alive);
  lua_setfield(L, -2, "alive");
  lua_pushboolean(L, p->roles & 1);
  lua_setfield(L, -2, "sends");
  lua_pushboolean(L, p->roles & 2);
  lua_setfield(L, -2, "receives");
}

/***
Who takes part: tables with `pid` (in its own namespace), `alive`, `sends` and
`receives` (whether it has).
@function Channel:participants
@treturn table
*/
static int l_participants(lua_State *L) {
  struct ux_channel *c = ux_check_channel(L, 1);
  lua_Integer n = 0;
  lua_newtable(L);
  for (uint32_t slot = 0;; slot++) {
    struct ux_segment_participant p;
    int err = ux_segment_participant(&c->segment, slot, &p);
    if (err == EINVAL) return 1;
    if (err != 0) continue;
    push_participant(L, &p);
    lua_rawseti(L, -2, ++n);
  }
}

/* ---- all channels ------------------------------------------------------ */

/* The rest of the table at the top. */
static void describe_info(lua_State *L, const struct ux_segment_info *i) {
  lua_pushstring(L, ux_channel_kind(i->options.kind));
  lua_setfield(L, -2, "kind");
  set_integer(L, "capacity", i->options.capacity);
  set_integer(L, "size", i->size);
  set_integer(L, "participants", i->alive);
  lua_pushboolean(L, i->is_closed);
  lua_setfield(L, -2, "closed");
}

/* Calls fn for the name of each; those for which it pushes one value (true)
   make the list that is left. */
static int for_all(lua_State *L, bool (*fn)(lua_State *L, const char *name)) {
  int err = ux_posix_name_list(L, UX_SEGMENT_DIRECTORY, UX_SEGMENT_PREFIX);
  lua_Integer n = 0;
  if (err != 0) return ux_fail(L, err, "opendir", UX_SEGMENT_DIRECTORY);
  lua_newtable(L);
  for (lua_Integer i = 1; lua_rawgeti(L, -2, i) == LUA_TSTRING; i++) {
    if (fn(L, lua_tostring(L, -1))) {
      lua_rawseti(L, -3, ++n);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return 1;
}

/* One that cannot be looked at says why. */
static bool push_info(lua_State *L, const char *name) {
  struct ux_segment_info info;
  char buf[128];
  int err = ux_segment_look(name + 1, &info);
  if (err == ENOENT) return false;
  lua_createtable(L, 0, 6);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  if (err == 0) {
    describe_info(L, &info);
    return true;
  }
  lua_pushstring(L,
                 err == EBADMSG ? ux_segment_explain()
                                : ux_strerror(err, buf, sizeof buf));
  lua_setfield(L, -2, "problem");
  return true;
}

static bool push_removed(lua_State *L, const char *name) {
  if (ux_segment_remove_unused(name + 1) != 0) return false;
  lua_pushstring(L, name);
  return true;
}

/***
All channels that have a name: tables with `name`, `kind`, `capacity`, `size`,
`participants` (how many are alive), `closed`; or `name` and `problem`.
@function list
@treturn[1] table
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno
*/
static int l_list(lua_State *L) {
  return for_all(L, push_info);
}

/***
Removes the channels in which nobody alive takes part, and what the dead left
in the others is freed as these go on.
@function reap
@treturn[1] table the names
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno
*/
static int l_reap(lua_State *L) {
  return for_all(L, push_removed);
}

/***
Removes a name. Who has the channel open keeps it.
@function unlink
@tparam string name
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES, EINVAL, ENAMETOOLONG
*/
static int l_unlink(lua_State *L) {
  const char *name = ux_check_cstring(L, 1);
  int err = ux_posix_name_error(name, UX_CHANNEL_NAME_MOST);
  if (err == 0) err = ux_segment_unlink(name + 1);
  return ux_result(L, err, "unlink", name[0] != '\0' ? name : NULL);
}

const luaL_Reg ux_channel_info_methods[] = {
  {"stats", l_stats},
  {"participants", l_participants},
  {NULL, NULL},
};

const luaL_Reg ux_channel_info_functions[] = {
  {"list", l_list},
  {"reap", l_reap},
  {"unlink", l_unlink},
  {NULL, NULL},
};
