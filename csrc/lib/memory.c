#include "lib/memory.h"

#include <errno.h>

#ifdef __linux__

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#define TMPFS 0x01021994 /* TMPFS_MAGIC of linux/magic.h */
#define LITTLE (UINT64_C(16) << 20)

/* The bytes that a line of /proc/meminfo tells of: "SwapFree:   10 kB". */
static uint64_t bytes_in(const char *line, const char *name) {
  size_t n = strlen(name);
  if (strncmp(line, name, n) != 0) return 0;
  return (uint64_t)strtoull(line + n, NULL, 10) << 10;
}

/* What the system can give without taking it from anybody. */
static uint64_t available(void) {
  char line[128];
  uint64_t sum = 0;
  FILE *f = fopen("/proc/meminfo", "re");
  if (f == NULL) return UINT64_MAX;
  while (fgets(line, sizeof line, f) != NULL)
    sum += bytes_in(line, "MemAvailable:") + bytes_in(line, "SwapFree:");
  fclose(f);
  return sum > 0 ? sum : UINT64_MAX;
}

int ux_memory_check(int fd, uint64_t more) {
  struct statfs fs;
  if (more < LITTLE || fstatfs(fd, &fs) != 0) return 0;
  if ((unsigned long)fs.f_type != TMPFS) return 0;
  bool is_over_limit =
    fs.f_blocks != 0 && more / (uint64_t)fs.f_bsize > fs.f_bavail;
  if (is_over_limit) return 0; /* the file system says so, at once */
  /* An eighth stays, for what everybody does next. */
  return more <= available() / 8 * 7 ? 0 : ENOMEM;
}

#else

int ux_memory_check(int fd, uint64_t more) {
  (void)fd, (void)more;
  return 0;
}

#endif
