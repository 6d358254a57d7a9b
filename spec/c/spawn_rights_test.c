/* Tests of csrc/lib/spawn: programs of other users, and those that are to end
   with their parent. */
#include "spawn_test.h"

#include <pthread.h>
#include <signal.h>
#ifdef __linux__
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif
#include <sys/resource.h>

/* ---- users ----------------------------------------------------------- */

#define SHOW_IDS \
  "echo $(id -u) $(id -g); grep -E '^(Uid|Groups):' /proc/$$/status"

static void test_ids(void) {
  char *argv[4];
  gid_t groups[] = {7, 9};
  if (geteuid() != 0) return; /* a user may be nobody but itself */
  struct ux_spawn s = shell(SHOW_IDS, argv);
  s.has_uid = s.has_gid = s.has_groups = true;
  s.uid = 65534;
  s.gid = 65533;
  s.groups = groups;
  s.group_count = 2;
  CHECK(strcmp(output_of(&s),
               "65534 65533\nUid:\t65534\t65534\t65534\t65534\n"
               "Groups:\t7 9 \n") == 0);
  CHECK(geteuid() == 0 && getegid() == 0);
}

static void test_own_ids(void) {
  struct ux_spawn s;
  char *argv[4], expected[32];
  s = shell("id -u", argv);
  s.has_uid = s.has_gid = true;
  s.uid = getuid();
  s.gid = getgid();
  snprintf(expected, sizeof expected, "%d\n", (int)getuid());
  CHECK(strcmp(output_of(&s), expected) == 0);
}

/* It ran in memory of its own: ours may still be traced and dumped. */
static void test_dumpable(void) {
#ifdef UX_HAVE_PDEATHSIG
  char *argv[4];
  if (geteuid() != 0) return;
  CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
  struct ux_spawn s = shell("exit 0", argv);
  s.has_uid = true;
  s.uid = 65534;
  CHECK(exit_code(start(&s)) == 0);
  CHECK(prctl(PR_GET_DUMPABLE) == 1);
#endif
}

/* In a child, which is no longer privileged. */
static void refuse_ids(void) {
  char *argv[4];
  gid_t none = 1;
  struct ux_spawn s = shell("exit 0", argv);
  s.uid = s.gid = 1;
  s.has_uid = true;
  refused(&s, EPERM, "setuid");
  s.has_gid = true;
  refused(&s, EPERM, "setgid");
  s.has_groups = true;
  s.groups = &none;
  s.group_count = 1;
  refused(&s, EPERM, "setgroups");
  s = shell("exit 0", argv);
  s.nice = -1;
  refused(&s, EPERM, "nice");
}

/* root without its rights: it can still write what valgrind reports. */
static bool drop_rights(void) {
#ifdef __linux__
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
  CHECK(syscall(SYS_capset, &header, none) == 0);
  return true;
#else
  return geteuid() != 0;
#endif
}

static void test_refused_ids(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_NICE, &none);
    if (!drop_rights()) _exit(0);
    refuse_ids();
    _exit(0);
  }
  CHECK(exit_code(pid) == 0);
}

static void test_nice(void) {
  char *argv[4], expected[32];
  errno = 0;
  int now = getpriority(PRIO_PROCESS, 0);
  struct ux_spawn s = shell("nice", argv);
  s.nice = 40; /* more than there is */
  CHECK(strcmp(output_of(&s), "19\n") == 0);
  s = shell("nice", argv);
  s.nice = 2;
  snprintf(expected, sizeof expected, "%d\n", now + 2 < 19 ? now + 2 : 19);
  CHECK(strcmp(output_of(&s), expected) == 0);
  CHECK(getpriority(PRIO_PROCESS, 0) == now);
}

/* ---- the end of the parent ------------------------------------------- */

#ifdef UX_HAVE_PDEATHSIG

static void *spawn_and_end(void *arg) {
  char *argv[4];
  struct ux_spawn s = shell("exec sleep 1000", argv);
  s.death_signal = SIGTERM;
  *(pid_t *)arg = start(&s);
  return NULL;
}

static void test_death_signal(void) {
  pthread_t thread;
  pid_t pid;
  char *argv[4];
  CHECK(pthread_create(&thread, NULL, spawn_and_end, &pid) == 0);
  pthread_join(thread, NULL);
  CHECK(exit_code(pid) == -SIGTERM);
  struct ux_spawn s = shell("exit 0", argv);
  s.death_signal = NSIG + 1;
  refused(&s, EINVAL, "prctl");
}

static int gate[2] = {-1, -1};

/* In each child of fork, while there is a gate: until it is open. */
static void wait_at_gate(void) {
  char byte;
  if (gate[1] < 0) return;
  close(gate[1]);
  while (read(gate[0], &byte, 1) < 0 && errno == EINTR) {
  }
}

/* Its parent ends after fork, before it can ask for the signal. */
_Noreturn static void spawn_at_gate(int report) {
  struct ux_spawn s;
  char *argv[4];
  const char *call;
  pid_t pid;
  struct ux_spawn_fd out = {.from = report, .to = STDOUT_FILENO};
  CHECK(pthread_atfork(NULL, NULL, wait_at_gate) == 0);
  s = shell("echo alive", argv);
  s.fds = &out;
  s.fd_count = 1;
  s.death_signal = SIGKILL;
  s.has_uid = true; /* makes it a fork */
  s.uid = getuid();
  CHECK(write(report, ".", 1) == 1);
  ux_spawn(&s, &pid, &call);
  _exit(1);
}

static bool has_children(pid_t pid) {
  char path[64], bytes[16];
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  ssize_t n = read(fd, bytes, sizeof bytes);
  close(fd);
  return n > 0;
}

static void test_late_death_signal(void) {
  int report[2];
  char byte;
  if (access("/proc/self/task/self/children", F_OK) != 0 &&
      access("/proc/thread-self/children", F_OK) != 0)
    return;
  CHECK(pipe2(report, O_CLOEXEC) == 0);
  CHECK(pipe2(gate, O_CLOEXEC) == 0);
  pid_t parent = fork();
  CHECK(parent >= 0);
  if (parent == 0) spawn_at_gate(report[1]);
  close(report[1]);
  CHECK(read(report[0], &byte, 1) == 1);
  while (!has_children(parent)) usleep(1000);
  CHECK(kill(parent, SIGKILL) == 0);
  CHECK(exit_code(parent) == -SIGKILL);
  close(gate[1]); /* only now it goes on */
  CHECK(read(report[0], &byte, 1) == 0);
  close(report[0]);
  close(gate[0]);
  gate[0] = gate[1] = -1;
}

#else

static void test_death_signal(void) {
  char *argv[4];
  struct ux_spawn s = shell("exit 0", argv);
  s.death_signal = SIGTERM;
  refused(&s, ENOTSUP, "prctl");
}

static void test_late_death_signal(void) {}

#endif

static const struct test tests[] = {
  TEST(ids),
  TEST(own_ids),
  TEST(dumpable),
  TEST(refused_ids),
  TEST(nice),
  TEST(death_signal),
  TEST(late_death_signal),
};

int main(void) {
  return run_tests(tests, sizeof tests / sizeof *tests);
}
