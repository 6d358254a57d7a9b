/* The number of this process without a system call: objects ask it often,
   to know whether they were made here or before a fork. */
#ifndef UX_BASE_PROCESS_ID_H
#define UX_BASE_PROCESS_ID_H

#include "lib/feature.h"

#include <sys/types.h>

extern pid_t ux_process_number; /* 0: not known yet */
pid_t ux_process_learn(void);

static inline pid_t ux_process_id(void) {
  return ux_process_number != 0 ? ux_process_number : ux_process_learn();
}

#endif
