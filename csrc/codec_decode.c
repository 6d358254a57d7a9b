#include "codec.h"
#include "codec_parts.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

/* The bytes are anybody's. Every value of a table that was begun has at least
   one byte that nothing else may use: what a count asks for, in memory too, is
   never more than a multiple of the bytes that came. */
struct decoder {
  lua_State *L;
  const unsigned char *begin, *p, *end;
  size_t promised; /* bytes for the values that counts announced */
  int depth;
  const char *why; /* it failed */
};

static bool decode_value(struct decoder *d);

static bool fail(struct decoder *d, const char *why) {
  d->why = why;
  return false;
}

static inline size_t left(const struct decoder *d) {
  return (size_t)(d->end - d->p);
}

/* Are there n bytes, beside those promised? */
static inline bool has(struct decoder *d, size_t n) {
  size_t all = left(d);
  if (n <= all && d->promised <= all - n) return true;
  return fail(d, "cut off");
}

static inline uint64_t load(struct decoder *d, int bytes) {
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v = v << 8 | d->p[i];
  d->p += bytes;
  return v;
}

/* ---- numbers, and strings ---------------------------------------------- */

static bool decode_unsigned(struct decoder *d, int bytes) {
  if (!has(d, (size_t)bytes)) return false;
  uint64_t v = load(d, bytes);
  if (v > LUA_MAXINTEGER) return fail(d, "an integer above math.maxinteger");
  lua_pushinteger(d->L, (lua_Integer)v);
  return true;
}

static bool decode_signed(struct decoder *d, int bytes) {
  if (!has(d, (size_t)bytes)) return false;
  uint64_t sign = UINT64_C(1) << (8 * bytes - 1);
  uint64_t v = (load(d, bytes) ^ sign) - sign;
  lua_pushinteger(d->L, (lua_Integer)v);
  return true;
}

static bool decode_float(struct decoder *d) {
  float number;
  if (!has(d, 4)) return false;
  uint32_t bits = (uint32_t)load(d, 4);
  memcpy(&number, &bits, sizeof number);
  lua_pushnumber(d->L, (lua_Number)number);
  return true;
}

static bool decode_double(struct decoder *d) {
  double number;
  if (!has(d, 8)) return false;
  uint64_t bits = load(d, 8);
  memcpy(&number, &bits, sizeof number);
  lua_pushnumber(d->L, (lua_Number)number);
  return true;
}

static bool decode_bytes(struct decoder *d, size_t n) {
  if (!has(d, n)) return false;
  lua_pushlstring(d->L, (const char *)d->p, n);
  d->p += n;
  return true;
}

/* Reads a count of so many bytes. */
static bool read_count(struct decoder *d, int bytes, size_t *count) {
  if (!has(d, (size_t)bytes)) return false;
  *count = (size_t)load(d, bytes);
  return true;
}

static bool decode_string(struct decoder *d, int bytes) {
  size_t n;
  return read_count(d, bytes, &n) && decode_bytes(d, n);
}

/* ---- tables ------------------------------------------------------------ */

static bool enter(struct decoder *d) {
  if (d->depth == UX_CODEC_DEPTH)
    return fail(d, "too deep: more than 100 tables");
  d->depth++;
  luaL_checkstack(d->L, 8, "too many nested tables");
  return true;
}

/* Sees to it that n values of at least one byte each can be there. */
static bool promise(struct decoder *d, size_t n) {
  if (!has(d, n)) return false;
  if (n > INT_MAX / 2) return fail(d, "too many values");
  d->promised += n;
  return true;
}

static bool decode_array(struct decoder *d, size_t n) {
  if (!enter(d) || !promise(d, n)) return false;
  lua_createtable(d->L, (int)n, 0);
  for (size_t i = 1; i <= n; i++) {
    d->promised--;
    if (!decode_value(d)) return false;
    lua_rawseti(d->L, -2, (lua_Integer)i);
  }
  d->depth--;
  return true;
}

