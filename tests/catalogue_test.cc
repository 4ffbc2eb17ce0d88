// The catalogue on a real kernel: what the README promises, and the control that shows that it can fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Property;
using testing::SizeIs;

class CatalogueTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!test_kernel()) GTEST_SKIP() << no_kernel();
  }
  Scratch scratch_;
};

TEST_F(CatalogueTest, EveryScenarioPasses) {
  const auto result =
      run_scenarios(scratch_, {catalogue().native(), "--junit", (scratch_.path() / "junit.xml").native(), "--ktap",
                               (scratch_.path() / "run.ktap").native()});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_GE(result.report.runs_size(), 7);
  EXPECT_THAT(result.out, HasSubstr(" of tier seed")) << "what was left out is said";
  std::set<std::uint64_t> slides;
  for (const auto& run : result.report.runs()) {
    EXPECT_EQ(run.verdict(), v1::VERDICT_PASS) << run.scenario() << ": " << run.detail();
    EXPECT_EQ(run.kaslr_slide() % (2u << 20), 0u);
    slides.insert(run.kaslr_slide());
    EXPECT_TRUE(std::filesystem::exists(scratch_.path() / "out" / run.artifacts() / "console.log"));
  }
  // Four machines are booted; that KASLR moves none of them is as likely as a coin of 500 sides falling so four times.
  EXPECT_GT(slides.size(), 1u) << "KASLR is off";
  EXPECT_TRUE(std::filesystem::exists(scratch_.path() / "junit.xml"));
  EXPECT_TRUE(std::filesystem::exists(scratch_.path() / "run.ktap"));
}

TEST_F(CatalogueTest, TheSecondPanicDoesNotStopTheDumpAndTheControlShowsThatItCould) {
  const auto with_gate =
      run_scenarios(scratch_, {(catalogue() / "second-panic-must-not-stop-the-dump.yaml").native(), "--repeat", "3"});
  EXPECT_EQ(with_gate.status, 0) << with_gate.out << with_gate.err;
  ASSERT_EQ(with_gate.report.runs_size(), 3);
  for (const auto& run : with_gate.report.runs()) EXPECT_EQ(run.outcome(), v1::OUTCOME_DUMPED) << run.detail();

  const auto without_gate =
      run_scenarios(scratch_, {(catalogue() / "second-panic-stops-the-dump.yaml").native(), "--repeat", "3"});
  EXPECT_EQ(without_gate.status, 0) << without_gate.out << without_gate.err;
  ASSERT_EQ(without_gate.report.runs_size(), 3);
  for (const auto& run : without_gate.report.runs()) {
    EXPECT_EQ(run.outcome(), v1::OUTCOME_RESET) << run.detail();
    // The report says who was stopped by what.
    EXPECT_THAT(run.stages(),
                Contains(testing::AllOf(Property(&v1::Stage::name, "stopped-by-nmi"), Property(&v1::Stage::cpu, 0))));
    EXPECT_THAT(run.ipis(), Contains(testing::AllOf(Property(&v1::Ipi::source, 1u), Property(&v1::Ipi::sent_as, "nmi"),
                                                    Property(&v1::Ipi::targets, Contains(0u)))));
  }
}

// The one NMI of the crash, and a rule that drops it if it applies by then.
TEST_F(CatalogueTest, ARuleForTheStopIpiAppliesFromItsStepOn) {
  const auto scenario = scratch_.file("moment.yaml", R"(
name: moment-${moment}
tier: moment
summary: The NMI is lost only if the rule applies before it is sent.
matrix:
  moment: {before: {step: 1}, behind: {step: 2}}
machine: {vcpus: 2, memory: 512M, crashkernel: 128M}
workload: {cpu0: syscalls, cpu1: syscalls}
stop_ipi: {kind: nmi, to: 1, after_step: "${moment.step}", count: 1, deliver: drop}
timeline:
  - {cpu: 0, at: workload, do: panic}
  - {cpu: 0, at: "ipi:nmi", do: note}
expect:
  - {when: {moment: before}, outcome: dump_incomplete, dump: {missing_cpus: [1]}}
  - {outcome: dumped}
---
name: not-asked-for
summary: Of no tier.
timeline: [{cpu: 0, at: workload, do: panic}]
expect: {outcome: reset}
)");
  const auto result = run_scenarios(scratch_, {scenario.parent_path().native(), "--tier", "moment"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 2);
  EXPECT_EQ(result.report.runs(0).scenario(), "moment-before");
  EXPECT_EQ(result.report.runs(0).outcome(), v1::OUTCOME_DUMP_INCOMPLETE) << result.report.runs(0).detail();
  EXPECT_EQ(result.report.runs(1).outcome(), v1::OUTCOME_DUMPED) << result.report.runs(1).detail();
  EXPECT_THAT(result.out, HasSubstr("left out: 1 of tier default"));
}

// The same steps as the control, but expecting a dump: a harness that cannot fail would pass this.
TEST_F(CatalogueTest, AnExpectationThatIsNotMetFailsAndSaysWhy) {
  const auto scenario = scratch_.file("wrong.yaml", R"(
name: expects-a-dump-that-cannot-be
summary: The control's race with the seed's expectation.
machine: {vcpus: 2, memory: 512M, crashkernel: 128M}
workload: {cpu0: syscalls, cpu1: syscalls}
unfix: [panic-gate]
timeline:
  - {cpu: 0, at: workload, do: panic, message: first}
  - {cpu: 0, at: "__crash_kexec/lock-taken", do: hold}
  - {cpu: 1, at: workload, do: panic, message: second}
  - {cpu: 1, at: "ipi:nmi", do: note}
  - {cpu: 0, do: release}
expect: {outcome: dumped}
timeout: 60s
)");
  const auto result = run_scenarios(scratch_, {scenario.native()});
  EXPECT_EQ(result.status, 1) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 1);
  EXPECT_EQ(result.report.runs(0).verdict(), v1::VERDICT_FAIL);
  EXPECT_THAT(result.report.runs(0).detail(), HasSubstr("expected dumped"));
  EXPECT_THAT(result.report.runs(0).places(), SizeIs(2));
  EXPECT_THAT(result.out, HasSubstr("expects-a-dump-that-cannot-be"));
}

