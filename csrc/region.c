/***
Regions of memory: what `sysv_shm`, and all that maps memory, gives.

Offsets are bytes and count from 0, as in `file:seek`. Every access is checked
against the length; one outside raises, and so does a write into a region that
is read-only.
@module unixipc.region
*/
#include "region.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "base/modules.h"
#include "base/process_id.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* ---- making ------------------------------------------------------------ */

struct ux_region *ux_region_new(lua_State *L, const char *kind,
                                int (*release)(struct ux_region *r)) {
  struct ux_region *r = ux_new(L, &ux_region_class);
  r->kind = kind;
  r->release = release;
  r->whole = r->root = r;
  return r;
}

void ux_region_set(struct ux_region *r, void *base, size_t length,
                   bool is_readonly) {
  r->base = base;
  r->length = length;
  r->is_readonly = is_readonly;
  r->head.open = true;
}

struct ux_region *ux_region_new_part(lua_State *L, int index, size_t offset,
                                     size_t length) {
  struct ux_region *whole = lua_touserdata(L, index);
  lua_pushvalue(L, index);
  struct ux_region *r = ux_region_new(L, whole->kind, NULL);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, UX_REGION_WHOLE);
  r->whole = whole;
  r->root = whole->root;
  bool is_readonly = whole != whole->root && whole->is_readonly;
  ux_region_set(r, whole->base + offset, length, is_readonly);
  return r;
}

/* ---- pins -------------------------------------------------------------- */

void ux_region_pin(struct ux_region *r) {
  struct ux_region *root = r->root;
  pid_t me = ux_process_id();
  if (root->pinner != me) root->pins = 0;
  root->pinner = me;
  root->pins++;
}

void ux_region_unpin(struct ux_region *r) {
  if (ux_region_is_pinned(r)) r->root->pins--;
}

bool ux_region_is_pinned(const struct ux_region *r) {
  return r->root->pins > 0 && r->root->pinner == ux_process_id();
}

/* ---- checks ------------------------------------------------------------ */

void ux_region_check_open(lua_State *L, const struct ux_region *r) {
  if (!ux_region_is_open(r)) ux_closed_error(L, &ux_region_class);
}

void ux_region_check_writable(lua_State *L, const struct ux_region *r) {
  ux_region_check_open(L, r);
  if (ux_region_is_readonly(r))
    luaL_error(L, "attempt to write to a read-only region");
}

struct ux_region *ux_check_region(lua_State *L, int arg) {
  struct ux_region *r = ux_check_open(L, arg, &ux_region_class);
  if (!ux_region_is_open(r)) ux_closed_error(L, &ux_region_class);
  return r;
}

/* Once all arguments are there: to make a string of a number may start the
   collector, and a finalizer may close the region. */
static inline void check_still(lua_State *L, const struct ux_region *r,
                               bool to_write) {
  if (!ux_region_is_open(r)) ux_closed_error(L, &ux_region_class);
  if (to_write && ux_region_is_readonly(r)) ux_region_check_writable(L, r);
}

static struct ux_region *check_writable(lua_State *L, int arg) {
  struct ux_region *r = ux_check_region(L, arg);
  check_still(L, r, true);
  return r;
}

static int out_of_bounds(lua_State *L, int arg, const struct ux_region *r) {
  return luaL_argerror(
    L,
    arg,
    lua_pushfstring(
      L, "out of bounds: the region has %I bytes", (LUAI_UACINT)r->length));
}

size_t ux_check_region_offset(lua_State *L, int arg,
                              const struct ux_region *r) {
  lua_Integer n = luaL_optinteger(L, arg, 0);
  if (n < 0 || (lua_Unsigned)n > r->length) out_of_bounds(L, arg, r);
  return (size_t)n;
}

size_t ux_check_region_count(lua_State *L, int arg, const struct ux_region *r,
                             size_t offset) {
  if (lua_isnoneornil(L, arg)) return r->length - offset;
  lua_Integer n = luaL_checkinteger(L, arg);
  if (n < 0 || (lua_Unsigned)n > r->length - offset) out_of_bounds(L, arg, r);
  return (size_t)n;
}

/* ---- bytes ------------------------------------------------------------- */

/***
Copies bytes out of the region.
@function Region:read
@tparam[opt=0] integer offset
@tparam[opt] integer count all that follow, if left out
@treturn string
*/
static int l_read(lua_State *L) {
  const struct ux_region *r = ux_check_region(L, 1);
  size_t offset = ux_check_region_offset(L, 2, r);
  size_t n = ux_check_region_count(L, 3, r, offset);
  lua_pushlstring(L, r->base + offset, n);
  return 1;
}