static bool check_key(struct decoder *d) {
  switch (lua_type(d->L, -1)) {
    case LUA_TSTRING:
    case LUA_TBOOLEAN: return true;
    case LUA_TNUMBER:
      if (lua_rawequal(d->L, -1, -1)) return true;
      return fail(d, "a key that is nan");
    case LUA_TNIL: return fail(d, "a key that is nil");
    default: return fail(d, "a key that is no string, number or boolean");
  }
}

/* A key, which is on top of the stack and stays there, for the first time. */
static bool check_new(struct decoder *d) {
  lua_pushvalue(d->L, -1);
  bool is_new = lua_rawget(d->L, -3) == LUA_TNIL;
  lua_pop(d->L, 1);
  return is_new || fail(d, "a key comes twice");
}

/* The keys of a map so far, as long as they are a few short strings: whose
   bytes are compared faster than Lua looks one up. */
#define FEW 8

struct keys {
  const unsigned char *list[FEW];
  size_t count; /* FEW: look them up from now on */
};

static inline bool is_short_string(unsigned tag) {
  return tag >= 0xa0 && tag < 0xc0;
}

/* The tag has the length. */
static bool is_in(const struct keys *keys, const unsigned char *key) {
  for (size_t i = 0; i < keys->count; i++)
    if (*keys->list[i] == *key &&
        memcmp(keys->list[i] + 1, key + 1, *key & 31) == 0)
      return true;
  return false;
}

static bool decode_key(struct decoder *d, struct keys *keys) {
  const unsigned char *key = d->p;
  if (!decode_value(d)) return false;
  if (keys->count == FEW || !is_short_string(*key)) {
    keys->count = FEW;
    return check_key(d) && check_new(d);
  }
  if (is_in(keys, key)) return fail(d, "a key comes twice");
  keys->list[keys->count++] = key;
  return true;
}

static bool decode_map(struct decoder *d, size_t n) {
  struct keys keys;
  keys.count = 0; /* no need to clear the rest */
  if (n > SIZE_MAX / 2) return fail(d, "cut off");
  if (!enter(d) || !promise(d, 2 * n)) return false;
  lua_createtable(d->L, 0, (int)n);
  for (size_t i = 0; i < n; i++) {
    d->promised--;
    if (!decode_key(d, &keys)) return false;
    d->promised--;
    if (!decode_value(d)) return false;
    lua_rawset(d->L, -3);
  }
  d->depth--;
  return true;
}

static bool decode_counted_array(struct decoder *d, int bytes) {
  size_t n;
  return read_count(d, bytes, &n) && decode_array(d, n);
}

static bool decode_counted_map(struct decoder *d, int bytes) {
  size_t n;
  return read_count(d, bytes, &n) && decode_map(d, n);
}

/* ---- ext values -------------------------------------------------------- */

/* Seconds since 1970: an integer when they are whole. */
static bool decode_timestamp(struct decoder *d, size_t n) {
  uint64_t nanoseconds = 0;
  int64_t seconds;
  if (n == 4) {
    seconds = (int64_t)load(d, 4);
  } else if (n == 8) {
    uint64_t both = load(d, 8);
    nanoseconds = both >> 34;
    seconds = (int64_t)(both & ((UINT64_C(1) << 34) - 1));
  } else if (n == 12) {
    nanoseconds = load(d, 4);
    seconds = (int64_t)load(d, 8);
  } else {
    return fail(d, "a timestamp of a wrong length");
  }
  if (nanoseconds >= 1000000000)
    return fail(d, "a timestamp of too many nanoseconds");
  if (nanoseconds == 0)
    lua_pushinteger(d->L, seconds);
  else
    lua_pushnumber(d->L, (lua_Number)seconds + (lua_Number)nanoseconds / 1e9);
  return true;
}

/* What `to` gave: one value, of all the n bytes. */
static bool decode_content(struct decoder *d, size_t n) {
  const unsigned char *end = d->end;
  size_t promised = d->promised;
  d->end = d->p + n;
  d->promised = 0;
  if (!decode_value(d)) return false;
  if (d->p != d->end) return fail(d, "an object followed by more bytes");
  d->end = end;
  d->promised = promised;
  return true;
}

