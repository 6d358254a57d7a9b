/* Segments with names that are made, opened, used, closed, removed and listed
   by all workers at once: what ring_storm does in the mode "names". */
#ifndef RING_STORM_NAMES_H
#define RING_STORM_NAMES_H

#include "ring_storm.h"

#include <dirent.h>
#include <sys/stat.h>

#define NAMED 3

/* Two in the system's place, one at a path. */
static char names[NAMED][96], names_directory[64];

static void make_names(void) {
  snprintf(names_directory, 64, "/dev/shm/unixipc-storm-%d", (int)getpid());
  if (mkdir(names_directory, 0700) != 0) complain("mkdir", 0, errno);
  for (int i = 0; i < NAMED - 1; i++)
    snprintf(names[i], sizeof names[i], "storm-%d-%d", (int)getpid(), i);
  snprintf(names[NAMED - 1], sizeof names[0], "%s/one", names_directory);
}

static bool is_one_of(int err, int a, int b, int c) {
  return err == a || err == b || err == c;
}

/* ---- what a worker does ------------------------------------------------ */

static void use(struct ux_segment *s) {
  struct ux_ring r;
  struct ux_ring_message got;
  char buffer[64];
  int err = ux_ring_init(&r, s, 0);
  if (err != 0) complain("init of a name", 0, err);
  err = ux_ring_put(&r, "message", 7, 0);
  if (err != 0 && !is_one_of(err, EAGAIN, EBUSY, EPIPE))
    complain("put into a name", 0, err);
  err = ux_ring_get(&r, buffer, sizeof buffer, &got);
  if (err != 0 && !is_one_of(err, EAGAIN, EBUSY, EPIPE))
    complain("get from a name", 0, err);
  if (rand() % 8 == 0 && (err = ux_segment_close(s)) != 0)
    complain("close of a name", 0, err);
  ux_ring_done(&r);
}

static void remove_name(int i) {
  atomic_store(&shared->unlinking[self], i + 1);
  atomic_fetch_add(&shared->unlinks[i], 1);
  int err = ux_segment_unlink(names[i]);
  if (err != 0 && err != ENOENT) complain("unlink", 0, err);
  ux_ring_step("unlinked");
  atomic_store(&shared->unlinking[self], 0);
}

static bool is_being_unlinked(int i) {
  for (int k = 0; k < WORKERS; k++)
    if (atomic_load(&shared->unlinking[k]) == i + 1) return true;
  return false;
}

/* While somebody takes part nobody may have removed the name as unused. */
static void expect_name(int i, const struct ux_segment *s, uint32_t unlinks) {
  char path[UX_SEGMENT_NAME_SIZE + 32];
  struct stat ours, named;
  if (ux_segment_path(names[i], path) != 0) complain("path", 0, 0);
  bool is_there = stat(path, &named) == 0 && fstat(s->fd, &ours) == 0 &&
                  ours.st_ino == named.st_ino;
  if (!is_there && atomic_load(&shared->unlinks[i]) == unlinks)
    complain("a name in use was removed", 0, 0);
}

static void make_or_open(int i, bool makes) {
  static const struct ux_segment_options small = {
    .kind = UX_SEGMENT_QUEUE,
    .capacity = 1024,
    .slots = 8,
  };
  struct ux_segment s;
  uint32_t unlinks = atomic_load(&shared->unlinks[i]);
  bool is_quiet = !is_being_unlinked(i);
  int err = makes ? ux_segment_create(&s, names[i], 0600, &small)
                  : ux_segment_open(&s, names[i]);
  if (err != 0 && !is_one_of(err, makes ? EEXIST : ENOENT, 0, EUSERS))
    complain(makes ? "create" : "open", 0, err);
  if (err != 0) return;
  ux_ring_step("opened");
  use(&s);
  if (is_quiet) expect_name(i, &s, unlinks);
  if (rand() % 4 == 0) remove_name(i);
  ux_segment_detach(&s);
  ux_ring_step("detached");
}

static void look_at_name(int i) {
  struct ux_segment_info info;
  int err = ux_segment_look(names[i], &info);
  if (err != 0 && err != ENOENT) complain("look", 0, err);
  if (err == 0 && info.options.capacity != 1024)
    complain("a look at something else", 0, 0);
}

static void live_with_names(void) {
  srand((unsigned)ux_clock_now() ^ (unsigned)self);
  atomic_store(&shared->unlinking[self], 0);
  for (;;) {
    int i = rand() % NAMED;
    int what = rand() % 8, err = 0;
    if (what < 6) make_or_open(i, what < 3);
    if (what == 6) look_at_name(i);
    if (what == 7) err = ux_segment_remove_unused(names[i]);
    if (err != 0 && !is_one_of(err, EBUSY, ENOENT, 0))
      complain("reap", 0, err);
    went_on();
  }
}

/* ---- what must be so --------------------------------------------------- */

/* Somebody new can use the name: opens it, or makes it. */
static bool is_usable(int i) {
  int err = 0;
  struct ux_segment s;
  struct ux_segment_options o = {
    .kind = UX_SEGMENT_QUEUE, .capacity = 1024, .slots = 8};
  err = ux_segment_open(&s, names[i]);
  if (err == ENOENT) err = ux_segment_create(&s, names[i], 0600, &o);
  if (err != 0 && !is_one_of(err, EEXIST, EUSERS, ENOENT))
    complain("a name that cannot be used", (uint64_t)i, err);
  if (err != 0) return false;
  use(&s);
  ux_segment_detach(&s);
  return true;
}

static void check_names(void) {
  for (int i = 0; i < NAMED; i++) {
    int64_t end = ux_clock_now() + patience;
    while (!is_usable(i))
      if (ux_clock_now() > end) complain("a name is blocked", (uint64_t)i, 0);
    look_at_name(i);
  }
}

/* Without a look at what becomes of it: something else has failed. */
static void sweep_names(void) {
  for (int i = 0; i < NAMED && names[i][0] != '\0'; i++)
    ux_segment_unlink(names[i]);
  if (names_directory[0] != '\0') rmdir(names_directory);
}

/* Everything is gone that was made; what has no name is gone by itself. */
static bool drain_names(void) {
  char prefix[64];
  snprintf(
    prefix, sizeof prefix, UX_SEGMENT_PREFIX "storm-%d-", (int)getpid());
  for (int i = 0; i < NAMED; i++) {
    int err = ux_segment_remove_unused(names[i]);
    if (err != 0 && err != ENOENT) complain("reap at the end", 0, err);
  }
  if (rmdir(names_directory) != 0) complain("something is left", 0, errno);
  DIR *d = opendir(UX_SEGMENT_DIRECTORY);
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    if (strncmp(e->d_name, prefix, strlen(prefix)) == 0)
      complain("a name is left", 0, 0);
  if (d != NULL) closedir(d);
  return false;
}

#endif
