#include "lib/segment.h"

#include "lib/clock.h"
#include "lib/memory.h"
#include "lib/segment_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- sizes ------------------------------------------------------------- */

#define CAPACITY_MIN 1024
#define CAPACITY_MAX (UINT64_C(1) << 40)
#define CAPACITY_DEFAULT (UINT64_C(1) << 20)
#define REPLY_CAPACITY_DEFAULT (UINT64_C(1) << 16)
#define SLOTS_DEFAULT 64

static uint64_t power_of_two(uint64_t n, uint64_t otherwise) {
  if (n == 0) return otherwise;
  uint64_t p = CAPACITY_MIN;
  while (p < n && p < CAPACITY_MAX) p <<= 1;
  return p;
}

int ux_segment_check_options(struct ux_segment_options *o) {
  if (o->kind < UX_SEGMENT_QUEUE || o->kind > UX_SEGMENT_SERVICE)
    return EINVAL;
  if (o->policy > UX_SEGMENT_EVICT) return EINVAL;
  if (o->capacity > CAPACITY_MAX || o->reply_capacity > CAPACITY_MAX)
    return EINVAL;
  if (o->slots > UX_SLOTS_MAX) return EINVAL;
  o->capacity = power_of_two(o->capacity, CAPACITY_DEFAULT);
  o->reply_capacity = power_of_two(o->reply_capacity, REPLY_CAPACITY_DEFAULT);
  if (o->slots == 0) o->slots = SLOTS_DEFAULT;
  return 0;
}

uint32_t ux_segment_rings(const struct ux_segment_options *o) {
  if (o->kind == UX_SEGMENT_DUPLEX) return 2;
  if (o->kind == UX_SEGMENT_SERVICE) return 1 + o->slots;
  return 1;
}

uint64_t ux_segment_ring_capacity(const struct ux_segment_options *o,
                                  uint32_t index) {
  bool is_reply = o->kind == UX_SEGMENT_SERVICE && index > 0;
  return is_reply ? o->reply_capacity : o->capacity;
}

/* All rings before it but the first have the same size. */
uint64_t ux_segment_ring_offset(const struct ux_segment_options *o,
                                uint32_t index) {
  uint64_t at = sizeof(struct ux_segment_shared) +
                (uint64_t)o->slots * sizeof(struct ux_slot_shared);
  if (index == 0) return at;
  at += sizeof(struct ux_ring_shared) + ux_segment_ring_capacity(o, 0);
  return at + (index - 1) * (sizeof(struct ux_ring_shared) +
                             ux_segment_ring_capacity(o, 1));
}

uint64_t ux_segment_size(const struct ux_segment_options *o) {
  return ux_segment_ring_offset(o, ux_segment_rings(o));
}

/* ---- making ------------------------------------------------------------ */

static void format(struct ux_segment_shared *at, size_t size,
                   const struct ux_segment_options *o) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->version = UX_SEGMENT_VERSION;
  at->abi = UX_SEGMENT_ABI;
  at->size = size;
  at->kind = o->kind;
  at->policy = o->policy;
  at->capacity = o->capacity;
  at->reply_capacity = o->reply_capacity;
  at->slots = o->slots;
  at->retry = o->retry;
  at->generation =
    ((uint64_t)now.tv_sec * UX_NS_PER_S + (uint64_t)now.tv_nsec) ^
    (uint64_t)getpid() << 40;
  UX_STEP("create formatted");
  at->magic = UX_SEGMENT_MAGIC;
  atomic_store_explicit(&at->state, UX_STATE_READY, memory_order_release);
}

#define PORTION ((size_t)1 << 20)

/* Space that is taken now gives ENOSPC now, and not SIGBUS later. In portions:
   a signal makes the system give back what it took in one call. */
static int take_space(int fd, size_t size) {
  int err = ux_memory_check(fd, size);
  for (size_t from = 0; err == 0 && from < size;) {
    size_t n = size - from < PORTION ? size - from : PORTION;
    err = posix_fallocate(fd, (off_t)from, (off_t)n);
    if (err == 0) from += n;
    if (err == EINTR) err = 0;
  }
  return err;
}

static int fill(int fd, struct ux_segment *s, mode_t mode) {
  s->size = (size_t)ux_segment_size(&s->options);
  if (fchmod(fd, mode) != 0) return errno;
  int err = take_space(fd, s->size);
  if (err != 0) return err;
  UX_STEP("create allocated");
  void *at = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return errno;
  s->at = at;
  format(s->at, s->size, &s->options);
  UX_STEP("create ready");
  return 0;
}

