#include "codec.h"
#include "codec_parts.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

/* What is between the value and us: for the path in messages, and to notice
   a table inside itself. */
struct frame {
  const void *identity;
  int key;           /* stack index of the key we are at, 0: it is `place` */
  lua_Integer place; /* 0: an object, which adds nothing to the path */
};

/* Bytes are written behind the end of the buffer, which moves when all are
   there: whatever Lua raises in between, the buffer has what it had. */
struct encoder {
  lua_State *L;
  struct ux_buffer *b;
  size_t had;      /* length of what was in the buffer */
  size_t position; /* of the next byte, as b->end is */
  size_t stop;     /* as far as there is room, and it is allowed */
  size_t limit;
  int depth;
  struct frame *frames; /* room for UX_CODEC_DEPTH */
};

static void encode_value(struct encoder *e, int index, int type);

/* ---- what cannot travel ------------------------------------------------ */

#define SHOWN 40 /* bytes of a key */

static bool is_identifier(const char *s, size_t n) {
  static const char letters[] =
    "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return n > 0 && n <= SHOWN && strspn(s, letters) == n &&
         !(*s >= '0' && *s <= '9');
}

static void push_string_key(lua_State *L, int key) {
  size_t n;
  const char *s = lua_tolstring(L, key, &n);
  if (is_identifier(s, n)) {
    lua_pushfstring(L, ".%s", s);
  } else {
    lua_pushlstring(L, s, n < SHOWN ? n : SHOWN);
    lua_pushfstring(
      L, n < SHOWN ? "[\"%s\"]" : "[\"%s...\"]", lua_tostring(L, -1));
    lua_remove(L, -2);
  }
}

static void push_key(lua_State *L, const struct frame *f) {
  if (f->key == 0) {
    lua_pushfstring(L, f->place ? "[%I]" : "", (LUAI_UACINT)f->place);
  } else if (lua_type(L, f->key) == LUA_TSTRING) {
    push_string_key(L, f->key);
  } else {
    const char *text = luaL_tolstring(L, f->key, NULL);
    lua_pushfstring(L, "[%s]", text);
    lua_remove(L, -2);
  }
}

/* Raises "value.list[3]: words". */
static int refuse(struct encoder *e, const char *words) {
  lua_State *L = e->L;
  luaL_checkstack(L, LUA_MINSTACK + UX_CODEC_DEPTH, NULL);
  lua_pushliteral(L, "value");
  for (int i = 0; i < e->depth; i++) {
    push_key(L, &e->frames[i]);
    lua_concat(L, 2);
  }
  return luaL_error(L, "%s: %s", lua_tostring(L, -1), words);
}

static int refuse_type(struct encoder *e, int index) {
  const char *type = luaL_typename(e->L, index);
  return refuse(e, lua_pushfstring(e->L, "a %s cannot travel", type));
}

/* ---- room -------------------------------------------------------------- */

static void set_stop(struct encoder *e) {
  size_t used = e->position - e->b->start - e->had;
  size_t allowed = e->limit - used, room = e->b->size - e->position;
  e->stop = e->position + (allowed < room ? allowed : room);
}

static bool try_grow(struct encoder *e, size_t n) {
  e->b->end = e->position;
  bool ok = ux_buffer_try_reserve(e->L, e->b, n);
  e->position = e->b->end;
  e->b->end = e->b->start + e->had;
  set_stop(e);
  return ok;
}

/* As ux_buffer_reserve: Lua collects in an emergency, or raises. */
static void grow(struct encoder *e, size_t n) {
  size_t used = e->position - e->b->start - e->had;
  if (n > e->limit - used) {
    lua_pushfstring(
      e->L, "more than the limit of %I bytes", (LUAI_UACINT)e->limit);
    refuse(e, lua_tostring(e->L, -1));
  }
  if (try_grow(e, n)) return;
  lua_newuserdatauv(e->L, n, 0);
  lua_pop(e->L, 1);
  if (!try_grow(e, n)) luaL_error(e->L, "not enough memory");
}

static inline unsigned char *take_room(struct encoder *e, size_t n) {
  if (n > e->stop - e->position) grow(e, n);
  char *p = e->b->data + e->position;
  e->position += n;
  return (unsigned char *)p;
}

/* ---- numbers, and strings ---------------------------------------------- */

static inline void store(unsigned char *p, uint64_t v, int bytes) {
  while (bytes > 0) {
    p[--bytes] = (unsigned char)v;
    v >>= 8;
  }
}

static inline void put_byte(struct encoder *e, unsigned byte) {
  *take_room(e, 1) = (unsigned char)byte;
}

