/* Framed messages and lines with stdio: what buffering gives a C program. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

#define MESSAGE_MAX 65536

struct frames {
  FILE *file;
  size_t size;
  char buffer[MESSAGE_MAX];
};

static struct frames frames;

static void send_frames(FILE *file, long n, uint32_t size) {
  uint32_t prefix = htonl(size);
  for (long i = 0; i < n; i++) {
    if (fwrite(&prefix, sizeof prefix, 1, file) != 1 ||
        fwrite(frames.buffer, size, 1, file) != 1)
      die("fwrite");
  }
}

static void receive_frames(long n, void *state) {
  struct frames *f = state;
  uint32_t prefix;
  for (long i = 0; i < n; i++) {
    if (fread(&prefix, sizeof prefix, 1, f->file) != 1 ||
        ntohl(prefix) > MESSAGE_MAX ||
        fread(f->buffer, ntohl(prefix), 1, f->file) != 1)
      die("fread");
  }
}

/* frames n size cpu: the child sends, messages are received here. */
static void run_frames(char **words) {
  int ends[2];
  long n = number(words[0]), size = number(words[1]);
  if (size < 1 || size > MESSAGE_MAX) size = MESSAGE_MAX;
  if (pipe2(ends, 0) != 0) die("pipe2");
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    close(ends[0]);
    FILE *file = fdopen(ends[1], "w");
    send_frames(file, n + WARM_UP(n), (uint32_t)size);
    _exit(fclose(file) != 0);
  }
  close(ends[1]);
  pin(child, number(words[2]));
  frames.file = fdopen(ends[0], "r");
  measure(n, receive_frames, &frames);
  reap(child);
}

static void read_lines(long n, void *state) {
  char *line = NULL;
  size_t room = 0;
  (void)state;
  for (long i = 0; i < n; i++)
    if (getline(&line, &room, stdin) < 1) die("getline");
  free(line);
}

/* lines n: reads lines from standard input. */
static void lines(char **words) {
  measure(number(words[0]), read_lines, NULL);
  if (getchar() != EOF) die("too many lines");
}

/* Lines of 40 to 79 bytes, 60 in the mean, as text has them. */
static size_t fill(char *block, size_t room, long *left) {
  size_t used = 0;
  while (*left > 0 && used + 80 <= room) {
    size_t length = 40 + (size_t)(*left * 7 % 40);
    memset(block + used, 'a' + (int)(*left % 26), length - 1);
    block[used + length - 1] = '\n';
    used += length;
    (*left)--;
  }
  return used;
}

/* feed n: the producer of the lines; writes as many as `lines n` reads. */
static void feed(char **words) {
  static char block[65536];
  long left = number(words[0]);
  left += WARM_UP(left);
  while (left > 0) {
    size_t used = fill(block, sizeof block, &left);
    write_full(STDOUT_FILENO, block, used);
  }
}

static const struct command commands[] = {
    {"frames", 3, run_frames},
    {"lines", 1, lines},
    {"feed", 1, feed},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
