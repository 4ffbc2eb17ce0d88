#include "harness/session/kernel_cmdline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace panicroom::harness
