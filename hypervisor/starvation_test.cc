#include "hypervisor/starvation.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace panicroom::hypervisor {
namespace {

// Two threads that never sleep on one CPU: one of them waits whenever the other runs.
TEST(TotalWait, GrowsForAThreadThatHasToWait) {
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
  const auto begin = total_wait(::getpid(), only);
  while (total_wait(::getpid(), only) == begin) {
  }
  stop = true;
  rival.join();
  EXPECT_GT(total_wait(::getpid(), only), begin);
  EXPECT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(WaitOfGuest, CountsWhoeverTheGuestWaitsFor) {
  const pid_t vcpus[] = {::gettid()};
  const auto one = total_wait(::getpid(), vcpus);
  // The first thread is the calling one here, and the vCPU as well.
  EXPECT_GE(wait_of_guest(::getpid(), vcpus), 3 * one);
  EXPECT_GE(wait_of_guest(::getpid(), {}), 2 * one);
}

TEST(TotalWait, OfNobodyIsNone) {
  EXPECT_EQ(total_wait(::getpid(), {}).count(), 0);
  const pid_t nobody[] = {-1};
  EXPECT_EQ(total_wait(::getpid(), nobody).count(), 0);
}

}  // namespace
}  // namespace panicroom::hypervisor
