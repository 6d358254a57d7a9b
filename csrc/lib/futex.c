#include "lib/futex.h"

#include "lib/clock.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__

#include <linux/futex.h>
#include <sys/syscall.h>

/* Not FUTEX_PRIVATE_FLAG: the word may be in other processes' memory too. */
int ux_futex_wait(const _Atomic uint32_t *word, uint32_t expected,
                  int64_t at) {
  struct timespec ts = ux_clock_timespec(at);
  long failed = syscall(SYS_futex,
                        word,
                        FUTEX_WAIT_BITSET,
                        expected,
                        at != 0 ? &ts : NULL,
                        NULL,
                        FUTEX_BITSET_MATCH_ANY);
  return failed == 0 ? 0 : errno;
}

int ux_futex_wake(const _Atomic uint32_t *word, int count) {
  long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
  return woken > 0 ? (int)woken : 0;
}

#else

int ux_futex_wait(const _Atomic uint32_t *word, uint32_t expected,
                  int64_t at) {
  (void)word, (void)expected, (void)at;
  return ENOTSUP;
}

int ux_futex_wake(const _Atomic uint32_t *word, int count) {
  (void)word, (void)count;
  return 0;
}

#endif
