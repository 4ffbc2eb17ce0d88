#include "harness/director/heartbeats.h"

#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

constexpr hypervisor::Clock::time_point kNow{};

agent::v1::Heartbeat beat(std::uint64_t passes, bool ended = false) {
  agent::v1::Heartbeat heartbeat;
  for (std::uint32_t cpu = 0; cpu < 2; ++cpu) {
    auto& workload = *heartbeat.add_workloads();
    workload.set_cpu(cpu);
    workload.set_passes(cpu == 0 ? 1000 + passes : passes);
    workload.set_ended(cpu == 1 && ended);
  }
  return heartbeat;
}

TEST(Heartbeats, CalmAfterTwoSecondsOfProgress) {
  Heartbeats heartbeats;
  for (std::uint64_t i = 1; i < 20; ++i) heartbeats.take(beat(i), kNow, true);
  EXPECT_FALSE(heartbeats.calm());
  heartbeats.take(beat(20), kNow, true);
  EXPECT_TRUE(heartbeats.calm());
}

TEST(Heartbeats, BeatsBeforeTheTimelineIsThroughDoNotCount) {
  Heartbeats heartbeats;
  for (std::uint64_t i = 1; i < 100; ++i) heartbeats.take(beat(i), kNow, false);
  EXPECT_FALSE(heartbeats.calm());
}

TEST(Heartbeats, AWorkloadThatStandsStillIsNoCalm) {
  Heartbeats heartbeats;
  for (std::uint64_t i = 1; i < 100; ++i) {
    auto heartbeat = beat(i);
    heartbeat.mutable_workloads(1)->set_passes(7);
    heartbeats.take(heartbeat, kNow, true);
  }
  EXPECT_FALSE(heartbeats.calm());
}

TEST(Heartbeats, AWorkloadThatWasKilledNeedNotGoOn) {
  Heartbeats heartbeats;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    auto heartbeat = beat(i, true);
    heartbeat.mutable_workloads(1)->set_passes(7);
    heartbeats.take(heartbeat, kNow, true);
  }
  EXPECT_TRUE(heartbeats.calm());
}

TEST(Heartbeats, SilenceIsNotSeenLately) {
  Heartbeats heartbeats;
  EXPECT_FALSE(heartbeats.seen_lately(kNow));
  heartbeats.take(beat(1), kNow, false);
  EXPECT_TRUE(heartbeats.seen_lately(kNow + std::chrono::seconds(1)));
  EXPECT_FALSE(heartbeats.seen_lately(kNow + std::chrono::minutes(1)));
}

TEST(Heartbeats, SlowKernelCodeMayBeSilentForLonger) {
  Heartbeats heartbeats({.slowdown = 20});
  heartbeats.take(beat(1), kNow, false);
  EXPECT_TRUE(heartbeats.seen_lately(kNow + std::chrono::minutes(1)));
  EXPECT_FALSE(heartbeats.seen_lately(kNow + std::chrono::minutes(2)));
}

}  // namespace
}  // namespace panicroom::harness
