/* Making a set of semaphores so that nobody sees it half made. */
#ifndef UX_SYSV_SEM_INIT_H
#define UX_SYSV_SEM_INIT_H

#include "sysv.h"

#include <sys/sem.h>

union semun { /* the caller has to declare it, says semctl(2) */
  int val;
  struct semid_ds *buf;
  unsigned short *array;
  void *info;
};

struct sem_init {
  key_t key;
  int count;
  const struct ux_sysv_options *options;
  unsigned short *values; /* count of them, if options->create */
  bool is_given;          /* are they the caller's, or just zeros? */
  int *lock;              /* a descriptor, -1: the caller closes it, too */
  bool is_new;            /* out: did this call make it ready? */
};

/* The id, or -1 with *err. May wait for another process that is making the
   set, and so run signal handlers, which may raise. */
int ux_sysv_sem_init(lua_State *L, struct sem_init *s, int *err);

#endif
