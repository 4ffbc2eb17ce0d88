#include "harness/session/kernel_cmdline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/protocol/config.h"

namespace panicroom::harness {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(KernelCmdline, CrashMemoryIsTheMachines) {
  EXPECT_THAT(first_cmdline({.crashkernel_bytes = 96ull << 20}, ""), EndsWith(" crashkernel=98304K"));
}

TEST(KernelCmdline, TheScenariosWordsComeLast) {
  EXPECT_THAT(first_cmdline({}, "panic=0 oops=panic"), EndsWith(" panic=0 oops=panic"));
}

TEST(KernelCmdline, KaslrStaysOn) {
  EXPECT_THAT(first_cmdline({}, ""), Not(HasSubstr("nokaslr")));
  EXPECT_THAT(capture_cmdline(true, {}), Not(HasSubstr("nokaslr")));
}

TEST(KernelCmdline, ATrialFromBootNeedsToKnowWhereTheKernelWillBe) {
  EXPECT_THAT(first_cmdline({}, "quiet", From::kBoot), EndsWith(" nokaslr quiet"));
}

TEST(KernelCmdline, LendingIsSaidOnlyToWhomTheHostReads) {
  EXPECT_THAT(capture_cmdline(true, {}), EndsWith(" panicroom.lend"));
  EXPECT_THAT(capture_cmdline(false, {}), Not(HasSubstr("panicroom")));
}

TEST(KernelCmdline, SavingIsSaidWithItsLevel) {
  EXPECT_THAT(capture_cmdline(true, SaveDump{.level = 17}), EndsWith(" panicroom.lend panicroom.save=17"));
}

constexpr hypervisor::GuestPace kSlow{.slowdown = 20};

TEST(KernelCmdline, SlowKernelCodeIsSparedWhatNoCrashNeeds) {
  for (const auto& line : {first_cmdline({}, "", From::kArmed, kSlow), capture_cmdline(true, {}, kSlow)}) {
    EXPECT_THAT(line, HasSubstr(" tsc=reliable init_on_alloc=0 rodata=off mitigations=off initcall_blacklist="));
    EXPECT_THAT(line, HasSubstr(" nowatchdog"));
  }
  for (const auto& line : {first_cmdline({}, ""), capture_cmdline(true, {})}) {
    EXPECT_THAT(line, Not(HasSubstr("rodata")));
    EXPECT_THAT(line, Not(HasSubstr("initcall_blacklist")));
    EXPECT_THAT(line, Not(HasSubstr("nowatchdog")));
  }
}

TEST(KernelCmdline, AScenarioAboutWatchdogsKeepsThem) {
  for (const auto* words : {"nmi_watchdog=panic watchdog_thresh=3", "softlockup_panic=1", "hardlockup_panic=1",
                            "sysctl.kernel.softlockup_panic=1"}) {
    const auto line = first_cmdline({}, words, From::kArmed, kSlow);
    EXPECT_THAT(line, EndsWith(std::string(" ") + words));
    EXPECT_THAT(line, Not(HasSubstr(" nowatchdog"))) << words;
  }
  EXPECT_THAT(first_cmdline({}, "panic=0 oops=panic", From::kArmed, kSlow), HasSubstr(" nowatchdog"));
}

TEST(KernelCmdline, WhatIsAddedFitsBehindTheLongestOfAScenario) {
  // COMMAND_LINE_SIZE, the terminating zero, and the scenario's half with the space before it.
  constexpr std::size_t kOwn = 2048 - 1 - 1024 - 1;
  EXPECT_LE(first_cmdline({.crashkernel_bytes = 1ull << 40}, "", From::kBoot, kSlow).size(), kOwn);
  EXPECT_LE(capture_cmdline(true, SaveDump{.level = 31}, kSlow).size(), agent::kMaxCaptureCommandLine);
}

}  // namespace
}  // namespace panicroom::harness
