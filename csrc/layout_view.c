/***
@module unixipc.layout
*/
#include "layout_view.h"

#include "base/interrupt.h"

#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* The upvalues of the metamethods: of both, and of those of structs. */
enum { UP_KEEP = 1, UP_TYPE = 2, UP_NAMES = 3 };

/* Each metatable of ours has the object of its type here. */
static const char type_key = 't';

/* ---- where an error is ------------------------------------------------- */

/* What is being set: a field, or an element. */
struct place {
  const char *field; /* NULL: an element */
  lua_Integer i;
};

static int bad_value(lua_State *L, struct place p, const char *what) {
  if (p.field != NULL) return luaL_error(L, "field '%s': %s", p.field, what);
  return luaL_error(L, "element %I: %s", (LUAI_UACINT)p.i, what);
}

static int bad_value_type(lua_State *L, struct place p, int index,
                          const char *expected) {
  return bad_value(
    L,
    p,
    lua_pushfstring(
      L, "%s expected, got %s", expected, luaL_typename(L, index)));
}

/* ---- scalars ----------------------------------------------------------- */

/* memcpy, for a struct may be packed, or laid anywhere; where it is aligned
   the compiler makes one load or store of it. */
#define PUSH(type, push) \
  { \
    type x; \
    memcpy(&x, at, sizeof x); \
    push; \
    break; \
  }

static void push_scalar(lua_State *L, const struct ux_layout_type *t,
                        const char *at) {
  switch (t->code) {
    case UX_LAYOUT_INT8: PUSH(int8_t, lua_pushinteger(L, x))
    case UX_LAYOUT_UINT8: PUSH(uint8_t, lua_pushinteger(L, x))
    case UX_LAYOUT_INT16: PUSH(int16_t, lua_pushinteger(L, x))
    case UX_LAYOUT_UINT16: PUSH(uint16_t, lua_pushinteger(L, x))
    case UX_LAYOUT_INT32: PUSH(int32_t, lua_pushinteger(L, x))
    case UX_LAYOUT_UINT32: PUSH(uint32_t, lua_pushinteger(L, x))
    case UX_LAYOUT_INT64: PUSH(int64_t, lua_pushinteger(L, x))
    case UX_LAYOUT_UINT64: PUSH(uint64_t, lua_pushinteger(L, (lua_Integer)x))
    case UX_LAYOUT_FLOAT: PUSH(float, lua_pushnumber(L, (lua_Number)x))
    case UX_LAYOUT_DOUBLE: PUSH(double, lua_pushnumber(L, x))
    case UX_LAYOUT_BOOL: PUSH(uint8_t, lua_pushboolean(L, x != 0))
    case UX_LAYOUT_CHAR: lua_pushlstring(L, at, 1); break;
    case UX_LAYOUT_CSTRING:
      lua_pushlstring(L, at, strnlen(at, t->size));
      break;
    case UX_LAYOUT_BYTES: lua_pushlstring(L, at, t->size); break;
    case UX_LAYOUT_ARRAY:
    case UX_LAYOUT_STRUCT: break; /* not here */
  }
}

static lua_Integer to_integer(lua_State *L, int index, lua_Integer min,
                              lua_Integer max, struct place p) {
  int is_integer;
  lua_Integer n = lua_tointegerx(L, index, &is_integer);
  if (!is_integer || lua_type(L, index) != LUA_TNUMBER)
    bad_value_type(L, p, index, "integer");
  if (n < min || n > max)
    bad_value(
      L, p, lua_pushfstring(L, "%I is not from %I to %I", n, min, max));
  return n;
}

static double to_double(lua_State *L, int index, struct place p) {
  if (lua_type(L, index) != LUA_TNUMBER) bad_value_type(L, p, index, "number");
  return lua_tonumber(L, index);
}

