#include "harness/report/junit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/util/time_util.h>

#include <map>
#include <pugixml.hpp>
#include <sstream>

#include "harness/report/explain.h"
#include "harness/report/tally.h"
#include "harness/report/untrusted_text.h"
#include "harness/report/words.h"

namespace panicroom::harness {
namespace {

// pugixml writes code points that XML cannot hold as they are, so all text goes through here.
void set(pugi::xml_node node, const char* attribute, std::string_view text) {
  node.append_attribute(attribute).set_value(escape_untrusted(text).c_str());
}

void set_counts(pugi::xml_node node, const Tally& counts, double time) {
  set(node, "tests", fmt::to_string(counts.total()));
  set(node, "failures", fmt::to_string(counts.failed));
  set(node, "errors", fmt::to_string(counts.errors));
  set(node, "skipped", fmt::to_string(counts.skipped));
  set(node, "time", fmt::format("{:.3f}", time));
}

void set_text(pugi::xml_node node, const std::vector<std::string>& lines) {
  node.text().set(escape_untrusted(fmt::format("{}", fmt::join(lines, "\n")), Newlines::kKeep).c_str());
}

void add_case(pugi::xml_node suite, const std::string& suite_name, const v1::Run& run, bool repeated) {
  auto test_case = suite.append_child("testcase");
  set(test_case, "name", repeated ? fmt::format("{} (trial {})", run.scenario(), run.repeat()) : run.scenario());
  set(test_case, "classname", suite_name);
  set(test_case, "time", fmt::format("{:.3f}", seconds(run.wall())));
  if (!run.file().empty()) set(test_case, "file", run.file());
  switch (settled_verdict(run)) {
    case v1::VERDICT_PASS:
      break;
    case v1::VERDICT_SKIP:
      set(test_case.append_child("skipped"), "message", reason(run));
      break;
    default: {
      const bool failed = settled_verdict(run) == v1::VERDICT_FAIL;
      auto node = test_case.append_child(failed ? "failure" : "error");
      set(node, "message", reason(run));
      set(node, "type", outcome_word(run.outcome()));
      set_text(node, explain(run));
    }
  }
  if (const auto lines = narrate(run); !lines.empty()) set_text(test_case.append_child("system-out"), lines);
}

bool has_form(const google::protobuf::Timestamp& time) {
  using google::protobuf::util::TimeUtil;
  return time.seconds() >= TimeUtil::kTimestampMinSeconds && time.seconds() <= TimeUtil::kTimestampMaxSeconds;
}

void add_suite(pugi::xml_node root, const v1::Report& report, const RunGroup& runs) {
  const std::string name = fmt::format("{}, {}", runs.front()->kernel_release(), runs.front()->engine());
  Tally counts;
  double time = 0;
  std::map<std::string, int> trials;
  for (const auto* run : runs) {
    counts.add(*run);
    time += seconds(run->wall());
    ++trials[run->scenario()];
  }
  auto suite = root.append_child("testsuite");
  set(suite, "name", name);
  set_counts(suite, counts, time);
  if (report.has_started() && has_form(report.started())) {
    google::protobuf::Timestamp whole_seconds;
    whole_seconds.set_seconds(report.started().seconds());
    set(suite, "timestamp", google::protobuf::util::TimeUtil::ToString(whole_seconds));
  }
  if (!report.host().name().empty()) set(suite, "hostname", report.host().name());
  for (const auto* run : runs) add_case(suite, name, *run, trials[run->scenario()] > 1);
}

}  // namespace

std::string report_to_junit(const v1::Report& report) {
  pugi::xml_document document;
  auto declaration = document.append_child(pugi::node_declaration);
  declaration.append_attribute("version") = "1.0";
  declaration.append_attribute("encoding") = "UTF-8";
  auto root = document.append_child("testsuites");
  set(root, "name", "panicroom");
  double time = 0;
  for (const auto& run : report.runs()) time += seconds(run.wall());
  set_counts(root, tally(report), time);
  for (const auto& runs : group_by_platform(report)) add_suite(root, report, runs);
  std::ostringstream out;
  document.save(out, "  ");
  return std::move(out).str();
}

}  // namespace panicroom::harness
