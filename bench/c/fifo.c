/* FIFOs in C: two programs that meet at two names. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

#define MESSAGE_MAX 65536

struct ends {
  int in, out;
  size_t size;
  char buffer[MESSAGE_MAX];
};

static struct ends ends;

static int open_in(const char *directory, const char *name, int flags) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) die(path);
  return fd;
}

static void set_size(const char *word) {
  ends.size = (size_t)number(word);
  if (ends.size > MESSAGE_MAX) ends.size = MESSAGE_MAX;
}

static void trips(long n, void *state) {
  struct ends *e = state;
  for (long i = 0; i < n; i++) {
    write_full(e->out, e->buffer, e->size);
    if (read_full(e->in, e->buffer, e->size) == 0) die("server ended");
  }
}

/* client n size directory */
static void client(char **words) {
  set_size(words[1]);
  ends.out = open_in(words[2], "ping", O_WRONLY);
  ends.in = open_in(words[2], "pong", O_RDONLY);
  measure(number(words[0]), trips, &ends);
}

/* server size directory */
static void server(char **words) {
  set_size(words[0]);
  ends.in = open_in(words[1], "ping", O_RDONLY);
  ends.out = open_in(words[1], "pong", O_WRONLY);
  while (read_full(ends.in, ends.buffer, ends.size) > 0)
    write_full(ends.out, ends.buffer, ends.size);
}

static const struct command commands[] = {
    {"client", 3, client},
    {"server", 2, server},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
