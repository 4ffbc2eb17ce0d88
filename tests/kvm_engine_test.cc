// The engine kvm under the whole harness: a real kernel, its capture kernel and its dump, as a user runs it. The
// conformance suite has the details, in seconds. Where KVM emulates kernel code this takes some ten minutes.
#include <gtest/gtest.h>

#include "hypervisor/kvm/kvm_machine.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

class KvmEngineTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!test_kernel()) GTEST_SKIP() << no_kernel();
    if (const auto usable = kvm::usable(); !usable) GTEST_SKIP() << "engine kvm: " << usable.error().message();
  }
  Scratch scratch_;
};

TEST_F(KvmEngineTest, ASecondPanicDoesNotStopTheDump) {
  const auto result =
      run_scenarios(scratch_, {(catalogue() / "second-panic-must-not-stop-the-dump.yaml").native(), "--engine", "kvm"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 1);
  const auto& run = result.report.runs(0);
  EXPECT_EQ(run.outcome(), v1::OUTCOME_DUMPED);
  EXPECT_EQ(run.verdict(), v1::VERDICT_PASS) << run.detail();
  EXPECT_EQ(run.engine().substr(0, 3), "kvm");
  EXPECT_EQ(run.dump().cpus_with_registers(), 2);
}

}  // namespace
}  // namespace panicroom::tests
