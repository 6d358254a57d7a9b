/* Who takes part, and who of them lives. */
#include "lib/segment_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- fork -------------------------------------------------------------- */

uint32_t ux_segment_forks = 1;

static struct ux_segment *all;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void) {
  pthread_mutex_lock(&all_lock);
}

static void after_fork(void) {
  pthread_mutex_unlock(&all_lock);
}

/* The child must not keep its parent's locks when that dies. */
static void in_child(void) {
  ux_segment_forks++;
  for (struct ux_segment *s = all; s != NULL; s = s->next) {
    if (s->live >= 0) close(s->live);
    if (s->watch >= 0) close(s->watch); /* has the parent's bell */
    s->live = s->watch = -1;
    s->roles = 0;
  }
  pthread_mutex_unlock(&all_lock);
}

static void prepare(void) {
  pthread_atfork(before_fork, after_fork, in_child);
}

void ux_segment_enter_list(struct ux_segment *s) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, prepare);
  pthread_mutex_lock(&all_lock);
  s->next = all;
  s->link = &all;
  if (all != NULL) all->link = &s->next;
  all = s;
  pthread_mutex_unlock(&all_lock);
}

void ux_segment_leave_list(struct ux_segment *s) {
  pthread_mutex_lock(&all_lock);
  if (s->link != NULL) {
    *s->link = s->next;
    if (s->next != NULL) s->next->link = s->link;
  }
  s->link = NULL;
  pthread_mutex_unlock(&all_lock);
}

/* ---- locks on bytes ---------------------------------------------------- */

static int lock_byte(int fd, int64_t byte, short type) {
  struct flock lock = {
    .l_type = type,
    .l_whence = SEEK_SET,
    .l_start = byte,
    .l_len = 1,
  };
  if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return 0;
  return errno == EAGAIN || errno == EACCES ? EBUSY : errno;
}

/* By others than us. */
static bool is_locked(int fd, int64_t byte) {
  struct flock lock = {
    .l_type = F_WRLCK,
    .l_whence = SEEK_SET,
    .l_start = byte,
    .l_len = 1,
  };
  if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return true;
  return lock.l_type != F_UNLCK;
}

static int64_t role_byte(uint32_t ring, int side) {
  return UX_BYTE_ROLES + 2 * (int64_t)ring + side;
}

int ux_segment_lock_role(struct ux_segment *s, uint32_t ring, int side) {
  return lock_byte(s->live, role_byte(ring, side), F_WRLCK);
}

void ux_segment_unlock_role(struct ux_segment *s, uint32_t ring, int side) {
  lock_byte(s->live, role_byte(ring, side), F_UNLCK);
}

bool ux_segment_is_role_locked(struct ux_segment *s, uint32_t ring, int side) {
  return is_locked(s->live, role_byte(ring, side));
}

/* ---- taking part ------------------------------------------------------- */

/* Field 22 of the line, behind the name, which may hold anything. */
static uint64_t own_start_time(void) {
  char line[1024];
  int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return 0;
  line[n] = '\0';
  const char *p = strrchr(line, ')');
  for (int i = 2; p != NULL && i < 22; i++) p = strchr(p + 1, ' ');
  return p != NULL ? strtoull(p, NULL, 10) : 0;
}

/* With the byte for it locked nobody else takes the slot, in which the last one
   is dead. It must be seen to be so before the slot's own byte is locked, or
   what it holds would be held by one who knows nothing of it. */
static int fill_slot(struct ux_segment *s, uint32_t i) {
  struct ux_slot_shared *slot = &s->at->slot[i];
  uint32_t epoch = atomic_load(&slot->epoch) + 1;
  uint32_t seen = atomic_load(&s->at->slots_seen);
  atomic_store(&slot->subscribed, 0);
  for (int side = 0; side < 2; side++) /* not armed, whatever it was */
    atomic_fetch_and(&slot->bell[side], ~(UX_BELL_ONE - 1));
  atomic_store(&slot->roles, 0);
  atomic_store(&slot->pid, getpid());
  atomic_store(&slot->start_time, own_start_time());
  atomic_store(&slot->epoch, epoch);
  UX_STEP("join filling");
  int err = lock_byte(s->live, UX_BYTE_SLOTS + i, F_WRLCK);
  if (err != 0) return err;
  UX_STEP("join locked");
  atomic_store(&slot->is_used, 1);
  while (seen <= i &&
         !atomic_compare_exchange_weak(&s->at->slots_seen, &seen, i + 1)) {
  }
  s->slot = i;
  s->epoch = epoch & UX_EPOCH_MASK;
  return 0;
}

/* EBUSY: somebody alive has it, or is about to. */
static int try_slot(struct ux_segment *s, uint32_t i) {
  if (is_locked(s->live, UX_BYTE_SLOTS + i)) return EBUSY;
  int err = lock_byte(s->live, UX_BYTE_JOINS + i, F_WRLCK);
  if (err != 0) return err;
  UX_STEP("joining");
  err = is_locked(s->live, UX_BYTE_SLOTS + i) ? EBUSY : fill_slot(s, i);
  lock_byte(s->live, UX_BYTE_JOINS + i, F_UNLCK);
  return err;
}

static int take_slot(struct ux_segment *s) {
  for (uint32_t i = 0; i < s->options.slots; i++) {
    int err = try_slot(s, i);
    if (err == EBUSY) continue;
    UX_STEP("join done");
    return err;
  }
  return EUSERS;
}

int ux_segment_join(struct ux_segment *s) {
  char path[32];
  if (ux_segment_is_joined(s)) return 0;
  snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno;
  s->live = fd;
  int err = take_slot(s);
  if (err == 0) {
    s->fork_count = ux_segment_forks;
  } else {
    s->live = -1;
    close(fd);
  }
  return err;
}

/* ---- who lives --------------------------------------------------------- */

uint32_t ux_segment_self(const struct ux_segment *s) {
  return ux_who(s->slot, s->epoch);
}

bool ux_segment_is_dead(struct ux_segment *s, uint32_t who) {
  uint32_t slot = ux_who_slot(who);
  if (slot >= s->options.slots) return true;
  uint32_t epoch = atomic_load(&s->at->slot[slot].epoch);
  if (who != ux_who(slot, epoch)) return true;
  if (slot == s->slot && ux_segment_is_joined(s))
    return who != ux_segment_self(s);
  if (s->live < 0) return false;
#ifdef UX_RING_TEST
  int dead = ux_ring_test_dead(who);
  if (dead >= 0) return dead;
#endif
  return !is_locked(s->live, UX_BYTE_SLOTS + slot);
}

bool ux_segment_is_alive(struct ux_segment *s, uint32_t from) {
  return ux_segment_join(s) == 0 && !ux_segment_is_dead(s, from);
}

int ux_segment_participant(struct ux_segment *s, uint32_t slot,
                           struct ux_segment_participant *p) {
  if (slot >= s->options.slots) return EINVAL;
  int err = ux_segment_join(s);
  if (err != 0) return err;
  struct ux_slot_shared *shared = &s->at->slot[slot];
  if (!atomic_load(&shared->is_used)) return ENOENT;
  p->epoch = atomic_load(&shared->epoch) & UX_EPOCH_MASK;
  p->from = ux_who(slot, p->epoch);
  p->is_alive = !ux_segment_is_dead(s, p->from);
  p->roles = atomic_load(&shared->roles);
  p->pid = atomic_load(&shared->pid);
  p->start_time = atomic_load(&shared->start_time);
  return 0;
}
