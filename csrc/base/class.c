#include "base/class.h"

#include "base/interrupt.h"
#include "base/process_id.h"

#include <string.h>

/* Every class of ours has this in its metatable, at an address that nobody
   else has: how ux_test_any tells our objects from other libraries'. */
static const char ours_key = 'o';

struct ux_object *ux_test_any(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TUSERDATA || !lua_getmetatable(L, arg))
    return NULL;
  bool is_ours = lua_rawgetp(L, -1, &ours_key) != LUA_TNIL;
  lua_pop(L, 2);
  return is_ours ? lua_touserdata(L, arg) : NULL;
}

/* The length is looked at first: a userdata of another library may be too
   short to have a class in it. (A light one has length 0.) */
void *ux_test(lua_State *L, int arg, const struct ux_class *class) {
  struct ux_object *o = lua_touserdata(L, arg);
  if (o == NULL || lua_rawlen(L, arg) < class->size || o->class != class)
    return NULL;
  return o;
}

int ux_closed_error(lua_State *L, const struct ux_class *class) {
  return luaL_error(L, "attempt to use a closed %s", class->name);
}

void *ux_check(lua_State *L, int arg, const struct ux_class *class) {
  ux_interrupt_enter(L);
  void *o = ux_test(L, arg, class);
  if (o == NULL) luaL_typeerror(L, arg, class->name);
  return o;
}

void *ux_check_open(lua_State *L, int arg, const struct ux_class *class) {
  ux_interrupt_enter(L);
  struct ux_object *o = ux_test(L, arg, class);
  if (o == NULL) luaL_typeerror(L, arg, class->name);
  if (!o->open) ux_closed_error(L, class);
  return o;
}

bool ux_is_owner(const struct ux_object *object) {
  return object->owner == ux_process_id();
}

void *ux_new(lua_State *L, const struct ux_class *class) {
  struct ux_object *o = lua_newuserdatauv(L, class->size, class->uservalues);
  memset(o, 0, class->size);
  o->class = class;
  o->owner = ux_process_id();
  lua_rawgetp(L, LUA_REGISTRYINDEX, class);
  lua_setmetatable(L, -2);
  return o;
}

/* ---- methods that every class has -------------------------------------- */

static struct ux_object *check_any(lua_State *L) {
  struct ux_object *o = ux_test_any(L, 1);
  if (o == NULL) luaL_typeerror(L, 1, "unixipc object");
  return o;
}

static int l_tostring(lua_State *L) {
  const struct ux_object *o = check_any(L);
  if (o->open) {
    o->class->describe(L, o);
    return 1;
  }
  const char *kind = o->class->kind ? o->class->kind(o) : o->class->name;
  lua_pushfstring(L, "%s (closed)", kind);
  return 1;
}

static int l_is_open(lua_State *L) {
  lua_pushboolean(L, check_any(L)->open);
  return 1;
}

static int l_fileno(lua_State *L) {
  const struct ux_object *o = check_any(L);
  if (!o->open) return ux_closed_error(L, o->class);
  lua_pushinteger(L, o->class->fileno(o));
  return 1;
}

/* LuaSocket's select asks closed objects too: -1 there. */
static int l_getfd(lua_State *L) {
  const struct ux_object *o = check_any(L);
  lua_pushinteger(L, o->open ? o->class->fileno(o) : -1);
  return 1;
}

static int l_events(lua_State *L) {
  const struct ux_object *o = check_any(L);
  if (!o->open) return ux_closed_error(L, o->class);
  lua_pushstring(L, o->class->events ? o->class->events(o) : "r");
  return 1;
}

static bool is_buffered(const struct ux_object *o) {
  return o->open && o->class->is_buffered && o->class->is_buffered(o);
}

static int l_timeout(lua_State *L) {
  if (is_buffered(check_any(L)))
    lua_pushinteger(L, 0);
  else
    lua_pushnil(L);
  return 1;
}

static int l_dirty(lua_State *L) {
  lua_pushboolean(L, is_buffered(check_any(L)));
  return 1;
}

/* What event loops ask of an object with a descriptor: cqueues the first
   three, LuaSocket's select the last two. */
static const luaL_Reg descriptor_methods[] = {
  {"pollfd", l_fileno},
  {"events", l_events},
  {"timeout", l_timeout},
  {"getfd", l_getfd},
  {"dirty", l_dirty},
  {"fileno", l_fileno},
  {NULL, NULL},
};

static int close_again(lua_State *L) {
  const struct ux_object *o = lua_touserdata(L, 1);
  return o->class->close(L);
}

/* The collector may run on any thread of Lua: that is no call of the library
   by the program, and does not make that thread the one that signals are
   brought to. */
static int l_gc(lua_State *L) {
  lua_State *last = ux_interrupt_thread;
  const struct ux_object *o = check_any(L);
  if (L == last) return o->class->close(L);
  lua_pushcfunction(L, close_again);
  lua_insert(L, 1);
  ux_interrupt_thread = L;
  int status = lua_pcall(L, lua_gettop(L) - 1, 0, 0);
  if (ux_interrupt_thread == L) ux_interrupt_thread = last;
  return status == LUA_OK ? 0 : lua_error(L);
}

/* ---- registration ------------------------------------------------------ */

static void set_metamethods(lua_State *L, const struct ux_class *class) {
  const luaL_Reg metamethods[] = {
    {"__tostring", l_tostring},
    {"__gc", l_gc},
    {"__close", class->close},
    {NULL, NULL},
  };
  luaL_setfuncs(L, metamethods, 0);
  lua_pushstring(L, class->name);
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "unixipc");
  lua_setfield(L, -2, "__metatable"); /* hands off */
  lua_pushboolean(L, 1);
  lua_rawsetp(L, -2, &ours_key);
}

/* A method whose name begins with __ goes into the metatable. */
static void set_methods(lua_State *L, const luaL_Reg *methods) {
  for (const luaL_Reg *m = methods; m->name != NULL; m++) {
    lua_pushcfunction(L, m->func);
    lua_setfield(L, strncmp(m->name, "__", 2) == 0 ? -3 : -2, m->name);
  }
}

void ux_class_open(lua_State *L, const struct ux_class *class) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, class) == LUA_TTABLE) {
    lua_getfield(L, -1, "methods");
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  lua_newtable(L);
  set_metamethods(L, class);
  lua_newtable(L);
  if (class->fileno != NULL) set_methods(L, descriptor_methods);
  lua_pushcfunction(L, class->close);
  lua_setfield(L, -2, "close");
  lua_pushcfunction(L, l_is_open);
  lua_setfield(L, -2, "is_open");
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__index");
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "methods");
  if (class->methods != NULL) set_methods(L, class->methods);
  lua_insert(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, class);
}
