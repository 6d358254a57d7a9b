/* Is there so much memory? */
#ifndef UX_LIB_MEMORY_H
#define UX_LIB_MEMORY_H

#include "lib/feature.h"

#include <stdint.h>

/* Before a file is made so many bytes longer: 0, or ENOMEM if the file stands
   in memory and there is not as much. The system would give what it has, and
   then kill processes to have more. Little is not asked for. */
int ux_memory_check(int fd, uint64_t more);

#endif