static int make_anonymous(struct ux_segment *s, mode_t mode) {
  s->fd = memfd_create("unixipc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (s->fd < 0) return errno;
  int err = fill(s->fd, s, mode);
  if (err != 0) return err;
  int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  return fcntl(s->fd, F_ADD_SEALS, seals) == 0 ? 0 : errno;
}

int ux_segment_path(const char *name, char path[UX_SEGMENT_NAME_SIZE + 32]) {
  if (name[0] == '\0') return EINVAL;
  if (strlen(name) >= UX_SEGMENT_NAME_SIZE) return ENAMETOOLONG;
  bool is_path = strchr(name, '/') != NULL;
  snprintf(path,
           UX_SEGMENT_NAME_SIZE + 32,
           "%s%s",
           is_path ? "" : UX_SEGMENT_DIRECTORY "/" UX_SEGMENT_PREFIX,
           name);
  return 0;
}

static void directory_of(char *path) {
  char *slash = strrchr(path, '/');
  if (slash == path) slash++;
  *slash = '\0';
}

static void own_path(int fd, char path[32]) {
  snprintf(path, 32, "/proc/self/fd/%d", fd);
}

/* It has no name while it is made, and gets it in one step. */
static int make_named(struct ux_segment *s, const char *name, mode_t mode) {
  char path[UX_SEGMENT_NAME_SIZE + 32], directory[sizeof path], self[32];
  int err = ux_segment_path(name, path);
  if (err != 0) return err;
  if (access(path, F_OK) == 0) return EEXIST;
  memcpy(directory, path, sizeof path);
  directory_of(directory);
  s->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (s->fd < 0) return errno;
  err = fill(s->fd, s, mode);
  if (err != 0) return err;
  err = ux_segment_join(s); /* before anybody could reap it */
  if (err != 0) return err;
  UX_STEP("create joined");
  own_path(s->fd, self);
  if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0)
    return errno;
  UX_STEP("create linked");
  return 0;
}

static void start(struct ux_segment *s) {
  *s = UX_SEGMENT_NONE;
  ux_segment_enter_list(s);
}

static int finish(struct ux_segment *s, int err) {
  if (err == 0) err = ux_segment_join(s);
  if (err != 0) ux_segment_detach(s);
  return err;
}

int ux_segment_create(struct ux_segment *s, const char *name, mode_t mode,
                      const struct ux_segment_options *options) {
  struct ux_segment_options o = *options;
  int err = ux_segment_check_options(&o);
  start(s);
  s->options = o;
  if (err == 0)
    err = name != NULL ? make_named(s, name, mode) : make_anonymous(s, mode);
  return finish(s, err);
}

/* ---- opening ----------------------------------------------------------- */

static _Thread_local const char *explanation = "";

const char *ux_segment_explain(void) {
  return explanation;
}

static int refuse(const char *why) {
  explanation = why;
  return EBADMSG;
}

int ux_segment_check_head(const struct ux_segment_shared *head, size_t size,
                          struct ux_segment_options *o) {
  if (head->magic == __builtin_bswap64(UX_SEGMENT_MAGIC))
    return refuse("a channel of another byte order");
  if (head->magic != UX_SEGMENT_MAGIC) return refuse("not a channel");
  if (head->version != UX_SEGMENT_VERSION)
    return refuse("a channel of another version of the layout");
  if (head->abi != UX_SEGMENT_ABI)
    return refuse("a channel of another architecture");
  *o = (struct ux_segment_options){
    .kind = head->kind,
    .policy = head->policy,
    .capacity = head->capacity,
    .reply_capacity = head->reply_capacity,
    .slots = head->slots,
    .retry = head->retry != 0,
  };
  struct ux_segment_options full = *o;
  if (o->slots == 0 || ux_segment_check_options(&full) != 0 ||
      full.capacity != o->capacity || full.reply_capacity != o->reply_capacity)
    return refuse("a damaged channel: its sizes are impossible");
  if (head->size != size || ux_segment_size(o) != size)
    return refuse("a damaged channel: its file has another size");
  return 0;
}

static int map(struct ux_segment *s) {
  struct ux_segment_shared head;
  struct stat st;
  if (fstat(s->fd, &st) != 0) return errno;
  if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof head)
    return refuse("not a channel");
  s->size = (size_t)st.st_size;
  void *at = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
  if (at == MAP_FAILED) return errno;
  s->at = at;
  memcpy(&head, at, sizeof head);
  int err = ux_segment_check_head(&head, s->size, &s->options);
  if (err != 0) return err;
  uint32_t state = atomic_load_explicit(&s->at->state, memory_order_acquire);
  if (state != UX_STATE_READY && state != UX_STATE_CLOSED)
    return refuse("a channel that was not made to the end");
  return 0;
}

