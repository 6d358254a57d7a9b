/* The server of sysv_shm_calculator_server.lua in C, for the same clients: the
   struct and the semaphores are the same.

     cc -o calculator examples/sysv_shm_calculator_server.c
     ./calculator
     lua5.4 examples/sysv_shm_calculator_client.lua */
#define _GNU_SOURCE 1

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>

struct calculator {
  int operand1, operand2;
  char op;
  int result, status, requests;
};

enum { FREE, REQUEST, ANSWER, SEMAPHORES }; /* from 0 in C, from 1 in Lua */
enum { OK, DIVISION_BY_ZERO, UNKNOWN_OPERATOR, OVERFLOWED };

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* 0 when the result is in *r. */
static int calculate(int operand1, char op, int operand2, int *r) {
  long long a = operand1, b = operand2, result;
  switch (op) {
    case '+': result = a + b; break;
    case '-': result = a - b; break;
    case '*': result = a * b; break;
    case '/':
      if (b == 0) return DIVISION_BY_ZERO;
      result = a / b;
      break;
    default: return UNKNOWN_OPERATOR;
  }
  *r = (int)result;
  return *r == result ? OK : OVERFLOWED;
}

/* What stands in the memory may be changed by a client at any time: each value
   is taken once. */
static int answer(volatile struct calculator *c) {
  int a = c->operand1, b = c->operand2, result = 0;
  char op = c->op;
  if (op == 'q') {
    c->status = OK;
    return 0;
  }
  c->status = calculate(a, op, b, &result);
  c->result = result;
  c->requests++;
  return 1;
}

/* Two operations at once, as the server in Lua does with set:op. */
static void operate(int set, int first, int change1, int second, int change2) {
  struct sembuf ops[] = {
    {(unsigned short)first, (short)change1, 0},
    {(unsigned short)second, (short)change2, 0},
  };
  if (semop(set, ops, 2) != 0) fail("semop");
}

/* The values and the first semop, which makes sem_otime known, at once. */
static int make_set(key_t key) {
  int set = semget(key, SEMAPHORES, IPC_CREAT | IPC_EXCL | 0600);
  struct sembuf one_free = {FREE, 1, 0};
  if (set < 0) fail("semget");
  if (semop(set, &one_free, 1) != 0) fail("semop");
  return set;
}

/* The lock ends with the process, however it ends: who has it is the only
   server, and what is under the key is left over. */
static key_t start_clean(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) fail(path);
  key_t key = ftok(path, 'c');
  if (key == -1) fail("ftok");
  int set = semget(key, 0, 0), id = shmget(key, 0, 0);
  if (set >= 0) semctl(set, 0, IPC_RMID);
  if (id >= 0) shmctl(id, IPC_RMID, NULL);
  return key;
}

int main(int argc, char **argv) {
  key_t key = start_clean(argc > 1 ? argv[1] : "/tmp/unixipc.calculator");
  int id = shmget(key, sizeof(struct calculator), IPC_CREAT | IPC_EXCL | 0600);
  if (id < 0) fail("shmget");
  struct calculator *c = shmat(id, NULL, 0);
  if (c == (void *)-1) fail("shmat");
  int set = make_set(key), goes_on;
  printf("ready, segment %d\n", id);
  fflush(stdout);
  do {
    operate(set, REQUEST, -1, REQUEST, 1);
    goes_on = answer(c);
    operate(set, REQUEST, -1, ANSWER, 1);
  } while (goes_on);
  /* The last client still has to see its answer. */
  struct sembuf taken = {ANSWER, 0, 0};
  struct timespec second = {1, 0};
  semtimedop(set, &taken, 1, &second);
  semctl(set, 0, IPC_RMID);
  shmctl(id, IPC_RMID, NULL);
  return 0;
}
