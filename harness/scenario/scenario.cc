#include "harness/scenario/scenario.h"

#include <algorithm>

namespace panicroom::harness {

std::string_view name(MessageState state) {
  switch (state) {
    case MessageState::kWhole:
      return "whole";
    case MessageState::kGarbled:
      return "garbled";
    case MessageState::kAbsent:
      return "absent";
  }
  return "";
}

std::string_view name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDumped:
      return "dumped";
    case Outcome::kDumpIncomplete:
      return "dump_incomplete";
    case Outcome::kDumpInvalid:
      return "dump_invalid";
    case Outcome::kCaptureFailed:
      return "capture_failed";
    case Outcome::kReset:
      return "reset";
    case Outcome::kHung:
      return "hung";
    case Outcome::kNoPanic:
      return "no_panic";
  }
  return "";
}

const Expectation& Scenario::expected_on(std::string_view kernel_release) const {
  const KernelVersion version = version_of(kernel_release);
  const auto row = std::ranges::find_if(expect, [&](const auto& r) { return r.kernels.contains(version); });
  // A kernel that no row is about is one that `requires:` refuses, or one that was never read.
  return (row == expect.end() ? expect.front() : *row).expectation;
}

std::vector<StartedWorkload> starts(const Scenario& scenario) {
  std::vector<StartedWorkload> result;
  for (const Step& step : scenario.timeline) {
    if (const auto* start = std::get_if<DoStart>(&step.action)) result.push_back({step.cpu, start->workload});
  }
  return result;
}

}  // namespace panicroom::harness