/* What is too large for a float would become infinite. */
static float to_float(lua_State *L, int index, struct place p) {
  double x = to_double(L, index, p);
  float f = (float)x;
  if (isinf(f) && !isinf(x)) bad_value(L, p, "too large for a float");
  return f;
}

static uint8_t to_bool(lua_State *L, int index, struct place p) {
  if (!lua_isboolean(L, index)) bad_value_type(L, p, index, "boolean");
  return (uint8_t)lua_toboolean(L, index);
}

/* A character, or its number, signed or not. */
static char to_char(lua_State *L, int index, struct place p) {
  if (lua_type(L, index) != LUA_TSTRING)
    return (char)to_integer(L, index, INT8_MIN, UINT8_MAX, p);
  size_t len;
  const char *s = lua_tolstring(L, index, &len);
  if (len != 1) bad_value(L, p, "string of one byte expected");
  return s[0];
}

static void set_string(lua_State *L, const struct ux_layout_type *t, char *at,
                       int index, struct place p) {
  size_t len;
  if (lua_type(L, index) != LUA_TSTRING) bad_value_type(L, p, index, "string");
  const char *s = lua_tolstring(L, index, &len);
  if (len > t->size)
    bad_value(L,
              p,
              lua_pushfstring(L,
                              "%I bytes do not fit into %I",
                              (LUAI_UACINT)len,
                              (LUAI_UACINT)t->size));
  if (t->code == UX_LAYOUT_BYTES && len != t->size)
    bad_value(
      L, p, lua_pushfstring(L, "%I bytes expected", (LUAI_UACINT)t->size));
  if (t->code == UX_LAYOUT_CSTRING && strnlen(s, len) != len)
    bad_value(L, p, "a C string ends at a zero; byte[n] holds any bytes");
  memcpy(at, s, len);
  memset(at + len, 0, t->size - len);
}

#define SET(type, value) \
  { \
    type x = (type)(value); \
    memcpy(at, &x, sizeof x); \
    break; \
  }
#define INTEGER(min, max) to_integer(L, index, min, max, p)

static void set_scalar(lua_State *L, const struct ux_layout_type *t, char *at,
                       int index, struct place p) {
  switch (t->code) {
    case UX_LAYOUT_INT8: SET(int8_t, INTEGER(INT8_MIN, INT8_MAX))
    case UX_LAYOUT_UINT8: SET(uint8_t, INTEGER(0, UINT8_MAX))
    case UX_LAYOUT_INT16: SET(int16_t, INTEGER(INT16_MIN, INT16_MAX))
    case UX_LAYOUT_UINT16: SET(uint16_t, INTEGER(0, UINT16_MAX))
    case UX_LAYOUT_INT32: SET(int32_t, INTEGER(INT32_MIN, INT32_MAX))
    case UX_LAYOUT_UINT32: SET(uint32_t, INTEGER(0, UINT32_MAX))
    case UX_LAYOUT_INT64: /* all 64 bits, as string.pack takes them */
    case UX_LAYOUT_UINT64: SET(int64_t, INTEGER(INT64_MIN, INT64_MAX))
    case UX_LAYOUT_FLOAT: SET(float, to_float(L, index, p))
    case UX_LAYOUT_DOUBLE: SET(double, to_double(L, index, p))
    case UX_LAYOUT_BOOL: SET(uint8_t, to_bool(L, index, p))
    case UX_LAYOUT_CHAR: SET(char, to_char(L, index, p))
    case UX_LAYOUT_CSTRING:
    case UX_LAYOUT_BYTES: set_string(L, t, at, index, p); break;
    case UX_LAYOUT_ARRAY:
    case UX_LAYOUT_STRUCT: break; /* not here */
  }
}

/* ---- views ------------------------------------------------------------- */

static inline struct ux_layout_view *check_open(lua_State *L) {
  struct ux_layout_view *v = lua_touserdata(L, 1);
  ux_interrupt_enter(L);
  if (!ux_region_is_open(v->region)) ux_region_check_open(L, v->region);
  return v;
}

