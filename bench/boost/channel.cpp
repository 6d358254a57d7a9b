// boost::interprocess::message_queue; compare bench/unixipc/channel.lua.
#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sched.h>
#include <string>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace ipc = boost::interprocess;

static double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) * 1e9 + double(t.tv_nsec);
}

static void pin(pid_t pid, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(pid, sizeof set, &set);
}

static void drain(ipc::message_queue &queue, std::vector<char> &buffer,
                  long n) {
  ipc::message_queue::size_type got;
  unsigned priority;
  while (n-- > 0) queue.receive(buffer.data(), buffer.size(), got, priority);
}

// oneway n size cpu: as many bytes are under way as in a channel, at most.
int main(int argc, char **argv) {
  if (argc != 5 || std::strcmp(argv[1], "oneway") != 0) return 2;
  long n = std::atol(argv[2]), total = n + n / 10;
  size_t size = size_t(std::atol(argv[3]));
  std::string name = "bench-boost-" + std::to_string(getpid());
  ipc::message_queue queue(
    ipc::create_only, name.c_str(), (1 << 20) / (size + 16), size);
  ipc::message_queue::remove(name.c_str());
  std::vector<char> buffer(size);
  pid_t child = fork();
  if (child == 0) {
    for (long i = 0; i < total; i++) queue.send(buffer.data(), size, 0);
    _exit(0);
  }
  pin(child, std::atoi(argv[4]));
  drain(queue, buffer, n / 10);
  double start = now();
  drain(queue, buffer, n);
  std::printf("%.3f\n", (now() - start) / double(n));
  waitpid(child, nullptr, 0);
  return 0;
}