static bool has_no_name(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

#define OPEN_TRIES 50

static int open_path(const char *path) {
  return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static void pause_ms(void) {
  struct timespec ms = {.tv_nsec = 1000000};
  nanosleep(&ms, NULL);
}

/* Whoever removes unused ones holds all slots for a moment, then it is gone:
   the name is looked up again. */
int ux_segment_open(struct ux_segment *s, const char *name) {
  char path[UX_SEGMENT_NAME_SIZE + 32];
  int err = ux_segment_path(name, path);
  if (err != 0) return err;
  for (int i = 0; i < OPEN_TRIES; i++) {
    start(s);
    s->fd = open_path(path);
    err = s->fd < 0 ? errno : map(s);
    err = finish(s, err);
    if (err == 0 && !has_no_name(s->fd)) return 0;
    if (err != 0 && err != EUSERS) return err;
    if (err == 0) ux_segment_detach(s);
    if (err != 0) pause_ms();
  }
  return err != 0 ? err : ENOENT;
}

int ux_segment_adopt(struct ux_segment *s, int fd) {
  start(s);
  s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return finish(s, s->fd < 0 ? errno : map(s));
}

void ux_segment_detach(struct ux_segment *s) {
  ux_segment_leave_list(s);
  if (s->live >= 0) close(s->live);
  if (s->ringer >= 0) close(s->ringer);
  if (s->line >= 0) close(s->line);
  if (s->watch >= 0) close(s->watch);
  if (s->at != NULL) munmap(s->at, s->size);
  if (s->fd >= 0) close(s->fd);
  s->at = NULL;
  s->fd = s->live = s->ringer = s->line = s->watch = -1;
}

bool ux_segment_is_closed(const struct ux_segment *s) {
  return atomic_load_explicit(&s->at->state, memory_order_acquire) !=
         UX_STATE_READY;
}

/* ---- all segments ------------------------------------------------------ */

static uint32_t count_alive(int fd, uint32_t slots) {
  uint32_t alive = 0;
  for (uint32_t i = 0; i < slots; i++) {
    struct flock lock = {
      .l_type = F_WRLCK,
      .l_whence = SEEK_SET,
      .l_start = UX_BYTE_SLOTS + i,
      .l_len = 1,
    };
    if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) alive++;
  }
  return alive;
}

int ux_segment_look(const char *name, struct ux_segment_info *info) {
  char path[UX_SEGMENT_NAME_SIZE + 32];
  struct ux_segment s = UX_SEGMENT_NONE;
  int err = ux_segment_path(name, path);
  if (err != 0) return err;
  s.fd = open_path(path);
  if (s.fd < 0) return errno;
  err = map(&s);
  if (err == 0) {
    info->options = s.options;
    info->is_closed = ux_segment_is_closed(&s);
    info->size = s.size;
    info->alive = count_alive(s.fd, s.options.slots);
  }
  if (s.at != NULL) munmap(s.at, s.size);
  close(s.fd);
  return err;
}

/* Who removes a name has a byte locked: between the look and the removal it
   stays that file's. */
static int remove_name(int fd, const char *path) {
  struct stat ours, named;
  if (fstat(fd, &ours) != 0 || stat(path, &named) != 0) return errno;
  if (ours.st_ino != named.st_ino || ours.st_dev != named.st_dev)
    return ENOENT;
  UX_STEP("remove");
  return unlink(path) == 0 ? 0 : errno;
}

static int lock_bytes(int fd, int64_t from, int64_t count) {
  struct flock lock = {
    .l_type = F_WRLCK,
    .l_whence = SEEK_SET,
    .l_start = from,
    .l_len = count,
  };
  if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return 0;
  return errno == EAGAIN || errno == EACCES ? EBUSY : errno;
}

/* One that is being removed as unused is waited for: else a new one of that
   name could be removed with it. Not for long: that one may be stopped. */
static int unlink_locked(int fd, const char *path) {
  int err = EBUSY;
  for (int i = 0; i < OPEN_TRIES && err == EBUSY; i++) {
    if (i > 0) pause_ms();
    err = lock_bytes(fd, UX_BYTE_NAME, 1);
  }
  return remove_name(fd, path);
}

int ux_segment_unlink(const char *name) {
  char path[UX_SEGMENT_NAME_SIZE + 32];
  int err = ux_segment_path(name, path);
  if (err != 0) return err;
  int fd = open_path(path);
  if (fd < 0) return unlink(path) == 0 ? 0 : errno; /* without permission */
  err = unlink_locked(fd, path);
  close(fd);
  return err;
}

/* The lock is another descriptor's: children may have copies of ours. */
int ux_segment_unlink_own(const struct ux_segment *s, const char *name) {
  char path[UX_SEGMENT_NAME_SIZE + 32];
  struct stat ours, named;
  int err = ux_segment_path(name, path);
  if (err != 0) return err;
  int fd = open_path(path);
  if (fd < 0) return remove_name(s->fd, path);
  bool is_ours = fstat(s->fd, &ours) == 0 && fstat(fd, &named) == 0 &&
                 ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
  err = is_ours ? unlink_locked(fd, path) : ENOENT;
  close(fd);
  return err;
}

/* With all the bytes locked nobody takes part, nor can begin to. */
static int remove_locked(int fd, const char *path) {
  int err = lock_bytes(fd, UX_BYTE_SLOTS, 0);
  return err != 0 ? err : remove_name(fd, path);
}

int ux_segment_remove_unused(const char *name) {
  struct ux_segment_info info;
  char path[UX_SEGMENT_NAME_SIZE + 32];
  int err = ux_segment_path(name, path);
  if (err == 0) err = ux_segment_look(name, &info);
  if (err != 0) return err;
  int fd = open_path(path);
  if (fd < 0) return errno;
  err = remove_locked(fd, path);
  close(fd);
  return err;
}
