/* Forks of a process that has rings: the child is killed, or the parent, at
   any moment, and what the other one holds stays its own. A third participant
   looks on. */
#include "lib/clock.h"
#include "lib/ring.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(bool ok, int line, const char *what) {
  if (ok) return;
  fprintf(stderr, "ring_fork_test.c:%d: %s (errno %d)\n", line, what, errno);
  _exit(1);
}

#define CHECK(what) check((what), __LINE__, #what)
#define ROUNDS 200
#define SECOND UX_NS_PER_S

static struct ux_segment segment, onlooker;
static struct ux_ring ring, other;

static void make(enum ux_segment_kind kind) {
  struct ux_segment_options o = {.kind = kind, .capacity = 4096, .slots = 8};
  CHECK(ux_segment_create(&segment, NULL, 0600, &o) == 0);
  CHECK(ux_segment_adopt(&onlooker, segment.fd) == 0);
  CHECK(ux_ring_init(&ring, &segment, 0) == 0);
  CHECK(ux_ring_init(&other, &onlooker, 0) == 0);
}

static void end(void) {
  ux_ring_done(&ring);
  ux_ring_done(&other);
  ux_segment_detach(&segment);
  ux_segment_detach(&onlooker);
}

/* Does something until it is killed. */
static pid_t start(void (*body)(void)) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) body();
}

static void kill_now(pid_t pid) {
  int status = 0;
  CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status));
}

static void kill_soon(pid_t pid) {
  usleep((unsigned)rand() % 500);
  kill_now(pid);
}

static void put_and_get(void) {
  char buffer[64];
  struct ux_ring_message m;
  ux_ring_put(&ring, "child", 5, 0);
  ux_ring_get(&ring, buffer, sizeof buffer, &m);
}

static void do_nothing(void) {
  pause();
}

/* ---- the child is killed ----------------------------------------------- */

/* Our slot, a loan and a message that we have taken are still ours. */
static void test_child_killed(void (*body)(void)) {
  struct ux_ring_loan loan;
  struct ux_ring_message m;
  make(UX_SEGMENT_QUEUE);
  uint32_t us = ux_segment_self(&segment);
  for (int i = 0; i < ROUNDS; i++) {
    int err;
    CHECK(ux_ring_send(&ring, "taken", 5, SECOND) == 0);
    while ((err = ux_ring_peek(&ring, &m)) == EAGAIN || err == EBUSY)
      ux_ring_sleep(&ring, UX_RING_GET, 0);
    CHECK(err == 0);
    while ((err = ux_ring_reserve(&ring, 4, &loan)) == EAGAIN || err == EBUSY)
      ux_ring_sleep(&ring, UX_RING_PUT, 0);
    CHECK(err == 0);
    kill_soon(start(body));
    CHECK(ux_segment_is_alive(&onlooker, us));
    CHECK(ux_segment_self(&segment) == us);
    memcpy(loan.data, "lent", 4);
    CHECK(ux_ring_commit(&ring, &loan, 4, 0) == 0);
    while ((err = ux_ring_release(&ring, m.position)) == EBUSY)
      ux_ring_sleep(&ring, UX_RING_GET, 0);
    CHECK(err == 0);
    char buffer[64];
    do err = ux_ring_receive(&other, buffer, sizeof buffer, &m, SECOND);
    while (err == 0 && m.length == 5); /* of the children */
    CHECK(err == 0 && m.length == 4 && memcmp(buffer, "lent", 4) == 0);
  }
  end();
}

/* Roles stay ours; the child cannot have them. */
static void want_roles(void) {
  char byte;
  struct ux_ring_message m;
  CHECK(ux_ring_put(&ring, "x", 1, 0) == EBUSY);
  CHECK(ux_ring_get(&ring, &byte, 1, &m) == EBUSY);
  CHECK(ux_ring_is_role_taken(&ring, UX_RING_PUT));
}

static void test_roles(void) {
  char byte;
  struct ux_ring_message m;
  make(UX_SEGMENT_SPSC);
  for (int i = 0; i < ROUNDS; i++) {
    CHECK(ux_ring_put(&ring, "y", 1, 0) == 0);
    CHECK(ux_ring_get(&ring, &byte, 1, &m) == 0 && byte == 'y');
    kill_soon(start(want_roles));
    CHECK(ux_ring_put(&other, "z", 1, 0) == EBUSY);
  }
  end();
}

/* ---- the parent is killed ---------------------------------------------- */

static int gate[2];

/* Makes a child that takes part, tells who both are, and waits for its end;
   the child goes on. */
static void be_parent(void) {
  uint32_t who[2];
  CHECK(ux_segment_join(&segment) == 0);
  who[0] = ux_segment_self(&segment);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(100);
    CHECK(ux_segment_join(&segment) == 0);
    who[1] = ux_segment_self(&segment);
    CHECK(write(gate[1], who, sizeof who) == sizeof who);
    CHECK(write(gate[1], &(pid_t){getpid()}, sizeof pid) == sizeof pid);
  }
  for (;;) pause();
}

static void test_parent_killed(void) {
  uint32_t who[2];
  pid_t child;
  make(UX_SEGMENT_QUEUE);
  CHECK(pipe(gate) == 0);
  for (int i = 0; i < ROUNDS / 4; i++) {
    pid_t parent = start(be_parent);
    CHECK(read(gate[0], who, sizeof who) == sizeof who);
    CHECK(read(gate[0], &child, sizeof child) == sizeof child);
    CHECK(ux_segment_is_alive(&onlooker, who[0]));
    kill_now(parent);
    CHECK(!ux_segment_is_alive(&onlooker, who[0]));
    CHECK(ux_segment_is_alive(&onlooker, who[1]));
    kill_now(child);
    CHECK(!ux_segment_is_alive(&onlooker, who[1]));
  }
  CHECK(close(gate[0]) == 0 && close(gate[1]) == 0);
  end();
}

int main(void) {
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  alarm(100);
  srand((unsigned)ux_clock_now());
  test_child_killed(do_nothing);
  test_child_killed(put_and_get);
  test_roles();
  test_parent_killed();
  return 0;
}
