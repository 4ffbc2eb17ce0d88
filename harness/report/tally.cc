#include "harness/report/tally.h"

#include <array>
#include <map>
#include <string>

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
