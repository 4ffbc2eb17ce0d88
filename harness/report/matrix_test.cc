#include "harness/report/matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/report/sample_report.h"
#include "harness/report/summary.h"

namespace panicroom::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Run& add(v1::Report& report, const std::string& scenario, const std::string& release, v1::Verdict verdict,
             v1::Outcome outcome, std::uint32_t repeat = 1) {
  auto& run = *report.add_runs() = sample::run(scenario, verdict, outcome);
  run.set_kernel_release(release);
  run.set_capture_kernel_release(release);
  run.set_repeat(repeat);
  return run;
}

v1::Report two_kernels() {
  v1::Report report;
  add(report, "oops", "5.10.0-32-rt-amd64", v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
  add(report, "nmi-panic", "5.10.0-32-rt-amd64", v1::VERDICT_FAIL, v1::OUTCOME_RESET);
  add(report, "oops", "6.1", v1::VERDICT_SKIP, v1::OUTCOME_UNSPECIFIED);
  add(report, "nmi-panic", "6.1", v1::VERDICT_ERROR, v1::OUTCOME_UNSPECIFIED);
  return report;
}

TEST(Matrix, KernelsAreRowsAndScenariosColumns) {
  EXPECT_EQ(matrix(two_kernels(), false), R"(kernel              oops    nmi-panic
5.10.0-32-rt-amd64  dumped  FAIL reset
6.1                 skip    ERROR
)");
}

TEST(Matrix, OneKernelNeedsNoTable) {
  v1::Report report;
  EXPECT_EQ(matrix(report, false), "");
  add(report, "a", "6.1", v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
  add(report, "b", "6.1", v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
  EXPECT_EQ(matrix(report, false), "");
}

TEST(Matrix, RepeatsAreCounted) {
  v1::Report report;
  for (std::uint32_t i = 1; i <= 20; ++i) {
    add(report, "a", "6.1", v1::VERDICT_PASS, v1::OUTCOME_DUMPED, i);
    const bool reset = i % 10 == 0;
    add(report, "b", "6.1", reset ? v1::VERDICT_FAIL : v1::VERDICT_PASS, reset ? v1::OUTCOME_RESET : v1::OUTCOME_DUMPED,
        i);
    add(report, "b", "5.10", i == 1 ? v1::VERDICT_ERROR : v1::VERDICT_PASS,
        i == 1 ? v1::OUTCOME_UNSPECIFIED : v1::OUTCOME_DUMPED, i);
  }
  EXPECT_EQ(matrix(report, false), R"(kernel  a             b
6.1     20/20 dumped  FAIL 18/20 dumped, 2 reset
5.10    -             ERROR 1/20
)");
}

TEST(Matrix, ColourMarksFailuresAndKeepsTheColumns) {
  v1::Report report = two_kernels();
  add(report, "single-panic", "5.10.0-32-rt-amd64", v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
  EXPECT_THAT(matrix(report, true), HasSubstr("  dumped  \x1b[1m\x1b[31mFAIL\x1b[0m reset  dumped\n"));
  EXPECT_THAT(matrix(report, true), HasSubstr("ERROR\x1b[0m       -\n"));
}

TEST(Matrix, LongNamesAreNumberedAndListed) {
  v1::Report report;
  for (const std::string release : {"6.1", "6.12"}) {
    for (const std::string letter : {"a", "b", "c"}) {
      add(report, letter + std::string(50, 'x'), release, v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
    }
  }
  const std::string x(50, 'x');
  EXPECT_EQ(matrix(report, false),
            "kernel  [1]     [2]     [3]\n"
            "6.1     dumped  dumped  dumped\n"
            "6.12    dumped  dumped  dumped\n"
            "[1]  a" +
                x + "\n[2]  b" + x + "\n[3]  c" + x + "\n");
}

TEST(Matrix, EnginesAndCaptureKernelsAreNamedWhereTheyDiffer) {
  v1::Report report = two_kernels();
  report.mutable_runs(0)->set_engine("kvm");
  report.mutable_runs(3)->set_capture_kernel_release("6.12");
  const auto table = matrix(report, false);
  EXPECT_THAT(table, HasSubstr("\n5.10.0-32-rt-amd64, kvm "));
  EXPECT_THAT(table, HasSubstr("\n6.1, capture 6.12, qemu (tcg) "));
}

TEST(Matrix, HostileNamesAreEscaped) {
  v1::Report report = two_kernels();
  report.mutable_runs(0)->set_kernel_release("6.1\x1b[2J\n");
  report.mutable_runs(1)->set_scenario("\x9b");
  EXPECT_THAT(matrix(report, false), Not(HasSubstr("\x1b")));
  EXPECT_THAT(matrix(report, false), HasSubstr("6.1\\x1b[2J\\x0a"));
}

TEST(Matrix, AReportOfAbsurdSizeGetsNoTable) {
  v1::Report report;
  for (int i = 0; i < 400; ++i) {
    add(report, "s" + std::to_string(i), "6." + std::to_string(i), v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
  }
  EXPECT_EQ(matrix(report, false), "400 kernels and 400 scenarios: too many for a table\n");
}

TEST(Matrix, IsPartOfTheSummaryOfSeveralKernels) {
  EXPECT_THAT(summary(two_kernels(), {}), HasSubstr("\n\nkernel              oops    nmi-panic\n"));
  EXPECT_THAT(summary(sample::report(), {}), Not(HasSubstr("\nkernel ")));
}

}  // namespace
}  // namespace panicroom::harness
