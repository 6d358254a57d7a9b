/* A growing queue of bytes in memory of the Lua allocator: bytes are added at
   the end and taken from the start. All zeros is an empty one. */
#ifndef UX_BASE_BUFFER_H
#define UX_BASE_BUFFER_H

#include "lib/feature.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct ux_buffer {
  char *data;
  size_t start, end, size; /* what is held is data[start .. end - 1] */
};

static inline size_t ux_buffer_length(const struct ux_buffer *b) {
  return b->end - b->start;
}

/* Makes room for n more bytes at data + end. False when out of memory. */
bool ux_buffer_try_reserve(lua_State *L, struct ux_buffer *b, size_t n);

/* The same, but raises. */
void ux_buffer_reserve(lua_State *L, struct ux_buffer *b, size_t n);

/* Forgets the first n bytes. */
void ux_buffer_take(struct ux_buffer *b, size_t n);

/* Gives the memory back. */
void ux_buffer_free(lua_State *L, struct ux_buffer *b);

#endif
