// The timer walks through SDM Vol. 3, 11.5.4 and 11.5.4.1.
#include "hypervisor/kvm/apic/apic_timer.h"

#include <gtest/gtest.h>

#include <array>

namespace panicroom::kvm {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using Mode = ApicTimer::Mode;

constexpr std::uint64_t kTscKhz = 2'000'000;
constexpr std::uint32_t kBy1 = 0xb;

Now at(nanoseconds clock) { return {.clock = clock, .tsc = static_cast<std::uint64_t>(clock.count()) * 2}; }

ApicTimer undivided(Mode mode) {
  ApicTimer timer(kTscKhz);
  timer.set_mode(mode);
  timer.set_divide_configuration(kBy1, at(0ns));
  return timer;
}

TEST(ApicTimer, OneShotCountsDownAndEndsOnce) {
  auto timer = undivided(Mode::kOneShot);
  timer.set_initial_count(1000, at(50ns));
  EXPECT_EQ(timer.next(at(50ns)), 1050ns);
  EXPECT_EQ(timer.current_count(at(50ns)), 1000U);
  EXPECT_EQ(timer.current_count(at(350ns)), 700U);
  EXPECT_FALSE(timer.expire(at(1049ns)));
  EXPECT_EQ(timer.current_count(at(1049ns)), 1U);
  EXPECT_EQ(timer.current_count(at(1051ns)), 0U);
  EXPECT_TRUE(timer.expire(at(1050ns)));
  EXPECT_EQ(timer.current_count(at(1050ns)), 0U);
  EXPECT_EQ(timer.initial_count(), 1000U);
  EXPECT_FALSE(timer.expire(at(5000ns)));
  EXPECT_EQ(timer.next(at(5000ns)), std::nullopt);
}

TEST(ApicTimer, AnInitialCountOfZeroStops) {
  auto timer = undivided(Mode::kOneShot);
  timer.set_initial_count(1000, at(0ns));
  timer.set_initial_count(0, at(10ns));
  EXPECT_EQ(timer.next(at(10ns)), std::nullopt);
  EXPECT_FALSE(timer.expire(at(5000ns)));
}

// SDM Vol. 3, figure 11-10.
TEST(ApicTimer, DividesAsItsConfigurationSays) {
  constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, 8> kDivisors = {
      {{0x0, 2}, {0x1, 4}, {0x2, 8}, {0x3, 16}, {0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}}};
  for (const auto& [configuration, divisor] : kDivisors) {
    ApicTimer timer(kTscKhz);
    timer.set_divide_configuration(configuration, at(0ns));
    timer.set_initial_count(10, at(0ns));
    EXPECT_EQ(timer.next(at(0ns)), nanoseconds(10 * divisor));
    EXPECT_EQ(timer.current_count(at(nanoseconds(divisor) - 1ns)), 10U);
    EXPECT_EQ(timer.current_count(at(nanoseconds(divisor))), 9U);
    EXPECT_EQ(timer.divide_configuration(), configuration);
  }
}

TEST(ApicTimer, ANewDivisorTakesOverTheCount) {
  auto timer = undivided(Mode::kOneShot);
  timer.set_initial_count(1000, at(0ns));
  timer.set_divide_configuration(0x3, at(400ns));
  EXPECT_EQ(timer.current_count(at(400ns)), 600U);
  EXPECT_EQ(timer.next(at(400ns)), 400ns + 600ns * 16);
}

TEST(ApicTimer, APeriodicOneDoesNotDriftAndCatchesUpAtOnce) {
  auto timer = undivided(Mode::kPeriodic);
  timer.set_initial_count(1'000'000, at(0ms));
  EXPECT_TRUE(timer.expire(at(1300us)));  // Late.
  EXPECT_EQ(timer.next(at(1300us)), 2ms);
  EXPECT_EQ(timer.current_count(at(1300us)), 700'000U);
  EXPECT_FALSE(timer.expire(at(2ms - 1ns)));
  EXPECT_TRUE(timer.expire(at(57'500us)));  // 56 of them.
  EXPECT_FALSE(timer.expire(at(57'500us)));
  EXPECT_EQ(timer.next(at(57'500us)), 58ms);
}

TEST(ApicTimer, APeriodicOneIsNotFasterThanTheHostCanBear) {
  auto timer = undivided(Mode::kPeriodic);
  timer.set_initial_count(1, at(0ns));
  EXPECT_EQ(timer.next(at(0ns)), 200us);
  EXPECT_EQ(timer.current_count(at(0ns)), 1U);
  EXPECT_TRUE(timer.expire(at(200us)));
  EXPECT_EQ(timer.next(at(200us)), 400us);
  timer.set_mode(Mode::kOneShot);
  timer.set_initial_count(1, at(200us));
  EXPECT_EQ(timer.next(at(200us)), 200us + 1ns);
}

TEST(ApicTimer, TheCountGoesOnBetweenOneShotAndPeriodic) {
  auto timer = undivided(Mode::kPeriodic);
  timer.set_initial_count(1'000'000, at(0ns));
  timer.set_mode(Mode::kOneShot);
  EXPECT_EQ(timer.current_count(at(400us)), 600'000U);
  EXPECT_TRUE(timer.expire(at(1ms)));
  EXPECT_EQ(timer.next(at(1ms)), std::nullopt);
}

TEST(ApicTimer, ADeadlineIsOneOfTheTimeStampCounter) {
  auto timer = undivided(Mode::kTscDeadline);
  timer.set_deadline(3001);
  EXPECT_EQ(timer.deadline(), 3001U);
  EXPECT_EQ(timer.next(at(1000ns)), 1501ns);  // 2000 of them are past; rounded up.
  EXPECT_FALSE(timer.expire(at(1500ns)));
  EXPECT_TRUE(timer.expire(at(1501ns)));
  EXPECT_EQ(timer.deadline(), 0U);
  EXPECT_EQ(timer.next(at(1501ns)), std::nullopt);
  EXPECT_FALSE(timer.expire(at(9000ns)));
}

TEST(ApicTimer, ADeadlineInThePastHasComeAndZeroDisarms) {
  auto timer = undivided(Mode::kTscDeadline);
  timer.set_deadline(1);
  EXPECT_EQ(timer.next(at(1000ns)), 1000ns);
  timer.set_deadline(0);
  EXPECT_FALSE(timer.expire(at(1000ns)));
  timer.set_deadline(~std::uint64_t{0});  // Never, practically.
  EXPECT_GT(*timer.next(at(1000ns)), std::chrono::hours(24 * 365));
  EXPECT_FALSE(timer.expire(at(1000ns)));
}

TEST(ApicTimer, ADeadlineWithoutItsModeIsIgnoredAndSoIsACountInIt) {
  auto timer = undivided(Mode::kOneShot);
  timer.set_deadline(1);
  EXPECT_EQ(timer.deadline(), 0U);
  EXPECT_FALSE(timer.expire(at(1000ns)));
  timer.set_mode(Mode::kTscDeadline);
  timer.set_initial_count(10, at(0ns));
  EXPECT_EQ(timer.initial_count(), 0U);
  EXPECT_FALSE(timer.expire(at(1000ns)));
}

TEST(ApicTimer, ChangingToOrFromDeadlinesDisarms) {
  auto timer = undivided(Mode::kOneShot);
  timer.set_initial_count(10, at(0ns));
  timer.set_mode(Mode::kTscDeadline);
  EXPECT_EQ(timer.current_count(at(1ns)), 0U);
  timer.set_deadline(100);
  timer.set_mode(Mode::kOneShot);
  EXPECT_EQ(timer.next(at(0ns)), std::nullopt);
  timer.set_mode(Mode::kTscDeadline);
  EXPECT_EQ(timer.deadline(), 0U);
}

TEST(ApicTimer, NothingRunsInTheReservedMode) {
  auto timer = undivided(Mode::kReserved);
  timer.set_initial_count(10, at(0ns));
  timer.set_deadline(10);
  EXPECT_EQ(timer.next(at(0ns)), std::nullopt);
  EXPECT_FALSE(timer.expire(at(1000ns)));
}

TEST(ApicTimer, ResetStopsIt) {
  auto timer = undivided(Mode::kPeriodic);
  timer.set_initial_count(10, at(0ns));
  timer.reset();
  EXPECT_EQ(timer, ApicTimer(kTscKhz));
}

}  // namespace
}  // namespace panicroom::kvm
