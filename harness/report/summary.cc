#include "harness/report/summary.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "harness/report/explain.h"
#include "harness/report/matrix.h"
#include "harness/report/untrusted_text.h"
#include "harness/report/words.h"

namespace panicroom::harness {
namespace {

constexpr std::size_t kOutcomeWidth = 17;  // "capture_failed" and a little more.

// "20 of 20 dumped", or "18 of 20 dumped, 2 reset": the most frequent first.
std::string outcomes_text(const RunGroup& trials) {
  if (trials.size() == 1) return outcome_word(trials.front()->outcome());
  const auto counts = outcome_counts(trials);
  std::string text = fmt::format("{} of {} {}", counts.front().second, trials.size(), counts.front().first);
  for (std::size_t i = 1; i < counts.size(); ++i) text += fmt::format(", {} {}", counts[i].second, counts[i].first);
  return text;
}

std::string one_failure(const RunGroup& trials, v1::Verdict verdict, const SummaryStyle& style) {
  std::vector<const v1::Run*> such;
  std::copy_if(trials.begin(), trials.end(), std::back_inserter(such),
               [&](const auto* run) { return settled_verdict(*run) == verdict; });
  if (such.empty()) return {};
  const auto& run = *such.front();
  const std::string trial = trials.size() > 1 ? fmt::format(", trial {} of {}", run.repeat(), trials.size()) : "";
  std::string text = fmt::format("{} {} on {}{}\n", verdict_label(verdict, style.colour),
                                 escape_untrusted(run.scenario()), platform(run), trial);
  for (const auto& line : explain(run, style.out)) text += fmt::format("  {}\n", line);
  if (such.size() > 1) {
    std::vector<std::uint32_t> numbers;
    std::transform(std::next(such.begin()), such.end(), std::back_inserter(numbers),
                   [](const auto* other) { return other->repeat(); });
    text += fmt::format("  and the same verdict in trial {}\n", fmt::join(numbers, ", "));
  }
  return text;
}

}  // namespace

std::string scenario_line(const RunGroup& trials, const SummaryStyle& style) {
  const auto& first = *trials.front();
  const auto verdict = worst_verdict(trials);
  const std::string start = fmt::format("{}  {}  ", verdict_label(verdict, style.colour, 5),
                                        padded(escape_untrusted(first.scenario()), style.scenario_width));
  if (verdict == v1::VERDICT_SKIP) return fmt::format("{}{}\n", start, reason(first));
  double time = 0;
  for (const auto* run : trials) time += seconds(run->wall());
  std::string end;
  if (verdict != v1::VERDICT_PASS) {
    const auto bad =
        std::find_if(trials.begin(), trials.end(), [&](const auto* run) { return settled_verdict(*run) == verdict; });
    end = verdict == v1::VERDICT_FAIL && (*bad)->expected_outcome() != (*bad)->outcome() &&
                  (*bad)->expected_outcome() != v1::OUTCOME_UNSPECIFIED
              ? fmt::format("  expected {}", outcome_word((*bad)->expected_outcome()))
              : fmt::format("  {}", reason(**bad));
  }
  return fmt::format("{}{} {:>7.1f} s{}\n", start, padded(outcomes_text(trials), kOutcomeWidth), time, end);
}

std::string failure_text(const RunGroup& trials, const SummaryStyle& style) {
  const std::string errors = one_failure(trials, v1::VERDICT_ERROR, style);
  const std::string fails = one_failure(trials, v1::VERDICT_FAIL, style);
  return fails.empty() || errors.empty() ? fails + errors : fails + "\n" + errors;
}

std::string totals_line(const Tally& counts) {
  return fmt::format("{} passed, {} failed, {} errors, {} skipped\n", counts.passed, counts.failed, counts.errors,
                     counts.skipped);
}

std::string summary(const v1::Report& report, SummaryStyle style) {
  const auto groups = group_by_scenario(report);
  for (const auto& trials : groups)
    style.scenario_width = std::max(style.scenario_width, columns(escape_untrusted(trials.front()->scenario())));
  std::string text;
  std::string failures;
  std::string last_platform;
  for (const auto& trials : groups) {
    if (auto here = platform(*trials.front()); here != last_platform) {
      text += fmt::format("{}\n", here);
      last_platform = std::move(here);
    }
    text += scenario_line(trials, style);
    if (const auto failure = failure_text(trials, style); !failure.empty()) failures += "\n" + failure;
  }
  text += failures;
  if (!groups.empty()) text += "\n";
  if (const auto table = matrix(report, style.colour); !table.empty()) text += table + "\n";
  return text + totals_line(tally(report));
}

}  // namespace panicroom::harness
