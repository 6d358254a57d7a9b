/* Tables of options, checked against a static schema: an unknown key, a
   wrong type or a value out of range raises, naming the key. */
#ifndef UX_BASE_OPTIONS_H
#define UX_BASE_OPTIONS_H

#include "lib/feature.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum ux_option_type {
  UX_OPT_BOOLEAN, /* bool */
  UX_OPT_INTEGER, /* lua_Integer, min <= value <= max */
  UX_OPT_STRING,  /* const char *, no embedded zero; lives while the table */
  UX_OPT_MODE,    /* mode_t: "rw-r-----", "0640" or an integer */
  UX_OPT_WORD,    /* int: the word's place in `words`, from 0 */
  UX_OPT_VALUE,   /* int: the stack index its value was pushed at; 0: none */
};

struct ux_option {
  const char *name;
  enum ux_option_type type;
  size_t offset; /* of the member of *out that takes it */
  lua_Integer min, max;
  const char *const *words; /* NULL at the end */
};

/* Reads the table at arg (nil or none: no options given) into *out, which
   holds the defaults. The schema ends with a NULL name. Each UX_OPT_VALUE
   that is given stays on the stack. */
void ux_check_options(lua_State *L, int arg, const struct ux_option *schema,
                      void *out);

/* The mode at arg, as UX_OPT_MODE takes it; nil or none: `def`. */
mode_t ux_check_mode(lua_State *L, int arg, mode_t def);

/* The string at arg as the system takes names and paths: one with a zero
   inside raises. */
const char *ux_check_cstring(lua_State *L, int arg);

/* luaL_checkoption, which says too what there is; NULL at the end of words. */
int ux_check_word(lua_State *L, int arg, const char *def,
                  const char *const *words);

/* The length of the list at the index, a table, which is in the argument. A
   table that has something, but not from 1 on, raises: to take it for an empty
   list would be to wait for nothing. */
lua_Integer ux_check_list(lua_State *L, int index, int arg);

/* Owner only, unless a mode is given. */
#define UX_DEFAULT_MODE ((mode_t)0600)

#endif
