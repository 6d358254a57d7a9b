#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ERROR_TEXT_SIZE 128

/* strerror_r comes in two shapes, and which one depends on the C library.
   Taking its result through _Generic serves both. */
static const char *text_from_int(int failed, const char *buf) {
  return failed ? "Unknown error" : buf;
}

static const char *text_from_pointer(const char *text, const char *buf) {
  (void)buf;
  return text;
}

const char *ux_strerror(int err, char *buf, size_t size) {
  return _Generic(strerror_r(err, buf, size),
                  int: text_from_int,
                  char *: text_from_pointer)(strerror_r(err, buf, size), buf);
}

int ux_fail_words(lua_State *L, int err, const char *call, const char *words) {
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s", call, words);
  lua_pushinteger(L, err);
  return 3;
}

static int fail_timeout(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "timeout");
  lua_pushinteger(L, ETIMEDOUT);
  return 3;
}

int ux_fail(lua_State *L, int err, const char *call, const char *name) {
  char buf[ERROR_TEXT_SIZE];
  if (err == ETIMEDOUT) return fail_timeout(L);
  const char *text = ux_strerror(err, buf, sizeof buf);
  if (name == NULL) return ux_fail_words(L, err, call, text);
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s: %s", call, name, text);
  lua_pushinteger(L, err);
  return 3;
}

int ux_result(lua_State *L, int err, const char *call, const char *name) {
  if (err != 0) return ux_fail(L, err, call, name);
  lua_pushboolean(L, 1);
  return 1;
}
