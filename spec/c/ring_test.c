/* Tests of csrc/lib/ring and segment: each function alone, then in threads
   (for ThreadSanitizer). What happens when somebody is killed: ring_storm. */
#include "lib/clock.h"
#include "lib/ring.h"
#include "lib/ring_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(bool ok, int line, const char *what) {
  if (ok) return;
  fprintf(stderr, "ring_test.c:%d: %s (errno %d)\n", line, what, errno);
  _exit(1);
}

#define CHECK(what) check((what), __LINE__, #what)
#define SECOND UX_NS_PER_S

static struct ux_segment segment;
static struct ux_ring ring;
static struct ux_ring_message m;
static char buffer[4096];

static void make(struct ux_segment_options o) {
  CHECK(ux_segment_create(&segment, NULL, 0600, &o) == 0);
  CHECK(ux_ring_init(&ring, &segment, 0) == 0);
}

static void end(void) {
  ux_ring_done(&ring);
  ux_segment_detach(&segment);
}

/* Another participant of the same segment. */
static void join(struct ux_segment *s, struct ux_ring *r, uint32_t index) {
  CHECK(ux_segment_adopt(s, segment.fd) == 0);
  CHECK(ux_ring_init(r, s, index) == 0);
}

static int put(const char *text) {
  return ux_ring_put(&ring, text, strlen(text), 3);
}

static bool gets_from(struct ux_ring *r, const char *text) {
  int err = ux_ring_get(r, buffer, sizeof buffer, &m);
  return err == 0 && m.length == strlen(text) &&
         memcmp(buffer, text, m.length) == 0;
}

static bool gets(const char *text) {
  return gets_from(&ring, text);
}

static int get(void) {
  return ux_ring_get(&ring, buffer, sizeof buffer, &m);
}

/* ---- queue and spsc ---------------------------------------------------- */

static void test_messages(enum ux_segment_kind kind) {
  make((struct ux_segment_options){.kind = kind, .capacity = 1024});
  CHECK(get() == EAGAIN);
  CHECK(put("one") == 0);
  CHECK(put("") == 0);
  CHECK(ux_ring_get(&ring, buffer, 2, &m) == ERANGE && m.length == 3);
  CHECK(gets("one") && m.mark == 3);
  CHECK(m.from == ux_segment_self(&segment));
  CHECK(gets("") && get() == EAGAIN);
  CHECK(ux_ring_limit(&ring) == 496);
  CHECK(ux_ring_put(&ring, buffer, 496, 0) == 0);
  CHECK(ux_ring_put(&ring, buffer, 497, 0) == EMSGSIZE);
  CHECK(get() == 0 && m.length == 496);
  for (size_t n = 0; n <= 496; n++) { /* over the end, everywhere */
    char out[496];
    memset(out, (int)n, sizeof out);
    CHECK(ux_ring_put(&ring, out, n, n & 15u) == 0);
    CHECK(get() == 0 && m.length == n && m.mark == (n & 15u));
    CHECK(memcmp(buffer, out, n) == 0);
  }
  struct iovec two[] = {{"ab", 2}, {"c", 1}};
  CHECK(ux_ring_putv(&ring, two, 2, 0) == 0 && gets("abc"));
  int count = 0;
  while (put("fills it up") == 0) count++;
  CHECK(count > 20 && put("x") == EAGAIN);
  ring.overflow = UX_RING_DROP_NEW;
  CHECK(put("dropped") == 0);
  struct ux_ring_stats stats;
  CHECK(ux_ring_stats(&ring, &stats) == 0);
  CHECK(stats.dropped == 1 && stats.capacity == 1024);
  CHECK(stats.puts - stats.gets == (uint64_t)count && stats.used <= 1024);
  CHECK(ux_segment_close(&segment) == 0 && put("x") == EPIPE);
  while (count-- > 0) CHECK(gets("fills it up"));
  CHECK(get() == EPIPE);
  end();
}

