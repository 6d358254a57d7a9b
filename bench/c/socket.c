/* Sockets in C: what the system itself costs. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common.h"

struct pair {
  int ours, theirs;
  pid_t child;
  size_t size;
  char *buffer;
};

static int type_of(const char *word) {
  return strcmp(word, "stream") == 0      ? SOCK_STREAM
         : strcmp(word, "seqpacket") == 0 ? SOCK_SEQPACKET
                                          : SOCK_DGRAM;
}

static void open_pair(struct pair *p, const char *type, size_t size) {
  int fds[2];
  if (socketpair(AF_UNIX, type_of(type), 0, fds) != 0) die("socketpair");
  p->ours = fds[0];
  p->theirs = fds[1];
  p->size = size;
  p->buffer = calloc(1, size);
  if (p->buffer == NULL) die("calloc");
}

static void start(struct pair *p, void (*peer)(struct pair *, long), long n,
                  long cpu) {
  p->child = fork();
  if (p->child < 0) die("fork");
  if (p->child == 0) {
    close(p->ours);
    peer(p, n);
    _exit(0);
  }
  close(p->theirs);
  pin(p->child, cpu);
}

/* A message of no bytes ends it: a datagram socket has no other end. */
static void echo(struct pair *p, long n) {
  (void)n;
  for (;;) {
    ssize_t got = recv(p->theirs, p->buffer, p->size, MSG_WAITALL);
    if (got <= 0) return;
    if (send(p->theirs, p->buffer, (size_t)got, 0) != got) die("send");
  }
}

static void trips(long n, void *state) {
  struct pair *p = state;
  for (long i = 0; i < n; i++) {
    if (send(p->ours, p->buffer, p->size, 0) < 0) die("send");
    if (recv(p->ours, p->buffer, p->size, MSG_WAITALL) <= 0) die("recv");
  }
}

/* roundtrip type n size cpu: a message there and back. */
static void roundtrip(char **words) {
  struct pair p;
  open_pair(&p, words[0], (size_t)number(words[2]));
  start(&p, echo, 0, number(words[3]));
  measure(number(words[1]), trips, &p);
  if (type_of(words[0]) != SOCK_STREAM) send(p.ours, "", 0, 0);
  close(p.ours);
  reap(p.child);
}

static void supply(struct pair *p, long n) {
  for (long i = n + WARM_UP(n); i > 0; i--)
    write_full(p->theirs, p->buffer, p->size);
}

static void drain(long n, void *state) {
  struct pair *p = state;
  for (long i = 0; i < n; i++)
    if (recv(p->ours, p->buffer, p->size, MSG_WAITALL) <= 0) die("recv");
}

/* oneway type n size cpu: the child writes, whole messages are read here. */
static void oneway(char **words) {
  struct pair p;
  long n = number(words[1]);
  open_pair(&p, words[0], (size_t)number(words[2]));
  start(&p, supply, n, number(words[3]));
  measure(n, drain, &p);
  close(p.ours);
  reap(p.child);
}

/* The load for the echo servers of all competitors: 100 clients at a path,
   each with one line of 64 B under way. */
#define CLIENTS 100
#define LINE 64

struct load {
  int fds[CLIENTS];
  int poller;
};

static int connect_to(const char *path) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  for (int tries = 0; tries < 1000; tries++) {
    if (connect(fd, (const struct sockaddr *)&un, sizeof un) == 0) return fd;
    usleep(10000);
  }
  die("connect");
  return -1;
}

static void ask(int fd) {
  char line[LINE];
  memset(line, 'x', sizeof line);
  line[LINE - 1] = '\n';
  write_full(fd, line, sizeof line);
}

static void exchange(long n, void *state) {
  struct load *l = state;
  char line[LINE];
  long answered = 0, asked = CLIENTS < n ? CLIENTS : n;
  for (long i = 0; i < asked; i++) ask(l->fds[i]);
  while (answered < n) {
    struct epoll_event events[CLIENTS];
    int ready = epoll_wait(l->poller, events, CLIENTS, 10000);
    if (ready <= 0) die("epoll_wait");
    for (int i = 0; i < ready; i++) {
      if (read_full(events[i].data.fd, line, LINE) == 0) die("server left");
      answered++;
      if (asked < n) {
        ask(events[i].data.fd);
        asked++;
      }
    }
  }
}

/* load n path: ns for each line answered. Then the server ends, as the clients
   are gone. */
static void load(char **words) {
  struct load l = {.poller = epoll_create1(0)};
  for (int i = 0; i < CLIENTS; i++) {
    l.fds[i] = connect_to(words[1]);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = l.fds[i]};
    if (epoll_ctl(l.poller, EPOLL_CTL_ADD, l.fds[i], &e) != 0)
      die("epoll_ctl");
  }
  measure(number(words[0]), exchange, &l);
}

static void add(int poller, int fd) {
  struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) != 0) die("epoll_ctl");
}

/* server path: an echo server until all clients have left. */
static void server(char **words) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s", words[0]);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0), poller = epoll_create1(0);
  if (bind(listener, (const struct sockaddr *)&un, sizeof un) != 0)
    die("bind");
  if (listen(listener, 128) != 0) die("listen");
  add(poller, listener);
  for (int clients = 0, left = 0; clients == 0 || left < clients;) {
    struct epoll_event events[64];
    int ready = epoll_wait(poller, events, 64, -1);
    for (int i = 0; i < ready; i++) {
      char buffer[8192];
      int fd = events[i].data.fd;
      if (fd == listener) {
        add(poller, accept(listener, NULL, NULL));
        clients++;
        continue;
      }
      ssize_t got = read(fd, buffer, sizeof buffer);
      if (got > 0) {
        write_full(fd, buffer, (size_t)got);
      } else {
        close(fd);
        left++;
      }
    }
  }
}

static const struct command commands[] = {
    {"roundtrip", 4, roundtrip}, {"oneway", 4, oneway},
    {"load", 2, load},           {"server", 1, server},
    {NULL, 0, NULL},
};

int main(int argc, char **argv) {
  return dispatch(argc, argv, commands);
}
