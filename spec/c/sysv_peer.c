/* What C programs do with System V objects, for the specs.

     sysv_peer send KEY TYPE TEXT        msgsnd
     sysv_peer receive KEY TYPE          msgrcv; prints "type length text"
     sysv_peer echo KEY N                receives N of type 1, answers with 2
     sysv_peer acquire KEY I             semop -1, waiting
     sysv_peer release KEY I             semop +1
     sysv_peer create KEY N              a set with a semop, as in the books:
                                         values 5, sem_otime marks it ready
     sysv_peer await KEY                 waits for sem_otime; prints the value
     sysv_peer half KEY N                makes a set, then hangs: never ready
     sysv_peer unshare KEY               acquires with SEM_UNDO, leaves the
                                         undo list, prints the value then
     sysv_peer write KEY TEXT            writes a C string into a segment
     sysv_peer read KEY                  prints it
     sysv_peer split KEY                 attaches, mprotects a page in the
                                         middle, detaches; prints shm_nattch
     sysv_peer partial KEY               attaches, unmaps the first page,
                                         detaches; prints "-1 1" if the rest
                                         is gone */
#define _GNU_SOURCE 1

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

union semun {
  int val;
  struct semid_ds *buf;
};

struct message {
  long type;
  char text[8192];
};

static struct message message;

_Noreturn static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static key_t key_of(char **words) {
  return (key_t)strtoll(words[0], NULL, 0);
}

/* ---- queues ------------------------------------------------------------ */

static int queue_of(char **words) {
  int id = msgget(key_of(words), 0);
  if (id < 0) fail("msgget");
  return id;
}

static void do_send(char **words) {
  size_t length = strlen(words[2]);
  message.type = strtol(words[1], NULL, 10);
  memcpy(message.text, words[2], length);
  if (msgsnd(queue_of(words), &message, length, 0) != 0) fail("msgsnd");
}

static void do_receive(char **words) {
  ssize_t n = msgrcv(queue_of(words),
                     &message,
                     sizeof message.text,
                     strtol(words[1], NULL, 10),
                     0);
  if (n < 0) fail("msgrcv");
  printf("%ld %zd %.*s\n", message.type, n, (int)n, message.text);
}

static void do_echo(char **words) {
  int id = queue_of(words);
  for (long i = strtol(words[1], NULL, 10); i > 0; i--) {
    ssize_t n = msgrcv(id, &message, sizeof message.text, 1, 0);
    if (n < 0) fail("msgrcv");
    message.type = 2;
    if (msgsnd(id, &message, (size_t)n, 0) != 0) fail("msgsnd");
  }
}

/* ---- semaphores -------------------------------------------------------- */

static int set_of(char **words) {
  int id = semget(key_of(words), 0, 0);
  if (id < 0) fail("semget");
  return id;
}

static void operate(int id, int number, int change, int flags) {
  struct sembuf op = {(unsigned short)number, (short)change, (short)flags};
  if (semop(id, &op, 1) != 0) fail("semop");
}

static void do_acquire(char **words) {
  operate(set_of(words), atoi(words[1]), -1, 0);
}

static void do_release(char **words) {
  operate(set_of(words), atoi(words[1]), 1, 0);
}

static int create(char **words) {
  int id = semget(key_of(words), atoi(words[1]), IPC_CREAT | IPC_EXCL | 0600);
  if (id < 0) fail("semget");
  return id;
}

static void do_create(char **words) {
  int id = create(words);
  for (int i = 0; i < atoi(words[1]); i++) operate(id, i, 5, 0);
}

static void do_half(char **words) {
  create(words);
  puts("made");
  fflush(stdout);
  pause();
}

static void do_await(char **words) {
  struct semid_ds ds = {.sem_otime = 0};
  union semun arg = {.buf = &ds};
  int id = set_of(words);
  while (ds.sem_otime == 0) {
    if (semctl(id, 0, IPC_STAT, arg) != 0) fail("semctl");
    usleep(1000);
  }
  printf("%d\n", semctl(id, 0, GETVAL));
}

static void do_unshare(char **words) {
  int id = set_of(words);
  operate(id, 0, -1, SEM_UNDO);
  printf("%d ", semctl(id, 0, GETVAL));
  if (unshare(CLONE_SYSVSEM) != 0) fail("unshare");
  printf("%d\n", semctl(id, 0, GETVAL));
}

/* ---- memory ------------------------------------------------------------ */

static char *attach(char **words, int *id) {
  *id = shmget(key_of(words), 0, 0);
  if (*id < 0) fail("shmget");
  char *p = shmat(*id, NULL, 0);
  if (p == (char *)-1) fail("shmat");
  return p;
}

static void do_write(char **words) {
  int id;
  strcpy(attach(words, &id), words[1]);
}

static void do_read(char **words) {
  int id;
  puts(attach(words, &id));
}

static void do_split(char **words) {
  int id;
  struct shmid_ds ds;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *p = attach(words, &id);
  if (mprotect(p + page, page, PROT_READ) != 0) fail("mprotect");
  if (shmdt(p) != 0) fail("shmdt");
  if (shmctl(id, IPC_STAT, &ds) != 0) fail("shmctl");
  printf("%lu\n", (unsigned long)ds.shm_nattch);
}

static void do_partial(char **words) {
  int id;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *p = attach(words, &id);
  if (munmap(p, page) != 0) fail("munmap");
  if (shmdt(p) != 0) fail("shmdt");
  unsigned char state;
  int result = mincore(p + page, page, &state);
  printf("%d %d\n", result, result != 0 ? errno == ENOMEM : 0);
}

static const struct command {
  const char *name;
  int words;
  void (*run)(char **words);
} commands[] = {
  {"send", 3, do_send},
  {"receive", 2, do_receive},
  {"echo", 2, do_echo},
  {"acquire", 2, do_acquire},
  {"release", 2, do_release},
  {"create", 2, do_create},
  {"await", 1, do_await},
  {"half", 2, do_half},
  {"unshare", 1, do_unshare},
  {"write", 2, do_write},
  {"read", 1, do_read},
  {"split", 1, do_split},
  {"partial", 1, do_partial},
  {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  for (const struct command *c = commands; c->name != NULL; c++) {
    if (argc == c->words + 2 && strcmp(argv[1], c->name) == 0) {
      c->run(argv + 2);
      return 0;
    }
  }
  fprintf(stderr, "sysv_peer: no such command\n");
  return 2;
}
