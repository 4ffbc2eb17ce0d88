#include "harness/report/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/report/sample_report.h"

namespace panicroom::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Trials {
  std::string scenario;
  v1::Verdict verdict = v1::VERDICT_PASS;
  v1::Outcome outcome = v1::OUTCOME_DUMPED;
  std::string release = "6.1.0-56-cloud-amd64";
  int count = 1;
};

v1::Report report_of(std::initializer_list<Trials> groups) {
  v1::Report report;
  for (const auto& group : groups) {
    for (int i = 1; i <= group.count; ++i) {
      auto& run = *report.add_runs() = sample::run(group.scenario, group.verdict, group.outcome);
      run.set_kernel_release(group.release);
      run.set_capture_kernel_release(group.release);
      run.set_repeat(static_cast<std::uint32_t>(i));
    }
  }
  return report;
}

constexpr auto kPass = v1::VERDICT_PASS;
constexpr auto kFail = v1::VERDICT_FAIL;
constexpr auto kError = v1::VERDICT_ERROR;
constexpr auto kSkip = v1::VERDICT_SKIP;
constexpr auto kDumped = v1::OUTCOME_DUMPED;
constexpr auto kReset = v1::OUTCOME_RESET;
constexpr auto kNothing = v1::OUTCOME_UNSPECIFIED;

TEST(Compare, ALineForEachChangeRegressionsFirst) {
  const auto before = report_of({{"a-improves", kFail, kReset},
                                 {"breaks"},
                                 {"errs"},
                                 {"gone"},
                                 {"same"},
                                 {"skipped-now"},
                                 {"worse", kFail, kReset}});
  const auto after = report_of({{"a-improves"},
                                {"breaks", kFail, kReset},
                                {"errs", kError, kNothing},
                                {"new"},
                                {"same"},
                                {"skipped-now", kSkip, kNothing},
                                {"worse", kError, kNothing}});
  const auto comparison = compare(before, after);
  EXPECT_TRUE(comparison.regressed());
  EXPECT_EQ(render(comparison),
            R"(REGRESSION  breaks on 6.1.0-56-cloud-amd64, qemu (tcg): pass dumped -> FAIL reset
REGRESSION  errs on 6.1.0-56-cloud-amd64, qemu (tcg): pass dumped -> ERROR
improved    a-improves on 6.1.0-56-cloud-amd64, qemu (tcg): FAIL reset -> pass dumped
changed     skipped-now on 6.1.0-56-cloud-amd64, qemu (tcg): pass dumped -> skip
changed     worse on 6.1.0-56-cloud-amd64, qemu (tcg): FAIL reset -> ERROR
new         new on 6.1.0-56-cloud-amd64, qemu (tcg): pass dumped
gone        gone on 6.1.0-56-cloud-amd64, qemu (tcg): pass dumped
2 regressions, 1 improved, 2 changed, 1 new, 1 gone, 1 unchanged
)");
}

TEST(Compare, NoChangeIsNoRegression) {
  const auto report = sample::report();
  const auto comparison = compare(report, report);
  EXPECT_FALSE(comparison.regressed());
  EXPECT_EQ(render(comparison), "0 regressions, 0 improved, 0 changed, 0 new, 0 gone, 4 unchanged\n");
  EXPECT_EQ(render(compare({}, {})), "0 regressions, 0 improved, 0 changed, 0 new, 0 gone, 0 unchanged\n");
}

TEST(Compare, ALowerShareOfPassesIsARegression) {
  const auto before =
      report_of({{.scenario = "a", .count = 18}, {.scenario = "a", .verdict = kFail, .outcome = kReset, .count = 2}});
  const auto lower =
      report_of({{.scenario = "a", .count = 8}, {.scenario = "a", .verdict = kFail, .outcome = kReset, .count = 2}});
  EXPECT_EQ(
      render(compare(before, lower)),
      "REGRESSION  a on 6.1.0-56-cloud-amd64, qemu (tcg): FAIL 18/20 dumped, 2 reset -> FAIL 8/10 dumped, 2 reset\n"
      "1 regression, 0 improved, 0 changed, 0 new, 0 gone, 0 unchanged\n");
  EXPECT_EQ(compare(lower, before).count(ChangeKind::kImproved), 1u);
}

TEST(Compare, MoreTrialsWithTheSameSharesAreNoChange) {
  const auto few =
      report_of({{.scenario = "a", .count = 9}, {.scenario = "a", .verdict = kFail, .outcome = kReset, .count = 1}});
  const auto many =
      report_of({{.scenario = "a", .count = 18}, {.scenario = "a", .verdict = kFail, .outcome = kReset, .count = 2}});
  EXPECT_EQ(compare(few, many).unchanged, 1u);
}

TEST(Compare, AnotherWayToFailIsAChange) {
  const auto comparison = compare(report_of({{"a", kFail, kReset}}), report_of({{"a", kFail, v1::OUTCOME_HUNG}}));
  EXPECT_FALSE(comparison.regressed());
  EXPECT_EQ(comparison.count(ChangeKind::kChanged), 1u);
}

TEST(Compare, SkippedTrialsAreInNoShare) {
  const auto skipped = report_of({{"a", kSkip, kNothing}});
  const auto comparison = compare(skipped, report_of({{"a", kFail, kReset}}));
  EXPECT_FALSE(comparison.regressed());
  EXPECT_EQ(comparison.count(ChangeKind::kChanged), 1u);
  EXPECT_EQ(compare(skipped, skipped).unchanged, 1u);
}

TEST(Compare, AnUpdatedKernelIsComparedWithItsPredecessor) {
  const auto before =
      report_of({{"a", kPass, kDumped, "6.1.0-55-cloud-amd64"}, {"a", kPass, kDumped, "6.12.1-cloud-amd64"}});
  const auto after =
      report_of({{"a", kPass, kDumped, "6.12.1-cloud-amd64"}, {"a", kFail, kReset, "6.1.0-56-cloud-amd64"}});
  EXPECT_EQ(render(compare(before, after)),
            "REGRESSION  a on 6.1.0-56-cloud-amd64, qemu (tcg) (was 6.1.0-55-cloud-amd64, qemu (tcg)): "
            "pass dumped -> FAIL reset\n"
            "1 regression, 0 improved, 0 changed, 0 new, 0 gone, 1 unchanged\n");
}

TEST(Compare, HostileTextIsEscaped) {
  auto after = report_of({{"\x1b[2J"}});
  after.mutable_runs(0)->set_engine("\n");
  const auto text = render(compare({}, after));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("new         \\x1b[2J on 6.1.0-56-cloud-amd64, \\x0a: pass dumped\n"));
}

}  // namespace
}  // namespace panicroom::harness