static inline struct ux_layout_view *check_writable(lua_State *L) {
  struct ux_layout_view *v = check_open(L);
  if (ux_region_is_readonly(v->region)) ux_region_check_writable(L, v->region);
  return v;
}

/* A view of what stands in the view at `outer`; `meta` is the metatable of its
   type, at the top of the stack, whose place it takes. */
static void push_inner(lua_State *L, int outer, const struct ux_layout_type *t,
                       char *at) {
  const struct ux_layout_view *v = lua_touserdata(L, outer);
  struct ux_layout_view *inner = lua_newuserdatauv(L, sizeof *inner, 1);
  *inner = (struct ux_layout_view){t, v->region, at};
  lua_getiuservalue(L, outer, 1);
  lua_setiuservalue(L, -2, 1);
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
}

static void push(lua_State *L, const struct ux_layout_type *t, char *at) {
  if (!ux_layout_has_view(t)) {
    push_scalar(L, t, at);
    return;
  }
  lua_rawgetp(L, lua_upvalueindex(UP_KEEP), t);
  push_inner(L, 1, t, at);
}

void ux_layout_push_view(lua_State *L, int type, int region, size_t offset) {
  struct ux_layout_object *o = lua_touserdata(L, type);
  const struct ux_region *r = lua_touserdata(L, region);
  struct ux_layout_view *v = lua_newuserdatauv(L, sizeof *v, 1);
  *v = (struct ux_layout_view){&o->type, r, r->base + offset};
  lua_pushvalue(L, region);
  lua_setiuservalue(L, -2, 1);
  lua_getiuservalue(L, type, UX_LAYOUT_META);
  lua_setmetatable(L, -2);
}

static struct ux_layout_view *test_view(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
    return NULL;
  bool is_ours = lua_rawgetp(L, -1, &type_key) != LUA_TNIL;
  lua_pop(L, 2);
  return is_ours ? lua_touserdata(L, index) : NULL;
}

struct ux_layout_view *ux_check_layout_view(lua_State *L, int arg) {
  struct ux_layout_view *v = test_view(L, arg);
  if (v == NULL)
    luaL_typeerror(L, arg, "layout view");
  else
    ux_region_check_open(L, v->region);
  return v;
}

/* Metamethods are called with nothing but a view of their type; but a program
   gets hold of the function that `pairs` goes on with. */
static struct ux_layout_view *check_own(lua_State *L) {
  struct ux_layout_view *v = ux_check_layout_view(L, 1);
  const struct ux_layout_object *o =
    lua_touserdata(L, lua_upvalueindex(UP_TYPE));
  luaL_argcheck(L, v->type == &o->type, 1, "view of another type");
  ux_interrupt_enter(L);
  return v;
}

/* ---- setting all of it at once ----------------------------------------- */

static void assign(lua_State *L, const struct ux_layout_type *t, char *at,
                   int index, struct place p);

static const struct ux_layout_field *find_field(const struct ux_layout_type *t,
                                                const char *name) {
  for (size_t i = 0; i < t->count; i++)
    if (strcmp(t->fields[i].name, name) == 0) return &t->fields[i];
  return NULL;
}

/* The field whose name is below the top of the stack. */
static const struct ux_layout_field *
find_key(lua_State *L, const struct ux_layout_type *t, struct place p) {
  const struct ux_layout_field *f = NULL;
  if (lua_type(L, -2) == LUA_TSTRING) f = find_field(t, lua_tostring(L, -2));
  if (f == NULL)
    bad_value(
      L, p, lua_pushfstring(L, "no field '%s'", luaL_tolstring(L, -2, NULL)));
  return f;
}

static void assign_field(lua_State *L, const struct ux_layout_field *f,
                         char *at) {
  struct place p = {f->name, 0};
  assign(L, f->type, at + f->offset, lua_gettop(L), p);
}