/***
Copies a string into the region.
@function Region:write
@tparam integer offset
@tparam string bytes
@treturn Region itself
*/
static int l_write(lua_State *L) {
  const struct ux_region *r = ux_check(L, 1, &ux_region_class);
  size_t len;
  lua_Integer offset = luaL_checkinteger(L, 2);
  const char *bytes = luaL_checklstring(L, 3, &len);
  check_still(L, r, true);
  if ((lua_Unsigned)offset > r->length) out_of_bounds(L, 2, r);
  if (len > r->length - (size_t)offset) out_of_bounds(L, 3, r);
  memcpy(r->base + offset, bytes, len);
  lua_settop(L, 1);
  return 1;
}

/***
Copies the bytes up to the first zero, as C programs keep strings. Without a
zero all bytes there are.
@function Region:cstring
@tparam[opt=0] integer offset
@tparam[opt] integer count how many bytes to look at
@treturn string without the zero
*/
static int l_cstring(lua_State *L) {
  const struct ux_region *r = ux_check_region(L, 1);
  size_t offset = ux_check_region_offset(L, 2, r);
  size_t n = ux_check_region_count(L, 3, r, offset);
  const char *start = r->base + offset;
  lua_pushlstring(L, start, strnlen(start, n));
  return 1;
}

/* A byte: an integer, or a string of one; none is 0. */
static int check_byte(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TSTRING) {
    size_t len;
    const char *s = lua_tolstring(L, arg, &len);
    luaL_argcheck(L, len == 1, arg, "string of one byte expected");
    return (unsigned char)s[0];
  }
  lua_Integer n = luaL_optinteger(L, arg, 0);
  luaL_argcheck(L, n >= 0 && n <= UINT8_MAX, arg, "byte expected");
  return (int)n;
}

/***
Sets bytes to one value.
@function Region:fill
@tparam[opt=0] integer offset
@tparam[opt] integer count all that follow, if left out
@tparam[opt=0] integer|string byte
@treturn Region itself
*/
static int l_fill(lua_State *L) {
  struct ux_region *r = check_writable(L, 1);
  size_t offset = ux_check_region_offset(L, 2, r);
  size_t n = ux_check_region_count(L, 3, r, offset);
  memset(r->base + offset, check_byte(L, 4), n);
  lua_settop(L, 1);
  return 1;
}

/***
Copies bytes from another region, or from another place in this one; the two
may overlap.
@function Region:copy
@tparam integer offset where to
@tparam Region source
@tparam[opt=0] integer source_offset where from
@tparam[opt] integer count all that follow there, if left out
@treturn Region itself
*/
static int l_copy(lua_State *L) {
  struct ux_region *r = check_writable(L, 1);
  size_t offset = ux_check_region_offset(L, 2, r);
  const struct ux_region *source = ux_check_region(L, 3);
  size_t from = ux_check_region_offset(L, 4, source);
  size_t n = ux_check_region_count(L, 5, source, from);
  if (n > r->length - offset) out_of_bounds(L, 2, r);
  memmove(r->base + offset, source->base + from, n);
  lua_settop(L, 1);
  return 1;
}

/***
Looks for bytes, as they are: there are no patterns.
@function Region:find
@tparam string bytes
@tparam[opt=0] integer offset where to begin
@tparam[opt] integer count how many bytes to look through
@treturn[1] integer the offset of the first place
@treturn[2] nil when they are not there
@see memmem(3)
*/
static int l_find(lua_State *L) {
  const struct ux_region *r = ux_check(L, 1, &ux_region_class);
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  check_still(L, r, false);
  size_t offset = ux_check_region_offset(L, 3, r);
  size_t n = ux_check_region_count(L, 4, r, offset);
  const char *found = memmem(r->base + offset, n, bytes, len);
  if (found == NULL)
    lua_pushnil(L);
  else
    lua_pushinteger(L, found - r->base);
  return 1;
}

/* ---- pack and unpack --------------------------------------------------- */

/* The three of the string library, kept where this file finds them. */
enum { PACK, UNPACK, PACKSIZE, STRING_FUNCTIONS };
static const char *const string_names[] = {"pack", "unpack", "packsize"};
static const char string_keys[STRING_FUNCTIONS];

static void keep_string_functions(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "string") == LUA_TTABLE) {
    for (int i = 0; i < STRING_FUNCTIONS; i++) {
      lua_getfield(L, -1, string_names[i]);
      lua_rawsetp(L, LUA_REGISTRYINDEX, &string_keys[i]);
    }
  }
  lua_pop(L, 2);
}

