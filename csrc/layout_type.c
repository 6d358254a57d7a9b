/***
@module unixipc.layout
*/
#include "layout_type.h"

#include "layout_view.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* ---- scalars ----------------------------------------------------------- */

struct aligned_int64 {
  char c;
  int64_t x;
};

struct aligned_double {
  char c;
  double x;
};

#define ALIGNMENT_INT64 offsetof(struct aligned_int64, x)
#define ALIGNMENT_DOUBLE offsetof(struct aligned_double, x)

/* In the order of their codes. */
static const struct ux_layout_type scalars[] = {
  {"int8", UX_LAYOUT_INT8, 0, 1, 1, 0, NULL, NULL},
  {"uint8", UX_LAYOUT_UINT8, 0, 1, 1, 0, NULL, NULL},
  {"int16", UX_LAYOUT_INT16, 0, 2, 2, 0, NULL, NULL},
  {"uint16", UX_LAYOUT_UINT16, 0, 2, 2, 0, NULL, NULL},
  {"int32", UX_LAYOUT_INT32, 0, 4, 4, 0, NULL, NULL},
  {"uint32", UX_LAYOUT_UINT32, 0, 4, 4, 0, NULL, NULL},
  {"int64", UX_LAYOUT_INT64, 0, 8, ALIGNMENT_INT64, 0, NULL, NULL},
  {"uint64", UX_LAYOUT_UINT64, 0, 8, ALIGNMENT_INT64, 0, NULL, NULL},
  {"float", UX_LAYOUT_FLOAT, 0, sizeof(float), sizeof(float), 0, NULL, NULL},
  {"double",
   UX_LAYOUT_DOUBLE,
   0,
   sizeof(double),
   ALIGNMENT_DOUBLE,
   0,
   NULL,
   NULL},
  {"bool", UX_LAYOUT_BOOL, 0, sizeof(bool), sizeof(bool), 0, NULL, NULL},
  {"char", UX_LAYOUT_CHAR, 0, 1, 1, 0, NULL, NULL},
};

/* The code of an integer type of C, by its size and sign. */
#define CODE_BY_SIZE(size) \
  ((size) == 1   ? UX_LAYOUT_INT8 \
   : (size) == 2 ? UX_LAYOUT_INT16 \
   : (size) == 4 ? UX_LAYOUT_INT32 \
                 : UX_LAYOUT_INT64)
#define INTEGER(type) \
  (enum ux_layout_code)(CODE_BY_SIZE(sizeof(type)) + ((type)-1 > 0))

static const struct scalar_name {
  const char *name;
  enum ux_layout_code code;
} scalar_names[] = {
  {"int8", UX_LAYOUT_INT8},
  {"uint8", UX_LAYOUT_UINT8},
  {"int16", UX_LAYOUT_INT16},
  {"uint16", UX_LAYOUT_UINT16},
  {"int32", UX_LAYOUT_INT32},
  {"uint32", UX_LAYOUT_UINT32},
  {"int64", UX_LAYOUT_INT64},
  {"uint64", UX_LAYOUT_UINT64},
  {"float", UX_LAYOUT_FLOAT},
  {"double", UX_LAYOUT_DOUBLE},
  {"bool", UX_LAYOUT_BOOL},
  {"_Bool", UX_LAYOUT_BOOL},
  {"char", UX_LAYOUT_CHAR},
  {"byte", UX_LAYOUT_UINT8},
  {"int8_t", UX_LAYOUT_INT8},
  {"uint8_t", UX_LAYOUT_UINT8},
  {"int16_t", UX_LAYOUT_INT16},
  {"uint16_t", UX_LAYOUT_UINT16},
  {"int32_t", UX_LAYOUT_INT32},
  {"uint32_t", UX_LAYOUT_UINT32},
  {"int64_t", UX_LAYOUT_INT64},
  {"uint64_t", UX_LAYOUT_UINT64},
  {"signed char", UX_LAYOUT_INT8},
  {"unsigned char", UX_LAYOUT_UINT8},
  {"short", INTEGER(short)},
  {"unsigned short", INTEGER(unsigned short)},
  {"int", INTEGER(int)},
  {"unsigned", INTEGER(unsigned)},
  {"unsigned int", INTEGER(unsigned)},
  {"long", INTEGER(long)},
  {"unsigned long", INTEGER(unsigned long)},
  {"long long", INTEGER(long long)},
  {"unsigned long long", INTEGER(unsigned long long)},
  {"size_t", INTEGER(size_t)},
  {"ssize_t", INTEGER(ssize_t)},
  {"ptrdiff_t", INTEGER(ptrdiff_t)},
  {"intptr_t", INTEGER(intptr_t)},
  {"uintptr_t", INTEGER(uintptr_t)},
  {"pid_t", INTEGER(pid_t)},
  {"uid_t", INTEGER(uid_t)},
  {"gid_t", INTEGER(gid_t)},
  {"mode_t", INTEGER(mode_t)},
  {"off_t", INTEGER(off_t)},
  {"time_t", INTEGER(time_t)},
  {NULL, UX_LAYOUT_INT8},
};

