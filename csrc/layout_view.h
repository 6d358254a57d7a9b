/* Views: a type laid over the bytes of a region. */
#ifndef UX_LAYOUT_VIEW_H
#define UX_LAYOUT_VIEW_H

#include "layout_type.h"
#include "region.h"

struct ux_layout_view {
  const struct ux_layout_type *type;
  const struct ux_region *region; /* kept alive by the user value */
  char *base;
};

/* The metatable of the type whose object is at the top of the stack: makes
   it, and keeps it there. */
void ux_layout_make_metatable(lua_State *L);

/* Pushes a view; the object of its type and the region are at the indices. */
void ux_layout_push_view(lua_State *L, int type, int region, size_t offset);

/* The view at arg. */
struct ux_layout_view *ux_check_layout_view(lua_State *L, int arg);

/* Pushes a function that gets the field or element whose key is at arg 2 of
   the view at arg 1, and one that sets it. */
void ux_layout_push_bound(lua_State *L, const struct ux_layout_view *v);

/* Pushes all of it as a table; sets it from the table, string or view at the
   index. */
void ux_layout_push_table(lua_State *L, const struct ux_layout_view *v);
void ux_layout_assign(lua_State *L, const struct ux_layout_view *v, int index);

#endif
