#include "harness/report/tally.h"

#include <algorithm>
#include <array>
#include <map>

#include "harness/report/words.h"

namespace panicroom::harness {
namespace {

template <typename KeyOf>
std::vector<RunGroup> group_by(const v1::Report& report, KeyOf key_of) {
  std::vector<RunGroup> groups;
  std::map<decltype(key_of(report.runs(0))), std::size_t> index_of;
  for (const auto& run : report.runs()) {
    const auto [found, added] = index_of.try_emplace(key_of(run), groups.size());
    if (added) groups.emplace_back();
    groups[found->second].push_back(&run);
  }
  return groups;
}

}  // namespace

void Tally::add(const v1::Run& run) {
  switch (settled_verdict(run)) {
    case v1::VERDICT_PASS:
      ++passed;
      break;
    case v1::VERDICT_FAIL:
      ++failed;
      break;
    case v1::VERDICT_SKIP:
      ++skipped;
      break;
    default:
      ++errors;
  }
}

Tally tally(const v1::Report& report) {
  Tally counts;
  for (const auto& run : report.runs()) counts.add(run);
  return counts;
}

v1::Verdict settled_verdict(const v1::Run& run) {
  switch (run.verdict()) {
    case v1::VERDICT_PASS:
    case v1::VERDICT_FAIL:
    case v1::VERDICT_SKIP:
      return run.verdict();
    default:
      return v1::VERDICT_ERROR;
  }
}

int exit_status(const v1::Report& report) {
  const Tally counts = tally(report);
  if (counts.errors > 0) return 3;
  return counts.failed > 0 ? 1 : 0;
}

v1::Verdict worst_verdict(const RunGroup& trials) {
  for (const auto verdict : {v1::VERDICT_ERROR, v1::VERDICT_FAIL, v1::VERDICT_PASS}) {
    if (std::any_of(trials.begin(), trials.end(), [&](const auto* run) { return settled_verdict(*run) == verdict; }))
      return verdict;
  }
  return v1::VERDICT_SKIP;
}

std::vector<std::pair<std::string, std::size_t>> outcome_counts(const RunGroup& trials) {
  std::vector<std::pair<std::string, std::size_t>> counts;
  for (const auto* run : trials) {
    const auto word = outcome_word(run->outcome());
    const auto found =
        std::find_if(counts.begin(), counts.end(), [&](const auto& entry) { return entry.first == word; });
    if (found == counts.end()) {
      counts.emplace_back(word, 1);
    } else {
      ++found->second;
    }
  }
  std::stable_sort(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return counts;
}

std::vector<RunGroup> group_by_scenario(const v1::Report& report) {
  return group_by(report, [](const v1::Run& run) {
    return std::array<std::string, 5>{run.file(), run.scenario(), run.kernel_release(), run.capture_kernel_release(),
                                      run.engine()};
  });
}

std::vector<RunGroup> group_by_platform(const v1::Report& report) {
  return group_by(report, [](const v1::Run& run) {
    return std::array<std::string, 2>{run.kernel_release(), run.engine()};
  });
}

}  // namespace panicroom::harness