static bool is_name(const char *name, size_t len, const char *wanted) {
  return strlen(wanted) == len && memcmp(name, wanted, len) == 0;
}

static const struct ux_layout_type *find_scalar(const char *name, size_t len) {
  for (const struct scalar_name *s = scalar_names; s->name != NULL; s++)
    if (is_name(name, len, s->name)) return &scalars[s->code];
  return NULL;
}

/* ---- objects ----------------------------------------------------------- */

/* There is nothing to close. */
static int l_close(lua_State *L) {
  lua_pushboolean(L, 1);
  return 1;
}

static void describe(lua_State *L, const void *self) {
  const struct ux_layout_object *o = self;
  lua_pushfstring(
    L, "layout type %s %I bytes", o->type.name, (LUAI_UACINT)o->type.size);
}

const struct ux_class ux_layout_class = {
  .name = "layout type",
  .size = sizeof(struct ux_layout_object),
  .uservalues = UX_LAYOUT_USERVALUES,
  .close = l_close,
  .describe = describe,
};

static struct ux_layout_type *new_type(lua_State *L, const char *name,
                                       enum ux_layout_code code) {
  struct ux_layout_object *o = ux_new(L, &ux_layout_class);
  o->head.open = true;
  o->type.name = name;
  o->type.code = code;
  o->type.alignment = 1;
  lua_newtable(L);
  lua_setiuservalue(L, -2, UX_LAYOUT_KEEP);
  return &o->type;
}

/* Whoever goes through a type calls itself for those within it. */
#define MOST_DEPTH 100

static void set_depth(lua_State *L, struct ux_layout_type *t,
                      const struct ux_layout_type *within, int arg) {
  if (within->depth >= t->depth) t->depth = within->depth + 1;
  luaL_argcheck(L, t->depth <= MOST_DEPTH, arg, "type too deep");
}

/* The object at the top of the stack, or nil, is used by the one at the
   index. Pops it. */
static void keep(lua_State *L, int user, const struct ux_layout_type *t) {
  lua_getiuservalue(L, user, UX_LAYOUT_KEEP);
  lua_insert(L, -2);
  if (lua_isuserdata(L, -1) && ux_layout_has_view(t)) {
    lua_getiuservalue(L, -1, UX_LAYOUT_META);
    lua_rawsetp(L, -3, t);
  }
  if (lua_isuserdata(L, -1))
    luaL_ref(L, -2);
  else
    lua_pop(L, 1);
  lua_pop(L, 1);
}

/* ---- arrays ------------------------------------------------------------ */

const struct ux_layout_type *
ux_layout_push_array(lua_State *L, const struct ux_layout_type *element,
                     lua_Integer count, int arg) {
  luaL_argcheck(L, count >= 1, arg, "an array has one element at least");
  if ((lua_Unsigned)count > (lua_Unsigned)PTRDIFF_MAX / (element->size + 1))
    luaL_argerror(L, arg, "type too large");
  struct ux_layout_type *t = new_type(L, "array", UX_LAYOUT_ARRAY);
  set_depth(L, t, element, arg);
  t->element = element;
  t->count = (size_t)count;
  t->size = element->size * t->count;
  t->alignment = element->alignment;
  lua_pushvalue(L, -2);
  keep(L, lua_absindex(L, -2), element);
  ux_layout_make_metatable(L);
  return t;
}