static void push_string_function(lua_State *L, int which) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &string_keys[which]) != LUA_TFUNCTION)
    luaL_error(L, "string.%s is not there", string_names[which]);
}

/***
Writes values as `string.pack` makes bytes of them.
@function Region:pack
@tparam string format
@tparam integer offset
@param ... values
@treturn integer the offset after them
*/
static int l_pack(lua_State *L) {
  struct ux_region *r = check_writable(L, 1);
  size_t len;
  luaL_checkstring(L, 2);
  size_t offset = ux_check_region_offset(L, 3, r);
  lua_pushvalue(L, 2);
  lua_replace(L, 3);
  push_string_function(L, PACK);
  lua_replace(L, 2);
  lua_call(L, lua_gettop(L) - 2, 1);
  ux_region_check_writable(L, r); /* anything may have run meanwhile */
  const char *bytes = lua_tolstring(L, -1, &len);
  if (len > r->length - offset)
    return luaL_error(
      L, "bad argument #2 to 'pack' (%I bytes do not fit)", (LUAI_UACINT)len);
  memcpy(r->base + offset, bytes, len);
  lua_pushinteger(L, (lua_Integer)offset + (lua_Integer)len);
  return 1;
}

/* How many bytes a format of fixed size takes; those with strings: 0. */
static size_t fixed_size(lua_State *L, const char *format) {
  if (strpbrk(format, "sz") != NULL) return 0;
  push_string_function(L, PACKSIZE);
  lua_pushvalue(L, 2);
  lua_call(L, 1, 1);
  lua_Integer size = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return (size_t)size;
}

/* Is that what string.unpack says of too few bytes? Any other error is not to
   be lost, that of a signal handler, say. */
static bool is_too_short(lua_State *L) {
  if (lua_type(L, -1) != LUA_TSTRING) return false;
  const char *message = lua_tostring(L, -1);
  return strstr(message, "data string too short") != NULL ||
         strstr(message, "unfinished string for format") != NULL;
}

/* Calls string.unpack on so many bytes; LUA_OK leaves its results. */
static int unpack_window(lua_State *L, const struct ux_region *r,
                         size_t offset, size_t window) {
  ux_region_check_open(L, r);
  push_string_function(L, UNPACK);
  lua_pushvalue(L, 2);
  lua_pushlstring(L, r->base + offset, window);
  return lua_pcall(L, 2, LUA_MULTRET, 0);
}

#define FIRST_WINDOW 256

/***
Reads values as `string.unpack` makes them of bytes.
@function Region:unpack
@tparam string format
@tparam[opt=0] integer offset
@return the values, and then the offset after them
*/
static int l_unpack(lua_State *L) {
  const struct ux_region *r = ux_check_region(L, 1);
  const char *format = luaL_checkstring(L, 2);
  size_t offset = ux_check_region_offset(L, 3, r);
  size_t rest = r->length - offset, window = fixed_size(L, format);
  if (window > rest) out_of_bounds(L, 3, r);
  bool is_fixed = window > 0;
  if (!is_fixed) window = rest < FIRST_WINDOW ? rest : FIRST_WINDOW;
  lua_settop(L, 3);
  while (unpack_window(L, r, offset, window) != LUA_OK) {
    if (is_fixed || window == rest || !is_too_short(L)) return lua_error(L);
    lua_pop(L, 1); /* with more bytes it may do */
    window = rest / 8 < window ? rest : window * 8;
  }
  lua_Integer position = lua_tointeger(L, -1);
  lua_pop(L, 1);
  lua_Integer end = (lua_Integer)offset;
  lua_pushinteger(L, end + position - 1);
  return lua_gettop(L) - 3;
}

/* ---- the object -------------------------------------------------------- */

/***
A part of the region as a region of its own, on the same bytes. It keeps the
memory alive, but is closed with the region it came from.
@function Region:view
@tparam[opt=0] integer offset
@tparam[opt] integer count all that follow, if left out
@treturn Region
*/
static int l_view(lua_State *L) {
  const struct ux_region *r = ux_check_region(L, 1);
  size_t offset = ux_check_region_offset(L, 2, r);
  size_t n = ux_check_region_count(L, 3, r, offset);
  ux_region_new_part(L, 1, offset, n);
  return 1;
}

/***
Its length in bytes; `#region` too.
@function Region:length
@treturn integer
*/
static int l_length(lua_State *L) {
  const struct ux_region *r = ux_check_region(L, 1);
  lua_pushinteger(L, (lua_Integer)r->length);
  return 1;
}

