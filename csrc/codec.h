/* Lua values as bytes: MessagePack. What travels: nil, booleans, integers,
   floats, strings, tables of these, and values of registered classes. */
#ifndef UX_CODEC_H
#define UX_CODEC_H

#include "base/buffer.h"

#include <lua.h>
#include <stddef.h>

/* Appends the bytes of the value at index to the buffer. Raises for what
   cannot travel, with the path to it; for more than `limit` bytes; and when
   out of memory: what the buffer had is still there then, and nothing more. */
void ux_codec_encode(lua_State *L, int index, struct ux_buffer *b,
                     size_t limit);

/* Pushes the value that begins at data, and returns how many bytes it has. 0:
   these bytes are no value (hostile, cut off, too deep), and a string that says
   why is pushed in its place. Raises when out of memory only (or what a
   function of a registered class raises). */
size_t ux_codec_decode(lua_State *L, const char *data, size_t length);

#endif
