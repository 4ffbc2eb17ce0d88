#include "hypervisor/qemu/starvation.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace panicroom::qemu {
namespace {

// Two threads that never sleep on one CPU: one of them waits whenever the other runs.
TEST(LongestWait, IsThatOfAThreadThatHasToWait) {
  const pid_t only[] = {::gettid()};
  if (::access("/proc/self/schedstat", R_OK) != 0) GTEST_SKIP() << "this kernel does not count (CONFIG_SCHED_INFO)";
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &before)) ++cpu;
  CPU_SET(cpu, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);  // The thread made here inherits it.
  std::atomic<bool> stop = false;
  std::thread rival([&] {
    while (!stop) {
    }
  });
  const auto begin = longest_wait(::getpid(), only);
  while (longest_wait(::getpid(), only) == begin) {
  }
  stop = true;
  rival.join();
  EXPECT_GT(longest_wait(::getpid(), only), begin);
  EXPECT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(LongestWait, OfNobodyIsNone) {
  EXPECT_EQ(longest_wait(::getpid(), {}).count(), 0);
  const pid_t nobody[] = {-1};
  EXPECT_EQ(longest_wait(::getpid(), nobody).count(), 0);
}

}  // namespace
}  // namespace panicroom::qemu