/***
Where it stands in this process.
@function Region:address
@treturn integer
*/
static int l_address(lua_State *L) {
  const struct ux_region *r = ux_check_region(L, 1);
  lua_pushinteger(L, (lua_Integer)(intptr_t)r->base);
  return 1;
}

/***
May it only be read?
@function Region:is_readonly
@treturn boolean
*/
static int l_is_readonly(lua_State *L) {
  lua_pushboolean(L, ux_region_is_readonly(ux_check_region(L, 1)));
  return 1;
}

/***
Is it open? A view is closed with the region it came from.
@function Region:is_open
@treturn boolean
*/
static int l_is_open(lua_State *L) {
  const struct ux_region *r = ux_check(L, 1, &ux_region_class);
  lua_pushboolean(L, ux_region_is_open(r));
  return 1;
}

/***
Lets the memory go; views of it are closed too. Also what `<close>` and the
collector do. What is shared stays for the others.
@function Region:close
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBUSY (this process holds a lock that stands in it)
*/
static int l_close(lua_State *L) {
  struct ux_region *r = ux_check(L, 1, &ux_region_class);
  bool was_open = r->head.open;
  if (was_open && r->root == r && ux_region_is_pinned(r))
    return ux_fail_words(L, EBUSY, "close", "a lock in the region is held");
  r->head.open = false;
  int err = was_open && r->release != NULL ? r->release(r) : 0;
  return ux_result(L, err, "close", r->kind);
}

/* The name at the top of the stack, if there is one. */
static const char *name_of(lua_State *L) {
  lua_getiuservalue(L, 1, UX_REGION_NAME);
  return lua_isstring(L, -1) ? lua_tostring(L, -1) : "";
}

static int l_tostring(lua_State *L) {
  const struct ux_region *r = ux_check(L, 1, &ux_region_class);
  if (!ux_region_is_open(r)) {
    lua_pushfstring(L, "%s region (closed)", r->kind);
    return 1;
  }
  const char *name = name_of(L);
  lua_pushfstring(L,
                  "%s region %s%s%I bytes%s",
                  r->kind,
                  name,
                  *name != '\0' ? " " : "",
                  (LUAI_UACINT)r->length,
                  ux_region_is_readonly(r) ? " read-only" : "");
  return 1;
}

static const luaL_Reg methods[] = {
  {"read", l_read},
  {"write", l_write},
  {"cstring", l_cstring},
  {"fill", l_fill},
  {"copy", l_copy},
  {"find", l_find},
  {"pack", l_pack},
  {"unpack", l_unpack},
  {"view", l_view},
  {"length", l_length},
  {"address", l_address},
  {"is_readonly", l_is_readonly},
  {"is_open", l_is_open},
  {"__len", l_length},
  {"__tostring", l_tostring},
  {NULL, NULL},
};

const struct ux_class ux_region_class = {
  .name = "region",
  .size = sizeof(struct ux_region),
  .uservalues = UX_REGION_USERVALUES,
  .methods = methods,
  .close = l_close,
};

void ux_region_open(lua_State *L) {
  keep_string_functions(L);
  ux_class_open(L, &ux_region_class);
}

/* ---- private memory ---------------------------------------------------- */

static int free_memory(struct ux_region *r) {
  free(r->base);
  return 0;
}

bool ux_region_is_private(const struct ux_region *r) {
  return r->root->release == free_memory;
}

struct ux_region *ux_region_new_private(lua_State *L, size_t length) {
  struct ux_region *r = ux_region_new(L, "private", free_memory);
  void *base = calloc(1, length > 0 ? length : 1);
  if (base == NULL) return NULL;
  ux_region_set(r, base, length, false);
  return r;
}

/***
Makes a region of this process's own memory, all zeros: for messages with a
layout, and for trying things out.
@function new
@tparam integer length bytes
@treturn[1] Region
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOMEM
*/
static int l_new(lua_State *L) {
  lua_Integer length = luaL_checkinteger(L, 1);
  luaL_argcheck(L, length >= 0, 1, "length must not be negative");
  if (ux_region_new_private(L, (size_t)length) == NULL)
    return ux_fail(L, ENOMEM, "calloc", NULL);
  return 1;
}

static const luaL_Reg functions[] = {
  {"new", l_new},
  {NULL, NULL},
};

int ux_open_region(lua_State *L) {
  ux_region_open(L);
  luaL_newlib(L, functions);
  lua_insert(L, -2);
  lua_setfield(L, -2, "Region");
  return 1;
}
