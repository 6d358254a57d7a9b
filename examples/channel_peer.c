/* Joins a channel by its name, from C: lines of text in, lines of text out.
   The Lua half is any program with channel.queue("NAME") (raw bytes).

   usage: channel_peer make NAME      makes the queue, or finds it
          channel_peer send NAME      sends each line of its input
          channel_peer receive NAME   prints what comes, until it is closed
          channel_peer close NAME     closes it, and removes the name
   cc -Icsrc examples/channel_peer.c csrc/lib/ring*.c csrc/lib/segment*.c \
     csrc/lib/futex.c csrc/lib/clock.c csrc/lib/memory.c -pthread \
     -o channel_peer */
#include "lib/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOR_EVER (-1)

static int report(const char *what, int err) {
  const char *why = err == EBADMSG ? ux_segment_explain() : strerror(err);
  if (err != 0) fprintf(stderr, "%s: %s\n", what, why);
  return err == 0 ? 0 : 1;
}

static int make(const char *name) {
  struct ux_segment s;
  struct ux_segment_options options = {.kind = UX_SEGMENT_QUEUE};
  int err = ux_segment_create(&s, name, 0600, &options);
  if (err == 0) ux_segment_detach(&s);
  return err == EEXIST ? 0 : err;
}

static int send_lines(struct ux_ring *r) {
  char *line = NULL;
  size_t size = 0;
  ssize_t n;
  int err = 0;
  while (err == 0 && (n = getline(&line, &size, stdin)) > 0) {
    if (line[n - 1] == '\n') n--;
    err = ux_ring_send(r, line, (size_t)n, FOR_EVER);
  }
  free(line);
  return err;
}

static int receive_lines(struct ux_ring *r) {
  struct ux_ring_message m;
  size_t size = (size_t)ux_ring_limit(r);
  char *buffer = malloc(size);
  int err = buffer != NULL ? 0 : ENOMEM;
  while (err == 0) {
    err = ux_ring_receive(r, buffer, size, &m, FOR_EVER);
    if (err == 0) printf("%.*s\n", (int)m.length, buffer);
  }
  free(buffer);
  return err == EPIPE ? 0 : err; /* closed */
}

static int use(const char *what, const char *name) {
  struct ux_segment s;
  struct ux_ring r;
  int err = ux_segment_open(&s, name);
  if (err != 0) return err;
  err = ux_ring_init(&r, &s, 0);
  if (err == 0 && strcmp(what, "send") == 0) err = send_lines(&r);
  if (err == 0 && strcmp(what, "receive") == 0) err = receive_lines(&r);
  if (err == 0 && strcmp(what, "close") == 0) {
    err = ux_segment_close(&s);
    ux_segment_unlink(name);
  }
  ux_ring_done(&r);
  ux_segment_detach(&s);
  return err;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: channel_peer make|send|receive|close NAME\n");
    return 2;
  }
  bool is_new = strcmp(argv[1], "make") == 0;
  return report(argv[2], is_new ? make(argv[2]) : use(argv[1], argv[2]));
}
