/* Region: the one class for mapped bytes, wherever they came from.

   Whoever makes one (shmat, mmap, …) calls ux_region_new, makes its system
   call, and says ux_region_set in the next statement. Base and length do not
   change while a region is open, so what builds on it (layout, atomic, sync,
   channel) checks a range once, keeps the address, keeps the region alive by a
   user value of its own, and asks ux_region_is_open before each access.

   What stands in shared memory may be changed by another process at any time:
   copy a length or an offset once, check it, then use the copy. */
#ifndef UX_REGION_H
#define UX_REGION_H

#include "base/class.h"

#include <stdint.h>

struct ux_region {
  struct ux_object head;
  char *base;
  size_t length;
  bool is_readonly; /* of a root: a part may be written if it may */
  const char *kind; /* "sysv_shm": a literal, as tostring says it */
  /* Gives the memory back; 0 or an errno. NULL for a part of another. */
  int (*release)(struct ux_region *r);
  struct ux_region *whole; /* what this was made a part of, or itself */
  struct ux_region *root;  /* what that was made of in the end */
  lua_Integer detail;      /* the maker's own */
  unsigned pins;           /* of a root: who needs the memory to stay */
  pid_t pinner;            /* the process that they count for */
};

/* The user values of a region. */
enum {
  UX_REGION_WHOLE = 1, /* keeps it alive, of a part */
  UX_REGION_NAME = 2,  /* what tostring shows besides: a key, a path */
  UX_REGION_USER = 3,  /* the maker's own */
  UX_REGION_USERVALUES = 3,
};

extern const struct ux_class ux_region_class;

/* Makes the class known to L; leaves its table of methods on the stack. */
void ux_region_open(lua_State *L);

/* Pushes a closed region; ux_region_open was called before. */
struct ux_region *ux_region_new(lua_State *L, const char *kind,
                                int (*release)(struct ux_region *r));

/* Opens it. From here on the memory is the region's. */
void ux_region_set(struct ux_region *r, void *base, size_t length,
                   bool is_readonly);

/* Pushes an open region of private memory, all zeros; NULL: out of memory. */
struct ux_region *ux_region_new_private(lua_State *L, size_t length);

/* Is it such memory, or a part of it? Its pages hold others' things too. */
bool ux_region_is_private(const struct ux_region *r);

/* Pushes an open region that is a part of the one at the index, which it
   keeps alive. The range was checked. */
struct ux_region *ux_region_new_part(lua_State *L, int index, size_t offset,
                                     size_t length);

/* A part is open as long as what it is a part of. */
static inline bool ux_region_is_open(const struct ux_region *r) {
  while (r->head.open && r->whole != r) r = r->whole;
  return r->head.open;
}

/* A root's protection may change, and then that of its parts does. */
static inline bool ux_region_is_readonly(const struct ux_region *r) {
  return r->is_readonly || r->root->is_readonly;
}

/* While a region is pinned, or a part of it, closing it is refused: what the C
   library or the kernel holds by its address, as robust mutexes, would be left
   pointing nowhere. A forked child has no pins. */
void ux_region_pin(struct ux_region *r);
void ux_region_unpin(struct ux_region *r);
bool ux_region_is_pinned(const struct ux_region *r);

/* Raises unless it is open; and unless it may be written. */
void ux_region_check_open(lua_State *L, const struct ux_region *r);
void ux_region_check_writable(lua_State *L, const struct ux_region *r);

/* The region at arg, open. */
struct ux_region *ux_check_region(lua_State *L, int arg);

/* The offset at arg, nil or none for 0: 0 <= offset <= length. */
size_t ux_check_region_offset(lua_State *L, int arg,
                              const struct ux_region *r);

/* The number of bytes at arg, nil or none for all after the offset; they are
   there. */
size_t ux_check_region_count(lua_State *L, int arg, const struct ux_region *r,
                             size_t offset);

#endif
