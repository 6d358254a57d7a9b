/* The other side of Stream:send and receive, written from their documentation
   alone: a message is its length, four bytes with the highest first, then its
   bytes.

     message_peer echo          sends back each message that comes
     message_peer count         reads all, prints "messages bytes sum"
     message_peer send N SIZE   sends N messages: number i has (i * 7) % (SIZE
                                + 1) bytes, all of them i % 256

   Exit code 1: the stream ended inside a message. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char *message;
static uint32_t length;

_Noreturn static void fail(const char *what) {
  fprintf(stderr, "message_peer: %s\n", what);
  exit(1);
}

static void reserve(uint32_t n) {
  static uint32_t size;
  if (n < size || (size > 0 && n == 0)) return;
  size = n + 1;
  message = realloc(message, size);
  if (message == NULL) fail("no memory");
}

/* 0 at the end of the stream. */
static int receive(void) {
  unsigned char h[4];
  size_t n = fread(h, 1, sizeof h, stdin);
  if (n == 0) return 0;
  if (n < sizeof h) fail("cut in a length");
  length =
    (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
  reserve(length);
  if (fread(message, 1, length, stdin) != length) fail("cut in a message");
  return 1;
}

static void send_message(void) {
  unsigned char h[4] = {(unsigned char)(length >> 24),
                        (unsigned char)(length >> 16),
                        (unsigned char)(length >> 8),
                        (unsigned char)length};
  fwrite(h, 1, sizeof h, stdout);
  fwrite(message, 1, length, stdout);
}

static void echo(void) {
  while (receive()) {
    send_message();
    fflush(stdout);
  }
}

static void count(void) {
  unsigned long messages = 0, bytes = 0, sum = 0;
  for (; receive(); messages++) {
    bytes += length;
    for (uint32_t i = 0; i < length; i++) sum += message[i];
  }
  printf("%lu %lu %lu\n", messages, bytes, sum);
}

static void send_many(unsigned long n, uint32_t size) {
  reserve(size);
  for (unsigned long i = 0; i < n; i++) {
    length = (uint32_t)(i * 7 % (size + 1));
    memset(message, (int)(i % 256), length);
    send_message();
  }
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  if (strcmp(mode, "echo") == 0)
    echo();
  else if (strcmp(mode, "count") == 0)
    count();
  else if (strcmp(mode, "send") == 0 && argc == 4)
    send_many(strtoul(argv[2], NULL, 10),
              (uint32_t)strtoul(argv[3], NULL, 10));
  else
    fail("usage: message_peer echo | count | send N SIZE");
  return ferror(stdout) || fflush(stdout) != 0 ? 1 : 0;
}
