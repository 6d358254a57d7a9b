/* Signals in C: what the system itself costs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common.h"

#define PING (SIGRTMIN)
#define PONG (SIGRTMIN + 1)

static void block(sigset_t *set, int sig) {
  sigemptyset(set);
  sigaddset(set, sig);
  if (sigprocmask(SIG_BLOCK, set, NULL) != 0) die("sigprocmask");
}

static void queue(pid_t pid, int sig, int value) {
  union sigval v = {.sival_int = value};
  if (sigqueue(pid, sig, v) != 0) die("sigqueue");
}

static int wait_for(const sigset_t *set, siginfo_t *info) {
  int sig = sigwaitinfo(set, info);
  if (sig < 0) die("sigwaitinfo");
  return info->si_value.sival_int;
}

/* self n: queue and take, nobody sleeps. */
static void loop_self(long n, void *state) {
  siginfo_t info;
  pid_t self = getpid();
  for (long i = 0; i < n; i++) {
    queue(self, PING, (int)i);
    wait_for(state, &info);
  }
}

static void run_self(char **words) {
  sigset_t set;
  block(&set, PING);
  measure(number(words[0]), loop_self, &set);
}

/* roundtrip n cpu: a signal there and one back. */
struct game {
  pid_t player;
  sigset_t ping, pong;
};

static void play(const struct game *g) {
  siginfo_t info;
  while (wait_for(&g->ping, &info) != 0) queue(info.si_pid, PONG, 1);
  _exit(0);
}

static void loop_roundtrip(long n, void *state) {
  const struct game *g = state;
  siginfo_t info;
  for (long i = 0; i < n; i++) {
    queue(g->player, PING, 1);
    wait_for(&g->pong, &info);
  }
}

static void run_roundtrip(char **words) {
  struct game g;
  block(&g.ping, PING);
  block(&g.pong, PONG);
  g.player = fork();
  if (g.player < 0) die("fork");
  if (g.player == 0) play(&g);
  pin(g.player, number(words[1]));
  measure(number(words[0]), loop_roundtrip, &g);
  queue(g.player, PING, 0);
  reap(g.player);
}

static const struct command commands[] = {
  {"self", 1, run_self},
  {"roundtrip", 2, run_roundtrip},
  {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
