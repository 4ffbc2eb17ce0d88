// Several kernels, several machines at a time, and reports that are compared: the program as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/file.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string scenario_with(const std::string& name, int vcpus) {
  return fmt::format(R"(
name: {}
summary: One CPU panics.
machine: {{vcpus: {}}}
workload: {{cpu0: syscalls, cpu1: syscalls}}
timeline:
  - {{cpu: 0, at: workload, do: panic, message: x}}
expect: {{outcome: dumped}}
)",
                     name, vcpus);
}

class MatrixTest : public testing::Test {
 protected:
  std::string report(const std::string& name, const std::string& verdict, const std::string& outcome) {
    return scratch_
        .file(name, fmt::format(R"({{"runs": [{{"scenario": "a", "kernelRelease": "6.1.0-56-cloud-amd64",
                                    "verdict": "{}", "outcome": "{}"}}]}})",
                                verdict, outcome))
        .native();
  }
  Scratch scratch_;
};

TEST_F(MatrixTest, CompareExitsWithOneOnARegression) {
  const auto good = report("good.json", "VERDICT_PASS", "OUTCOME_DUMPED");
  const auto bad = report("bad.json", "VERDICT_FAIL", "OUTCOME_RESET");
  const auto worse = panicroom({"compare", good, bad});
  EXPECT_EQ(worse.status, 1) << worse.err;
  EXPECT_THAT(worse.out, HasSubstr("REGRESSION  a on 6.1.0-56-cloud-amd64: pass dumped -> FAIL reset\n"));
  EXPECT_EQ(panicroom({"compare", bad, good}).status, 0);
  EXPECT_EQ(panicroom({"compare", bad, bad}).status, 0);
}

TEST_F(MatrixTest, CompareExitsWithTwoIfAReportCannotBeRead) {
  const auto good = report("good.json", "VERDICT_PASS", "OUTCOME_DUMPED");
  const auto broken = scratch_.file("broken.json", "{\"runs\": [").native();
  for (const auto& other : {broken, scratch_.path().native(), (scratch_.path() / "absent").native()}) {
    const auto result = panicroom({"compare", good, other});
    EXPECT_EQ(result.status, 2) << other;
    EXPECT_THAT(result.err, HasSubstr(other));
    EXPECT_EQ(panicroom({"compare", other, good}).status, 2) << other;
  }
  EXPECT_EQ(panicroom({"compare", good}).status, 2);
}

TEST_F(MatrixTest, APatternThatMatchesNothingIsTwo) {
  const auto scenario = scratch_.file("one.yaml", scenario_with("one", 2)).native();
  const auto result = panicroom({"run", scenario, "--kernel", (scratch_.path() / "vmlinuz-*").native()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("no kernel matches"));
}

class MatrixOnAKernelTest : public MatrixTest {
 protected:
  void SetUp() override {
    if (!test_kernel()) GTEST_SKIP() << no_kernel();
  }
};

TEST_F(MatrixOnAKernelTest, AKernelThatCannotBeReadCostsTheOthersNothing) {
  const auto whole = read_file(test_kernel().value());
  ASSERT_TRUE(whole);
  const auto truncated = scratch_.file("vmlinuz-0-truncated", as_text(*whole).substr(0, whole->size() / 2)).native();
  std::filesystem::create_symlink(test_kernel().value(), scratch_.path() / "vmlinuz-1");
  const auto scenario = scratch_.file("one.yaml", scenario_with("one", 2)).native();
  // The pattern's second file is the kernel that run_scenarios() names as well, and counts once.
  const auto result = run_scenarios(scratch_, {scenario, "--kernel", (scratch_.path() / "vmlinuz-*").native()});
  EXPECT_EQ(result.status, 3) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 2) << result.out << result.err;
  EXPECT_EQ(result.report.runs(0).verdict(), v1::VERDICT_ERROR);
  EXPECT_EQ(result.report.runs(0).kernel_release(), truncated);
  EXPECT_THAT(result.report.runs(0).detail(), HasSubstr("truncated"));
  EXPECT_EQ(result.report.runs(1).verdict(), v1::VERDICT_PASS) << result.report.runs(1).detail();
  const auto release = result.report.runs(1).kernel_release();
  EXPECT_THAT(release, Not(HasSubstr("/")));
  EXPECT_THAT(result.out, AllOf(HasSubstr("\nkernel "), HasSubstr("\n" + release + " ")));

  const auto again = panicroom({"report", (scratch_.path() / "out").native()});
  EXPECT_THAT(again.out, AllOf(HasSubstr("\nkernel "), HasSubstr("\n" + release + " ")));
}

TEST_F(MatrixOnAKernelTest, TwoMachinesAtATimeGiveTheReportOfOne) {
  const auto two = scratch_.file("two.yaml", scenario_with("two-cpus", 2)).native();
  const auto three = scratch_.file("three.yaml", scenario_with("three-cpus", 3)).native();
  const auto result = run_scenarios(scratch_, {two, three, "--jobs", "2", "--repeat", "2"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 4);
  for (int i = 0; i < 4; ++i) {
    const auto& run = result.report.runs(i);
    EXPECT_EQ(run.verdict(), v1::VERDICT_PASS) << run.detail();
    EXPECT_EQ(run.scenario(), i < 2 ? "two-cpus" : "three-cpus");
    EXPECT_EQ(run.repeat(), static_cast<std::uint32_t>(i % 2 + 1));
    EXPECT_EQ(run.dump().cpus_with_registers(), i < 2 ? 2u : 3u);
  }
  const auto logs = scratch_.path() / "out" / result.report.runs(0).kernel_release();
  EXPECT_TRUE(std::filesystem::exists(logs / "machine-1"));
  EXPECT_TRUE(std::filesystem::exists(logs / "machine-2"));
}

}  // namespace
}  // namespace panicroom::tests