static void test_drop_oldest(void) {
  make(
    (struct ux_segment_options){.kind = UX_SEGMENT_QUEUE, .capacity = 1024});
  ring.overflow = UX_RING_DROP_OLDEST;
  for (int i = 0; i < 100; i++)
    CHECK(ux_ring_put(&ring, &i, sizeof i, 0) == 0);
  struct ux_ring_stats stats;
  CHECK(ux_ring_stats(&ring, &stats) == 0 && stats.dropped == 68);
  for (int i = 68; i < 100; i++)
    CHECK(get() == 0 && memcmp(buffer, &i, sizeof i) == 0);
  CHECK(get() == EAGAIN);
  end();
}

static void test_many(enum ux_segment_kind kind) {
  struct ux_ring_item items[40];
  size_t done, count, needed, total = 0;
  make((struct ux_segment_options){.kind = kind, .capacity = 1024});
  for (int i = 0; i < 40; i++)
    items[i] = (struct ux_ring_item){&"abcdefghij"[i % 10], 10, 1};
  for (int i = 0; i < 40; i++) items[i].length = 10 - (size_t)i % 10;
  CHECK(ux_ring_put_many(&ring, items, 40, &done) == 0);
  CHECK(done == 32);
  CHECK(ux_ring_put_many(&ring, items, 1, &count) == EAGAIN && count == 0);
  CHECK(ux_ring_get_many(&ring, buffer, 8, 9, &count, &needed) == ERANGE);
  CHECK(needed == 32);
  while (total < done) {
    CHECK(ux_ring_get_many(&ring, buffer, 200, 9, &count, &needed) == 0);
    CHECK(count > 0 && count <= 9);
    const char *at = buffer;
    struct ux_ring_packed head;
    for (size_t i = 0; i < count; i++, total++) {
      const void *data = ux_ring_packed_next(&at, &head);
      CHECK(head.length == items[total].length && head.mark == 1);
      CHECK(memcmp(data, items[total].data, head.length) == 0);
    }
  }
  CHECK(ux_ring_get_many(&ring, buffer, 200, 9, &count, &needed) == EAGAIN);
  end();
}

static void test_quietly(void) {
  make((struct ux_segment_options){.kind = UX_SEGMENT_SPSC});
  CHECK(ux_ring_put_quietly(&ring, "a", 1, 0) == 0);
  CHECK(get() == EAGAIN);
  ux_ring_publish(&ring);
  CHECK(gets("a"));
  end();
}

/* ---- loans ------------------------------------------------------------- */

static void test_loans(enum ux_segment_kind kind) {
  struct ux_ring_loan loan;
  make((struct ux_segment_options){.kind = kind, .capacity = 1024});
  if (kind == UX_SEGMENT_BROADCAST)
    CHECK(ux_ring_subscribe(&ring, UX_RING_NEW, 0) == 0);
  CHECK(ux_ring_reserve(&ring, 497, &loan) == EMSGSIZE);
  for (size_t n = 0; n <= 200; n++) {
    CHECK(ux_ring_reserve(&ring, 200, &loan) == 0 && loan.length == 200);
    memset(loan.data, (int)n, 200);
    CHECK(get() == EAGAIN);
    CHECK(ux_ring_commit(&ring, &loan, 201, 0) == EMSGSIZE);
    CHECK(ux_ring_commit(&ring, &loan, n, 5) == 0);
    CHECK(ux_ring_commit(&ring, &loan, n, 5) == EBADMSG || n == 200);
    CHECK(get() == 0 && m.length == n && m.mark == 5);
  }
  CHECK(ux_ring_reserve(&ring, 100, &loan) == 0);
  CHECK(ux_ring_abort(&ring, &loan) == 0);
  CHECK(put("behind it") == 0);
  CHECK(ux_ring_peek(&ring, &m) == 0 && m.length == 9);
  CHECK(memcmp(m.data, "behind it", 9) == 0);
  CHECK(ux_ring_release(&ring, m.position + 16) == EBADMSG);
  CHECK(ux_ring_release(&ring, m.position) == 0);
  CHECK(get() == EAGAIN);
  end();
}

