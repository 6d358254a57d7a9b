/* Userdata classes. Each object begins with struct ux_object, which says what
   it is (a compare instead of a registry look-up) and which process made it.

   A constructor makes the object first, closed, then the system call, and
   stores the result in the next statement: whatever Lua raises in between,
   the collector finds the object and nothing is lost. */
#ifndef UX_BASE_CLASS_H
#define UX_BASE_CLASS_H

#include "lib/feature.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ux_object {
  const struct ux_class *class;
  pid_t owner; /* the process that made it */
  bool open;
};

struct ux_class {
  const char *name; /* as error messages call it: "stream" */
  size_t size;
  int uservalues;
  const luaL_Reg *methods; /* NULL when all are added to the table */
  /* Serves close, __close and __gc: idempotent, returns what close does. */
  lua_CFunction close;
  /* Pushes what tostring says of an open object: "pipe stream fd=3". */
  void (*describe)(lua_State *L, const void *self);
  /* What comes before " (closed)"; NULL is the class's name. */
  const char *(*kind)(const void *self);
  /* The rest only for objects with a descriptor. */
  int (*fileno)(const void *self);         /* -1 when there is none */
  int (*write_fileno)(const void *self);   /* if it can be another one */
  const char *(*events)(const void *self); /* "r", "w", "rw" */
  bool (*is_buffered)(const void *self);   /* input is here already */
};

/* Makes the class known to this Lua state; cheap the second time. Leaves its
   table of methods on the stack, for Lua code to add to. */
void ux_class_open(lua_State *L, const struct ux_class *class);

/* Pushes a new object: zeros, closed, with its metatable. */
void *ux_new(lua_State *L, const struct ux_class *class);

/* The object at arg, or NULL if it is something else. */
void *ux_test(lua_State *L, int arg, const struct ux_class *class);

/* The object at arg, or an error; ux_check_open also wants it open. */
void *ux_check(lua_State *L, int arg, const struct ux_class *class);
void *ux_check_open(lua_State *L, int arg, const struct ux_class *class);

/* Any object of ours, or NULL. */
struct ux_object *ux_test_any(lua_State *L, int arg);

/* Raises "attempt to use a closed stream". */
int ux_closed_error(lua_State *L, const struct ux_class *class);

/* Was it made by this process, not by one that forked us? */
bool ux_is_owner(const struct ux_object *object);

#endif
