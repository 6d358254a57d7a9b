/* What the parts of the codec share. */
#ifndef UX_CODEC_PARTS_H
#define UX_CODEC_PARTS_H

#include "lib/feature.h"

#include <lua.h>
#include <stdbool.h>

/* So many tables and objects inside each other, both ways. It bounds the C
   stack. */
#define UX_CODEC_DEPTH 100

/* The types of ext values. */
#define UX_CODEC_TIMESTAMP (-1)
#define UX_CODEC_MAX_ID 127

/* If the value at the index has the metatable of a registered class: pushes
   its `to`, and returns its id. -1, and nothing pushed, otherwise. */
int ux_codec_push_to(lua_State *L, int index);

/* Pushes the `from` of a registered class; false, and nothing pushed, if there
   is none of this id. */
bool ux_codec_push_from(lua_State *L, int id);

/* The function of the module. */
int ux_codec_register(lua_State *L);

#endif