/* Several may be taken, and let go in any order. */
static void test_taken(void) {
  struct ux_ring_message taken[3];
  struct ux_segment other_segment;
  struct ux_ring other;
  make(
    (struct ux_segment_options){.kind = UX_SEGMENT_QUEUE, .capacity = 1024});
  join(&other_segment, &other, 0);
  for (int i = 0; i < 5; i++) CHECK(put("abcde") == 0);
  for (int i = 0; i < 3; i++) CHECK(ux_ring_peek(&ring, &taken[i]) == 0);
  CHECK(gets_from(&other, "abcde"));
  CHECK(ux_ring_release(&other, taken[1].position) == EBADMSG);
  CHECK(ux_ring_release(&ring, taken[1].position) == 0);
  CHECK(ux_ring_untake(&ring, taken[0].position) == 0);
  CHECK(gets_from(&other, "abcde") && gets_from(&other, "abcde"));
  CHECK(ux_ring_get(&other, buffer, 99, &m) == EAGAIN);
  CHECK(ux_ring_release(&ring, taken[2].position) == 0);
  struct ux_ring_stats stats;
  CHECK(ux_ring_stats(&ring, &stats) == 0 && stats.used == 0);
  CHECK(put("last") == 0 && ux_ring_peek(&other, &m) == 0);
  ux_segment_detach(&other_segment); /* as if killed */
  CHECK(ux_ring_sleep(&ring, UX_RING_GET, ux_clock_now() + SECOND) == 0);
  CHECK(gets("last"));
  end();
}

/* ---- broadcast --------------------------------------------------------- */

static void test_broadcast(void) {
  struct ux_segment others[3];
  struct ux_ring r[3];
  make((struct ux_segment_options){.kind = UX_SEGMENT_BROADCAST,
                                   .capacity = 1024});
  for (int i = 0; i < 3; i++) join(&others[i], &r[i], 0);
  CHECK(gets("x") == false && get() == ENOTCONN);
  CHECK(ux_ring_subscribe(&r[0], UX_RING_NEW, 0) == 0);
  for (int i = 0; i < 9; i++) CHECK(put(&"123456789"[i]) == 0);
  CHECK(ux_ring_subscribe(&r[1], UX_RING_OLDEST, 0) == 0);
  CHECK(ux_ring_subscribe(&r[2], UX_RING_LAST, 2) == 0);
  for (int i = 0; i < 9; i++) CHECK(gets_from(&r[0], &"123456789"[i]));
  for (int i = 0; i < 9; i++) CHECK(gets_from(&r[1], &"123456789"[i]));
  CHECK(gets_from(&r[2], "89"));
  int count = 0;
  while (put("full") == 0) count++;
  CHECK(count > 10 && put("full") == EAGAIN);
  struct ux_ring_stats stats;
  CHECK(ux_ring_stats(&r[2], &stats) == 0);
  CHECK(stats.subscribers == 3 && stats.lag == (uint64_t)count + 1);
  CHECK(gets_from(&r[2], "9"));
  ux_ring_unsubscribe(&r[0]);
  ux_segment_detach(&others[1]);
  CHECK(ux_ring_sleep(&ring, UX_RING_PUT, ux_clock_now() + SECOND) == 0);
  CHECK(put("full") == 0);
  CHECK(ux_ring_get(&r[0], buffer, 99, &m) == ENOTCONN);
  ux_segment_detach(&others[0]);
  ux_segment_detach(&others[2]);
  end();
}

