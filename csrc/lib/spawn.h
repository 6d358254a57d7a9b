/* Starting a program: fork, a few calls in the child, exec, in a time that
   does not grow with the memory of this process (vfork), unless it is to be
   another user's. */
#ifndef UX_LIB_SPAWN_H
#define UX_LIB_SPAWN_H

#include "lib/feature.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* In the child `to` is what `from` is here. */
struct ux_spawn_fd {
  int from, to;
  int spare; /* the child's own */
};

struct ux_spawn {
  const char *const *paths; /* tried in turn; NULL at the end */
  const char *program;      /* what messages call it */
  char *const *argv;
  char *const *envp;
  const char *cwd;         /* NULL: as here */
  struct ux_spawn_fd *fds; /* in ascending order of `to` */
  size_t fd_count;
  bool is_session; /* setsid */
  bool is_group;   /* setpgid to `group`; 0 is a new group of its own */
  pid_t group;
  bool has_uid, has_gid, has_groups; /* what takes the place of that here */
  uid_t uid;
  gid_t gid;
  const gid_t *groups; /* supplementary */
  size_t group_count;
  int nice;         /* added to the one here */
  int death_signal; /* sent when the thread that started it ends; 0: none */
  bool has_umask;   /* `umask` takes the place of the one here */
  mode_t umask;
  const sigset_t *mask;     /* the child's signal mask; NULL: this thread's */
  const sigset_t *defaults; /* ignored here and not there; NULL: none */
  /* Changes this thread's mask for the child; or NULL. All signals are blocked
     when it is called. */
  void (*fix_mask)(sigset_t *mask);
  pid_t parent; /* ux_spawn's own */
};

/* Standard input, output and error pass on unless they are in `fds`; of all
   other descriptors the child gets those in `fds` alone. Returns 0 and the
   pid; or the errno of what failed, here or in the child, and its name in
   *call. Nothing is left then: the child is reaped. */
int ux_spawn(struct ux_spawn *s, pid_t *pid, const char **call);

#endif
