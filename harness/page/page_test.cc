#include "harness/page/page.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/testing/temporary_directory.h"
#include "harness/events/event_lines.h"
#include "harness/page/template.h"

namespace panicroom::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class PageTest : public testing::Test {
 protected:
  PageTest() { std::filesystem::create_directories(folder_ / "k/s/1"); }

  v1::Run& add_run(const std::string& artifacts, v1::Verdict verdict = v1::VERDICT_FAIL) {
    auto& run = *report_.add_runs();
    run.set_scenario("second-panic");
    run.set_artifacts(artifacts);
    run.set_verdict(verdict);
    return run;
  }
  static v1::Event console(const std::string& text) {
    v1::Event event;
    event.mutable_console()->set_text(text);
    return event;
  }
  static v1::Event started(const std::string& scenario) {
    v1::Event event;
    event.mutable_trial_started()->mutable_run()->set_scenario(scenario);
    return event;
  }
  void write(const std::string& artifacts, const std::vector<v1::Event>& events) const {
    std::filesystem::create_directories(folder_ / artifacts);
    std::ofstream out(folder_ / artifacts / kEventsFile);
    for (const auto& event : events) out << to_line(event).value();
  }
  std::string data(const PageLimits& limits = {}) {
    auto json = page_data(report_, folder_, limits);
    EXPECT_TRUE(json) << json.error().message();
    return json.value_or("");
  }

  TemporaryDirectory directory_;
  const std::filesystem::path& folder_ = directory_.path();
  v1::Report report_;
};

TEST_F(PageTest, NothingThatAGuestWritesEndsTheScriptElementThatHoldsIt) {
  add_run("k/s/1").set_detail("</script><script>alert(1)</script>");
  write("k/s/1", {console("<!-- </ScRiPt ><img src=x onerror=alert(2)> & ]]> {{nonce}} {{js}}")});
  const auto json = data();
  EXPECT_THAT(json, Not(HasSubstr("<")));
  EXPECT_THAT(json, Not(HasSubstr(">")));
  EXPECT_THAT(json, Not(HasSubstr("&")));
  EXPECT_THAT(json, HasSubstr(R"(\u003c/ScRiPt \u003e\u003cimg src=x onerror=alert(2)\u003e)"));

  const auto page = report_page(report_, folder_).value();
  const auto count = [&](std::string_view text) {
    std::size_t found = 0;
    for (auto at = page.find(text); at != std::string::npos; at = page.find(text, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("<script"), 2u);
  EXPECT_EQ(count("</script>"), 2u);
  EXPECT_EQ(count("{{nonce}} {{js}}"), 1u);  // The guest's, as it wrote it.
}

TEST_F(PageTest, ControlCharactersAndWhatTurnsTextRoundAreMadeVisible) {
  add_run("k/s/1");
  write("k/s/1", {console("\x1b[2Ja\xe2\x80\xae"
                          "b\xff")});
  const auto json = data();
  EXPECT_THAT(json, HasSubstr(R"(\\x1b[2Ja\\u{202e}b)"));
}

TEST_F(PageTest, ThePageIsOneFileThatFetchesNothing) {
  add_run("k/s/1");
  const auto page = report_page(report_, folder_).value();
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const auto* reference : {"src=\"http", "href=\"http", "url(", "@import", "fetch(", "XMLHttpRequest", "innerHTML",
                                "insertAdjacentHTML", "document.write", "eval("})
    EXPECT_THAT(page, Not(HasSubstr(reference)));
  EXPECT_THAT(page, Not(HasSubstr("{{")));
  EXPECT_THAT(page_scripts(), Not(HasSubstr("</script")));
}

TEST_F(PageTest, TheNonceIsAnotherEachTime) {
  EXPECT_NE(report_page(report_, folder_).value(), report_page(report_, folder_).value());
}

TEST_F(PageTest, ALongConsoleKeepsItsBeginningAndItsEnd) {
  add_run("k/s/1");
  std::vector<v1::Event> events;
  constexpr int kLines = 1000;
  events.reserve(kLines);
  for (int i = 0; i < kLines; ++i) events.push_back(console(fmt::format("line {:04}", i)));
  write("k/s/1", events);
  const auto json = data({.console_bytes = 2000});
  EXPECT_THAT(json, AllOf(HasSubstr("line 0000"), HasSubstr("line 0999"), Not(HasSubstr("line 0500"))));
  EXPECT_THAT(json, HasSubstr("\"omitted\":{\"console\":"));
  EXPECT_LT(json.size(), 12'000u);
  EXPECT_THAT(data({.events = 10}), HasSubstr("\"omitted\":{\"console\":990}"));
  EXPECT_THAT(data(), HasSubstr("\"omitted\":{}"));
}

TEST_F(PageTest, WhatFailedGetsTheRoomFirst) {
  add_run("k/passed/1", v1::VERDICT_PASS);
  add_run("k/s/1");
  write("k/passed/1", {console("of the one that passed")});
  write("k/s/1", {console("of the one that failed")});
  const auto json = data({.all_bytes = 10});
  EXPECT_THAT(json, HasSubstr("of the one that failed"));
  EXPECT_THAT(json, Not(HasSubstr("of the one that passed")));
  EXPECT_THAT(json, HasSubstr("grown too large"));
}

TEST_F(PageTest, ATrialThatWasKilledIsShownFromItsEvents) {
  write("k/s/1", {started("killed"), console("the last words")});
  const auto json = data();
  EXPECT_THAT(
      json, AllOf(HasSubstr("\"scenario\":\"killed\""), HasSubstr("the last words"), HasSubstr("\"undecided\":true")));
  add_run("k/s/1");
  EXPECT_THAT(data(), Not(HasSubstr("\"undecided\":true")));
}

TEST_F(PageTest, NothingOutsideOfTheFolderIsRead) {
  write("k/s/1", {console("of another run")});
  report_.Clear();
  add_run("../" + folder_.filename().native() + "/k/s/1");
  add_run((folder_ / "k/s/1").native());
  const auto json = page_data(report_, folder_ / "k/s/2", {}).value();
  EXPECT_THAT(json, Not(HasSubstr("of another run")));
  EXPECT_THAT(json, HasSubstr("outside of its own"));
}

TEST_F(PageTest, AStreamThatIsMissingOrBrokenIsANote) {
  add_run("k/s/1");
  EXPECT_THAT(data(), HasSubstr("there are no events of this trial"));
  std::ofstream(folder_ / "k/s/1" / kEventsFile) << "not json\n" << to_line(console("fine")).value();
  EXPECT_THAT(data(), AllOf(HasSubstr("1 lines of events.jsonl could not be read"), HasSubstr("fine")));
}

TEST_F(PageTest, TheDataIsJson) {
  add_run("k/s/1").set_detail("a \"quoted\" \\ detail");
  add_run("");
  write("k/s/1", {started("x"), console("\"")});
  google::protobuf::Struct parsed;
  const auto status = google::protobuf::util::JsonStringToMessage(data(), &parsed);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(parsed.fields().at("streams").list_value().values_size(), 2);
}

}  // namespace
}  // namespace panicroom::harness
