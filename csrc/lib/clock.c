#include "lib/clock.h"

int64_t ux_clock_now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * UX_NS_PER_S + ts.tv_nsec;
}

struct timespec ux_clock_timespec(int64_t ns) {
  return (struct timespec){
    .tv_sec = (time_t)(ns / UX_NS_PER_S),
    .tv_nsec = (long)(ns % UX_NS_PER_S),
  };
}
