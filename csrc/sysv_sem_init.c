/* semget makes a set, semctl then gives it its values, and in between others
   can open it. The usual cure is to wait until sem_otime, the time of the
   first semop, is not 0; but if the creator dies half-way, that is for ever.

   Ours: the creator holds a lock that ends with the process, from semget to
   the first semop, and the set is marked as unfinished by an x bit of its mode,
   which means nothing to the kernel. Whoever finds a set with the mark and
   without a first semop takes the lock: then either the creator has finished,
   or it is dead, and whoever was asked to create makes the values itself.
   Programs that wait for sem_otime get along with it; sets of programs that do
   not care about sem_otime have no mark, and are taken as they are.

   The lock is flock on the IPC namespace itself: the same for all who can see
   the set, and there is no file to make. */
#include "sysv_sem_init.h"

#include "base/fd.h"
#include "base/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define UNFINISHED 0100 /* of the mode */

/* Somebody may hold the lock for no good reason. Then it goes on without. */
#define LOCK_SECONDS 2

/* ---- the lock ---------------------------------------------------------- */

static int flock_call(void *arg) {
  const int *fd = arg;
  return flock(*fd, LOCK_EX) == 0 ? 0 : errno;
}

/* Without /proc there is no lock, and nothing worse than the usual. */
static void take_lock(lua_State *L, int *fd) {
  struct ux_deadline deadline = ux_deadline_in(LOCK_SECONDS);
  *fd = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
  if (*fd < 0) return;
  int err = flock(*fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  while (err == EWOULDBLOCK || err == EINTR)
    err = ux_wait_call(L, flock_call, fd, &deadline);
}

/* ---- a set's state ----------------------------------------------------- */

static int stat_set(int id, struct semid_ds *ds) {
  union semun arg = {.buf = ds};
  return semctl(id, 0, IPC_STAT, arg) == 0 ? 0 : errno;
}

static bool is_unfinished(const struct semid_ds *ds) {
  return ds->sem_otime == 0 && (ds->sem_perm.mode & UNFINISHED);
}

/* What was removed since is not there. Who may not look at a set is not to
   finish it either. */
static int check_finished(int id, bool *is_finished) {
  struct semid_ds ds = {.sem_otime = 0};
  int err = stat_set(id, &ds);
  *is_finished = err != 0 || !is_unfinished(&ds);
  if (err == EINVAL || err == EIDRM) return ENOENT;
  return err == EACCES ? 0 : err;
}

/* ---- making it ready --------------------------------------------------- */

static int set_values(int id, const struct sem_init *s) {
  union semun arg = {.array = s->values};
  return semctl(id, 0, SETALL, arg) == 0 ? 0 : errno;
}

/* A semop that changes nothing, but sets sem_otime. If others are at the
   values already, theirs has set it. */
static int touch(int id, bool is_zero) {
  struct sembuf there_and_back[] = {{0, -1, IPC_NOWAIT}, {0, 1, IPC_NOWAIT}};
  struct sembuf zero[] = {{0, 0, IPC_NOWAIT}};
  int result = is_zero ? semop(id, zero, 1) : semop(id, there_and_back, 2);
  return result == 0 || errno == EAGAIN ? 0 : errno;
}

static void set_mode(int id, struct semid_ds *ds, mode_t mode) {
  union semun arg = {.buf = ds};
  ds->sem_perm.mode = (unsigned short)mode;
  semctl(id, 0, IPC_SET, arg);
}

/* The values, the first semop, the mark: after each step the next process that
   finds it can go on, for the values do not count before the second. Only the
   owner can take the mark off; it does not count after the second. */
static int finish(int id, const struct sem_init *s, struct semid_ds *ds) {
  int err = set_values(id, s);
  if (err == 0) err = touch(id, s->values[0] == 0);
  if (err != 0) return err;
  mode_t mode = ds->sem_perm.mode & 0777 & ~(mode_t)UNFINISHED;
  if (s->is_new && s->options->mode != UX_SYSV_NO_MODE)
    mode = s->options->mode;
  set_mode(id, ds, mode);
  return 0;
}

/* ---- getting it -------------------------------------------------------- */

static int get(void *arg, key_t key, int flags) {
  const struct sem_init *s = arg;
  if ((flags & IPC_CREAT) && s->is_given) flags |= UNFINISHED | 0600;
  return semget(key, s->count, flags);
}

/* With the lock held an unfinished one is ours or a dead process's. Without
   `create` nobody knows what values are wanted: it is not there yet. One of
   another size goes, and the next try makes it anew. */
static int finish_found(int id, struct sem_init *s) {
  struct semid_ds ds = {.sem_otime = 0};
  int err = stat_set(id, &ds);
  if (err == EACCES || (err == 0 && !is_unfinished(&ds))) return 0;
  if (err != 0) return err == EINVAL ? EIDRM : err;
  if (!s->options->create) return ENOENT;
  if (s->values == NULL) return EINVAL; /* without a count there is none */
  if (ds.sem_nsems != (unsigned long)s->count) {
    err = ux_sysv_remove(UX_SYSV_SEM, id);
    return err == 0 ? EIDRM : err;
  }
  err = finish(id, s, &ds);
  if (err != 0 && s->is_new) ux_sysv_remove(UX_SYSV_SEM, id);
  s->is_new = err == 0;
  return err;
}

static int get_locked(struct sem_init *s, int *err) {
  for (;;) {
    int id = ux_sysv_get(get, s, s->key, s->options, &s->is_new, err);
    if (id < 0) return -1;
    *err = finish_found(id, s);
    if (*err == 0) return id;
    if (*err != EIDRM || s->options->exclusive) return -1;
  }
}

/* One that is there and ready needs no lock. */
static int get_ready(struct sem_init *s, int *err) {
  bool is_finished = false;
  *err = 0;
  int id = semget(s->key, s->count, ux_sysv_open_flags(s->options));
  *err = id >= 0 ? check_finished(id, &is_finished) : errno;
  return *err == 0 && is_finished ? id : -1;
}

/* Without a key nobody can find it before it has its values. */
static int get_private(struct sem_init *s, int *err) {
  struct semid_ds ds = {.sem_otime = 0};
  mode_t mode = s->options->mode;
  if (mode == UX_SYSV_NO_MODE) mode = UX_DEFAULT_MODE;
  int id = semget(IPC_PRIVATE, s->count, IPC_CREAT | 0600 | (int)mode);
  if (id < 0) {
    *err = errno;
    return -1;
  }
  s->is_new = true;
  *err = stat_set(id, &ds);
  if (*err == 0 && s->is_given) *err = set_values(id, s);
  if (*err == 0 && ds.sem_perm.mode != mode) set_mode(id, &ds, mode);
  if (*err == 0) return id;
  ux_sysv_remove(UX_SYSV_SEM, id);
  return -1;
}

int ux_sysv_sem_init(lua_State *L, struct sem_init *s, int *err) {
  const struct ux_sysv_options *o = s->options;
  s->is_new = false;
  if (s->key == IPC_PRIVATE) return get_private(s, err);
  if (!o->create || !o->exclusive) {
    int id = get_ready(s, err);
    if (id >= 0 || (*err != 0 && (*err != ENOENT || !o->create))) return id;
  }
  take_lock(L, s->lock);
  int id = get_locked(s, err);
  ux_fd_close(s->lock);
  return id;
}