/* Arrays that are strings of Lua, by the name of their elements. */
static const struct string_name {
  const char *name, *whole;
  enum ux_layout_code code;
} string_names[] = {
  {"char", "char[]", UX_LAYOUT_CSTRING},
  {"byte", "byte[]", UX_LAYOUT_BYTES},
  {NULL, NULL, UX_LAYOUT_CHAR},
};

static const struct ux_layout_type *push_string(lua_State *L,
                                                const struct string_name *s,
                                                lua_Integer count, int arg) {
  luaL_argcheck(
    L, count >= 1 && count <= INT_MAX, arg, "a string of one byte at least");
  struct ux_layout_type *t = new_type(L, s->whole, s->code);
  t->size = (size_t)count;
  return t;
}

/* ---- names: "int32[4][2]" ---------------------------------------------- */

/* Does not return; the result is for those who do not know that. */
static const struct ux_layout_type *bad_type(lua_State *L, int arg,
                                             const char *name) {
  luaL_argerror(L, arg, lua_pushfstring(L, "unknown type '%s'", name));
  return NULL;
}

/* The number between the brackets, and what follows them. */
static const char *read_count(const char *s, lua_Integer *count) {
  char *end;
  if (s[1] < '0' || s[1] > '9') return NULL;
  errno = 0;
  unsigned long n = strtoul(s + 1, &end, 10);
  *count = (lua_Integer)n;
  return errno == 0 && n <= INT_MAX && *end == ']' ? end + 1 : NULL;
}

/* The first brackets are the outermost array, as in C; so the rest comes
   first. Leaves one value on the stack. */
static const struct ux_layout_type *push_named(lua_State *L, const char *name,
                                               size_t len, const char *rest,
                                               int arg) {
  lua_Integer count;
  if (*rest == '\0') {
    lua_pushnil(L);
    return find_scalar(name, len);
  }
  const char *after = read_count(rest, &count);
  if (after == NULL) return bad_type(L, arg, name);
  for (const struct string_name *s = string_names; s->name != NULL; s++)
    if (*after == '\0' && is_name(name, len, s->name))
      return push_string(L, s, count, arg);
  luaL_checkstack(L, LUA_MINSTACK, "too many dimensions");
  const struct ux_layout_type *element = push_named(L, name, len, after, arg);
  if (element == NULL) return bad_type(L, arg, name);
  const struct ux_layout_type *t =
    ux_layout_push_array(L, element, count, arg);
  lua_remove(L, -2);
  return t;
}

const struct ux_layout_type *ux_layout_push_type(lua_State *L, int index,
                                                 int arg) {
  struct ux_layout_object *o = ux_test(L, index, &ux_layout_class);
  if (o != NULL) {
    lua_pushvalue(L, index);
    return &o->type;
  }
  if (lua_type(L, index) != LUA_TSTRING)
    luaL_argerror(L,
                  arg,
                  lua_pushfstring(L,
                                  "type or its name expected, got %s",
                                  luaL_typename(L, index)));
  const char *name = lua_tostring(L, index);
  size_t len = strcspn(name, "["), dimensions = 0;
  for (const char *s = name + len; *s != '\0'; s++) dimensions += *s == '[';
  luaL_argcheck(L, dimensions <= MOST_DEPTH, arg, "type too deep");
  const struct ux_layout_type *t = push_named(L, name, len, name + len, arg);
  return t != NULL ? t : bad_type(L, arg, name);
}

/* ---- structs ----------------------------------------------------------- */

static size_t round_up(size_t n, size_t alignment) {
  return (n + alignment - 1) / alignment * alignment;
}