static void test_lap(void) {
  uint32_t evicted;
  make((struct ux_segment_options){
    .kind = UX_SEGMENT_BROADCAST, .capacity = 1024, .policy = UX_SEGMENT_LAP});
  CHECK(ux_ring_subscribe(&ring, UX_RING_NEW, 0) == 0);
  for (int i = 0; i < 100; i++)
    CHECK(ux_ring_put(&ring, &i, sizeof i, 0) == 0);
  CHECK(get() == 0 && m.lost == 68 && buffer[0] == 68);
  CHECK(get() == 0 && m.lost == 0 && buffer[0] == 69);
  CHECK(ux_ring_peek(&ring, &m) == ENOTSUP);
  end();
  make((struct ux_segment_options){.kind = UX_SEGMENT_BROADCAST,
                                   .capacity = 1024,
                                   .policy = UX_SEGMENT_EVICT});
  CHECK(ux_ring_subscribe(&ring, UX_RING_NEW, 0) == 0);
  while (put("full") == 0) {
  }
  CHECK(ux_ring_evict(&ring, 4, &evicted) == 0 && evicted == 1);
  CHECK(put("full") == 0 && get() == ENOTCONN);
  end();
}

/* ---- duplex and service ------------------------------------------------ */

static void test_duplex(bool is_killed) {
  struct ux_ring out, in;
  make((struct ux_segment_options){.kind = UX_SEGMENT_DUPLEX});
  CHECK(ux_duplex_init(&out, &in, &segment, 0) == 0);
  pid_t child = fork();
  if (child == 0) {
    CHECK(ux_duplex_init(&out, &in, &segment, 1) == 0);
    CHECK(ux_ring_receive(&in, buffer, 99, &m, -1) == 0);
    CHECK(ux_ring_send(&out, buffer, m.length, -1) == 0);
    CHECK(ux_ring_send(&out, "last", 4, -1) == 0);
    if (is_killed) raise(SIGKILL);
    ux_ring_done(&out);
    ux_ring_done(&in);
    _exit(0);
  }
  CHECK(ux_ring_send(&out, "hello", 5, -1) == 0);
  CHECK(ux_ring_receive(&in, buffer, 99, &m, 10 * SECOND) == 0);
  CHECK(m.length == 5);
  CHECK(ux_ring_receive(&in, buffer, 99, &m, 10 * SECOND) == 0);
  CHECK(ux_ring_receive(&in, buffer, 99, &m, 10 * SECOND) == EPIPE);
  CHECK(ux_ring_put(&out, "x", 1, 0) == EPIPE);
  waitpid(child, NULL, 0);
  end();
}

static void serve_once(bool is_killed) {
  struct ux_service_request q;
  struct ux_ring replies = {.segment = NULL};
  int err;
  while ((err = ux_service_take(&ring, buffer, sizeof buffer, &q)) == EAGAIN)
    ux_ring_sleep(&ring, UX_RING_GET, 0);
  CHECK(err == 0);
  if (is_killed) raise(SIGKILL);
  struct iovec iov = {(void *)(uintptr_t)q.message.data, q.message.length};
  CHECK(ux_service_reply(&ring, &replies, &q, &iov, 1, 7) == 0);
  _exit(0);
}

static void test_service(bool is_retried) {
  struct ux_ring replies;
  struct iovec iov = {"what?", 5};
  uint64_t id;
  int err;
  make((struct ux_segment_options){
    .kind = UX_SEGMENT_SERVICE, .slots = 4, .retry = is_retried});
  CHECK(ux_service_replies(&replies, &segment) == 0);
  CHECK(ux_service_ask(&ring, &iov, 1, 0, 77) == 0);
  pid_t first = fork();
  if (first == 0) serve_once(true);
  waitpid(first, NULL, 0);
  pid_t second = is_retried ? fork() : 0;
  if (is_retried && second == 0) serve_once(false);
  while ((err = ux_service_collect(&replies, buffer, 99, &m, &id)) == EAGAIN)
    CHECK(ux_ring_sleep(&replies, UX_RING_GET, ux_clock_now() + 10 * SECOND) ==
          0);
  CHECK(id == 77 && err == (is_retried ? 0 : ECANCELED));
  if (is_retried)
    CHECK(m.length == 5 && memcmp(m.data, "what?", 5) == 0 && m.mark == 7);
  if (is_retried) waitpid(second, NULL, 0);
  end();
}

