#include "harness/director/time_allowance.h"

#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

using std::chrono::seconds;

constexpr TimeAllowance::Clock::time_point kStart{seconds(1000)};

TEST(TimeAllowance, IsTheTimeout) {
  const TimeAllowance allowance(kStart, seconds(60), seconds(0));
  EXPECT_EQ(allowance.limit(), kStart + seconds(60));
  EXPECT_EQ(allowance.had(kStart + seconds(7)), seconds(7));
  EXPECT_FALSE(allowance.host_is_too_slow());
}

TEST(TimeAllowance, WhatTheGuestWasStarvedForIsGivenBackOnce) {
  TimeAllowance allowance(kStart, seconds(60), seconds(100));  // In trials before this one.
  allowance.set_starved(seconds(100));
  EXPECT_EQ(allowance.limit(), kStart + seconds(60));
  allowance.set_starved(seconds(140));
  allowance.set_starved(seconds(140));
  EXPECT_EQ(allowance.limit(), kStart + seconds(100));
  allowance.set_starved(seconds(130));  // Never back.
  EXPECT_EQ(allowance.limit(), kStart + seconds(100));
  EXPECT_EQ(allowance.had(kStart + seconds(100)), seconds(60));
}

TEST(TimeAllowance, TimeOnTopIsNoTimeThatTheTrialHad) {
  TimeAllowance allowance(kStart, seconds(60), seconds(0));
  allowance.give_back(seconds(30));
  EXPECT_FALSE(allowance.stretched_too_far(kStart + seconds(209)));
  EXPECT_TRUE(allowance.stretched_too_far(kStart + seconds(210)));
}

TEST(TimeAllowance, TimeOfAMachineThatWasToldToStandStillIsNoneOfTheTrials) {
  TimeAllowance allowance(kStart, seconds(60), seconds(0));
  allowance.stood_still(seconds(1000));
  EXPECT_EQ(allowance.limit(), kStart + seconds(1060));
  EXPECT_EQ(allowance.had(kStart + seconds(1007)), seconds(7));
  EXPECT_FALSE(allowance.host_is_too_slow());
}

TEST(TimeAllowance, AnExtensionNeverShortens) {
  TimeAllowance allowance(kStart, seconds(60), seconds(0));
  allowance.extend(kStart + seconds(80));
  allowance.extend(kStart + seconds(70));
  EXPECT_EQ(allowance.limit(), kStart + seconds(80));
}

TEST(TimeAllowance, AHostThatTakesTooMuchIsTooSlow) {
  TimeAllowance allowance(kStart, seconds(60), seconds(0));
  allowance.set_starved(seconds(539));
  EXPECT_FALSE(allowance.host_is_too_slow());
  allowance.give_back(seconds(1));
  EXPECT_TRUE(allowance.host_is_too_slow());
}

}  // namespace
}  // namespace panicroom::harness