static void place(struct ux_layout_type *t, struct ux_layout_field *f,
                  bool is_union, bool is_packed) {
  size_t alignment = is_packed ? 1 : f->type->alignment;
  f->offset = is_union ? 0 : round_up(t->size, alignment);
  size_t end = f->offset + f->type->size;
  if (end > t->size) t->size = end;
  if (alignment > t->alignment) t->alignment = alignment;
}

/* The field's name is at the top of the stack. */
static const char *read_name(lua_State *L, int names, lua_Integer number) {
  size_t len;
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_argerror(L, 1, "each field is a table {name, type}");
  const char *name = lua_tolstring(L, -1, &len);
  luaL_argcheck(L, strlen(name) == len, 1, "a name contains a zero");
  lua_pushvalue(L, -1);
  if (lua_rawget(L, names) != LUA_TNIL)
    luaL_argerror(L, 1, lua_pushfstring(L, "two fields '%s'", name));
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  lua_pushinteger(L, number);
  lua_rawset(L, names);
  return name;
}

/* Of so many of a type, whose name or object is at the index: what "type[n]"
   means. Its object is at the top of the stack. */
static const struct ux_layout_type *
push_counted(lua_State *L, int index, const struct ux_layout_type *t,
             lua_Integer count) {
  const char *name =
    lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
  for (const struct string_name *s = string_names; s->name != NULL; s++)
    if (strcmp(name, s->name) == 0) return push_string(L, s, count, 1);
  return ux_layout_push_array(L, t, count, 1);
}

/* The entry at the top of the stack: {name, type [, count]}. Leaves the type's
   object, or nil, in its place. */
static void read_field(lua_State *L, int names, lua_Integer number,
                       struct ux_layout_field *f) {
  int entry = lua_gettop(L), is_integer;
  if (!lua_istable(L, entry))
    luaL_argerror(L, 1, "each field is a table {name, type}");
  lua_geti(L, entry, 1);
  f->name = read_name(L, names, number);
  lua_geti(L, entry, 2);
  f->type = ux_layout_push_type(L, -1, 1);
  if (lua_geti(L, entry, 3) != LUA_TNIL) {
    lua_Integer count = lua_tointegerx(L, -1, &is_integer);
    luaL_argcheck(L, is_integer, 1, "the count of a field is an integer");
    lua_pop(L, 1);
    f->type = push_counted(L, entry + 2, f->type, count);
  } else {
    lua_pop(L, 1);
  }
  lua_replace(L, entry);
  lua_settop(L, entry);
}

/* Their memory is kept by the type at the top of the stack. */
static struct ux_layout_field *new_fields(lua_State *L, size_t count) {
  struct ux_layout_field *fields =
    lua_newuserdatauv(L, count * sizeof *fields, 0);
  memset(fields, 0, count * sizeof *fields);
  lua_setiuservalue(L, -2, UX_LAYOUT_FIELDS);
  return fields;
}

void ux_layout_push_struct(lua_State *L, int index, bool is_union,
                           bool is_packed) {
  lua_Integer count = luaL_len(L, index);
  luaL_argcheck(L, count >= 1 && count <= INT_MAX / 64, 1, "no fields");
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  struct ux_layout_type *t =
    new_type(L, is_union ? "union" : "struct", UX_LAYOUT_STRUCT);
  int self = lua_gettop(L), names = self + 1;
  struct ux_layout_field *fields = new_fields(L, (size_t)count);
  lua_newtable(L);
  for (lua_Integer i = 0; i < count; i++) {
    lua_geti(L, index, i + 1);
    read_field(L, names, i, &fields[i]);
    keep(L, self, fields[i].type);
    set_depth(L, t, fields[i].type, 1);
    place(t, &fields[i], is_union, is_packed);
    if (t->size > PTRDIFF_MAX / 2) luaL_argerror(L, 1, "type too large");
  }
  t->fields = fields;
  t->count = (size_t)count;
  t->size = round_up(t->size, t->alignment);
  lua_setiuservalue(L, self, UX_LAYOUT_NAMES);
  ux_layout_make_metatable(L);
}
