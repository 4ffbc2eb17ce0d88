#include "harness/report/ktap.h"

#include <gtest/gtest.h>

#include "harness/report/sample_report.h"

namespace panicroom::harness {
namespace {

TEST(Ktap, TheWholeFileIsAsExpected) {
  EXPECT_EQ(report_to_ktap(sample::report()), R"(KTAP version 1
1..1
  KTAP version 1
  # Subtest: 6.1.0-56-cloud-amd64, qemu (tcg)
  1..4
  ok 1 single-panic
  # second-panic: fail: the machine was reset
  # expected  dumped
  # happened  reset after 2.5 s
  # because   the machine was reset
  #           before the capture kernel was entered
  # step 2    cpu 0: hold at __crash_kexec/lock-taken; happened at 1.250 s on CPU 0, __crash_kexec+0x5b (RIP 0xffffffff8115a3b0)
  # step 3    not reached: cpu 1: note at panic_smp_self_stop
  #           and so the step after it
  # stopped   CPU 0 by an NMI at 1.875 s: 0xf8 from CPU 1
  # dump      panic_cpu: expected 0, found 1
  # dump      no registers of CPU 1
  # CPU 0     stop_this_cpu+0x14 (first kernel), interrupts off, NMIs blocked, halted
  #             from nmi_handle+0x5a
  #             from __crash_kexec+0x5b
  # CPU 1     0xffffffff81234567, interrupts on
  # scenario  scenarios/second-panic.yaml
  # logs      second-panic/1/console.log and agent.log
  not ok 2 second-panic
  # oops: error: QEMU ended with signal 9
  # expected  dumped
  # happened  no outcome after 2.5 s
  # because   QEMU ended with signal 9
  # scenario  scenarios/oops.yaml
  not ok 3 oops
  ok 4 stop-ipi-\x23drop # SKIP needs the capability \x23ipi-policy
not ok 1 6.1.0-56-cloud-amd64, qemu (tcg)
)");
}

TEST(Ktap, ATestOfSkipsAloneIsSkipped) {
  v1::Report report;
  *report.add_runs() = sample::run("a", v1::VERDICT_SKIP, v1::OUTCOME_UNSPECIFIED);
  EXPECT_EQ(report_to_ktap(report), R"(KTAP version 1
1..1
  KTAP version 1
  # Subtest: 6.1.0-56-cloud-amd64, qemu (tcg)
  1..1
  ok 1 a # SKIP no outcome
ok 1 6.1.0-56-cloud-amd64, qemu (tcg) # SKIP every run was skipped
)");
}

TEST(Ktap, GuestTextCannotForgeAResult) {
  v1::Report report;
  auto& run = *report.add_runs() = sample::run("a\nok 2 b", v1::VERDICT_FAIL, v1::OUTCOME_RESET);
  run.set_detail("x\nok 1 a");
  run.clear_file();
  EXPECT_EQ(report_to_ktap(report), R"(KTAP version 1
1..1
  KTAP version 1
  # Subtest: 6.1.0-56-cloud-amd64, qemu (tcg)
  1..1
  # a\x0aok 2 b: fail: x
  # expected  dumped
  # happened  reset after 2.5 s
  # because   x
  #           ok 1 a
  not ok 1 a\x0aok 2 b
not ok 1 6.1.0-56-cloud-amd64, qemu (tcg)
)");
}

TEST(Ktap, AnEmptyReportPlansNothing) { EXPECT_EQ(report_to_ktap({}), "KTAP version 1\n1..0\n"); }

}  // namespace
}  // namespace panicroom::harness
