#include "base/options.h"

#include <lauxlib.h>
#include <string.h>

/* ---- modes ------------------------------------------------------------- */

#define MODE_LETTERS "rwxrwxrwx"
#define MODE_BITS 9

static bool parse_letters(const char *s, mode_t *mode) {
  *mode = 0;
  for (int i = 0; i < MODE_BITS; i++) {
    if (s[i] == MODE_LETTERS[i])
      *mode |= (mode_t)1 << (MODE_BITS - 1 - i);
    else if (s[i] != '-')
      return false;
  }
  return true;
}

static bool parse_octal(const char *s, mode_t *mode) {
  *mode = 0;
  for (; *s != '\0'; s++) {
    if (*s < '0' || *s > '7' || *mode > 0777) return false;
    *mode = *mode * 8 + (mode_t)(*s - '0');
  }
  return *mode <= 0777;
}

/* The mode at the top of the stack; false if it is not one. */
static bool to_mode(lua_State *L, mode_t *mode) {
  size_t len;
  if (lua_isinteger(L, -1)) {
    lua_Integer n = lua_tointeger(L, -1);
    *mode = (mode_t)n;
    return n >= 0 && n <= 0777;
  }
  if (lua_type(L, -1) != LUA_TSTRING) return false;
  const char *s = lua_tolstring(L, -1, &len);
  if (len == MODE_BITS && parse_letters(s, mode)) return true;
  return len >= 3 && len <= 4 && strlen(s) == len && parse_octal(s, mode);
}

static const char bad_mode[] =
  "mode must be like \"rw-r-----\", \"0640\" or an integer up to 0777";

mode_t ux_check_mode(lua_State *L, int arg, mode_t def) {
  mode_t mode;
  if (lua_isnoneornil(L, arg)) return def;
  lua_pushvalue(L, arg);
  if (!to_mode(L, &mode)) luaL_argerror(L, arg, bad_mode);
  lua_pop(L, 1);
  return mode;
}

const char *ux_check_cstring(lua_State *L, int arg) {
  size_t len;
  const char *s = luaL_checklstring(L, arg, &len);
  if (strlen(s) != len)
    luaL_argerror(L, arg, "string contains an embedded zero");
  return s;
}

lua_Integer ux_check_list(lua_State *L, int index, int arg) {
  lua_Integer count = luaL_len(L, index);
  if (count > 0 || luaL_getmetafield(L, index, "__len") != LUA_TNIL)
    return count;
  lua_pushnil(L);
  if (lua_next(L, index))
    luaL_argerror(L, arg, "list expected, got a table without [1]");
  return 0;
}

/* ---- what is known: a misspelt name is told the right ones ------------- */

/* Appends it to the message at the top of the stack. */
static void add_known(lua_State *L, bool is_first, const char *name) {
  lua_pushstring(L, is_first ? "; known: " : ", ");
  lua_pushstring(L, name);
  lua_concat(L, 3);
}

static int unknown_option(lua_State *L, int arg,
                          const struct ux_option *schema, const char *name) {
  lua_pushfstring(L, "unknown option '%s'", name);
  for (const struct ux_option *o = schema; o->name != NULL; o++)
    add_known(L, o == schema, o->name);
  return luaL_argerror(L, arg, lua_tostring(L, -1));
}

/* The message so far is at the top of the stack. */
static int unknown_word(lua_State *L, int arg, const char *const *words) {
  for (int i = 0; words[i] != NULL; i++) add_known(L, i == 0, words[i]);
  return luaL_argerror(L, arg, lua_tostring(L, -1));
}

/* ---- words ------------------------------------------------------------- */

/* Its place among them, or -1. */
static int find_word(const char *s, size_t len, const char *const *words) {
  for (int i = 0; words[i] != NULL; i++)
    if (strlen(words[i]) == len && memcmp(words[i], s, len) == 0) return i;
  return -1;
}

int ux_check_word(lua_State *L, int arg, const char *def,
                  const char *const *words) {
  size_t len;
  const char *s = def != NULL ? luaL_optlstring(L, arg, def, &len)
                              : luaL_checklstring(L, arg, &len);
  int found = find_word(s, len, words);
  if (found >= 0) return found;
  lua_pushfstring(L, "invalid option '%s'", s);
  return unknown_word(L, arg, words);
}

