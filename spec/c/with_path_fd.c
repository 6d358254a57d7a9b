/* usage: with_path_fd <path> <program> [argument...]
   Runs a program with descriptor 9 on the path, opened by O_PATH: one that
   stands for the file and allows nothing. */
#include "lib/feature.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 3) return 2;
#ifdef O_PATH
  int fd = open(argv[1], O_PATH);
  if (fd < 0 || dup2(fd, 9) != 9) {
    perror(argv[1]);
    return 1;
  }
#endif
  execvp(argv[2], argv + 2);
  perror(argv[2]);
  return 127;
}
