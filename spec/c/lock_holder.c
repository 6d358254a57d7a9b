/* Takes the senders' lock of a named channel, says so, and does as it is told:

     wait    until somebody sleeps on the lock
     go      lets it go, and ends

   usage: lock_holder NAME */
#include "lib/ring_inner.h"

#include <stdio.h>
#include <unistd.h>

static void await_sleeper(const _Atomic uint32_t *lock) {
  while (!(atomic_load(lock) & UX_LOCK_WAITERS)) usleep(1000);
}

int main(int argc, char **argv) {
  struct ux_segment segment;
  struct ux_ring ring;
  char line[16];
  if (argc != 2 || ux_segment_open(&segment, argv[1]) != 0) return 1;
  if (ux_ring_init(&ring, &segment, 0) != 0) return 2;
  if (ux_ring_lock(&ring, &ring.at->put_lock) != 0) return 3;
  puts("held");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL && line[0] != 'g')
    await_sleeper(&ring.at->put_lock);
  ux_ring_unlock(&ring.at->put_lock);
  ux_ring_done(&ring);
  ux_segment_detach(&segment);
  return 0;
}
