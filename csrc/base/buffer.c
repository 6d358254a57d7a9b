#include "base/buffer.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

#define FIRST_SIZE 8192

static void move_to_front(struct ux_buffer *b) {
  if (b->start == 0) return;
  memmove(b->data, b->data + b->start, ux_buffer_length(b));
  b->end -= b->start;
  b->start = 0;
}

static bool resize(lua_State *L, struct ux_buffer *b, size_t size) {
  void *ud;
  lua_Alloc alloc = lua_getallocf(L, &ud);
  char *data = alloc(ud, b->data, b->size, size);
  if (data == NULL) return false;
  b->data = data;
  b->size = size;
  return true;
}

bool ux_buffer_try_reserve(lua_State *L, struct ux_buffer *b, size_t n) {
  if (n <= b->size - b->end) return true;
  move_to_front(b);
  if (n <= b->size - b->end) return true;
  if (n > SIZE_MAX / 4) return false;
  size_t needed = b->end + n, size = b->size ? b->size * 2 : FIRST_SIZE;
  if (size < needed) size = needed;
  return resize(L, b, size) || resize(L, b, needed);
}

/* To ask Lua for as much makes it collect in an emergency, which runs no
   finalizers, and raise its own error if that does not help. */
void ux_buffer_reserve(lua_State *L, struct ux_buffer *b, size_t n) {
  if (ux_buffer_try_reserve(L, b, n)) return;
  lua_newuserdatauv(L, n, 0);
  lua_pop(L, 1);
  if (!ux_buffer_try_reserve(L, b, n)) luaL_error(L, "not enough memory");
}

void ux_buffer_take(struct ux_buffer *b, size_t n) {
  b->start += n;
  if (b->start == b->end) b->start = b->end = 0;
}

void ux_buffer_free(lua_State *L, struct ux_buffer *b) {
  void *ud;
  lua_Alloc alloc = lua_getallocf(L, &ud);
  if (b->data != NULL) alloc(ud, b->data, b->size, 0);
  memset(b, 0, sizeof *b);
}
