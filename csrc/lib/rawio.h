/* Reading and writing a descriptor without ever blocking and without SIGPIPE,
   whatever the descriptor is. */
#ifndef UX_LIB_RAWIO_H
#define UX_LIB_RAWIO_H

#include "lib/feature.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* How a descriptor is kept from blocking. */
enum ux_rawio {
  UX_RAWIO_NONBLOCK, /* we opened it and set O_NONBLOCK on it */
  UX_RAWIO_NOWAIT,   /* a pipe shared with others: a flag on each call */
  UX_RAWIO_SOCKET,   /* a socket: a flag on each call */
  UX_RAWIO_POLL,     /* anything else that may block: poll it first */
  UX_RAWIO_FILE,     /* a regular file: never blocks for long */
};

/* What suits a descriptor that somebody else opened. */
enum ux_rawio ux_rawio_classify(int fd);

/* As read(2) and writev(2), but -1 with EAGAIN where those would block. They
   may lower *how to what the system turns out to support. */
ssize_t ux_rawio_read(int fd, enum ux_rawio *how, void *buf, size_t n);
ssize_t ux_rawio_writev(int fd, enum ux_rawio *how, const struct iovec *iov,
                        int count);

/* As if the system had no RWF_ flags: for the tests of what is done then. */
void ux_rawio_pretend_old_kernel(bool old);

#endif