/* ---- segments ---------------------------------------------------------- */

static void test_names(void) {
  struct ux_segment_options o = {.kind = UX_SEGMENT_QUEUE, .slots = 2};
  struct ux_segment a, b, c;
  struct ux_segment_info info;
  struct ux_segment_participant p;
  struct stat st;
  char name[64];
  snprintf(name, sizeof name, "test-%d", (int)getpid());
  CHECK(ux_segment_open(&a, name) == ENOENT);
  CHECK(ux_segment_create(&a, name, 0640, &o) == 0);
  CHECK(fstat(a.fd, &st) == 0 && (st.st_mode & 0777) == 0640);
  CHECK(ux_segment_create(&b, name, 0600, &o) == EEXIST);
  CHECK(ux_segment_open(&b, name) == 0);
  CHECK(ux_segment_open(&c, name) == EUSERS);
  CHECK(ux_segment_look(name, &info) == 0 && info.alive == 2);
  CHECK(info.options.slots == 2 && !info.is_closed);
  CHECK(ux_segment_participant(&a, 1, &p) == 0 && p.is_alive);
  CHECK(p.pid == getpid() && p.start_time != 0);
  CHECK(ux_segment_participant(&a, 2, &p) == EINVAL);
  CHECK(ux_segment_remove_unused(name) == EBUSY);
  ux_segment_detach(&b);
  CHECK(ux_segment_participant(&a, 1, &p) == 0 && !p.is_alive);
  CHECK(ux_segment_reap(&a) == 1);
  CHECK(ux_segment_participant(&a, 1, &p) == ENOENT);
  ux_segment_detach(&a);
  CHECK(ux_segment_remove_unused(name) == 0);
  CHECK(ux_segment_remove_unused(name) == ENOENT);
  CHECK(ux_segment_create(&a, name, 0600, &o) == 0);
  CHECK(ux_segment_unlink(name) == 0 && ux_segment_unlink(name) == ENOENT);
  ux_segment_detach(&a);
  CHECK(ux_segment_open(&a, "") == EINVAL);
}

static void test_strangers(void) {
  struct ux_segment s;
  char path[] = "/tmp/unixipc-ring-XXXXXX", zeros[4096] = {0};
  int fd = mkstemp(path);
  CHECK(fd >= 0 && ux_segment_open(&s, path) == EBADMSG);
  CHECK(write(fd, zeros, sizeof zeros) == sizeof zeros);
  CHECK(ux_segment_open(&s, path) == EBADMSG);
  CHECK(strcmp(ux_segment_explain(), "not a channel") == 0);
  make((struct ux_segment_options){.kind = UX_SEGMENT_QUEUE});
  CHECK(pwrite(fd, segment.at, 4096, 0) == 4096);
  CHECK(ux_segment_open(&s, path) == EBADMSG);
  CHECK(strstr(ux_segment_explain(), "another size") != NULL);
  int version = 2;
  CHECK(pwrite(fd, &version, sizeof version, 8) == sizeof version);
  CHECK(ux_segment_open(&s, path) == EBADMSG);
  CHECK(strstr(ux_segment_explain(), "another version") != NULL);
  CHECK(ftruncate(segment.fd, 0) != 0); /* sealed */
  CHECK(unlink(path) == 0 && close(fd) == 0);
  end();
}

