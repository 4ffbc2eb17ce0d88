#include "harness/report/tally.h"

#include <gtest/gtest.h>

#include "harness/report/sample_report.h"
#include "harness/report/words.h"

namespace panicroom::harness {
namespace {

v1::Report of(std::initializer_list<v1::Verdict> verdicts) {
  v1::Report report;
  for (const auto verdict : verdicts) report.add_runs()->set_verdict(verdict);
  return report;
}

TEST(ExitStatus, PassesAndSkipsAreZero) {
  EXPECT_EQ(exit_status({}), 0);
  EXPECT_EQ(exit_status(of({v1::VERDICT_PASS, v1::VERDICT_SKIP})), 0);
}

TEST(ExitStatus, AFailIsOneAndAnErrorThreeWhicheverComesFirst) {
  EXPECT_EQ(exit_status(of({v1::VERDICT_PASS, v1::VERDICT_FAIL})), 1);
  EXPECT_EQ(exit_status(of({v1::VERDICT_ERROR, v1::VERDICT_FAIL})), 3);
  EXPECT_EQ(exit_status(of({v1::VERDICT_FAIL, v1::VERDICT_ERROR})), 3);
}

TEST(ExitStatus, NoVerdictOrAnUnknownOneIsAnError) {
  EXPECT_EQ(exit_status(of({v1::VERDICT_UNSPECIFIED})), 3);
  EXPECT_EQ(exit_status(of({static_cast<v1::Verdict>(99)})), 3);
}

TEST(TallyTest, CountsEachVerdict) {
  EXPECT_EQ(tally(sample::report()), (Tally{.passed = 1, .failed = 1, .errors = 1, .skipped = 1}));
}

TEST(Groups, TrialsOfAScenarioStandTogetherInOrderOfFirstAppearance) {
  v1::Report report;
  *report.add_runs() = sample::run("b", v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
  *report.add_runs() = sample::run("a", v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
  *report.add_runs() = sample::run("b", v1::VERDICT_FAIL, v1::OUTCOME_RESET);
  report.add_runs()->set_scenario("b");  // On another kernel.
  const auto groups = group_by_scenario(report);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0], (RunGroup{&report.runs(0), &report.runs(2)}));
  EXPECT_EQ(groups[1], RunGroup{&report.runs(1)});
  EXPECT_EQ(group_by_platform(report).size(), 2u);
}

TEST(Words, AreTheScenariosWords) {
  EXPECT_EQ(outcome_word(v1::OUTCOME_DUMP_INCOMPLETE), "dump_incomplete");
  EXPECT_EQ(outcome_word(v1::OUTCOME_UNSPECIFIED), "no outcome");
  EXPECT_EQ(outcome_word(static_cast<v1::Outcome>(99)), "no outcome");
  EXPECT_EQ(verdict_word(v1::VERDICT_SKIP), "skip");
  EXPECT_EQ(verdict_word(static_cast<v1::Verdict>(-1)), "no verdict");
}

TEST(Words, TheCaptureKernelIsNamedIfItIsAnotherOne) {
  auto run = sample::run("a", v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
  EXPECT_EQ(platform(run), "6.1.0-56-cloud-amd64, qemu (tcg)");
  run.set_capture_kernel_release("6.12\x1b");
  EXPECT_EQ(platform(run), "6.1.0-56-cloud-amd64, capture 6.12\\x1b, qemu (tcg)");
}

}  // namespace
}  // namespace panicroom::harness
