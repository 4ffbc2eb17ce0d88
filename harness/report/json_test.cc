#include "harness/report/json.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "harness/report/sample_report.h"

namespace panicroom::harness {
namespace {

using ::testing::HasSubstr;

TEST(Json, WhatIsReadBackIsWhatWasWritten) {
  const auto report = sample::report();
  const auto json = report_to_json(report);
  ASSERT_TRUE(json) << json.error().message();
  const auto back = report_from_json(*json);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(report, *back));
}

TEST(Json, IsProtobufsMappingWithZerosVisible) {
  v1::Report report;
  auto& run = *report.add_runs();
  run.set_scenario("single-panic");
  run.set_kaslr_slide(0x1a000000);
  run.mutable_wall()->set_nanos(250'000'000);
  run.mutable_dump()->set_panic_cpu(0);
  EXPECT_EQ(report_to_json(report).value_or("no JSON"), R"({
 "runs": [
  {
   "scenario": "single-panic",
   "kernelRelease": "",
   "captureKernelRelease": "",
   "engine": "",
   "outcome": "OUTCOME_UNSPECIFIED",
   "verdict": "VERDICT_UNSPECIFIED",
   "detail": "",
   "stages": [],
   "dump": {
    "panicCpu": 0,
    "cpusWithRegisters": 0,
    "missingCpus": [],
    "logMatched": false,
    "bytes": "0",
    "checks": [],
    "logMissing": []
   },
   "repeat": 0,
   "steps": [],
   "ipis": [],
   "places": [],
   "kaslrSlide": "436207616",
   "file": "",
   "artifacts": "",
   "pin": [],
   "expectedOutcome": "OUTCOME_UNSPECIFIED",
   "kernelReference": "",
   "ipisLeftOut": "0",
   "wall": "0.250s"
  }
 ],
 "panicroomVersion": ""
}
)");
}

TEST(Json, GuestBytesThatAreNotUtf8DoNotSpoilTheFile) {
  v1::Report report;
  auto& run = *report.add_runs();
  run.set_detail("log: \xff\x1b");
  run.add_stages()->set_note("\xc3");
  run.add_places()->add_backtrace("\xe2\x82 foo");
  const auto json = report_to_json(report);
  ASSERT_TRUE(json);
  const auto back = report_from_json(*json);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->runs(0).detail(), "log: \ufffd\x1b");
  EXPECT_EQ(back->runs(0).stages(0).note(), "\ufffd");
  EXPECT_EQ(back->runs(0).places(0).backtrace(0), "\ufffd\ufffd foo");
}

TEST(Json, ADurationThatProtobufCannotWriteIsAnError) {
  v1::Report report;
  report.add_runs()->mutable_wall()->set_seconds(INT64_MAX);
  const auto json = report_to_json(report);
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().kind(), ErrorKind::kHost);
}

TEST(Json, UnknownFieldsAndEnumeratorsAreIgnored) {
  const auto report = report_from_json(
      R"({"runs": [{"scenario": "x", "verdict": "VERDICT_PASS", "outcome": "OUTCOME_NEW", "later": {"a": [1]}}]})");
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->runs(0).scenario(), "x");
  EXPECT_EQ(report->runs(0).verdict(), v1::VERDICT_PASS);
  EXPECT_EQ(report->runs(0).outcome(), v1::OUTCOME_UNSPECIFIED);
}

TEST(Json, WhatIsNotAReportIsInvalidInput) {
  for (const std::string text : {"", "{", "[]", R"({"runs": 5})", "\xff", R"({"runs": [{"repeat": "x"}]})"}) {
    const auto report = report_from_json(text);
    ASSERT_FALSE(report) << text;
    EXPECT_EQ(report.error().kind(), ErrorKind::kInvalidInput);
    EXPECT_THAT(report.error().message(), HasSubstr("not a panicroom.v1.Report"));
  }
}

TEST(Json, DeepNestingIsAnErrorNotACrash) {
  const std::string deep(1'000'000, '[');
  EXPECT_FALSE(report_from_json(R"({"x": )" + deep));
}

}  // namespace
}  // namespace panicroom::harness