/* A child takes part as itself, and its parent can die. */
static void test_fork(void) {
  make((struct ux_segment_options){.kind = UX_SEGMENT_QUEUE});
  uint32_t parent = ux_segment_self(&segment);
  if (fork() == 0) {
    CHECK(put("from the child") == 0);
    CHECK(ux_segment_self(&segment) != parent);
    CHECK(ux_segment_is_alive(&segment, parent));
    _exit(0);
  }
  wait(NULL);
  CHECK(gets("from the child") && m.from != parent);
  CHECK(!ux_segment_is_alive(&segment, m.from));
  end();
}

static bool is_readable(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, 0) == 1;
}

static void test_bell(void) {
  int fd;
  make((struct ux_segment_options){.kind = UX_SEGMENT_QUEUE});
  CHECK(ux_ring_bell(&ring, UX_RING_GET, &fd) == 0 && is_readable(fd));
  CHECK(get() == EAGAIN && ux_ring_bell_rearm(&ring, UX_RING_GET) == 0);
  CHECK(!is_readable(fd));
  if (fork() == 0) _exit(put("ding") == 0 && put("dong") == 0 ? 0 : 1);
  wait(NULL);
  CHECK(is_readable(fd) && gets("ding") && gets("dong"));
  CHECK(get() == EAGAIN && ux_ring_bell_rearm(&ring, UX_RING_GET) == 0);
  CHECK(!is_readable(fd));
  CHECK(put("x") == 0 && is_readable(fd) && gets("x"));
  CHECK(get() == EAGAIN && put("y") == 0);
  CHECK(ux_ring_bell_rearm(&ring, UX_RING_GET) == 0 && is_readable(fd));
  CHECK(ux_segment_close(&segment) == 0 && is_readable(fd));
  end();
}

static void test_waiting(void) {
  make((struct ux_segment_options){.kind = UX_SEGMENT_QUEUE});
  int64_t at = ux_clock_now() + SECOND / 50;
  CHECK(get() == EAGAIN);
  CHECK(ux_ring_sleep(&ring, UX_RING_GET, at) == ETIMEDOUT);
  CHECK(ux_clock_now() >= at);
  CHECK(ux_ring_receive(&ring, buffer, 9, &m, 0) == ETIMEDOUT);
  CHECK(ux_ring_receive(&ring, buffer, 9, &m, SECOND / 50) == ETIMEDOUT);
  CHECK(!ux_ring_spin(&ring, UX_RING_GET) && put("x") == 0);
  CHECK(ux_ring_spin(&ring, UX_RING_GET));
  CHECK(ux_ring_sleep(&ring, UX_RING_GET, 0) == 0 && gets("x"));
  end();
}

/* One message comes, and no more while it gathers: so it does that ever more
   rarely. The sender must seem to run elsewhere. */
static void test_gathering(void) {
  if (sysconf(_SC_NPROCESSORS_ONLN) == 1) return;
  make((struct ux_segment_options){.kind = UX_SEGMENT_QUEUE});
  const uint32_t rests[] = {1, 0, 3, 2, 1, 0, 7};
  for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
    CHECK(get() == EAGAIN && put("x") == 0);
    atomic_store(&ring.at->put_cpu, 0);
    CHECK(ux_ring_spin(&ring, UX_RING_GET) && gets("x"));
    CHECK(ring.spin[UX_RING_GET].rest == rests[i]);
  }
  end();
}

/* ---- in threads -------------------------------------------------------- */

/* ThreadSanitizer goes by addresses: all use one mapping. */
static void join_here(struct ux_segment *s, struct ux_ring *r) {
  CHECK(ux_segment_adopt(s, segment.fd) == 0);
  CHECK(munmap(s->at, s->size) == 0);
  s->at = segment.at;
  CHECK(ux_ring_init(r, s, 0) == 0);
}

static void leave_here(struct ux_segment *s, struct ux_ring *r) {
  ux_ring_done(r);
  s->at = NULL;
  ux_segment_detach(s);
}

#define COUNT 20000
#define SIDES 3

static _Atomic uint64_t sum;