static inline void put(struct encoder *e, unsigned tag, uint64_t v,
                       int bytes) {
  unsigned char *p = take_room(e, 1 + (size_t)bytes);
  p[0] = (unsigned char)tag;
  store(p + 1, v, bytes);
}

static void encode_integer(struct encoder *e, lua_Integer v) {
  if (v >= -32 && v <= 0x7f)
    put_byte(e, (unsigned)v & 0xff);
  else if (v >= 0 && v <= 0xff)
    put(e, 0xcc, (uint64_t)v, 1);
  else if (v >= 0 && v <= 0xffff)
    put(e, 0xcd, (uint64_t)v, 2);
  else if (v >= 0 && v <= 0xffffffff)
    put(e, 0xce, (uint64_t)v, 4);
  else if (v >= 0)
    put(e, 0xcf, (uint64_t)v, 8);
  else if (v >= INT8_MIN)
    put(e, 0xd0, (uint64_t)v, 1);
  else if (v >= INT16_MIN)
    put(e, 0xd1, (uint64_t)v, 2);
  else if (v >= INT32_MIN)
    put(e, 0xd2, (uint64_t)v, 4);
  else
    put(e, 0xd3, (uint64_t)v, 8);
}

static void encode_number(struct encoder *e, int index) {
  if (lua_isinteger(e->L, index)) {
    encode_integer(e, lua_tointeger(e->L, index));
  } else {
    double number = (double)lua_tonumber(e->L, index);
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put(e, 0xcb, bits, 8);
  }
}

/* How many bytes the character at p has, n at most; 0: it is not valid UTF-8,
   of which surrogates and what is above 10FFFF are no part. */
static size_t character_length(const unsigned char *p, size_t n) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t length = p[0] < 0x80   ? 1
                  : p[0] < 0xc2 ? 0
                  : p[0] < 0xe0 ? 2
                  : p[0] < 0xf0 ? 3
                  : p[0] < 0xf5 ? 4
                                : 0;
  if (length < 2 || length > n) return length == 1;
  uint32_t c = p[0] & (0x7fu >> length);
  for (size_t i = 1; i < length; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    c = c << 6 | (p[i] & 0x3f);
  }
  bool is_good =
    c >= least[length] && c <= 0x10ffff && c >> 11 != 0xd800 >> 11;
  return is_good ? length : 0;
}

#define HIGH UINT64_C(0x8080808080808080)

/* Eight bytes at a time, the last ones again if need be. */
static bool is_ascii(const char *s, size_t n) {
  uint64_t all = 0, some;
  if (n < 8) {
    while (n > 0) all |= (unsigned char)s[--n];
    return (all & HIGH) == 0;
  }
  for (size_t i = 0; i + 8 < n && (all & HIGH) == 0; i += 8) {
    memcpy(&some, s + i, 8);
    all |= some;
  }
  memcpy(&some, s + n - 8, 8);
  return ((all | some) & HIGH) == 0;
}

static bool is_utf8(const char *s, size_t n) {
  const unsigned char *p = (const unsigned char *)s, *end = p + n;
  while (p < end) {
    uint64_t eight;
    if (end - p >= 8 && (memcpy(&eight, p, 8), (eight & HIGH) == 0)) {
      p += 8;
    } else {
      size_t length = character_length(p, (size_t)(end - p));
      if (length == 0) return false;
      p += length;
    }
  }
  return true;
}

/* Bytes of a length, in the header of a string. */
static inline int count_size(size_t n) {
  return n <= 0xff ? 1 : n <= 0xffff ? 2 : 4;
}

static void encode_string(struct encoder *e, int index) {
  size_t n;
  const char *s = lua_tolstring(e->L, index, &n);
  bool is_text = is_ascii(s, n) || is_utf8(s, n);
  unsigned char *p;
  if (is_text && n < 32) {
    p = take_room(e, 1 + n);
    *p++ = (unsigned char)(0xa0 | n);
  } else {
    int bytes = count_size(n);
    if (n > 0xffffffff) refuse(e, "a string of more than 4 GiB cannot travel");
    p = take_room(e, 1 + (size_t)bytes + n);
    *p++ = (unsigned char)((is_text ? 0xd9 : 0xc4) + bytes / 2);
    store(p, n, bytes);
    p += bytes;
  }
  memcpy(p, s, n);
}

/* ---- tables ------------------------------------------------------------ */