static bool decode_object(struct decoder *d, size_t n, int id) {
  if (!enter(d)) return false;
  if (id < 0 || !ux_codec_push_from(d->L, id)) {
    lua_pushfstring(
      d->L, "an ext value of type %d, which is not registered", id);
    return fail(d, lua_tostring(d->L, -1));
  }
  if (!decode_content(d, n)) return false;
  lua_call(d->L, 1, 1);
  d->depth--;
  return true;
}

static bool decode_ext(struct decoder *d, size_t n) {
  if (!has(d, 1)) return false;
  unsigned byte = *d->p++;
  int id = byte < 0x80 ? (int)byte : (int)byte - 0x100;
  if (!has(d, n)) return false;
  if (id == UX_CODEC_TIMESTAMP) return decode_timestamp(d, n);
  return decode_object(d, n, id);
}

static bool decode_counted_ext(struct decoder *d, int bytes) {
  size_t n;
  return read_count(d, bytes, &n) && decode_ext(d, n);
}

/* ---- any value --------------------------------------------------------- */

static bool decode_boolean(struct decoder *d, bool value) {
  lua_pushboolean(d->L, value);
  return true;
}

static bool decode_nil(struct decoder *d) {
  lua_pushnil(d->L);
  return true;
}

static bool decode_tagged(struct decoder *d, unsigned tag) {
  switch (tag) {
    case 0xc0: return decode_nil(d);
    case 0xc2: return decode_boolean(d, false);
    case 0xc3: return decode_boolean(d, true);
    case 0xc4:
    case 0xd9: return decode_string(d, 1);
    case 0xc5:
    case 0xda: return decode_string(d, 2);
    case 0xc6:
    case 0xdb: return decode_string(d, 4);
    case 0xc7: return decode_counted_ext(d, 1);
    case 0xc8: return decode_counted_ext(d, 2);
    case 0xc9: return decode_counted_ext(d, 4);
    case 0xca: return decode_float(d);
    case 0xcb: return decode_double(d);
    case 0xcc: return decode_unsigned(d, 1);
    case 0xcd: return decode_unsigned(d, 2);
    case 0xce: return decode_unsigned(d, 4);
    case 0xcf: return decode_unsigned(d, 8);
    case 0xd0: return decode_signed(d, 1);
    case 0xd1: return decode_signed(d, 2);
    case 0xd2: return decode_signed(d, 4);
    case 0xd3: return decode_signed(d, 8);
    case 0xd4: return decode_ext(d, 1);
    case 0xd5: return decode_ext(d, 2);
    case 0xd6: return decode_ext(d, 4);
    case 0xd7: return decode_ext(d, 8);
    case 0xd8: return decode_ext(d, 16);
    case 0xdc: return decode_counted_array(d, 2);
    case 0xdd: return decode_counted_array(d, 4);
    case 0xde: return decode_counted_map(d, 2);
    case 0xdf: return decode_counted_map(d, 4);
    default: return fail(d, "the byte 0xc1, which begins no value");
  }
}

/* Pushes one value; false, with anything on the stack, if it is none. */
static bool decode_value(struct decoder *d) {
  if (!has(d, 1)) return false;
  unsigned tag = *d->p++;
  if (tag < 0x80 || tag >= 0xe0) {
    lua_pushinteger(d->L, tag < 0x80 ? (int)tag : (int)tag - 0x100);
    return true;
  }
  if (tag < 0x90) return decode_map(d, tag & 15);
  if (tag < 0xa0) return decode_array(d, tag & 15);
  if (tag < 0xc0) return decode_bytes(d, tag & 31);
  return decode_tagged(d, tag);
}

size_t ux_codec_decode(lua_State *L, const char *data, size_t length) {
  const unsigned char *begin = (const unsigned char *)data;
  struct decoder d = {
    .L = L, .begin = begin, .p = begin, .end = begin + length};
  int top = lua_gettop(L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (decode_value(&d)) return (size_t)(d.p - d.begin);
  LUAI_UACINT place = d.p - d.begin + 1;
  lua_pushfstring(L, "no value, at byte %I: %s", place, d.why);
  lua_insert(L, top + 1);
  lua_settop(L, top + 1);
  return 0;
}
