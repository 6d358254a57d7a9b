/* Looking up the addresses of a host without being held up by it: getaddrinfo
   in a thread of its own, which takes no signals. */
#ifndef UX_LIB_LOOKUP_H
#define UX_LIB_LOOKUP_H

#include "lib/feature.h"

#include <netdb.h>

struct ux_lookup;

/* Starts it. 0 or an errno. */
int ux_lookup_start(const char *host, const char *port,
                    const struct addrinfo *hints, struct ux_lookup **started);

/* Readable when it has ended. */
int ux_lookup_fd(const struct ux_lookup *l);

/* What getaddrinfo said when it had ended: 0 or EAI_..., and of EAI_SYSTEM the
   errno. What was found stays the lookup's. */
int ux_lookup_result(const struct ux_lookup *l, const struct addrinfo **found,
                     int *err);

/* Nobody wants to know any more. One that has not ended goes on by itself. */
void ux_lookup_release(struct ux_lookup *l);

#endif
