#include "base/process_id.h"

#include <pthread.h>
#include <unistd.h>

static pid_t this_process;

static void learn(void) {
  this_process = getpid();
}

static void prepare(void) {
  pthread_atfork(NULL, NULL, learn);
  learn();
}

pid_t ux_process_id(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (this_process == 0) pthread_once(&once, prepare);
  return this_process;
}