static void assign_fields(lua_State *L, const struct ux_layout_type *t,
                          char *at, int index, struct place p) {
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    assign_field(L, find_key(L, t, p), at);
  }
}

static void assign_elements(lua_State *L, const struct ux_layout_type *t,
                            char *at, int index, struct place p) {
  size_t count = lua_rawlen(L, index); /* __len might close the region */
  if (count > t->count) bad_value(L, p, "more values than elements");
  for (lua_Integer i = 1; i <= (lua_Integer)count; i++) {
    struct place inner = {NULL, i};
    lua_rawgeti(L, index, i);
    assign(L,
           t->element,
           at + (size_t)(i - 1) * t->element->size,
           lua_gettop(L),
           inner);
    lua_pop(L, 1);
  }
}

/* From a table, whose fields or elements may be fewer, or from a view of the
   same type. */
static void assign(lua_State *L, const struct ux_layout_type *t, char *at,
                   int index, struct place p) {
  const struct ux_layout_view *source;
  luaL_checkstack(L, LUA_MINSTACK, "layout too deep");
  if (!ux_layout_has_view(t)) {
    set_scalar(L, t, at, index, p);
  } else if (lua_istable(L, index)) {
    if (t->code == UX_LAYOUT_STRUCT)
      assign_fields(L, t, at, index, p);
    else
      assign_elements(L, t, at, index, p);
  } else if ((source = test_view(L, index)) != NULL && source->type == t) {
    ux_region_check_open(L, source->region);
    memmove(at, source->base, t->size);
  } else {
    bad_value_type(L, p, index, "table, or view of the same type,");
  }
}

void ux_layout_assign(lua_State *L, const struct ux_layout_view *v,
                      int index) {
  struct place p = {v->type->name, 0};
  ux_region_check_writable(L, v->region);
  assign(L, v->type, v->base, index, p);
}

/* ---- getting all of it at once ----------------------------------------- */

