/***
Layouts: C types laid over a region, so that a program in C with the same
struct can be the peer.

    local ipc = require "unixipc"
    local layout = ipc.layout
    local Job = layout.struct {
      {"operand1", "int"}, {"op", "char"}, {"result", "double"},
    }
    local region = ipc.region.new(Job:size())
    local job = Job:at(region)
    job.operand1, job.op = 6, "+"
    print(job.operand1, job.op, job.result) --> 6  +  0.0

Sizes, alignment and offsets are those of the system's C compiler. Names of
types are `int8` … `uint64`, the same with `_t`, `char`, `short`, `int`, `long`,
`long long`, `unsigned` with each of them, `size_t` and other names of POSIX,
`float`, `double`, `bool`; with `[n]` behind it an array.

A `char` is a string of one byte, or set by a number too; `char[n]` a string
that ends at the first zero, as in C; `byte[n]` a string of exactly n bytes.
Other arrays are sequences: `v[1]` … `v[#v]`, `ipairs`. A value that a field
cannot hold raises. The 64 bits of a `uint64` are those of Lua's integer, as in
`string.pack`: above `math.maxinteger` it looks negative, see `math.ult`.

A view reads and writes the region at once; it keeps it alive, and raises when
it was closed. To take a struct or array that stands in another, as `job.point`,
makes a new view each time: keep it in a local variable in a loop.
@module unixipc.layout
*/
#include "base/error.h"
#include "base/modules.h"
#include "base/options.h"
#include "layout_view.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

static struct ux_layout_object *check_type(lua_State *L) {
  return ux_check(L, 1, &ux_layout_class);
}

/* ---- Type -------------------------------------------------------------- */

static size_t check_place(lua_State *L, const struct ux_layout_type *t,
                          const struct ux_region *r) {
  size_t offset = ux_check_region_offset(L, 3, r);
  if (t->size > r->length - offset)
    luaL_argerror(L,
                  3,
                  lua_pushfstring(L,
                                  "out of bounds: %I bytes, of a region of %I",
                                  (LUAI_UACINT)t->size,
                                  (LUAI_UACINT)r->length));
  return offset;
}

/***
Lays the type over a part of a region.
@function Type:at
@tparam Region region
@tparam[opt=0] integer offset
@treturn View with the struct's fields, or the array's elements
*/
static int l_at(lua_State *L) {
  const struct ux_layout_object *o = check_type(L);
  const struct ux_region *r = ux_check_region(L, 2);
  luaL_argcheck(
    L, ux_layout_has_view(&o->type), 1, "struct or array expected");
  size_t offset = check_place(L, &o->type, r);
  ux_layout_push_view(L, 1, 2, offset);
  return 1;
}

/***
Its size in bytes, as `sizeof` says.
@function Type:size
@treturn integer
*/
static int l_size(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_type(L)->type.size);
  return 1;
}

/***
Its alignment, as `_Alignof` says.
@function Type:alignment
@treturn integer
*/
static int l_alignment(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_type(L)->type.alignment);
  return 1;
}

static const struct ux_layout_field *
check_field(lua_State *L, const struct ux_layout_type *t, int arg) {
  const char *name = luaL_checkstring(L, arg);
  if (t->code == UX_LAYOUT_STRUCT)
    for (size_t i = 0; i < t->count; i++)
      if (strcmp(t->fields[i].name, name) == 0) return &t->fields[i];
  luaL_argerror(L, arg, lua_pushfstring(L, "no field '%s'", name));
  return NULL;
}

/***
Where a field of a struct stands, as `offsetof` says.
@function Type:offset
@tparam string field
@treturn integer bytes from the start
*/
static int l_offset(lua_State *L) {
  const struct ux_layout_object *o = check_type(L);
  lua_pushinteger(L, (lua_Integer)check_field(L, &o->type, 2)->offset);
  return 1;
}

static const luaL_Reg methods[] = {
  {"at", l_at},
  {"size", l_size},
  {"alignment", l_alignment},
  {"offset", l_offset},
  {NULL, NULL},
};

/* ---- making types ------------------------------------------------------ */

struct struct_options {
  bool packed;
};

