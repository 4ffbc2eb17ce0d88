// `panicroom report` as a user calls it, on a run's folder as `panicroom run` leaves it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ReportCommandTest : public testing::Test {
 protected:
  ReportCommandTest() {
    std::filesystem::create_directories(scratch_.path() / "k/s/1");
    scratch_.file("report.json",
                  R"({"runs": [{"scenario": "second-panic", "kernelRelease": "6.1", "verdict": "VERDICT_FAIL",
                      "outcome": "OUTCOME_RESET", "detail": "without a dump", "artifacts": "k/s/1", "repeat": 1}]})");
    scratch_.file("k/s/1/events.jsonl",
                  R"({"sequence":1,"cpu":0,"stage":{"name":"panic-entered"}}
{"sequence":2,"at":"0.5s","console":{"text":"the console's own words"}}
)");
  }
  std::string folder() const { return scratch_.path().native(); }
  std::string content(const std::string& name) const {
    return read_text_file(scratch_.path() / name).value_or("nothing");
  }
  Scratch scratch_;
};

TEST_F(ReportCommandTest, TheTextStaysAndThePageIsWrittenBesideTheReport) {
  const auto result = panicroom({"report", folder()});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("FAIL   second-panic"), HasSubstr("0 passed, 1 failed")));
  EXPECT_THAT(result.err, HasSubstr(folder() + "/report.html"));
  EXPECT_THAT(content("report.html"), AllOf(HasSubstr("<!DOCTYPE html>"), HasSubstr("the console's own words")));
}

TEST_F(ReportCommandTest, ThePageAndTheTraceGoWhereTheyAreAskedTo) {
  const auto result = panicroom(
      {"report", folder() + "/report.json", "--html", folder() + "/page.html", "--trace", folder() + "/trace.json"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(content("page.html"), HasSubstr("the console's own words"));
  EXPECT_THAT(content("trace.json"), AllOf(HasSubstr("traceEvents"), HasSubstr("the console's own words")));
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() / "report.html"));
}

TEST_F(ReportCommandTest, APageThatCannotBeWrittenIsAnErrorBehindTheText) {
  const auto result = panicroom({"report", folder(), "--html", folder() + "/absent/page.html"});
  EXPECT_EQ(result.status, 3);
  EXPECT_THAT(result.out, HasSubstr("0 passed, 1 failed"));
  EXPECT_THAT(result.err, AllOf(HasSubstr("absent/page.html"), HasSubstr("--html")));
}

TEST_F(ReportCommandTest, ATraceOfNothingIsSaidToBeOne) {
  std::filesystem::remove(scratch_.path() / "k/s/1/events.jsonl");
  const auto result = panicroom({"report", folder(), "--trace", folder() + "/trace.json"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("events.jsonl"));
  EXPECT_THAT(content("report.html"), HasSubstr("there are no events of this trial"));
}

}  // namespace
}  // namespace panicroom::tests