static void push_copy(lua_State *L, const struct ux_layout_type *t,
                      const char *at) {
  luaL_checkstack(L, LUA_MINSTACK, "layout too deep");
  if (t->code == UX_LAYOUT_STRUCT) {
    lua_createtable(L, 0, (int)t->count);
    for (size_t i = 0; i < t->count; i++) {
      push_copy(L, t->fields[i].type, at + t->fields[i].offset);
      lua_setfield(L, -2, t->fields[i].name);
    }
  } else if (t->code == UX_LAYOUT_ARRAY) {
    lua_newtable(L);
    for (size_t i = 0; i < t->count; i++) {
      push_copy(L, t->element, at + i * t->element->size);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
  } else {
    push_scalar(L, t, at);
  }
}

void ux_layout_push_table(lua_State *L, const struct ux_layout_view *v) {
  /* A copy first: a finalizer that runs meanwhile may close the region. */
  char *copy = lua_newuserdatauv(L, v->type->size, 0);
  ux_region_check_open(L, v->region);
  memcpy(copy, v->base, v->type->size);
  push_copy(L, v->type, copy);
}

/* ---- metamethods of structs -------------------------------------------- */

/* The field whose name is at the index. */
static const struct ux_layout_field *
field_at(lua_State *L, const struct ux_layout_view *v, int index) {
  lua_pushvalue(L, index);
  if (lua_rawget(L, lua_upvalueindex(UP_NAMES)) == LUA_TNIL)
    luaL_error(L, "no field '%s'", luaL_tolstring(L, index, NULL));
  const struct ux_layout_field *f = &v->type->fields[lua_tointeger(L, -1)];
  lua_pop(L, 1);
  return f;
}

static int struct_index(lua_State *L) {
  const struct ux_layout_view *v = check_open(L);
  const struct ux_layout_field *f = field_at(L, v, 2);
  push(L, f->type, v->base + f->offset);
  return 1;
}

static int struct_newindex(lua_State *L) {
  const struct ux_layout_view *v = check_writable(L);
  const struct ux_layout_field *f = field_at(L, v, 2);
  struct place p = {f->name, 0};
  if (ux_layout_has_view(f->type))
    assign(L, f->type, v->base + f->offset, 3, p);
  else
    set_scalar(L, f->type, v->base + f->offset, 3, p);
  return 0;
}

/* In the order of the fields. Arguments: the view, the name before. */
static int struct_next(lua_State *L) {
  const struct ux_layout_view *v = check_own(L);
  size_t i = 0;
  if (!lua_isnil(L, 2)) i = (size_t)(field_at(L, v, 2) - v->type->fields) + 1;
  if (i == v->type->count) return 0;
  const struct ux_layout_field *f = &v->type->fields[i];
  push(L, f->type, v->base + f->offset);
  lua_pushstring(L, f->name); /* after that a finalizer may have run */
  lua_insert(L, -2);
  return 2;
}

/* ---- metamethods of arrays --------------------------------------------- */

/* Outside it is nil, as in a sequence. */
static int array_index(lua_State *L) {
  const struct ux_layout_view *v = check_open(L);
  const struct ux_layout_type *t = v->type->element;
  int is_integer;
  lua_Integer i = lua_tointegerx(L, 2, &is_integer);
  if (!is_integer || (lua_Unsigned)i - 1 >= v->type->count)
    lua_pushnil(L);
  else
    push(L, t, v->base + (size_t)(i - 1) * t->size);
  return 1;
}

static int array_newindex(lua_State *L) {
  const struct ux_layout_view *v = check_writable(L);
  const struct ux_layout_type *t = v->type->element;
  int is_integer;
  lua_Integer i = lua_tointegerx(L, 2, &is_integer);
  if (!is_integer || (lua_Unsigned)i - 1 >= v->type->count)
    return luaL_error(L,
                      "index out of bounds: elements are from 1 to %I",
                      (LUAI_UACINT)v->type->count);
  char *at = v->base + (size_t)(i - 1) * t->size;
  struct place p = {NULL, i};
  if (ux_layout_has_view(t))
    assign(L, t, at, 3, p);
  else
    set_scalar(L, t, at, 3, p);
  return 0;
}

static int array_len(lua_State *L) {
  const struct ux_layout_view *v = lua_touserdata(L, 1);
  lua_pushinteger(L, (lua_Integer)v->type->count);
  return 1;
}

static int array_next(lua_State *L) {
  const struct ux_layout_view *v = check_own(L);
  lua_Unsigned i = (lua_Unsigned)luaL_optinteger(L, 2, 0);
  if (i >= v->type->count) return 0;
  lua_pushinteger(L, (lua_Integer)i + 1);
  push(L, v->type->element, v->base + i * v->type->element->size);
  return 2;
}

/* ---- bound functions --------------------------------------------------- */

/* Upvalue 1 is a view of the one scalar, which is checked and found already:
   faster than the way through a metatable. Upvalue 2 is its name. */
static struct ux_layout_view *bound_view(lua_State *L) {
  struct ux_layout_view *v = lua_touserdata(L, lua_upvalueindex(1));
  ux_interrupt_enter(L);
  if (!ux_region_is_open(v->region)) ux_region_check_open(L, v->region);
  return v;
}

static int bound_get(lua_State *L) {
  const struct ux_layout_view *v = bound_view(L);
  push_scalar(L, v->type, v->base);
  return 1;
}

static int bound_set(lua_State *L) {
  const struct ux_layout_view *v = bound_view(L);
  struct place p = {lua_tostring(L, lua_upvalueindex(2)), 0};
  if (ux_region_is_readonly(v->region)) ux_region_check_writable(L, v->region);
  set_scalar(L, v->type, v->base, 1, p);
  return 0;
}

/* The scalar whose key is at arg 2; raises when it is none. */
static struct ux_layout_view find_scalar(lua_State *L,
                                         const struct ux_layout_view *v) {
  const struct ux_layout_type *t = v->type;
  struct ux_layout_view found = {t->element, v->region, v->base};
  if (t->code == UX_LAYOUT_ARRAY) {
    lua_Integer i = luaL_checkinteger(L, 2);
    luaL_argcheck(L, (lua_Unsigned)i - 1 < t->count, 2, "no such element");
    found.base += (size_t)(i - 1) * t->element->size;
  } else {
    const struct ux_layout_field *f = find_field(t, luaL_checkstring(L, 2));
    luaL_argcheck(L, f != NULL, 2, "no such field");
    found.type = f->type;
    found.base += f->offset;
  }
  luaL_argcheck(
    L, !ux_layout_has_view(found.type), 2, "has parts: bind one of them");
  return found;
}

void ux_layout_push_bound(lua_State *L, const struct ux_layout_view *v) {
  struct ux_layout_view found = find_scalar(L, v);
  struct ux_layout_view *bound = lua_newuserdatauv(L, sizeof *bound, 1);
  int self = lua_gettop(L);
  *bound = found;
  lua_pushvalue(L, 1); /* the view keeps type and region alive */
  lua_setiuservalue(L, self, 1);
  lua_pushvalue(L, self);
  lua_pushcclosure(L, bound_get, 1);
  lua_pushvalue(L, self);
  luaL_tolstring(L, 2, NULL);
  lua_pushcclosure(L, bound_set, 2);
}

/* ---- the metatable ----------------------------------------------------- */

/* Upvalue UP_NAMES + 1 is the function that goes on. */
static int view_pairs(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(UP_NAMES + 1));
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}

