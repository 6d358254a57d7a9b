#include "base/process_id.h"

#include <pthread.h>
#include <unistd.h>

pid_t ux_process_number;

static void learn(void) {
  ux_process_number = getpid();
}

static void prepare(void) {
  pthread_atfork(NULL, NULL, learn);
  learn();
}

pid_t ux_process_learn(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, prepare);
  return ux_process_number;
}
