/* A set of semaphores, for the files of sysv_sem. */
#ifndef UX_SYSV_SEM_SET_H
#define UX_SYSV_SEM_SET_H

#include "sysv.h"

#include <lauxlib.h>

#define UX_SEM_MOST_VALUE 32767 /* SEMVMX */

struct ux_sem_set {
  struct ux_sysv sysv;
  int count;   /* of semaphores; 0: not known */
  bool undo;   /* do acquire and release have SEM_UNDO? */
  int lock_fd; /* while it is being made */
};

extern const struct ux_class ux_sem_set_class;

/* The set at arg 1, open. */
struct ux_sem_set *ux_check_sem_set(lua_State *L);

/* The semaphore at the stack index, from 1, as the kernel counts. Raises as
   if it were argument `arg`. */
unsigned short ux_check_sem_number(lua_State *L, int arg, int index,
                                   const struct ux_sem_set *s);

/* IPC_STAT; on Linux also when the set may not be read: the owner may change
   it all the same. 0 or an errno. */
struct semid_ds;
int ux_sem_set_stat(int id, struct semid_ds *ds);

/* How many semaphores it has, looking if that could not be done before. 0 or
   an errno. */
int ux_sem_set_count(const struct ux_sem_set *s, int *count);

/* Pushes a closed one; and opens it, once the set is there. */
struct ux_sem_set *ux_sem_set_new(lua_State *L);
void ux_sem_set_open(struct ux_sem_set *s, int id, key_t key,
                     bool is_temporary);

/* Makes the class of locks known to L. */
void ux_sem_open_lock(lua_State *L);

/* acquire, release, …: in sysv_sem_op.c. */
extern const luaL_Reg ux_sem_op_methods[];

#endif
