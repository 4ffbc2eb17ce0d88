// The measurement on this very host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <iostream>

#include "harness/doctor/findings.h"

namespace panicroom::harness {
namespace {

TEST(MeasureHostTest, FindsWhatIsHere) {
  const auto start = std::chrono::steady_clock::now();
  const auto findings = measure_host();
  const auto took = std::chrono::steady_clock::now() - start;
  std::cout << render(findings) << "took " << std::chrono::duration_cast<std::chrono::milliseconds>(took).count()
            << " ms" << std::endl;
  EXPECT_FALSE(findings.name.empty());
  EXPECT_FALSE(findings.kernel_release.empty());
  EXPECT_GT(findings.cpus, 0U);
  EXPECT_GT(findings.memory_bytes, 0U);

  // QEMU is what the tests of this project need anyway.
  EXPECT_FALSE(findings.qemu.version.empty()) << findings.qemu.finding;
  EXPECT_TRUE(findings.qemu.ran) << findings.qemu.finding;
  EXPECT_GT(findings.qemu.cpl0_instructions_per_second, 1e6);
  EXPECT_LT(findings.qemu.cpl0_instructions_per_second, 1e11);

  // KVM either ran, or there is a reason.
  EXPECT_FALSE(findings.kvm.finding.empty());
  if (findings.kvm.ran) {
    EXPECT_GT(findings.kvm.cpl0_instructions_per_second, 1e4);
    EXPECT_LT(findings.kvm.cpl0_instructions_per_second, 1e11);
  } else {
    EXPECT_EQ(findings.kvm.cpl0_instructions_per_second, 0);
  }
  ASSERT_EQ(findings.engines.size(), 2U);
  const auto choice = choose_engine(findings);
  EXPECT_EQ(choice.has_value(), findings.engines[0].usable);
}

// A guest that never comes to its first mark would be such a KVM that does not return.
TEST(MeasureHostTest, KvmIsBounded) {
  const auto probe = probe_kvm("/dev/kvm", std::chrono::milliseconds(0));
  EXPECT_FALSE(probe.finding.empty());
}

}  // namespace
}  // namespace panicroom::harness
