#include "harness/report/ktap.h"

#include <fmt/format.h>

#include <iterator>
#include <map>
#include <string_view>

#include "harness/report/explain.h"
#include "harness/report/tally.h"
#include "harness/report/untrusted_text.h"
#include "harness/report/words.h"

namespace panicroom::harness {
namespace {

std::string description(std::string_view text) {
  std::string out;
  for (const char c : escape_untrusted(text)) {
    if (c == '#') {
      out += "\\x23";
    } else {
      out += c;
    }
  }
  return out;
}

void add_subtest(std::string& out, std::size_t number, const v1::Run& run, bool repeated) {
  auto at_end = std::back_inserter(out);
  const auto verdict = settled_verdict(run);
  const std::string name =
      description(repeated ? fmt::format("{} (trial {})", run.scenario(), run.repeat()) : run.scenario());
  if (verdict == v1::VERDICT_PASS) {
    fmt::format_to(at_end, "  ok {} {}\n", number, name);
  } else if (verdict == v1::VERDICT_SKIP) {
    fmt::format_to(at_end, "  ok {} {} # SKIP {}\n", number, name, description(reason(run)));
  } else {
    fmt::format_to(at_end, "  # {}: {}: {}\n", name, verdict_word(verdict), reason(run));
    for (const auto& line : explain(run)) fmt::format_to(at_end, "  # {}\n", line);
    fmt::format_to(at_end, "  not ok {} {}\n", number, name);
  }
}

void add_test(std::string& out, std::size_t number, const RunGroup& runs) {
  const std::string name = description(fmt::format("{}, {}", runs.front()->kernel_release(), runs.front()->engine()));
  Tally counts;
  std::map<std::string, int> trials;
  for (const auto* run : runs) {
    counts.add(*run);
    ++trials[run->scenario()];
  }
  auto at_end = std::back_inserter(out);
  fmt::format_to(at_end, "  KTAP version 1\n  # Subtest: {}\n  1..{}\n", name, runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i) add_subtest(out, i + 1, *runs[i], trials[runs[i]->scenario()] > 1);
  const bool good = counts.failed + counts.errors == 0;
  const bool all_skipped = counts.skipped == runs.size();
  fmt::format_to(at_end, "{} {} {}{}\n", good ? "ok" : "not ok", number, name,
                 all_skipped ? " # SKIP every run was skipped" : "");
}

}  // namespace

std::string report_to_ktap(const v1::Report& report) {
  const auto tests = group_by_platform(report);
  std::string out = fmt::format("KTAP version 1\n1..{}\n", tests.size());
  for (std::size_t i = 0; i < tests.size(); ++i) add_test(out, i + 1, tests[i]);
  return out;
}

}  // namespace panicroom::harness
