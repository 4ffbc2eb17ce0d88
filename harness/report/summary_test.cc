#include "harness/report/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/report/sample_report.h"

namespace panicroom::harness {
namespace {

using ::testing::HasSubstr;

v1::Report repeated(std::uint32_t trials) {
  v1::Report report;
  for (std::uint32_t i = 1; i <= trials; ++i)
    (*report.add_runs() = sample::run("single-panic", v1::VERDICT_PASS, v1::OUTCOME_DUMPED)).set_repeat(i);
  return report;
}

TEST(Summary, TheWholeTextIsAsExpected) {
  EXPECT_EQ(summary(sample::report(), {.out = "out"}), R"(6.1.0-56-cloud-amd64, qemu (tcg)
pass   single-panic    dumped                2.5 s
FAIL   second-panic    reset                 2.5 s  expected dumped
ERROR  oops            no outcome            2.5 s  QEMU ended with signal 9
skip   stop-ipi-#drop  needs the capability #ipi-policy

FAIL second-panic on 6.1.0-56-cloud-amd64, qemu (tcg)
  expected  dumped
  happened  reset after 2.5 s
  because   the machine was reset
            before the capture kernel was entered
  step 2    cpu 0: hold at __crash_kexec/lock-taken; happened at 1.250 s on CPU 0, __crash_kexec+0x5b (RIP 0xffffffff8115a3b0)
  step 3    not reached: cpu 1: note at panic_smp_self_stop
            and so the step after it
  stopped   CPU 0 by an NMI at 1.875 s: 0xf8 from CPU 1
  dump      panic_cpu: expected 0, found 1
  dump      no registers of CPU 1
  CPU 0     stop_this_cpu+0x14 (first kernel), interrupts off, NMIs blocked, halted
              from nmi_handle+0x5a
              from __crash_kexec+0x5b
  CPU 1     0xffffffff81234567, interrupts on
  scenario  scenarios/second-panic.yaml
  logs      out/second-panic/1/console.log and agent.log

ERROR oops on 6.1.0-56-cloud-amd64, qemu (tcg)
  expected  dumped
  happened  no outcome after 2.5 s
  because   QEMU ended with signal 9
  scenario  scenarios/oops.yaml

1 passed, 1 failed, 1 errors, 1 skipped
)");
}

TEST(Summary, RepeatsAreFolded) {
  const auto report = repeated(20);
  EXPECT_EQ(scenario_line(group_by_scenario(report)[0], {}), "pass   single-panic  20 of 20 dumped      50.0 s\n");
  EXPECT_EQ(failure_text(group_by_scenario(report)[0], {}), "");
}

TEST(Summary, TrialsThatDifferAreCountedAndTheFirstIsExplained) {
  auto report = repeated(5);
  for (const int i : {1, 3}) {
    report.mutable_runs(i)->set_verdict(v1::VERDICT_FAIL);
    report.mutable_runs(i)->set_outcome(v1::OUTCOME_HUNG);
  }
  const auto trials = group_by_scenario(report)[0];
  EXPECT_EQ(scenario_line(trials, {}), "FAIL   single-panic  3 of 5 dumped, 2 hung    12.5 s  expected dumped\n");
  EXPECT_EQ(failure_text(trials, {}), R"(FAIL single-panic on 6.1.0-56-cloud-amd64, qemu (tcg), trial 2 of 5
  expected  dumped
  happened  hung after 2.5 s
  scenario  scenarios/single-panic.yaml
  and the same verdict in trial 4
)");
}

TEST(Summary, AFailWithTheExpectedOutcomeSaysWhy) {
  v1::Report report;
  (*report.add_runs() = sample::run("a", v1::VERDICT_FAIL, v1::OUTCOME_DUMPED)).set_detail("panic_cpu is 1, not 0");
  EXPECT_THAT(scenario_line(group_by_scenario(report)[0], {}), HasSubstr("  panic_cpu is 1, not 0\n"));
}

TEST(Summary, ColourMarksTheVerdictAndKeepsTheColumns) {
  const auto report = sample::report();
  const SummaryStyle style{.colour = true, .scenario_width = 14, .out = {}};
  EXPECT_EQ(scenario_line({&report.runs(0)}, style),
            "\x1b[32mpass\x1b[0m   single-panic    dumped                2.5 s\n");
}

TEST(Summary, GuestTextCannotCommandTheTerminal) {
  v1::Report report;
  auto& run = *report.add_runs() = sample::run("a\x1b[2J", v1::VERDICT_FAIL, v1::OUTCOME_HUNG);
  run.set_detail("\x1b]0;owned\a");
  run.set_kernel_release("\x9b");
  run.add_places()->set_place("\r");
  const auto text = summary(report, {});
  EXPECT_EQ(text.find_first_of("\x1b\a\r\x9b"), std::string::npos) << text;
  EXPECT_THAT(text, HasSubstr("\\x1b]0;owned\\x07"));
}

TEST(Summary, AnEmptyReportHasTotals) { EXPECT_EQ(summary({}, {}), "0 passed, 0 failed, 0 errors, 0 skipped\n"); }

}  // namespace
}  // namespace panicroom::harness