TEST_F(CatalogueTest, AStepThatIsNeverReachedIsNamed) {
  const auto scenario = scratch_.file("unreached.yaml", R"(
name: never-reached
summary: Nobody calls panic_smp_self_stop when one CPU panics alone.
timeline:
  - {cpu: 0, at: workload, do: panic, message: alone}
  - {cpu: 1, at: panic_smp_self_stop, do: note}
expect: {outcome: dumped}
workload: {cpu0: syscalls, cpu1: syscalls}
)");
  const auto result = run_scenarios(scratch_, {scenario.native()});
  EXPECT_EQ(result.status, 1) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 1);
  EXPECT_THAT(result.report.runs(0).detail(), HasSubstr("step 2 was never reached"));
}

TEST_F(CatalogueTest, AKernelThatGoesOnWorkingIsNoPanic) {
  const auto scenario = scratch_.file("calm.yaml", R"(
name: calm
summary: A CPU passes its workload's point ten times, spends half a second with interrupts off, and lives.
workload: {cpu0: syscalls, cpu1: syscalls}
timeline:
  - {cpu: 1, at: workload, do: note, hit: 10}
  - {cpu: 1, at: workload, do: irqs-off, for: 500ms}
expect: {outcome: no_panic}
)");
  const auto result = run_scenarios(scratch_, {scenario.native()});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 1);
  EXPECT_EQ(result.report.runs(0).outcome(), v1::OUTCOME_NO_PANIC);
}

TEST_F(CatalogueTest, AWorkloadBeginsAtItsStepAndNoSooner) {
  const auto scenario = scratch_.file("start.yaml", R"(
name: started
summary: SysRq-C on CPU 1, when CPU 0 has passed its workload's point often enough for it to have happened before.
workload: {cpu0: syscalls, cpu1: syscalls}
timeline:
  - {cpu: 0, at: workload, do: note, hit: 300}
  - {cpu: 1, do: start, workload: sysrq-c}
  - {cpu: 1, at: sysrq_handle_crash, do: note}
expect: {outcome: dumped, dump: {panic_cpu: 1, log_contains: sysrq triggered crash}}
)");
  const auto result = run_scenarios(scratch_, {scenario.native()});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 1);
  EXPECT_EQ(result.report.runs(0).verdict(), v1::VERDICT_PASS) << result.report.runs(0).detail();
}

TEST_F(CatalogueTest, CpusThatSpinForGoodHaveHungAndAHangElsewhereFails) {
  constexpr std::string_view kHang = R"(
summary: CPU 0 stops itself as if it had lost the race for panic_cpu, while CPU 1 has interrupts off.
workload: {cpu0: syscalls, cpu1: syscalls}
timeline:
  - {cpu: 1, at: workload, do: irqs-off}
  - {cpu: 0, at: workload, do: panic}
  - {cpu: 0, at: panic/gate, do: set, registers: {rax: 1}, flags: {zf: 0}}
timeout: 10m
)";
  const auto scenarios = scratch_.file(
      "hang.yaml", "name: here" + std::string(kHang) +
                       "expect: {outcome: hung, where: {cpu0: panic_smp_self_stop}, because: spins}\n---\n" +
                       "name: elsewhere" + std::string(kHang) +
                       "expect: {outcome: hung, where: {cpu0: __crash_kexec}}\n");
  const auto result = run_scenarios(scratch_, {scenarios.native()});
  EXPECT_EQ(result.status, 1) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 2);
  EXPECT_EQ(result.report.runs(0).verdict(), v1::VERDICT_PASS) << result.report.runs(0).detail();
  EXPECT_EQ(result.report.runs(1).outcome(), v1::OUTCOME_HUNG);
  EXPECT_EQ(result.report.runs(1).verdict(), v1::VERDICT_FAIL);
  EXPECT_THAT(result.report.runs(1).detail(), HasSubstr("not in __crash_kexec"));
}

TEST_F(CatalogueTest, APlaceThatTheKernelLacksIsASkip) {
  const auto scenario = scratch_.file("lacking.yaml", R"(
name: lacking
summary: No kernel has this symbol.
timeline:
  - {cpu: 0, at: panicroom_has_no_such_symbol, do: panic, message: x}
expect: {outcome: dumped}
)");
  const auto result = run_scenarios(scratch_, {scenario.native()});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 1);
  EXPECT_EQ(result.report.runs(0).verdict(), v1::VERDICT_SKIP);
  EXPECT_THAT(result.report.runs(0).detail(), HasSubstr("panicroom_has_no_such_symbol"));
}

}  // namespace
}  // namespace panicroom::tests
