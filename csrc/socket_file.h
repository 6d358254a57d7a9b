/* The file of a socket that is bound to a path: made with its mode, put in the
   place of one whose server died, removed by who made it. */
#ifndef UX_SOCKET_FILE_H
#define UX_SOCKET_FILE_H

#include "lib/feature.h"

#include "socket_address.h"

#include <stdbool.h>
#include <sys/types.h>

struct ux_socket_file {
  bool is_made;
  dev_t dev;
  ino_t ino;
  char path[UX_SOCKET_PATH_MAX + 1];
};

/* Binds; of an address with a path the file gets the mode. With `is_stale_ok`
   a socket's file that no socket is bound to any more gives way. 0 or an
   errno: EADDRINUSE, also for what is no socket. */
int ux_socket_bind(int fd, const struct ux_address *a, mode_t mode,
                   bool is_stale_ok, struct ux_socket_file *file);

/* Removes it, if it is still the same. To be called before the socket is
   closed: until then nobody else's file can have its number. */
void ux_socket_unbind(struct ux_socket_file *file);

#endif