static int view_tostring(lua_State *L) {
  const struct ux_layout_view *v = lua_touserdata(L, 1);
  lua_pushfstring(L,
                  "layout %s %I bytes%s",
                  v->type->name,
                  (LUAI_UACINT)v->type->size,
                  ux_region_is_open(v->region) ? "" : " (closed)");
  return 1;
}

/* A function with the upvalues of the type's object, at the index. */
static void push_closure(lua_State *L, int type, lua_CFunction f,
                         lua_CFunction next) {
  lua_getiuservalue(L, type, UX_LAYOUT_KEEP);
  lua_pushvalue(L, type);
  lua_getiuservalue(L, type, UX_LAYOUT_NAMES);
  if (next != NULL) push_closure(L, type, next, NULL);
  lua_pushcclosure(L, f, next != NULL ? UP_NAMES + 1 : UP_NAMES);
}

static const struct metamethod {
  const char *name;
  lua_CFunction of_struct, of_array;
  lua_CFunction next_of_struct, next_of_array;
} metamethods[] = {
  {"__index", struct_index, array_index, NULL, NULL},
  {"__newindex", struct_newindex, array_newindex, NULL, NULL},
  {"__len", NULL, array_len, NULL, NULL},
  {"__pairs", view_pairs, view_pairs, struct_next, array_next},
  {"__tostring", view_tostring, view_tostring, NULL, NULL},
  {NULL, NULL, NULL, NULL, NULL},
};

void ux_layout_make_metatable(lua_State *L) {
  int type = lua_gettop(L);
  const struct ux_layout_object *o = lua_touserdata(L, type);
  bool is_struct = o->type.code == UX_LAYOUT_STRUCT;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_newtable(L);
  for (const struct metamethod *m = metamethods; m->name != NULL; m++) {
    lua_CFunction f = is_struct ? m->of_struct : m->of_array;
    if (f == NULL) continue;
    push_closure(L, type, f, is_struct ? m->next_of_struct : m->next_of_array);
    lua_setfield(L, -2, m->name);
  }
  lua_pushliteral(L, "layout view");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "unixipc");
  lua_setfield(L, -2, "__metatable"); /* hands off */
  lua_pushvalue(L, type);
  lua_rawsetp(L, -2, &type_key);
  lua_setiuservalue(L, type, UX_LAYOUT_META);
}