static const struct ux_option struct_schema[] = {
  {"packed",
   UX_OPT_BOOLEAN,
   offsetof(struct struct_options, packed),
   0,
   0,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static int make_struct(lua_State *L, bool is_union) {
  struct struct_options o = {.packed = false};
  luaL_checktype(L, 1, LUA_TTABLE);
  ux_check_options(L, 2, struct_schema, &o);
  ux_layout_push_struct(L, 1, is_union, o.packed);
  return 1;
}

/***
Makes the type of a struct.

    layout.struct {
      {"id", "uint32"},
      {"name", "char[32]"},
      {"place", layout.struct {{"x", "double"}, {"y", "double"}}},
      {"samples", "int16", 8}, -- or "int16[8]"
    }

Options: `packed`: nothing between the fields, as `__attribute__((packed))`.
@function struct
@tparam table fields a list of {name, type} or {name, type, count}; a type is a
name or what this module made
@tparam[opt] table options
@treturn Type
*/
static int l_struct(lua_State *L) {
  return make_struct(L, false);
}

/***
Makes the type of a union: all fields stand in the same place.
@function union
@tparam table fields as those of a struct
@tparam[opt] table options as those of a struct
@treturn Type
*/
static int l_union(lua_State *L) {
  return make_struct(L, true);
}

/***
Makes the type of an array.

    local numbers = layout.array("int32", 100):at(region)
    numbers[1] = 5
    for i, x in ipairs(numbers) do print(i, x) end
@function array
@tparam string|Type type of the elements
@tparam integer count
@treturn Type
*/
static int l_array(lua_State *L) {
  lua_Integer count = luaL_checkinteger(L, 2);
  const struct ux_layout_type *t = ux_layout_push_type(L, 1, 1);
  ux_layout_push_array(L, t, count, 2);
  return 1;
}

/***
The size of a type by its name, or of one that was made.
@function sizeof
@tparam string|Type type
@treturn integer bytes
@treturn integer alignment
*/
static int l_sizeof(lua_State *L) {
  const struct ux_layout_type *t = ux_layout_push_type(L, 1, 1);
  lua_pushinteger(L, (lua_Integer)t->size);
  lua_pushinteger(L, (lua_Integer)t->alignment);
  return 2;
}

/* ---- whole views ------------------------------------------------------- */

/***
Makes a view of new private memory, all zeros: for a message, or to collect
what is to be set at once.
@function new
@tparam Type type
@tparam[opt] table values as `set` takes them
@treturn[1] View
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOMEM
*/
static int l_new(lua_State *L) {
  const struct ux_layout_object *o = check_type(L);
  luaL_argcheck(
    L, ux_layout_has_view(&o->type), 1, "struct or array expected");
  lua_settop(L, 2);
  if (ux_region_new_private(L, o->type.size) == NULL)
    return ux_fail(L, ENOMEM, "calloc", NULL);
  ux_layout_push_view(L, 1, 3, 0);
  if (!lua_isnil(L, 2)) ux_layout_assign(L, lua_touserdata(L, 4), 2);
  return 1;
}

/***
Copies all of a view into a table: what another process changes meanwhile does
not change that.
@function get
@tparam View view
@treturn table
*/
static int l_get(lua_State *L) {
  ux_layout_push_table(L, ux_check_layout_view(L, 1));
  return 1;
}

/***
Sets fields or elements of a view from a table, or all of it from a view of the
same type. What the table does not have stays.
@function set
@tparam View view
@tparam table|View values
@treturn View itself
*/
static int l_set(lua_State *L) {
  luaL_checkany(L, 2);
  ux_layout_assign(L, ux_check_layout_view(L, 1), 2);
  lua_settop(L, 1);
  return 1;
}

/***
Two functions for one field or element that is used very often: they cost less
than `view.field`.

    local get, set = layout.bind(numbers, 5)
    set(get() + 1)
@function bind
@tparam View view
@tparam string|integer key of a field or an element that has no parts
@treturn function gives the value
@treturn function sets it
*/
static int l_bind(lua_State *L) {
  luaL_checkany(L, 2);
  ux_layout_push_bound(L, ux_check_layout_view(L, 1));
  return 2;
}

/***
The bytes of a view, as a region of their own: to read or write them all.

    queue:send(layout.region(job):read(), 1)
@function region
@tparam View view
@treturn Region
*/
static int l_region(lua_State *L) {
  const struct ux_layout_view *v = ux_check_layout_view(L, 1);
  lua_getiuservalue(L, 1, 1);
  ux_region_new_part(
    L, lua_gettop(L), (size_t)(v->base - v->region->base), v->type->size);
  return 1;
}

static const luaL_Reg functions[] = {
  {"struct", l_struct},
  {"union", l_union},
  {"array", l_array},
  {"sizeof", l_sizeof},
  {"new", l_new},
  {"get", l_get},
  {"set", l_set},
  {"bind", l_bind},
  {"region", l_region},
  {NULL, NULL},
};

int ux_open_layout(lua_State *L) {
  ux_region_open(L);
  lua_pop(L, 1);
  ux_class_open(L, &ux_layout_class);
  luaL_setfuncs(L, methods, 0);
  luaL_newlib(L, functions);
  lua_insert(L, -2);
  lua_setfield(L, -2, "Type");
  return 1;
}
