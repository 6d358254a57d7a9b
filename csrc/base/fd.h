/* Descriptors: whose is it, and makers that set close-on-exec. */
#ifndef UX_BASE_FD_H
#define UX_BASE_FD_H

#include "lib/feature.h"

#include <lua.h>
#include <stdbool.h>

/* The descriptor of what stands at the index: an integer, a Lua file, one of
   our objects, or an object with a method fileno, pollfd or getfd. Where there
   is none -1, and why in *why. A stream may have another one to write to:
   ux_to_write_fd gives that. */
int ux_to_fd(lua_State *L, int index, const char **why);
int ux_to_write_fd(lua_State *L, int index, const char **why);

/* The same for an argument of the running function; raises. */
int ux_check_fd(lua_State *L, int arg);

/* pipe2 with O_CLOEXEC and the given further flags; 0 or an errno. */
int ux_fd_pipe(int fds[2], int flags);

/* A duplicate above the three standard ones; -1 with errno. */
int ux_fd_dup(int fd);

/* For a program that expects a descriptor to block: the same pipe, FIFO or
   file without our O_NONBLOCK. A duplicate like ux_fd_dup. */
int ux_fd_dup_blocking(int fd);

/* Closes *fd if it is one, and makes it -1. 0 or an errno; the descriptor is
   gone in any case. */
int ux_fd_close(int *fd);

#endif