static struct frame *enter(struct encoder *e, int index) {
  const void *identity = lua_topointer(e->L, index);
  for (int i = 0; i < e->depth; i++)
    if (e->frames[i].identity == identity)
      refuse(e, "a table inside itself cannot travel");
  if (e->depth == UX_CODEC_DEPTH) refuse(e, "too deep: more than 100 tables");
  struct frame *f = &e->frames[e->depth++];
  f->identity = identity;
  f->key = 0;
  f->place = 0;
  return f;
}

static void put_array_header(struct encoder *e, lua_Unsigned n) {
  if (n <= 15)
    put_byte(e, 0x90 | (unsigned)n);
  else if (n <= 0xffff)
    put(e, 0xdc, n, 2);
  else if (n <= 0xffffffff)
    put(e, 0xdd, n, 4);
  else
    refuse(e, "a table of more than 2^32 - 1 values cannot travel");
}

/* Are the keys that follow the one on top of the stack integers up to n, and
   are they `count`? Pops the key. */
static bool has_rest(lua_State *L, int table, lua_Unsigned n,
                     lua_Unsigned count) {
  while (lua_next(L, table)) {
    lua_pop(L, 1);
    bool is_place =
      lua_isinteger(L, -1) && (lua_Unsigned)lua_tointeger(L, -1) - 1 < n;
    if (!is_place || count-- == 0) {
      lua_pop(L, 1);
      return false;
    }
  }
  return count == 0;
}

static bool is_plain(int type) {
  return type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TBOOLEAN;
}

/* In the order of lua_next, in which nearly all arrays have their values from
   1 to n. False when this one has not; what was written is void then. Before
   values that take time the rest is looked at: else tables of tables would be
   written again and again. */
static bool encode_in_order(struct encoder *e, int table, lua_Unsigned n) {
  lua_State *L = e->L;
  bool is_checked = false;
  lua_Unsigned i = 0;
  lua_pushnil(L);
  int key = lua_gettop(L);
  e->frames[e->depth - 1].key = key;
  while (lua_next(L, table)) {
    if (!lua_isinteger(L, key) || (lua_Unsigned)lua_tointeger(L, key) != ++i) {
      lua_pop(L, 2);
      return false;
    }
    int type = lua_type(L, -1);
    if (!is_checked && !is_plain(type)) {
      lua_pushvalue(L, key);
      is_checked = has_rest(L, table, n, n - i);
      if (!is_checked) {
        lua_pop(L, 2);
        return false;
      }
    }
    encode_value(e, -1, type);
    lua_pop(L, 1);
  }
  return i == n;
}

static void encode_by_place(struct encoder *e, int table, lua_Unsigned n) {
  struct frame *f = &e->frames[e->depth - 1];
  f->key = 0;
  for (lua_Unsigned i = 1; i <= n; i++) {
    f->place = (lua_Integer)i;
    int type = lua_rawgeti(e->L, table, (lua_Integer)i);
    encode_value(e, -1, type);
    lua_pop(e->L, 1);
  }
}

static bool encode_array(struct encoder *e, int table, lua_Unsigned n) {
  size_t start = e->position - e->b->start;
  put_array_header(e, n);
  if (encode_in_order(e, table, n)) return true;
  e->position = e->b->start + start;
  lua_pushnil(e->L);
  if (!has_rest(e->L, table, n, n)) return false;
  put_array_header(e, n);
  encode_by_place(e, table, n);
  return true;
}

static void encode_key(struct encoder *e, int index) {
  switch (lua_type(e->L, index)) {
    case LUA_TSTRING: encode_string(e, index); break;
    case LUA_TNUMBER: encode_number(e, index); break;
    case LUA_TBOOLEAN:
      put_byte(e, lua_toboolean(e->L, index) ? 0xc3 : 0xc2);
      break;
    default:
      refuse(e,
             lua_pushfstring(e->L,
                             "a key that is a %s cannot travel",
                             luaL_typename(e->L, index)));
  }
}

/* A header of `bytes` bytes in place of the one that was left room for. */
static unsigned char *widen(struct encoder *e, size_t start, size_t had,
                            size_t bytes) {
  if (bytes > had) take_room(e, bytes - had);
  unsigned char *p = (unsigned char *)e->b->data + e->b->start + start;
  size_t body = e->position - e->b->start - start - bytes;
  if (bytes != had) memmove(p + bytes, p + had, body);
  return p;
}

static void set_map_header(struct encoder *e, size_t start, size_t n) {
  if (n <= 15) {
    *widen(e, start, 1, 1) = (unsigned char)(0x80 | n);
    return;
  }
  if (n > 0xffffffff)
    refuse(e, "a table of more than 2^32 - 1 values cannot travel");
  int bytes = n <= 0xffff ? 2 : 4;
  unsigned char *p = widen(e, start, 1, 1 + (size_t)bytes);
  p[0] = bytes == 2 ? 0xde : 0xdf;
  store(p + 1, n, bytes);
}

