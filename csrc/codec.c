/***
Lua values as bytes, and back: MessagePack, which other languages read.

What travels: nil, booleans, integers, floats, strings, tables of these, and
objects of classes that were registered. What cannot (functions, threads,
userdata of other kinds, a table inside itself) raises an error that says where
it was found. Bytes are anybody's: what is no value is an error, and never takes
more memory than a small multiple of their length.

A table whose keys are 1 to n travels as an array, any other as a map, an empty
one as an empty array. Strings that are valid UTF-8 travel as str, others as
bin; both come back as strings. Metatables do not travel.
@module unixipc.codec
*/
#include "codec.h"
#include "codec_parts.h"

#include "base/error.h"
#include "base/finalizer.h"
#include "base/modules.h"
#include "base/options.h"

#include <errno.h>
#include <lauxlib.h>

/* ---- encode ------------------------------------------------------------ */

#define DEFAULT_LIMIT ((lua_Integer)1 << 30)
#define KEPT ((size_t)1 << 20) /* bytes of a buffer; a larger one is freed */

struct encode_options {
  lua_Integer limit;
};

static const struct ux_option encode_schema[] = {
  {"limit",
   UX_OPT_INTEGER,
   offsetof(struct encode_options, limit),
   0,
   LUA_MAXINTEGER,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static int l_buffer_gc(lua_State *L) {
  ux_buffer_free(L, lua_touserdata(L, 1));
  return 0;
}

/* One buffer for all: what is encoded inside of `to` stands behind what is
   there already. */
static void push_buffer(lua_State *L) {
  struct ux_buffer *b = lua_newuserdatauv(L, sizeof *b, 0);
  *b = (struct ux_buffer){.data = NULL};
  ux_set_finalizer(L, "unixipc codec buffer", l_buffer_gc);
}

/***
The bytes of a value. Tables may be a hundred deep.
@function encode
@param value
@tparam[opt] table options `limit`: more bytes are an error, 1 GiB by default
@treturn string
*/
static int l_encode(lua_State *L) {
  struct encode_options o = {DEFAULT_LIMIT};
  struct ux_buffer *b = lua_touserdata(L, lua_upvalueindex(1));
  luaL_checkany(L, 1);
  ux_check_options(L, 2, encode_schema, &o);
  size_t base = b->end - b->start;
  ux_codec_encode(L, 1, b, (size_t)o.limit);
  const char *data = b->data + b->start + base;
  size_t length = b->end - b->start - base;
  b->end = b->start + base; /* whatever is raised now */
  lua_pushlstring(L, data, length);
  if (base == 0 && b->end == b->start && b->size > KEPT) ux_buffer_free(L, b);
  return 1;
}

/* ---- decode ------------------------------------------------------------ */

/***
The value that begins at a place of the bytes, and where the next one would
begin. Timestamps come as seconds since 1970.
@function decode
@tparam string bytes
@tparam[opt=1] integer place of the first byte, counted from 1
@treturn[1] any
@treturn[1] integer the place after it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADMSG (this is no value; a class that is not
registered; more than a hundred deep)
*/
static int l_decode(lua_State *L) {
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length);
  lua_Integer place = luaL_optinteger(L, 2, 1);
  luaL_argcheck(
    L, place >= 1 && (size_t)place - 1 <= length, 2, "place out of bounds");
  size_t start = (size_t)place - 1;
  size_t n = ux_codec_decode(L, bytes + start, length - start);
  if (n == 0) return ux_fail_words(L, EBADMSG, "decode", lua_tostring(L, -1));
  lua_pushinteger(L, place + (lua_Integer)n);
  return 2;
}

/* The buffer is their upvalue. */
static const luaL_Reg functions[] = {
  {"encode", l_encode},
  {"decode", l_decode},
  {"register", ux_codec_register},
  {NULL, NULL},
};

int ux_open_codec(lua_State *L) {
  luaL_newlibtable(L, functions);
  push_buffer(L);
  luaL_setfuncs(L, functions, 1);
  return 1;
}
