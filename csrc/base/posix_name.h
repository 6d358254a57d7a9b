/* Names of POSIX message queues, semaphores and shared memory. Each system
   call and each C library judges bad ones in its own way; here all modules
   give the same answer, before any system call is made. */
#ifndef UX_BASE_POSIX_NAME_H
#define UX_BASE_POSIX_NAME_H

#include "lib/feature.h"

#include <limits.h>
#include <lua.h>
#include <stdbool.h>

/* A slash, the longest name of a file, a zero. */
#define UX_POSIX_NAME_SIZE (NAME_MAX + 2)

/* 0 for a slash and 1 to `most` other characters. EINVAL: empty, no slash, a
   slash alone, "/." or "/.."; EACCES: a second slash; ENAMETOOLONG. */
int ux_posix_name_error(const char *name, size_t most);

/* Writes a name that nobody else has: for those who want any. */
void ux_posix_name_make(char name[UX_POSIX_NAME_SIZE]);

/* Pushes the list of names of the files in a directory that begin with the
   prefix, which is left out, and that are not hidden; a slash comes before
   each. 0 or an errno, then nothing is pushed. */
int ux_posix_name_list(lua_State *L, const char *directory,
                       const char *prefix);

/* nil, message, errno of a call on that name; "" is none. In words when it is
   no name. */
int ux_posix_name_fail(lua_State *L, int err, const char *call,
                       const char *name);

/* An option that is a name: nil asks for a name of our own. Returns false for
   nil, true with the name at arg copied, or raises for what is no string. */
bool ux_posix_name_check(lua_State *L, int arg, char name[UX_POSIX_NAME_SIZE],
                         int *err, size_t most);

#endif
