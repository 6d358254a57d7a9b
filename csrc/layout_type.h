/* Types of layouts: what a C compiler knows of a type. */
#ifndef UX_LAYOUT_TYPE_H
#define UX_LAYOUT_TYPE_H

#include "base/class.h"

#include <stddef.h>

enum ux_layout_code {
  UX_LAYOUT_INT8,
  UX_LAYOUT_UINT8,
  UX_LAYOUT_INT16,
  UX_LAYOUT_UINT16,
  UX_LAYOUT_INT32,
  UX_LAYOUT_UINT32,
  UX_LAYOUT_INT64,
  UX_LAYOUT_UINT64,
  UX_LAYOUT_FLOAT,
  UX_LAYOUT_DOUBLE,
  UX_LAYOUT_BOOL,
  UX_LAYOUT_CHAR,
  UX_LAYOUT_CSTRING, /* char[n] */
  UX_LAYOUT_BYTES,   /* byte[n] */
  UX_LAYOUT_ARRAY,   /* from here on they have views */
  UX_LAYOUT_STRUCT,
};

struct ux_layout_type {
  const char *name; /* "int32", "struct": for messages */
  enum ux_layout_code code;
  unsigned depth; /* of types within it */
  size_t size, alignment;
  size_t count;                         /* of elements, or of fields */
  const struct ux_layout_type *element; /* of an array */
  const struct ux_layout_field *fields; /* of a struct */
};

struct ux_layout_field {
  const char *name;
  size_t offset;
  const struct ux_layout_type *type;
};

/* A type as an object of Lua; scalars need none. */
struct ux_layout_object {
  struct ux_object head;
  struct ux_layout_type type;
};

/* Its user values. */
enum {
  UX_LAYOUT_FIELDS = 1, /* the memory of the fields */
  UX_LAYOUT_KEEP = 2,   /* types used in it; by address, their metatables */
  UX_LAYOUT_NAMES = 3,  /* field name -> number, from 0 */
  UX_LAYOUT_META = 4,   /* the metatable of views */
  UX_LAYOUT_USERVALUES = 4,
};

extern const struct ux_class ux_layout_class;

static inline bool ux_layout_has_view(const struct ux_layout_type *t) {
  return t->code >= UX_LAYOUT_ARRAY;
}

/* The type that the value at the index means: a name such as "int32[4]", or an
   object. Pushes the object, nil for a scalar. Raises for argument `arg`. */
const struct ux_layout_type *ux_layout_push_type(lua_State *L, int index,
                                                 int arg);

/* Pushes the type of an array; its element type's object, or nil, is at the
   top of the stack, and stays below. */
const struct ux_layout_type *
ux_layout_push_array(lua_State *L, const struct ux_layout_type *element,
                     lua_Integer count, int arg);

/* Pushes the type of a struct, or of a union, with the fields of the list at
   the index. */
void ux_layout_push_struct(lua_State *L, int index, bool is_union,
                           bool is_packed);

#endif
