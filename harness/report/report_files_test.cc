#include "harness/report/report_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "base/file.h"
#include "base/testing/temporary_directory.h"
#include "harness/report/json.h"
#include "harness/report/junit.h"
#include "harness/report/ktap.h"
#include "harness/report/sample_report.h"

namespace panicroom::harness {
namespace {

using ::testing::HasSubstr;

class ReportFilesTest : public ::testing::Test {
 protected:
  TemporaryDirectory directory_;
  const std::filesystem::path folder_ = directory_.path();
};

TEST_F(ReportFilesTest, EachFileThatWasAskedForIsWritten) {
  const auto report = sample::report();
  const ReportFiles files{.json = folder_ / "r.json", .junit = folder_ / "r.xml", .ktap = folder_ / "r.ktap"};
  ASSERT_TRUE(write_report_files(report, files));
  EXPECT_EQ(*read_text_file(folder_ / "r.json"), *report_to_json(report));
  EXPECT_EQ(*read_text_file(folder_ / "r.xml"), report_to_junit(report));
  EXPECT_EQ(*read_text_file(folder_ / "r.ktap"), report_to_ktap(report));
}

TEST_F(ReportFilesTest, NothingAskedNothingWritten) {
  ASSERT_TRUE(write_report_files(sample::report(), {}));
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(ReportFilesTest, AFullDiskIsAnErrorThatNamesTheFile) {
  const auto written = write_report_files(sample::report(), {.json = "/dev/full", .junit = {}, .ktap = {}});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind(), ErrorKind::kHost);
  EXPECT_THAT(written.error().message(), HasSubstr("/dev/full"));
  EXPECT_THAT(written.error().message(), HasSubstr("No space left on device"));
}

// A limit on the size of files stops a write in mid-file, as a full disk does.
TEST_F(ReportFilesTest, AWriteThatStopsHalfWayLeavesTheOldFileAndNothingElse) {
  const auto path = folder_ / "r.json";
  ASSERT_TRUE(write_file(path, "old"));
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit tight{.rlim_cur = 64, .rlim_max = limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const auto written = write_report_files(sample::report(), {.json = path, .junit = {}, .ktap = {}});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message(), HasSubstr(path.native()));
  EXPECT_EQ(*read_text_file(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(ReportFilesTest, OneBadPathDoesNotCostTheOthers) {
  const auto bad = folder_ / "missing" / "r.json";
  const auto written =
      write_report_files(sample::report(), {.json = bad, .junit = folder_ / "r.xml", .ktap = folder_ / "none" / "k"});
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message(), HasSubstr(bad.native()));
  EXPECT_THAT(written.error().message(), HasSubstr((folder_ / "none" / "k").native()));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "r.xml"));
}

}  // namespace
}  // namespace panicroom::harness