/* ---- one option: its value is at the top of the stack ------------------ */

static int bad_option(lua_State *L, int arg, const struct ux_option *o,
                      const char *what) {
  return luaL_argerror(
    L, arg, lua_pushfstring(L, "option '%s': %s", o->name, what));
}

static int bad_type(lua_State *L, int arg, const struct ux_option *o,
                    const char *expected) {
  return bad_option(
    L,
    arg,
    o,
    lua_pushfstring(L, "%s expected, got %s", expected, luaL_typename(L, -1)));
}

static void read_boolean(lua_State *L, int arg, const struct ux_option *o,
                         bool *out) {
  if (!lua_isboolean(L, -1)) bad_type(L, arg, o, "boolean");
  *out = lua_toboolean(L, -1);
}

static void read_integer(lua_State *L, int arg, const struct ux_option *o,
                         lua_Integer *out) {
  int is_integer;
  if (lua_type(L, -1) != LUA_TNUMBER) bad_type(L, arg, o, "integer");
  *out = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || *out < o->min || *out > o->max)
    bad_option(
      L,
      arg,
      o,
      lua_pushfstring(L, "integer from %I to %I expected", o->min, o->max));
}

static void read_string(lua_State *L, int arg, const struct ux_option *o,
                        const char **out) {
  size_t len;
  if (lua_type(L, -1) != LUA_TSTRING) bad_type(L, arg, o, "string");
  *out = lua_tolstring(L, -1, &len);
  if (strlen(*out) != len)
    bad_option(L, arg, o, "string contains an embedded zero");
}

static void read_word(lua_State *L, int arg, const struct ux_option *o,
                      int *out) {
  if (lua_type(L, -1) != LUA_TSTRING) bad_type(L, arg, o, "string");
  size_t len;
  const char *s = lua_tolstring(L, -1, &len);
  *out = find_word(s, len, o->words);
  if (*out >= 0) return;
  lua_pushfstring(L, "option '%s': unknown word '%s'", o->name, s);
  unknown_word(L, arg, o->words);
}

static void read_option(lua_State *L, int arg, const struct ux_option *o,
                        void *out) {
  void *member = (char *)out + o->offset;
  switch (o->type) {
    case UX_OPT_BOOLEAN: read_boolean(L, arg, o, member); break;
    case UX_OPT_INTEGER: read_integer(L, arg, o, member); break;
    case UX_OPT_STRING: read_string(L, arg, o, member); break;
    case UX_OPT_WORD: read_word(L, arg, o, member); break;
    case UX_OPT_MODE:
      if (!to_mode(L, member)) bad_option(L, arg, o, bad_mode);
      break;
    case UX_OPT_VALUE: *(int *)member = lua_gettop(L); break;
  }
}

/* ---- the table --------------------------------------------------------- */

static bool is_known(const struct ux_option *schema, const char *name,
                     size_t len) {
  for (; schema->name != NULL; schema++)
    if (strlen(schema->name) == len && memcmp(schema->name, name, len) == 0)
      return true;
  return false;
}

static void check_keys(lua_State *L, int arg, const struct ux_option *schema) {
  for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_argerror(L, arg, "options must have names");
    size_t len;
    const char *name = lua_tolstring(L, -2, &len);
    if (!is_known(schema, name, len)) unknown_option(L, arg, schema, name);
  }
}

void ux_check_options(lua_State *L, int arg, const struct ux_option *schema,
                      void *out) {
  if (lua_isnoneornil(L, arg)) return;
  luaL_checktype(L, arg, LUA_TTABLE);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  check_keys(L, arg, schema);
  for (const struct ux_option *o = schema; o->name != NULL; o++) {
    bool is_given = lua_getfield(L, arg, o->name) != LUA_TNIL;
    if (is_given) read_option(L, arg, o, out);
    if (!is_given || o->type != UX_OPT_VALUE) lua_pop(L, 1);
  }
}
