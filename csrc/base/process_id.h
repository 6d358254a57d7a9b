/* The number of this process without a system call: objects ask it often,
   to know whether they were made here or before a fork. */
#ifndef UX_BASE_PROCESS_ID_H
#define UX_BASE_PROCESS_ID_H

#include "lib/feature.h"

#include <sys/types.h>

pid_t ux_process_id(void);

#endif
