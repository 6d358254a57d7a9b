#include "base/space.h"

#include "base/wait.h"
#include "lib/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct growth {
  int fd;
  off_t from, to;
};

#ifdef __linux__

/* Does all or nothing, and leaves the size alone when it fails: to set it back
   could cut what another process has added meanwhile. What a file system
   without the call would need is done by the C library's, byte by byte. */
static int allocate(void *arg) {
  const struct growth *g = arg;
  if (fallocate(g->fd, 0, g->from, g->to - g->from) == 0) return 0;
  if (errno != EOPNOTSUPP) return errno;
  return posix_fallocate(g->fd, g->from, g->to - g->from);
}

#else

static int allocate(void *arg) {
  const struct growth *g = arg;
  int err = posix_fallocate(g->fd, g->from, g->to - g->from);
  if (err != 0 && err != EINTR && ftruncate(g->fd, g->from) != 0) return err;
  return err;
}

#endif

int ux_space_grow(lua_State *L, int fd, off_t size) {
  struct ux_deadline forever = {UX_FOREVER, 0};
  struct stat st;
  if (fstat(fd, &st) != 0) return errno;
  if (size <= st.st_size) return 0;
  struct growth g = {fd, st.st_size, size};
  int err = ux_memory_check(fd, (uint64_t)(size - st.st_size));
  if (err == 0) err = allocate(&g);
  while (err == EINTR) err = ux_wait_call(L, allocate, &g, &forever);
  return err;
}