/* How many there are is known at the end. */
static void encode_map(struct encoder *e, int table) {
  lua_State *L = e->L;
  size_t start = e->position - e->b->start, n = 0;
  put_byte(e, 0x90); /* of no values */
  lua_pushnil(L);
  int key = lua_gettop(L);
  e->frames[e->depth - 1].key = key;
  for (; lua_next(L, table); n++) {
    encode_key(e, key);
    encode_value(e, -1, lua_type(L, -1));
    lua_pop(L, 1);
  }
  if (n > 0) set_map_header(e, start, n);
}

static void encode_table(struct encoder *e, int index) {
  enter(e, index);
  int table = lua_absindex(e->L, index);
  lua_Unsigned n = lua_rawlen(e->L, table);
  if (n == 0 || !encode_array(e, table, n)) encode_map(e, table);
  e->depth--;
}

/* ---- objects of registered classes ------------------------------------- */

/* Calls the function on top of the stack with the object. The buffer may be
   used by it, behind what we have, as long as it is given back. */
static void call_to(struct encoder *e, int object) {
  size_t length = e->position - e->b->start;
  lua_pushvalue(e->L, object);
  e->b->end = e->position;
  int status = lua_pcall(e->L, 1, 1, 0);
  bool is_same = ux_buffer_length(e->b) == length;
  if (is_same) {
    e->position = e->b->end;
    e->b->end = e->b->start + e->had;
    set_stop(e);
  }
  if (status != LUA_OK) lua_error(e->L);
  if (!is_same) luaL_error(e->L, "encoding again what is being encoded");
}

static void set_ext_header(struct encoder *e, size_t start, int id) {
  size_t n = e->position - e->b->start - start - 2;
  unsigned char *p;
  if (n <= 16 && (n & (n - 1)) == 0) {
    static const unsigned char tags[] = {
      [1] = 0xd4, [2] = 0xd5, [4] = 0xd6, [8] = 0xd7, [16] = 0xd8};
    p = widen(e, start, 2, 2);
    p[0] = tags[n];
    p[1] = (unsigned char)id;
    return;
  }
  if (n > 0xffffffff) refuse(e, "an object of more than 4 GiB cannot travel");
  int bytes = n <= 0xff ? 1 : n <= 0xffff ? 2 : 4;
  p = widen(e, start, 2, 2 + (size_t)bytes);
  p[0] = bytes == 1 ? 0xc7 : bytes == 2 ? 0xc8 : 0xc9;
  store(p + 1, n, bytes);
  p[1 + bytes] = (unsigned char)id;
}

#define ROOM 12 /* on the stack, for a table or an object */

/* An ext value, whose bytes are those of what `to` makes of the object. False
   for what has no registered class. */
static bool encode_object(struct encoder *e, int index) {
  luaL_checkstack(e->L, ROOM, "too many nested tables");
  int object = lua_absindex(e->L, index);
  int id = ux_codec_push_to(e->L, object);
  if (id < 0) return false;
  enter(e, object);
  call_to(e, object);
  size_t start = e->position - e->b->start;
  take_room(e, 2);
  encode_value(e, -1, lua_type(e->L, -1));
  set_ext_header(e, start, id);
  lua_pop(e->L, 1);
  e->depth--;
  return true;
}

/* ---- any value --------------------------------------------------------- */

static void encode_value(struct encoder *e, int index, int type) {
  switch (type) {
    case LUA_TNIL: put_byte(e, 0xc0); break;
    case LUA_TBOOLEAN:
      put_byte(e, lua_toboolean(e->L, index) ? 0xc3 : 0xc2);
      break;
    case LUA_TNUMBER: encode_number(e, index); break;
    case LUA_TSTRING: encode_string(e, index); break;
    case LUA_TTABLE:
      if (!encode_object(e, index)) encode_table(e, index);
      break;
    case LUA_TUSERDATA:
      if (encode_object(e, index)) break;
      refuse_type(e, index);
      break;
    default: refuse_type(e, index);
  }
}

void ux_codec_encode(lua_State *L, int index, struct ux_buffer *b,
                     size_t limit) {
  struct frame frames[UX_CODEC_DEPTH]; /* each is set as it is entered */
  struct encoder e = {
    .L = L,
    .b = b,
    .had = ux_buffer_length(b),
    .position = b->end,
    .limit = limit,
    .frames = frames,
  };
  set_stop(&e);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  encode_value(&e, lua_absindex(L, index), lua_type(L, index));
  b->end = e.position;
}