static void *produce(void *arg) {
  struct ux_segment s;
  struct ux_ring r;
  uint64_t text[8] = {(uintptr_t)arg};
  join_here(&s, &r);
  for (uint64_t i = 1; i <= COUNT; i++) {
    text[1] = text[2 + i % 6] = i;
    CHECK(ux_ring_send(&r, text, 24 + i % 41, -1) == 0);
  }
  leave_here(&s, &r);
  return NULL;
}

/* Until it is closed; each producer's are in order. */
static void *consume(void *arg) {
  struct ux_segment s;
  struct ux_ring r;
  struct ux_ring_message got;
  uint64_t text[8], last[SIDES] = {0};
  join_here(&s, &r);
  if (arg != NULL) CHECK(ux_ring_subscribe(&r, UX_RING_NEW, 0) == 0);
  atomic_fetch_add(&sum, UINT64_C(1) << 60);
  for (;;) {
    int err = ux_ring_receive(&r, text, sizeof text, &got, -1);
    if (err == EPIPE) break;
    CHECK(err == 0 && text[0] < SIDES && text[1] > last[text[0]]);
    CHECK(got.length == 24 + text[1] % 41);
    last[text[0]] = text[1];
    atomic_fetch_add(&sum, text[1]);
  }
  leave_here(&s, &r);
  return NULL;
}

static void run_threads(struct ux_segment_options o, uintptr_t producers,
                        int consumers) {
  pthread_t threads[2 * SIDES];
  make(o);
  atomic_store(&sum, 0);
  void *is_subscribed = o.kind == UX_SEGMENT_BROADCAST ? &sum : NULL;
  for (int i = 0; i < consumers; i++)
    CHECK(pthread_create(&threads[i], NULL, consume, is_subscribed) == 0);
  while (atomic_load(&sum) >> 60 != (uint64_t)consumers) usleep(100);
  for (uintptr_t i = 0; i < producers; i++)
    CHECK(pthread_create(
            &threads[(uintptr_t)consumers + i], NULL, produce, (void *)i) ==
          0);
  for (uintptr_t i = 0; i < producers; i++)
    pthread_join(threads[(uintptr_t)consumers + i], NULL);
  CHECK(ux_segment_close(&segment) == 0);
  for (int i = 0; i < consumers; i++) pthread_join(threads[i], NULL);
  uint64_t each = (uint64_t)COUNT * (COUNT + 1) / 2 * producers;
  if (is_subscribed != NULL) each *= (uint64_t)consumers;
  uint64_t all = atomic_load(&sum) & (UINT64_MAX >> 4);
  if (o.policy == UX_SEGMENT_LAP)
    CHECK(all <= each);
  else
    CHECK(all == each);
  end();
}

static void test_threads(void) {
  struct ux_segment_options o = {.kind = UX_SEGMENT_QUEUE, .capacity = 4096};
  run_threads(o, 1, 1);
  run_threads(o, SIDES, SIDES);
  o.kind = UX_SEGMENT_SPSC;
  run_threads(o, 1, 1);
  o.kind = UX_SEGMENT_BROADCAST;
  run_threads(o, 2, SIDES);
  o.policy = UX_SEGMENT_LAP;
  run_threads(o, 2, SIDES);
}

int main(void) {
  test_messages(UX_SEGMENT_QUEUE);
  test_messages(UX_SEGMENT_SPSC);
  test_drop_oldest();
  test_many(UX_SEGMENT_QUEUE);
  test_many(UX_SEGMENT_SPSC);
  test_quietly();
  test_loans(UX_SEGMENT_QUEUE);
  test_loans(UX_SEGMENT_SPSC);
  test_loans(UX_SEGMENT_BROADCAST);
  test_taken();
  test_broadcast();
  test_lap();
  test_names();
  test_strangers();
  test_waiting();
  test_gathering();
  test_fork();
  test_bell();
  test_duplex(false);
  test_duplex(true);
  test_service(false);
  test_service(true);
  test_threads();
  return 0;
}
